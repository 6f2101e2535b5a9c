//! Gives the shared library the name under which programs ask for it: `libfanfare.so.0`, whose
//! number is that of the ABI's generation, not of the release.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfanfare.so.0");
}
