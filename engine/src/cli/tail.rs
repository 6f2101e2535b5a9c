//! `fanfare tail`: follows channels over SSE, a payload per line, through every reconnect.
//!
//! One channel is followed in the raw format, so that what is printed is what was published; but a
//! message is one line, and says nothing to a terminal that shows it: line breaks and other control
//! characters are printed as escapes. Several are followed as JSON, whose envelopes say which
//! channel it was; the payload is cut out of the text of the envelope, never parsed and written
//! again.

mod line;
mod stream;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use fanfare_protocol::sse;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::arguments::Tail;
use super::exit::{self, Failure};
use super::say::say;
use stream::{Stream, StreamEnd};

/// Longest wait between two attempts.
const BACKOFF_MS_MAX: u64 = 30_000;
/// The wait where no server has said `retry:` yet.
const RETRY_MS: u64 = 1_000;

/// Follows until a signal, a reader that has seen enough, or a refusal that is final.
pub(super) fn run(arguments: &Tail) -> Result<ExitCode, Failure> {
    end_with_zero_on_signals()?;
    let stream = Stream::new(arguments)?;
    let mut tail = Follower { json: arguments.json, single: arguments.channels.len() == 1 };
    let mut backoff = Backoff { retry_ms: RETRY_MS, failures: 0 };
    let mut last_id = String::new();
    let mut was_open = false;
    loop {
        let end = stream.follow(&mut last_id, &mut |seen| match seen {
            stream::Seen::Open => {
                if was_open {
                    say("connected again");
                }
                was_open = true;
                Ok(())
            }
            stream::Seen::Alive { retry_ms } => {
                backoff.retry_ms = retry_ms.unwrap_or(backoff.retry_ms);
                backoff.failures = 0;
                Ok(())
            }
            stream::Seen::Event(event) => tail.print(event),
        });
        match end {
            StreamEnd::Output(error) => {
                return exit::output(&error).map(|()| ExitCode::SUCCESS);
            }
            StreamEnd::Done => return Ok(ExitCode::SUCCESS),
            StreamEnd::Final(failure) => return Err(failure),
            // At the very first attempt nobody knows whether there is a server at all.
            StreamEnd::Unreachable(what) if !was_open => return Err(no_server(&stream, &what)),
            StreamEnd::Unreachable(what) | StreamEnd::Lost(what) => {
                let wait = backoff.next();
                say(&format!("{what}; connecting again in {:.1} s", wait.as_secs_f64()));
                thread::sleep(wait);
            }
        }
    }
}

fn no_server(stream: &Stream, what: &str) -> Failure {
    let base = stream.base();
    Failure::new(
        exit::UNAVAILABLE,
        format!(
            "no Fanfare answers at {base} ({what}): start one with `fanfare`, or say where it is \
             with --url or FANFARE_URL"
        ),
    )
}

/// Every line is flushed as it is printed, so there is nothing to do at the end but to end.
fn end_with_zero_on_signals() -> Result<(), Failure> {
    let always = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        let code = if signal == SIGINT { 0 } else { 128 + signal };
        signal_hook::flag::register_conditional_shutdown(signal, code, always.clone())
            .map_err(|error| format!("cannot watch signals: {error}"))
            .map_err(|what| Failure::new(exit::UNAVAILABLE, what))?;
    }
    Ok(())
}

/// Prints what comes.
struct Follower {
    json: bool,
    single: bool,
}

impl Follower {
    fn print(&mut self, event: &sse::Event) -> io::Result<()> {
        if event.event == line::GAP {
            say(&line::printable(&line::gap(&event.data)));
            return Ok(());
        }
        // Our own events but for the gap say nothing about messages.
        if event.event.starts_with("fanfare.") {
            return Ok(());
        }
        let text = match (self.json, self.single) {
            (true, _) => line::one_line(&event.data),
            (false, true) => line::raw(&event.data),
            (false, false) => line::payload(&event.data),
        };
        let mut bytes = line::printable(&text);
        bytes.push('\n');
        let mut out = io::stdout().lock();
        out.write_all(bytes.as_bytes())?;
        out.flush()
    }
}

/// How long to wait before the next attempt: what the server says, doubled with each attempt that
/// brought nothing.
struct Backoff {
    retry_ms: u64,
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let doubled = self.retry_ms.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter less, so that many who lost one server do not come back as one.
        let whole = doubled.clamp(1, BACKOFF_MS_MAX.max(self.retry_ms));
        let random = getrandom::u32().unwrap_or(0);
        Duration::from_millis(whole - whole / 4 * u64::from(random % 256) / 256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_at_half_a_minute() {
        let mut backoff = Backoff { retry_ms: 1_000, failures: 0 };
        for most in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let wait = backoff.next().as_millis();
            assert!((most * 3 / 4..=most).contains(&wait), "{wait} for {most}");
        }
        let mut patient = Backoff { retry_ms: 120_000, failures: 9 };
        assert!(patient.next().as_millis() >= 90_000, "the server asked for more than our most");
    }
}
