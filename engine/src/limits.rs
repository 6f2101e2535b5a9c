//! What the engine may use: the numbers that configuration sets and every part obeys.

use std::sync::Arc;

use fanfare_protocol::limits::{
    ENVELOPE_BYTES_MAX, HttpLimits, MESSAGE_BYTES_DEFAULT, MESSAGE_CHANNELS_DEFAULT,
    POLL_BYTES_MAX, WsLimits,
};

use crate::admission::rate::Rate;

use crate::channel::Tenant;
use crate::tenancy::TenantLimits;

/// Limits and times of one node. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections on all shards together.
    pub connections: usize,
    /// Connections of one peer address; 0 for no limit.
    pub connections_per_address: usize,
    /// Connections of one peer address whose head is unfinished; 0 for no limit.
    pub heads_per_address: usize,
    /// Connections that begin in a second from one peer address, and requests of one client of a
    /// trusted proxy; 0 for no limit.
    pub handshakes_per_address: u32,
    /// How many of them may come at once.
    pub handshakes_burst: u32,
    /// Whether the four above count loopback peers.
    pub count_loopback: bool,
    /// Connections that all shards together accept in a second; 0 for no limit. Who comes beyond
    /// that waits to be accepted.
    pub handshakes: u32,
    /// Channels that were published to and are not forgotten.
    pub channels: usize,
    /// Channels that are followed, whether they were published to or not.
    pub followed_channels: usize,
    /// Channels that one connection follows.
    pub channels_per_connection: usize,
    /// Channels of one published message, at most
    /// [`fanfare_protocol::limits::MESSAGE_CHANNELS_MAX`].
    pub channels_per_message: usize,
    /// Bytes of one published message.
    pub message_bytes: usize,
    /// Bytes of a body that says what to follow.
    pub subscribe_bytes: usize,
    /// Bytes of all request bodies together that are being read or published, on every listener;
    /// those of the public one may have half.
    pub bodies_bytes: usize,
    /// Messages of one publish batch.
    pub batch_messages: usize,
    /// Idempotency keys that the node remembers, the newest ones; 0 for none. A key takes about
    /// 150 bytes.
    pub idempotency_keys: usize,
    /// How long it remembers one.
    pub idempotency_age_ms: u64,
    /// Bytes of all history together, as [`crate::message::Message::cost`] counts them.
    pub history_bytes: usize,
    /// Entries of the broadcast ring; a power of two.
    pub ring_entries: usize,
    /// Bytes that the broadcast ring may hold.
    pub ring_bytes: usize,
    /// Commands of the sequencer's inbox: those of backends, and as many of clients.
    pub inbox_commands: usize,
    /// Bytes that wait for the order: what publishers have handed over and what has no outcome yet,
    /// and all commands in the inbox. See [`crate::in_flight`].
    pub in_flight_bytes: usize,
    /// Bytes that clients hold, each for itself: heads and bodies that are not whole, names that
    /// were asked for, answers and notices that were not taken. Each shard has its part.
    pub private_bytes: usize,
    /// Bytes of rendered messages, of all shards together; each has its share, and at least as much
    /// as four of the longest messages take.
    pub rendered_bytes: usize,
    /// Request heads.
    pub http: HttpLimits,
    /// Client frames.
    pub ws: WsLimits,
    /// Pings a client may send in a second before it is closed 4529.
    pub control_frames_per_s: u32,
    /// From accept to the end of the head.
    pub head_ms: u64,
    /// From a request that does not say who asks to the token, in milliseconds.
    pub auth_ms: u64,
    /// From the first byte of a client's message to its last.
    pub client_message_ms: u64,
    /// From one WebSocket ping of ours to the next.
    pub ping_ms: u64,
    /// From our ping to the client's pong.
    pub pong_ms: u64,
    /// From one SSE comment to the next on a silent stream.
    pub heartbeat_ms: u64,
    /// What an SSE stream tells as `retry:`.
    pub retry_ms: u64,
    /// A keep-alive connection that asks for nothing.
    pub idle_ms: u64,
    /// Sessions of clients over many sockets that no request is held for, on all shards together:
    /// one more ends at once.
    pub detached_sessions: usize,
    /// How long one is kept.
    pub detached_ms: u64,
    /// A client for which bytes wait and which takes none.
    pub stall_ms: u64,
    /// From a close frame of ours to the end of the socket.
    pub close_ms: u64,
    /// A shard's interest in a channel after its last subscriber.
    pub interest_ms: u64,
    /// A channel that is not published to any more, after the age up to which it keeps messages.
    pub channel_idle_ms: u64,
    /// From the signal to the end.
    pub shutdown_ms: u64,
    /// What tenants may use of all this, those that have limits of their own. Of these the order
    /// obeys `publish_rate`, `publish_burst` and `subscriptions`.
    pub tenants: Arc<[(Tenant, TenantLimits)]>,
    /// Publishers on the Unix socket.
    pub publishers: usize,
    /// A publisher on the Unix socket for which bytes wait and which takes none. It is shorter than
    /// a client's: the publisher is on this machine, and its places are few.
    pub publisher_stall_ms: u64,
    /// Their sessions that are kept without a connection; 0 for none.
    pub publisher_sessions: usize,
    /// How long one is kept.
    pub publisher_session_age_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 64,
            heads_per_address: 100,
            handshakes_per_address: 100,
            handshakes_burst: 500,
            count_loopback: false,
            handshakes: 0,
            channels: 1_000_000,
            followed_channels: 1_000_000,
            channels_per_connection: 1_000,
            channels_per_message: MESSAGE_CHANNELS_DEFAULT,
            message_bytes: MESSAGE_BYTES_DEFAULT,
            subscribe_bytes: 512 << 10,
            bodies_bytes: 64 << 20,
            batch_messages: 1_000,
            idempotency_keys: 100_000,
            idempotency_age_ms: 300_000,
            history_bytes: 256_000_000,
            rendered_bytes: 256_000_000,
            ring_entries: 8_192,
            ring_bytes: 64 << 20,
            inbox_commands: 4_096,
            in_flight_bytes: 128 << 20,
            private_bytes: 128 << 20,
            http: HttpLimits::DEFAULT,
            ws: WsLimits::DEFAULT,
            control_frames_per_s: 32,
            head_ms: 5_000,
            auth_ms: 5_000,
            client_message_ms: 30_000,
            ping_ms: 25_000,
            pong_ms: 10_000,
            heartbeat_ms: 15_000,
            retry_ms: 1_000,
            idle_ms: 75_000,
            detached_sessions: 10_000,
            detached_ms: 30_000,
            stall_ms: 60_000,
            close_ms: 2_000,
            interest_ms: 30_000,
            channel_idle_ms: 86_400_000,
            shutdown_ms: 5_000,
            tenants: Arc::default(),
            publishers: 64,
            publisher_stall_ms: 5_000,
            publisher_sessions: 1_024,
            publisher_session_age_ms: 300_000,
        }
    }
}

/// What a message takes beside its bytes until its outcome was told, at most: its publication, its
/// place in a ledger, the reply. Seen to be true in `ingest/draft.rs`.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 384;
/// What each further channel of a message takes until its outcome was told, at most, its name
/// beside: seen to be true in `ingest/draft.rs`.
pub(crate) const CHANNEL_OVERHEAD_BYTES: usize = 136;
/// What a request to follow takes for each of its channels beside the name, at most. Seen to be
/// true in `sequencer/command.rs`.
pub(crate) const FOLLOW_BYTES: usize = 128;

impl Limits {
    /// How often one address may come.
    pub fn handshake_rate(&self) -> Rate {
        Rate { per_s: self.handshakes_per_address, burst: self.handshakes_burst }
    }

    /// How often one of so many shards accepts. What waits meanwhile waits in the kernel, in the
    /// order in which it came, so a tenth of a second is all that comes at once.
    pub fn accept_rate(&self, shards: usize) -> Rate {
        Rate { per_s: self.handshakes, burst: self.handshakes.div_ceil(10) }.share(shards)
    }

    /// What one of so many shards may render. However little that is, four of the longest messages
    /// have room in it, where they have in all together: or nobody would get them whole.
    pub fn rendered_share(&self, shards: usize) -> usize {
        let longest = 4 * (self.message_bytes.saturating_add(ENVELOPE_BYTES_MAX));
        (self.rendered_bytes / shards).max(longest.min(self.rendered_bytes))
    }

    /// Most bytes of rendered messages and live windows, on so many shards.
    pub fn all_rendered(&self, shards: usize) -> usize {
        self.rendered_share(shards).saturating_mul(shards).max(self.rendered_bytes)
    }

    /// Bytes of the longest frame of a publisher on the socket: a message of the largest size with
    /// its names, or a batch of smaller ones.
    pub(crate) fn publish_frame_bytes(&self) -> usize {
        self.message_bytes.saturating_add(1 << 20)
    }

    /// What one batch takes beside the bytes of its messages, whichever way it comes.
    pub(crate) fn batch_overhead_bytes(&self) -> usize {
        const MESSAGE_BYTES_MIN: usize = 10; // on the socket; JSON takes more
        let messages = self.batch_messages.min(self.publish_frame_bytes() / MESSAGE_BYTES_MIN);
        let further = self.channels_per_message.saturating_sub(1);
        let message = MESSAGE_OVERHEAD_BYTES + further * CHANNEL_OVERHEAD_BYTES;
        messages.saturating_mul(message)
    }

    /// The part of [`Limits::all_in_flight`] that is kept for one publisher on the socket at a
    /// time, who has begun a frame for which there is no room.
    pub fn in_flight_reserve(&self) -> usize {
        self.publish_frame_bytes().saturating_add(self.batch_overhead_bytes())
    }

    /// Most bytes that wait for the order: the largest request has room when it is alone, or it
    /// would be told for ever to try again.
    pub fn all_in_flight(&self) -> usize {
        let request = self.message_bytes.saturating_mul(4);
        let publish = request.saturating_add(self.batch_overhead_bytes());
        let names = self.subscribe_bytes.max(self.http.head_bytes);
        let follow =
            self.channels_per_connection.saturating_mul(FOLLOW_BYTES).saturating_add(names);
        let largest = publish.max(follow);
        self.in_flight_bytes.max(largest.saturating_add(self.in_flight_reserve()))
    }

    /// Most bytes that clients hold, each for itself, on so many shards: on each, some of the
    /// largest requests and answers have room.
    pub fn all_private(&self, shards: usize) -> usize {
        let largest = self.message_bytes.max(self.subscribe_bytes).max(POLL_BYTES_MAX);
        let of_shard = largest.saturating_mul(8);
        self.private_bytes.max(of_shard.saturating_mul(shards))
    }

    /// Most bytes of all request bodies together: one of the largest size has room, compressed and
    /// inflated and escaped, or it would be told for ever to try again.
    pub fn all_bodies(&self) -> usize {
        self.bodies_bytes.max(self.message_bytes.saturating_mul(9))
    }
}
