//! Results of calls and of messages, as numbers: 0 is success, the others are negative.
//!
//! Those that have an errno with that meaning are minus its number on Linux. What a server refuses
//! is minus its refusal code (`docs/PROTOCOLS.md`), those that come later included. A number that
//! was given out once keeps its meaning for good.

use fanfare::sequencer::command::Refusal;
use fanfare_protocol::ingest::RefusalCode;

/// A result.
pub type Code = i32;

/// Done.
pub const FANFARE_OK: Code = 0;
/// The handle is none: it was closed, or never opened, or is not this library's.
pub const FANFARE_E_BADF: Code = -9;
/// Not now: the queue is full, or the call was made from inside of a callback. Nothing was queued.
pub const FANFARE_E_AGAIN: Code = -11;
/// An argument cannot be: a null or misaligned pointer, a size that is none, a URL that cannot be
/// read. Nothing was touched.
pub const FANFARE_E_INVAL: Code = -22;
/// There are as many open handles as there may be.
pub const FANFARE_E_MFILE: Code = -24;
/// The publisher was closed, or its node has ended. The message was not published.
pub const FANFARE_E_PIPE: Code = -32;
/// The time given to the call is over. The message was queued and is still on its way.
pub const FANFARE_E_TIMEOUT: Code = -110;
/// The library does not speak the version of the header that the program was compiled with, or the
/// server does not speak the library's.
pub const FANFARE_E_VERSION: Code = -70;
/// The process was forked after the handle was opened: open another one in the child.
pub const FANFARE_E_FORKED: Code = -71;
/// The configuration of an embedded node has problems.
pub const FANFARE_E_CONFIG: Code = -78;
/// What is needed is not there now: an address is taken, the machine lacks threads, memory or
/// descriptors.
pub const FANFARE_E_UNAVAILABLE: Code = -69;
/// Nobody knows what became of the message: it may be published or not.
pub const FANFARE_E_UNKNOWN: Code = -75;
/// A panic in the library, which is a bug in it, or in a callback. The handle is of no use any
/// more but to be closed.
pub const FANFARE_E_PANIC: Code = -99;

/// Refused: this publisher may not publish there.
pub const FANFARE_E_FORBIDDEN: Code = -403;
/// Refused: the idempotency key was used for another message.
pub const FANFARE_E_CONFLICT: Code = -409;
/// Refused: the message is longer than one may be.
pub const FANFARE_E_TOO_LARGE: Code = -413;
/// Refused: too many messages, try again later.
pub const FANFARE_E_RATE_LIMITED: Code = -429;
/// Refused: the channel's name is not one.
pub const FANFARE_E_BAD_CHANNEL: Code = -460;
/// Refused: the event's name is not one.
pub const FANFARE_E_BAD_EVENT: Code = -461;
/// Refused: the idempotency key is empty or longer than 255 bytes.
pub const FANFARE_E_BAD_KEY: Code = -462;
/// Refused: the data is empty, or not what its kind says.
pub const FANFARE_E_BAD_DATA: Code = -463;
/// Refused: what is excluded is not the origin of a connection.
pub const FANFARE_E_BAD_EXCEPT: Code = -465;
/// Refused: the message is for more channels than one may be, or for one of them twice.
pub const FANFARE_E_BAD_CHANNELS: Code = -466;
/// Refused: the node keeps as many channels as it may, try again later.
pub const FANFARE_E_CHANNEL_LIMIT: Code = -507;

/// The result that stands for a refusal of a server.
pub(crate) fn of_refusal(code: RefusalCode) -> Code {
    -Code::from(code.0)
}

/// The result that stands for a refusal of a node in this process.
pub(crate) fn of_own_refusal(refusal: Refusal) -> Code {
    match refusal {
        Refusal::ChannelLimit => FANFARE_E_CHANNEL_LIMIT,
        Refusal::Conflict => FANFARE_E_CONFLICT,
        Refusal::Busy | Refusal::RateLimited => FANFARE_E_RATE_LIMITED,
        Refusal::LogFailed => FANFARE_E_UNKNOWN,
        Refusal::ShuttingDown => FANFARE_E_PIPE,
        Refusal::FollowedLimit => unreachable!("a publisher follows nothing"),
    }
}

/// Every result that this version gives by itself, with a text for people.
const TEXTS: &[(Code, &std::ffi::CStr)] = &[
    (FANFARE_OK, c"done"),
    (FANFARE_E_BADF, c"the handle is not open: it was closed, or never was one"),
    (FANFARE_E_AGAIN, c"not now, nothing was queued: the queue is full, or this is a callback"),
    (FANFARE_E_INVAL, c"an argument is null, misaligned, too long or malformed"),
    (FANFARE_E_MFILE, c"too many handles are open: close one"),
    (FANFARE_E_PIPE, c"the publisher is closed, or its node has ended; nothing was published"),
    (FANFARE_E_TIMEOUT, c"the time is over; what was queued is still on its way"),
    (
        FANFARE_E_VERSION,
        c"the header or the server is of another version than the library: update what is older",
    ),
    (FANFARE_E_FORKED, c"the process was forked: open a handle in the child"),
    (FANFARE_E_CONFIG, c"the configuration has problems; error_text of the options names them"),
    (FANFARE_E_UNAVAILABLE, c"the server or something of this machine is not there now"),
    (FANFARE_E_UNKNOWN, c"nobody knows whether the message was published"),
    (FANFARE_E_PANIC, c"a bug in the library or in a callback; close the handle and report it"),
    (FANFARE_E_FORBIDDEN, c"refused: this user may not publish there"),
    (FANFARE_E_CONFLICT, c"refused: the idempotency key was used for another message"),
    (
        FANFARE_E_TOO_LARGE,
        c"refused: the message, or its longest form for clients, is longer than the server allows",
    ),
    (FANFARE_E_RATE_LIMITED, c"refused: too many messages; try again later"),
    (FANFARE_E_BAD_CHANNEL, c"refused: a channel has 1 to 255 bytes of UTF-8 without `*`"),
    (FANFARE_E_BAD_EVENT, c"refused: not the name of an event, or one that begins with fanfare."),
    (FANFARE_E_BAD_KEY, c"refused: an idempotency key has 1 to 255 bytes"),
    (
        FANFARE_E_BAD_DATA,
        c"refused: the data is empty, or not what its kind says: JSON is what common parsers read",
    ),
    (FANFARE_E_BAD_EXCEPT, c"refused: an origin has sixteen hexadecimal digits"),
    (FANFARE_E_BAD_CHANNELS, c"refused: too many channels for one message, or one of them twice"),
    (FANFARE_E_CHANNEL_LIMIT, c"refused: the node keeps as many channels as it may"),
];

/// A text for people; lives as long as the library.
pub fn text(code: Code) -> &'static std::ffi::CStr {
    match TEXTS.iter().find(|(known, _)| *known == code) {
        Some((_, text)) => text,
        None if (-499..=-400).contains(&code) => c"refused: do not send it again unchanged",
        None if (-599..=-500).contains(&code) => c"refused for now: send it again later",
        None => c"a result that this version of the library does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_a_number_and_a_text_of_its_own() {
        for (nth, (code, text)) in TEXTS.iter().enumerate() {
            assert!(*code <= 0);
            assert!(TEXTS[..nth].iter().all(|(other, said)| other != code && said != text));
            assert_eq!(super::text(*code), *text);
        }
        assert_eq!(text(-499), c"refused: do not send it again unchanged");
        assert_eq!(text(-501), c"refused for now: send it again later");
        assert!(text(7).to_str().unwrap().contains("does not know"));
    }

    #[test]
    fn refusals_keep_their_numbers() {
        assert_eq!(of_refusal(RefusalCode::CONFLICT), FANFARE_E_CONFLICT);
        assert_eq!(of_refusal(RefusalCode::CHANNEL_LIMIT), FANFARE_E_CHANNEL_LIMIT);
        assert_eq!(of_own_refusal(Refusal::Conflict), FANFARE_E_CONFLICT);
        assert_eq!(of_refusal(RefusalCode(499)), -499);
    }
}
