//! The simulation's command: `cargo run --release -p fanfare --example fanfare-sim -- --help`.
//!
//! An example, so that nobody who installs or builds the server gets it too.

fn main() -> std::process::ExitCode {
    fanfare::sim::main()
}
