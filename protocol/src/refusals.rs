//! Why a node does not do what it is asked, and the sentences with which a message is refused, for
//! people: what is wrong, why, and what to do.
//!
//! One refusal has one wording, whichever way the message came: the HTTP API, the Unix socket, the
//! command line. Each way puts its own number or word beside it, and in front of it the field that
//! is meant, where it has such.

/// Why what was asked for was not done, though nothing was wrong with how it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Of a publish: there are as many channels as there may be, and each keeps what its rule
    /// promises.
    ChannelLimit,
    /// Of a subscribe: as many channels are followed as may be.
    FollowedLimit,
    /// The idempotency key was used for another message.
    Conflict,
    /// As much as may wait for the log does.
    Busy,
    /// Of a publish: its tenant publishes faster than it may.
    RateLimited,
    /// The log has failed: what was on its way there may stand in it or not, and nothing more will.
    LogFailed,
    /// The node is shutting down.
    ShuttingDown,
}

/// It is no name of a channel ([`crate::names::is_channel_name`]).
pub const BAD_CHANNEL: &str =
    "a channel's name is 1 to 255 bytes of UTF-8 without control characters and without \"*\"";

/// It is no name of an event ([`crate::names::is_event_name`]).
pub const BAD_EVENT: &str = "an event's name is 1 to 255 bytes of UTF-8 without control \
    characters, has no space or \":\" at its ends, does not begin with \"fanfare.\", and is not \
    \"open\" or \"error\", which fire the own handlers of EventSource";

/// It is no idempotency key.
pub const BAD_KEY: &str = "an idempotency key is 1 to 255 bytes long";

/// It is no origin ([`crate::names::origin_number`]).
pub const BAD_EXCEPT: &str = "what is excluded is the \"origin\" that a connection was told in its \
    fanfare.open: sixteen hexadecimal digits";

/// There is nothing in it. An `EventSource` drops an event without data: it would be lost without a
/// word.
pub const EMPTY: &str = "the message is empty: send at least one byte";

/// Another message had its key.
pub const CONFLICT: &str = "the idempotency key was used for another message, so nothing \
    was published: give each message a key of its own";

/// There is no room for another channel.
pub const CHANNEL_LIMIT: &str = "the node keeps as many channels as it may, and each still keeps \
    what its rule promises: publish to an existing channel, wait, or raise the channel limit \
    (limits.channels)";

/// The log does not keep up.
pub const BUSY: &str = "more is published than the node's log takes: publish again in a moment";

/// A tenant publishes faster than it may.
pub const RATE_LIMITED: &str = "more is published in this tenant than its publish_rate and \
    publish_burst allow, so none of this was: publish again in a moment";

/// The log has failed.
pub const LOG_FAILED: &str = "the node's log has failed: whether this message was published is \
    unknown, and nothing more will be until the node is started again";

/// A channel has no room for one more way of calling it.
pub const TOO_MANY_VIEWS: &str = "the channel is asked for under as many different identifiers as \
    it may be (16 at a time): ask for it as the other clients do, with nothing of one client in \
    the identifier";

/// The node ends.
pub const SHUTTING_DOWN: &str = "the node is shutting down: publish again when it is back";

/// It is for more channels than one may be, or for one of them twice.
pub fn bad_channels(most: usize) -> String {
    format!(
        "one message is for 1 to {most} channels, each named once: publish it again to the others, \
         or raise limits.channels_per_message"
    )
}

/// It is longer than one may be.
pub fn too_large(bytes: usize, most: usize) -> String {
    format!(
        "the message has {bytes} bytes and may have {most}: send less in one message, or raise \
         message_bytes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        CHANNEL_NAME_BYTES_MAX, EVENT_NAME_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
        INGEST_TEXT_BYTES_MAX, VIEWS_MAX,
    };

    #[test]
    fn sentences_fit_a_frame_and_say_the_numbers_of_today() {
        let largest = too_large(usize::MAX, usize::MAX);
        let many = bad_channels(usize::MAX);
        let all = [
            BUSY,
            RATE_LIMITED,
            LOG_FAILED,
            BAD_CHANNEL,
            BAD_EVENT,
            BAD_KEY,
            BAD_EXCEPT,
            EMPTY,
            CONFLICT,
            CHANNEL_LIMIT,
            TOO_MANY_VIEWS,
            SHUTTING_DOWN,
        ];
        for text in all.into_iter().chain([&*largest, &*many]) {
            // API and command line put a few words in front.
            assert!(text.len() + 100 < INGEST_TEXT_BYTES_MAX, "{text}");
        }
        let bounds = [
            (BAD_CHANNEL, CHANNEL_NAME_BYTES_MAX),
            (BAD_EVENT, EVENT_NAME_BYTES_MAX),
            (BAD_KEY, IDEMPOTENCY_KEY_BYTES_MAX),
        ];
        assert!(TOO_MANY_VIEWS.contains(&format!("({VIEWS_MAX} at a time)")));
        for (text, most) in bounds {
            assert!(text.contains(&format!("1 to {most} bytes")), "{text}");
        }
    }
}
