//! The header in the tree is the one that the source makes, compiles as C11 and C++17, and has the
//! version of the library as a number.

mod support;

use std::path::Path;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(top().join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::generate_with_config(top(), config).unwrap();
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    without_safety(&String::from_utf8(bytes).unwrap())
}

/// Sections about `unsafe` are for callers from Rust.
fn without_safety(header: &str) -> String {
    let (mut kept, mut skips) = (Vec::new(), false);
    for line in header.lines() {
        let is_comment = line.trim_start().starts_with("//");
        if line.trim_start() == "// # Safety" {
            skips = true;
            assert_eq!(kept.pop().map(str::trim), Some("//"));
        }
        skips &= is_comment;
        if !skips {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

#[test]
fn the_header_is_what_the_source_makes() {
    let path = top().join("include/fanfare.h");
    let made = generated();
    if std::env::var_os("FANFARE_HEADER").is_some_and(|what| what == "write") {
        std::fs::write(&path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == checked_in,
        "{} is not what ffi/src makes; write it anew: \
         FANFARE_HEADER=write cargo test -p fanfare-ffi --test header",
        path.display()
    );
}

#[test]
fn the_version_is_a_number() {
    let header = std::fs::read_to_string(top().join("include/fanfare.h")).unwrap();
    let line = header.lines().find_map(|line| line.strip_prefix("#define FANFARE_VERSION 0x"));
    let version = u32::from_str_radix(line.unwrap(), 16).unwrap();
    assert_ne!(version, 0);
    assert_eq!(version, fanfare_ffi::abi::calls::fanfare_version());
    let parts: Vec<u32> =
        env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(version, parts[0] << 16 | parts[1] << 8 | parts[2]);
    let abi = header.lines().find_map(|line| line.strip_prefix("#define FANFARE_ABI "));
    assert_eq!(abi.unwrap().parse(), Ok(fanfare_ffi::abi::calls::fanfare_abi()));
}

#[test]
fn it_compiles_as_c11_and_as_cpp17() {
    let include = top().join("include");
    let include = include.to_str().unwrap();
    for (compiler, standard, language) in [("cc", "c11", "c"), ("c++", "c++17", "c++")] {
        let Some(compiler) = support::compiler(compiler) else { continue };
        let source = top().join("tests/c/header.c");
        let mut command = std::process::Command::new(compiler);
        command.args([&format!("-std={standard}"), "-x", language, "-I", include]);
        command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]).arg(source);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
