//! A WebSocket echo on the engine's own driver, session and WebSocket machine: what conformance
//! suites talk to.
//!
//! Usage: `echo [--listen ADDR] [--driver auto|uring|epoll]`, then connect to
//! `ws://ADDR/ws?channels=echo`. Prints `listening on ADDR`; runs until it is killed.

use std::process::ExitCode;

use fanfare::node::{self, DriverChoice, Settings};
use fanfare_protocol::dialect::machine::{Answer, Machine, Piece, Turn};
use fanfare_protocol::ws::{DataKind, send};

/// Collects the pieces of its client's message and sends it back whole.
#[derive(Default)]
struct Echo {
    begun: Vec<u8>,
}

impl Machine for Echo {
    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn) {
        self.begun.extend_from_slice(piece.bytes);
        if !piece.last {
            return;
        }
        let message = std::mem::take(&mut self.begun);
        match (piece.kind, std::str::from_utf8(&message)) {
            (DataKind::Text, Ok(text)) => send::write_text(text, turn.private()),
            (DataKind::Text, Err(_)) => unreachable!("text was checked as it arrived"),
            (DataKind::Binary, _) => send::write_binary(&message, turn.private()),
        }
    }

    /// It follows what its client's URL says, and asks for nothing itself.
    fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings { api: None, shards: Some(1), ..Settings::on_loopback() };
    settings.limits.ws.message_bytes = 1 << 20;
    settings.limits.ws.fragments = 10_000;
    settings.limits.control_frames_per_s = 10_000;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match (name.as_str(), value.as_str()) {
            ("--listen", address) => {
                settings.listen = address.parse().map_err(|_| format!("bad address {address}"))?;
            }
            ("--driver", "auto") => settings.driver = DriverChoice::Auto,
            ("--driver", "uring") => settings.driver = DriverChoice::Uring,
            ("--driver", "epoll") => settings.driver = DriverChoice::Epoll,
            _ => return Err(format!("unknown argument {name} {value}")),
        }
    }
    Ok(settings)
}

fn main() -> ExitCode {
    let started = settings().and_then(|settings| {
        node::start_with(settings, || Box::new(Echo::default())).map_err(|error| error.to_string())
    });
    match started {
        Ok(running) => {
            println!("listening on {}", running.addresses().listen);
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::from(64)
        }
    }
}
