//! The command line: one file for each command.
//!
//! `fanfare` without a command serves, and so does `fanfare --listen …`: a first argument that is a
//! flag is a flag of `serve`.

mod api_key;
mod arguments;
mod bench;
mod config;
mod doctor;
mod environment;
mod exit;
mod explain;
mod publish;
mod say;
mod serve;
mod serve_flags;
mod tail;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Command, ConfigCommand};
use exit::Failure;

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let code = match run(std::env::args_os().collect()) {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    };
    crate::diagnostics::flush();
    code
}

fn run(words: Vec<OsString>) -> Result<ExitCode, Failure> {
    let (command, matches) = match arguments::parse(words) {
        Ok(parsed) => parsed,
        Err(refusal) => return Ok(refusal.tell()),
    };
    let strangers = environment::misspelled(arguments::command_line);
    if !matches!(command, Command::Serve(_)) {
        strangers.iter().for_each(|stranger| say::say(&format!("warning: {stranger}")));
    }
    match command {
        Command::Serve(arguments) => serve::run(&arguments, &matches, &strangers),
        Command::Publish(arguments) => publish::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Token(arguments) => token::run(&arguments, &matches),
        Command::Doctor(arguments) => doctor::run(&arguments, &matches),
        Command::Config { command: ConfigCommand::Check(arguments) } => {
            config::check(&arguments, &matches)
        }
        Command::Config { command: ConfigCommand::ShowDefault } => config::show_default(),
        Command::Config { command: ConfigCommand::Explain(arguments) } => {
            config::explain(&arguments, &matches)
        }
        Command::Explain(arguments) => explain::run(&arguments, &matches),
        Command::ApiKey(arguments) => api_key::run(&arguments),
    }
}
