//! Dialects: what clients speak. A dialect makes envelopes and knows no framing; a
//! [`Framing`] carries them and knows no dialect. Both together are an *encoding*.
//!
//! Whatever a dialect says to all who follow a channel, its [`Codec`] renders once for each
//! encoding in use. A codec must not read the state of a connection: that is what lets all clients
//! of an encoding share its bytes, and it is the admission test for a dialect.
//!
//! What clients of a dialect with commands say is heard by a [`machine`], one for each client.
//!
//! A dialect is a folder here, a variant of [`Form`] for each form of its envelopes, and nothing
//! elsewhere: [`Encoding::ALL`] follows from those.

use std::fmt;

use crate::framing::Framing;
use crate::id::Id;
use crate::message::{GapView, Kind, MessageView, PresenceView};
use crate::ws::CloseCode;

#[cfg(test)]
mod golden;
pub mod json;
pub mod machine;
pub mod plain;
#[cfg(test)]
mod tests;
#[cfg(feature = "test-dialect")]
pub mod witness;

/// Renders what is shared, in one form of a dialect.
///
/// Some protocols repeat in each frame what the client called the channel when it asked for it.
/// That is no state of a connection either, but a *view* of the channel: it comes with what is to
/// be rendered ([`MessageView::view`]), and everyone who asked for the same one shares the bytes. A
/// channel has few ([`crate::limits::VIEWS_MAX`]), and each makes its frames longer than those by
/// which messages are judged ([`longest_bytes`]): by no more than twice its own length and its
/// name, for which the clients of such a dialect need room.
pub trait Codec: Copy {
    /// Appends `message` complete, as everyone who follows its channel gets it.
    fn message(self, message: &MessageView<'_>, framing: Framing, out: &mut Vec<u8>);

    /// Whether it says who comes and goes. Where it does not, presence events pass in silence.
    fn tells_presence(self) -> bool {
        false
    }

    /// Appends a presence event complete, as everyone who follows its channel gets it; nothing
    /// where it tells none.
    fn presence(self, _event: &PresenceView<'_>, _framing: Framing, _out: &mut Vec<u8>) {}

    /// Appends the notice that messages of a channel are missing.
    fn gap(self, gap: &GapView<'_>, framing: Framing, out: &mut Vec<u8>);

    /// Appends what a stream begins with, after any gap notices: where delivery begins, so that a
    /// client that has received nothing can resume, and how long to wait before connecting again.
    fn open(self, opening: &Opening, framing: Framing, out: &mut Vec<u8>);

    /// Appends what the client is told of its token; nothing where a dialect has no word for that.
    fn token(self, _notice: TokenNotice, _framing: Framing, _out: &mut Vec<u8>) {}

    /// Appends the farewell of a stream: why, and when to come back.
    fn close(self, reason: CloseReason<'_>, retry_ms: u64, framing: Framing, out: &mut Vec<u8>);

    /// Appends the notice that a backend has ended a subscription; nothing where the dialect's
    /// machine says it ([`machine::Machine::unsubscribed`]).
    fn unsubscribed(self, _notice: &UnsubscribedView<'_>, _framing: Framing, _out: &mut Vec<u8>) {}

    /// Appends a message of a backend to this client alone.
    fn direct(self, message: &DirectView<'_>, framing: Framing, out: &mut Vec<u8>);
}

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Where delivery begins.
    pub id: Id,
    /// What the connection is called by those who publish, where it asked to be told.
    pub origin: Option<u64>,
    /// How long to wait before connecting again.
    pub retry_ms: u64,
}

/// Why a stream ends by our will. But for the last each is over in a while, so a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason<'a> {
    /// The client fell out of the live window.
    Slow,
    /// The node is shutting down.
    Restart,
    /// There is no room for one more: of connections or commands.
    Full,
    /// As many channels are followed as may be.
    FollowedLimit,
    /// A backend ends it, and says why; the code says whether a client comes back.
    Dismissed {
        /// As in [`CloseCode`].
        code: CloseCode,
        /// For people, or for pages that know it.
        reason: &'a str,
    },
}

/// What a client is told of its token while its connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenNotice {
    /// The connection ends in so many seconds, unless the client brings a new token.
    Expiring(u64),
    /// The new token is good; for so many seconds, if it ends at all.
    Refreshed(Option<u64>),
    /// Whether the new token is good cannot be said now: the client brings it again.
    TryAgain,
}

/// A subscription that a backend has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubscribedView<'a> {
    /// The channel's name, without its tenant.
    pub channel: &'a str,
    /// The view by which the client read it.
    pub view: Option<&'a str>,
    /// Whether the client may ask for it again: as in [`CloseCode`].
    pub code: CloseCode,
    /// For people, or for pages that know it.
    pub reason: &'a str,
}

/// A message of a backend to one client: of no channel, kept by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectView<'a> {
    /// The backend's name for the kind of event.
    pub event: Option<&'a str>,
    /// What `data` is.
    pub kind: Kind,
    /// The backend's bytes.
    pub data: &'a [u8],
}

/// A dialect in one form of its envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// What a bare `WebSocket`, `EventSource` or `fetch` gets.
    Plain(plain::Form),
    /// What tests of presence get.
    #[cfg(feature = "test-dialect")]
    Witness(witness::Form),
}

impl Form {
    const ALL: &[Self] = &[
        Self::Plain(plain::Form::Raw),
        Self::Plain(plain::Form::Json),
        #[cfg(feature = "test-dialect")]
        Self::Witness(witness::Form),
    ];

    /// Whether such envelopes can be carried so.
    const fn goes_over(self, framing: Framing) -> bool {
        match self {
            Self::Plain(form) => form.goes_over(framing),
            #[cfg(feature = "test-dialect")]
            Self::Witness(form) => form.goes_over(framing),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain::Form::Raw) => f.write_str("plain-raw"),
            Self::Plain(plain::Form::Json) => f.write_str("plain-json"),
            #[cfg(feature = "test-dialect")]
            Self::Witness(_) => f.write_str("witness"),
        }
    }
}

/// A form of a dialect in a framing: messages are rendered once for all clients that take it. A
/// number, so that it is small where there are many and quickly compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding(u8);

/// Every form in every framing that it goes over, each at the index of its number.
static REGISTERED: [(Form, Framing); Encoding::COUNT] = {
    let mut all = [(Form::ALL[0], Framing::ALL[0]); Encoding::COUNT];
    let (mut nth, mut at) = (0, 0);
    while nth < PAIRS {
        let (form, framing) = pair(nth);
        if form.goes_over(framing) {
            all[at] = (form, framing);
            at += 1;
        }
        nth += 1;
    }
    all
};

const PAIRS: usize = Form::ALL.len() * Framing::ALL.len();

const fn pair(nth: usize) -> (Form, Framing) {
    (Form::ALL[nth / Framing::ALL.len()], Framing::ALL[nth % Framing::ALL.len()])
}

impl Encoding {
    /// How many there are.
    pub const COUNT: usize = {
        let (mut nth, mut count) = (0, 0);
        while nth < PAIRS {
            let (form, framing) = pair(nth);
            count += form.goes_over(framing) as usize;
            nth += 1;
        }
        assert!(count <= u8::MAX as usize, "an encoding is a byte");
        count
    };

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self(0); Self::COUNT];
        let mut nth = 0;
        while nth < Self::COUNT {
            all[nth] = Self(nth as u8);
            nth += 1;
        }
        all
    };

    /// That of `form` in `framing`; `None` where such envelopes cannot be carried so.
    pub fn of(form: Form, framing: Framing) -> Option<Self> {
        let nth = REGISTERED.iter().position(|pair| *pair == (form, framing))?;
        Some(Self(nth as u8))
    }

    /// The form of its envelopes.
    pub fn form(self) -> Form {
        REGISTERED[usize::from(self.0)].0
    }

    /// How they are carried.
    pub fn framing(self) -> Framing {
        REGISTERED[usize::from(self.0)].1
    }

    /// [`Codec::message`] in this encoding.
    pub fn message(self, message: &MessageView<'_>, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.message(message, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.message(message, self.framing(), out),
        }
    }

    /// [`Codec::tells_presence`] of this encoding.
    pub fn tells_presence(self) -> bool {
        match self.form() {
            Form::Plain(form) => form.tells_presence(),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.tells_presence(),
        }
    }

    /// [`Codec::presence`] in this encoding.
    pub fn presence(self, event: &PresenceView<'_>, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.presence(event, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.presence(event, self.framing(), out),
        }
    }

    /// [`Codec::gap`] in this encoding.
    pub fn gap(self, gap: &GapView<'_>, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.gap(gap, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.gap(gap, self.framing(), out),
        }
    }

    /// [`Codec::open`] in this encoding. A poll has no such beginning: its answer says where the
    /// next one goes on.
    pub fn open(self, opening: &Opening, out: &mut Vec<u8>) {
        if !self.framing().is_stream() {
            return;
        }
        match self.form() {
            Form::Plain(form) => form.open(opening, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.open(opening, self.framing(), out),
        }
    }

    /// [`Codec::unsubscribed`] in this encoding.
    pub fn unsubscribed(self, notice: &UnsubscribedView<'_>, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.unsubscribed(notice, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.unsubscribed(notice, self.framing(), out),
        }
    }

    /// [`Codec::direct`] in this encoding.
    pub fn direct(self, message: &DirectView<'_>, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.direct(message, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.direct(message, self.framing(), out),
        }
    }

    /// [`Codec::token`] in this encoding.
    pub fn token(self, notice: TokenNotice, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.token(notice, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.token(notice, self.framing(), out),
        }
    }

    /// [`Codec::close`] in this encoding, and the end of what was carried.
    pub fn close(self, reason: CloseReason<'_>, retry_ms: u64, out: &mut Vec<u8>) {
        match self.form() {
            Form::Plain(form) => form.close(reason, retry_ms, self.framing(), out),
            #[cfg(feature = "test-dialect")]
            Form::Witness(form) => form.close(reason, retry_ms, self.framing(), out),
        }
        self.framing().end(out);
    }
}

/// Length of the longest encoding of such a message, whatever place it is given: never less than
/// what [`Encoding::message`] appends, and hardly more than the longest of them.
pub fn longest_bytes(channel: &str, event: Option<&str>, kind: Kind, data: &[u8]) -> usize {
    plain::longest_bytes(channel, event, kind, data)
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.form(), self.framing())
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
