//! Dialects with commands: one client's machine, and what it may do.
//!
//! What a client says goes to its [`Machine`] in pieces, checked and counted. The machine asks for
//! things by its [`Turn`], each under a number, and what became of each comes back under that
//! number. Whatever it writes goes to this client before anything that is shared. It owns no
//! socket, reads no clock and waits for nobody: whoever runs it makes the turns.
//!
//! Clients that only listen have no machine, and what they say is dropped. Machines are boxed and
//! called once for each piece of a client and each answer, never for a delivery: so calls of theirs
//! may be virtual.

use std::sync::Arc;

use super::UnsubscribedView;
use crate::framing::Framing;
use crate::id::{Id, LifeId};
use crate::message::{GapView, Published};
use crate::refusals::Refusal;
use crate::since::Since;
use crate::ws::{CloseCode, DataKind};

/// One client's commands.
pub trait Machine {
    /// The client begins, and requests on other sockets name it by this, which nobody guesses. Only
    /// where many sockets bring one client; what is written now is the first that it is told.
    fn begin(&mut self, _session: &str, _turn: &mut dyn Turn) {}

    /// Something carries the client in another framing from now on ([`Turn::framing`]), and what
    /// was written for it in the framing `before` waits still: `unsent`, frame by frame, with
    /// notices of gaps between them. It is to be written anew. Only where a client comes over many
    /// sockets, and unless a machine knows how, such a client has to begin anew.
    fn reframe(&mut self, _before: Framing, _unsent: &[u8], turn: &mut dyn Turn) {
        turn.close(CloseCode::INTERNAL, "what was to be said cannot be said this way");
    }

    /// A piece of a message of the client; an empty message is one empty piece.
    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn);

    /// What became of a request. Each that was asked gets one answer, in no particular order.
    /// Request 0 is the one that the client began with, where that follows channels: its answer
    /// comes before anything that the client says.
    fn answer(&mut self, request: u32, answer: Answer<'_>, turn: &mut dyn Turn);

    /// A backend has ended the client's subscription to this channel, or its request for it, and
    /// nothing more of it is sent. What the codec says of that ([`super::Codec::unsubscribed`]) is
    /// written before what is written here.
    fn unsubscribed(&mut self, _notice: &UnsubscribedView<'_>, _turn: &mut dyn Turn) {}

    /// The client was sent everything that was published before this request was answered, of all
    /// that it follows: it has caught up with where it began. Told where [`Turn::tell_caught_up`]
    /// asked for it.
    fn caught_up(&mut self, _request: u32, _turn: &mut dyn Turn) {}
}

/// Makes the machine of each WebSocket client that begins. It runs on a shard's thread and must not
/// wait.
pub type Machines = Arc<dyn Fn() -> Box<dyn Machine> + Send + Sync>;

/// A piece of a client's message.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the whole message is.
    pub kind: DataKind,
    /// Whether it is the message's last piece.
    pub last: bool,
    /// Its bytes; of text checked as UTF-8, though a piece may end inside a code point.
    pub bytes: &'a [u8],
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// These are followed from this place on, in the order in which they were asked for; but for
    /// those that were left meanwhile. What the machine writes now goes out before the first
    /// message of them.
    Following {
        /// Where delivery begins: who has nothing since then comes back with this.
        begin: Id,
        /// Each of them.
        channels: &'a [Followed<'a>],
    },
    /// It has its place.
    Published(Published),
    /// The node did not do it.
    Refused(Refusal),
    /// It follows none of these: one of them has as many views as a channel may have. For people:
    /// [`crate::refusals::TOO_MANY_VIEWS`].
    TooManyViews,
}

/// A channel that is to be followed.
#[derive(Clone, Copy, Debug)]
pub struct ChannelToFollow<'a> {
    /// Its name.
    pub channel: &'a str,
    /// Where to begin.
    pub since: Since,
    /// What each of its frames says beside the message, where the dialect's codec says that: see
    /// [`super::Codec`].
    pub view: Option<&'a str>,
}

impl<'a> ChannelToFollow<'a> {
    /// By no view.
    pub fn of(channel: &'a str, since: Since) -> Self {
        Self { channel, since, view: None }
    }
}

/// A channel that is followed.
#[derive(Clone, Copy, Debug)]
pub struct Followed<'a> {
    /// Its name.
    pub channel: &'a str,
    /// The offset of the first message that comes, or would if there were one.
    pub next: u64,
    /// The last offset that was assigned; 0 where none was.
    pub last: u64,
    /// The life to which offsets belong: who comes back with it and the last offset that it had
    /// ([`Since::Offset`]) gets what followed, or is told what it missed. A life that ends while
    /// its channel is followed is told to nobody: offsets begin again with 1, and who comes back
    /// with one of those hears that nothing is known.
    pub life: LifeId,
    /// What the client missed and will not get: nobody tells it but the machine.
    pub gap: Option<GapView<'a>>,
}

/// Why a request was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// As many are under way as may be.
    TooManyRequests,
    /// A connection follows no more channels than that.
    TooManyChannels,
    /// One of these is followed already, or was asked for.
    AlreadyFollowed,
    /// A name that no channel has.
    BadChannel,
    /// What no view is ([`crate::names::is_view`]).
    BadView,
    /// Whoever the client is may not do that. Which rule says so is in the log.
    Forbidden,
    /// Longer than a message may be, in one of its forms at least.
    MessageTooLong,
    /// There is no room for it now: a moment later there may be.
    Busy,
}

/// What a machine may do while it is called.
pub trait Turn {
    /// In what frames are carried that are written now.
    fn framing(&self) -> Framing;

    /// Where whole frames for this client alone are written, each behind what separates it from the
    /// one before ([`Framing::separator`]), also the first.
    fn private(&mut self) -> &mut Vec<u8>;

    /// Follows these channels, all of them or none, each from there. Returns the request's number.
    ///
    /// # Errors
    /// Nothing was asked, for this reason.
    fn follow(&mut self, channels: &[ChannelToFollow<'_>]) -> Result<u32, Unasked>;

    /// Follows this channel no more, from now on: nothing more of it is sent, and what was asked
    /// for it and not answered comes to nothing. Whether it was followed or asked for.
    fn unfollow(&mut self, channel: &str) -> bool;

    /// Publishes to a channel. Returns the request's number.
    ///
    /// # Errors
    /// Nothing was asked, for this reason.
    fn publish(&mut self, channel: &str, data: &[u8]) -> Result<u32, Unasked>;

    /// In the answer to a request to follow: asks for [`Machine::caught_up`].
    fn tell_caught_up(&mut self);

    /// For a machine that hears a WebSocket which has come for a client of other requests: the
    /// socket takes that client over. What it says from the next message on is heard by the
    /// client's own machine. Anywhere else it does nothing.
    fn take_over(&mut self);

    /// Closes the connection when what was written is sent. What the client says afterwards is
    /// dropped.
    fn close(&mut self, code: CloseCode, reason: &'static str);
}
