//! The rules about one file by itself.

use super::Complaint;
use super::source::{Source, closing, words};

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Where `unsafe` may stand, from the top of the workspace. The last three are no part of the
/// product.
const UNSAFE_HOMES: [&str; 9] = [
    "engine/src/ring/",
    "engine/src/driver/",
    // Asks the scheduler what no safe package asks.
    "engine/src/os/short_slices.rs",
    "ffi/src/abi/",
    // Compare io_uring's own calls, which the driver does not make.
    "engine/benches/wakes/",
    "engine/benches/pair/",
    "engine/benches/moves/by_message.rs",
    // The bare loop that all are held against.
    "benches/limit/src/ring.rs",
    // A test that counts allocations is an allocator, and that trait is unsafe to implement.
    "engine/tests/allocations/counting.rs",
];

/// Every file says first why it exists.
pub(super) fn opens_with_its_reason(source: &Source) -> Vec<Complaint> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Complaint::new(1, "the file does not open with `//!`: say first why it exists")]
}

/// Lines are read side by side with others.
pub(super) fn lines_fit(source: &Source) -> Vec<Complaint> {
    let lines = source.text.lines().enumerate();
    let long = lines.filter(|(_, line)| line.chars().count() > LINE_COLUMNS_MAX);
    long.map(|(nth, line)| {
        let columns = line.chars().count();
        let what = format!("{columns} columns, more than {LINE_COLUMNS_MAX}: break the line");
        Complaint::new(nth + 1, what)
    })
    .collect()
}

/// One concept for each file.
pub(super) fn files_are_small(source: &Source) -> Vec<Complaint> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines, more than {FILE_LINES_MAX}: split the file by concept");
    vec![Complaint::new(lines, what)]
}

/// A function is seen whole.
pub(super) fn functions_fit_a_screen(source: &Source) -> Vec<Complaint> {
    let code = &source.code;
    let mut complaints = Vec::new();
    for start in words(code, "fn") {
        // A function pointer or a trait's promise has no body.
        let Some(body) = code[start..].find(['{', ';']).map(|at| start + at) else { continue };
        let named =
            code[start + 2..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
        if !named || code.as_bytes()[body] == b';' {
            continue;
        }
        let (first, last) = (source.line_of(start), source.line_of(closing(code, body)));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!(
                "a function of {lines} lines, more than {FUNCTION_LINES_MAX}: name its parts"
            );
            complaints.push(Complaint::new(first, what));
        }
    }
    complaints
}

/// `unsafe` lives in small modules with that name on the door.
pub(super) fn unsafe_stays_at_home(source: &Source) -> Vec<Complaint> {
    if UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    let homes = UNSAFE_HOMES.join(" and ");
    let what = format!("`unsafe` outside of {homes}: use a safe package, or move it there");
    words(&source.code, "unsafe")
        .map(|at| Complaint::new(source.line_of(at), what.clone()))
        .collect()
}

/// Time comes in as a number; only one file asks the clock. Examples, benches and tests may.
pub(super) fn clocks_are_read_in_one_place(source: &Source) -> Vec<Complaint> {
    let ours = source.path.contains("/src/") && !source.path.starts_with("benches/");
    if !ours || source.path == "engine/src/clock.rs" {
        return Vec::new();
    }
    let what = "a clock is read outside of engine/src/clock.rs: take the time as an argument";
    let readings = ["Instant::now", "SystemTime::now", "clock_gettime", "gettimeofday"];
    let lines = source.lines().filter(|(line, code)| {
        !source.is_test(*line)
            && readings.iter().any(|reading| words(code, reading).next().is_some())
    });
    lines.map(|(line, _)| Complaint::new(line, what)).collect()
}

/// The tenant comes with the connection or with the publisher: only configuration says which one
/// there always is. Nobody else may mean it without having been told.
pub(super) fn tenants_come_from_configuration(source: &Source) -> Vec<Complaint> {
    const HOMES: [&str; 3] =
        ["engine/src/config/", "engine/src/node/settings.rs", "identity/src/tenant.rs"];
    let ours = source.path.contains("/src/") && !source.path.starts_with("benches/");
    if !ours || HOMES.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    let what = "a tenant that nobody named: take it from whoever connects or publishes";
    words(&source.code, "Tenant::default")
        .map(|at| source.line_of(at))
        .filter(|line| !source.is_test(*line))
        .map(|line| Complaint::new(line, what))
        .collect()
}

/// A dialect asks a framing for its properties and never which one it is: a new framing would have
/// to be taught to each dialect otherwise. Tests may say which they mean.
pub(super) fn dialects_know_no_framing(source: &Source) -> Vec<Complaint> {
    if !source.path.starts_with("protocol/src/dialect/") {
        return Vec::new();
    }
    let what = "a dialect names a framing: ask for a property of it, in protocol/src/framing.rs";
    let variants = ["Framing::Ws", "Framing::Sse", "Framing::Poll"];
    let lines = source.lines().filter(|(line, code)| {
        !source.is_test(*line)
            && variants.iter().any(|variant| words(code, variant).next().is_some())
    });
    lines.map(|(line, _)| Complaint::new(line, what)).collect()
}

/// What a rule says about a sample at a path.
#[cfg(test)]
fn lines_of(rule: fn(&Source) -> Vec<Complaint>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|complaint| complaint.line).collect()
}

#[test]
fn a_file_without_a_reason_is_found() {
    let rule = opens_with_its_reason;
    assert_eq!(lines_of(rule, "x.rs", "fn f() {}\n"), [1]);
    assert_eq!(lines_of(rule, "x.rs", "\n//! Late.\n"), [1]);
    assert_eq!(lines_of(rule, "x.rs", "//! Why.\n"), [0; 0]);
}

#[test]
fn a_long_line_is_found() {
    let text = format!("{}\n{}\n", "é".repeat(LINE_COLUMNS_MAX), "x".repeat(LINE_COLUMNS_MAX + 1));
    assert_eq!(lines_of(lines_fit, "x.rs", &text), [2]);
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(lines_of(files_are_small, "x.rs", &"\n".repeat(600)), [0; 0]);
    assert_eq!(lines_of(files_are_small, "x.rs", &"\n".repeat(601)), [601]);
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| format!("//!\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    assert_eq!(lines_of(functions_fit_a_screen, "x.rs", &function(70)), [0; 0]);
    assert_eq!(lines_of(functions_fit_a_screen, "x.rs", &function(71)), [2]);
    // Braces in literals do not end a function, and a promise has no body to measure.
    let braces = function(71).replacen("g();", "g('}', \"}\");", 1);
    assert_eq!(lines_of(functions_fit_a_screen, "x.rs", &braces), [2]);
    let promise = format!("trait T {{ fn f();\n{}}}", "\n".repeat(100));
    assert_eq!(lines_of(functions_fit_a_screen, "x.rs", &promise), [0; 0]);
}

#[test]
fn stray_unsafe_is_found() {
    let text = "//! unsafe in a comment\nconst A: &str = \"unsafe\";\nunsafe fn f() {}\n";
    assert_eq!(lines_of(unsafe_stays_at_home, "engine/src/shard/mod.rs", text), [3]);
    assert_eq!(lines_of(unsafe_stays_at_home, "engine/tests/allocations/node.rs", text), [3]);
    for home in ["engine/src/ring/slot.rs", "engine/tests/allocations/counting.rs"] {
        assert_eq!(lines_of(unsafe_stays_at_home, home, text), [0; 0]);
    }
    let lint = "#![allow(unsafe_code)]\n";
    assert_eq!(lines_of(unsafe_stays_at_home, "engine/src/shard/mod.rs", lint), [0; 0]);
}

#[test]
fn a_stray_clock_is_found() {
    let text = "fn f() {\n    std::time::Instant::now();\n}\n#[cfg(test)]\nmod tests {\n    \
                fn g() { Instant::now(); }\n}\n";
    let rule = clocks_are_read_in_one_place;
    assert_eq!(lines_of(rule, "engine/src/shard/mod.rs", text), [2]);
    assert_eq!(lines_of(rule, "protocol/src/ws/mod.rs", "SystemTime::now()\n"), [1]);
    for path in ["engine/src/clock.rs", "engine/tests/x.rs", "engine/examples/x.rs"] {
        assert_eq!(lines_of(rule, path, text), [0; 0], "{path}");
    }
}

#[test]
fn a_tenant_that_nobody_named_is_found() {
    let text = "fn f() {\n    Tenant::default();\n}\n#[cfg(test)]\nmod tests {\n    \
                fn g() { Tenant::default(); }\n}\n";
    let rule = tenants_come_from_configuration;
    assert_eq!(lines_of(rule, "engine/src/control/target.rs", text), [2]);
    assert_eq!(lines_of(rule, "ffi/src/embedded.rs", text), [2]);
    for path in ["engine/src/config/mod.rs", "engine/tests/x.rs"] {
        assert_eq!(lines_of(rule, path, text), [0; 0], "{path}");
    }
}

#[test]
fn a_dialect_that_names_a_framing_is_found() {
    let text = "fn f(framing: Framing) {\n    matches!(framing, Framing::Poll);\n    \
                Framing::Sse { named: false, .. }\n}\nconst A: usize = Framing::ALL.len();\n\
                #[cfg(test)]\nmod tests {\n    const B: Framing = Framing::Ws;\n}\n";
    let rule = dialects_know_no_framing;
    assert_eq!(lines_of(rule, "protocol/src/dialect/other.rs", text), [2, 3]);
    assert_eq!(lines_of(rule, "engine/src/transport/follow_request.rs", text), [0; 0]);
}
