//! What the node counts: plain atomics that one thread writes and the metrics page reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bodies::Bodies;
use crate::budget::Budget;
use crate::limits::Limits;

/// A number that only its owner changes and that anyone reads. Relaxed: a page of metrics is no
/// snapshot.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Takes `less` away; a gauge never goes below zero.
    pub fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Reads it.
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub struct ShardMetrics {
    /// Gauge: sockets that are open, in whatever state.
    pub connections: Number,
    /// Gauge: WebSocket connections.
    pub websockets: Number,
    /// Gauge: SSE streams.
    pub event_streams: Number,
    /// Gauge: polls that wait.
    pub polls: Number,
    /// Gauge: sessions of clients over many sockets for which no request is held.
    pub detached_sessions: Number,
    /// Gauge: subscriptions of all connections.
    pub subscriptions: Number,
    /// Gauge: channels that the shard keeps a log of.
    pub channels: Number,
    /// Gauge: bytes of rendered pages, whoever holds them.
    pub rendered_bytes: Number,
    /// Gauge: connections that wait for room to render what they are owed.
    pub waiting_for_room: Number,
    /// Connections that were ended for the rendered pages that they held.
    pub holders_closed: Number,
    /// Gauge: bytes of messages in the logs that history keeps no more.
    pub window_bytes: Number,
    /// Rendered pages that were dropped for want of room.
    pub pages_evicted: Number,
    /// Sockets accepted.
    pub accepted: Number,
    /// Sockets turned away because the shard or the peer's address had no room.
    pub turned_away: Number,
    /// Of these, since their address had all the connections that it may have.
    pub address_connections_refused: Number,
    /// Of these, since their address had so many unfinished heads.
    pub address_heads_refused: Number,
    /// Of these, since their address came too often.
    pub address_rate_refused: Number,
    /// Of these, with RST and without a word, because too many were to be told.
    pub refused_silently: Number,
    /// Requests of trusted proxies that do not say readably for whom they are.
    pub forwarded_unreadable: Number,
    /// Connections ended for the want of a right header of the PROXY protocol.
    pub proxy_headers_refused: Number,
    /// Requests answered with a 4xx or 5xx.
    pub requests_refused: Number,
    /// Clients whose token was not good, or that may not do what they asked for.
    pub denied: Number,
    /// WebSockets that we closed for a fault of the client's.
    pub protocol_faults: Number,
    /// Data messages of clients; of the plain dialect's, which has no commands, they are dropped.
    pub client_messages: Number,
    /// Sends that were asked of the kernel.
    pub sends: Number,
    /// Messages handed to the kernel, once for each client.
    pub deliveries: Number,
    /// Bytes handed to the kernel.
    pub sent_bytes: Number,
    /// Gap notices given.
    pub gaps: Number,
    /// Ephemeral messages that clients were too slow for, once for each client.
    pub ephemeral_lost: Number,
    /// Gauge: bytes that clients hold, each for itself.
    pub private_bytes: Number,
    /// Clients that were let go for what they held of these.
    pub private_let_go: Number,
    /// Connections closed as slow.
    pub slow_closed: Number,
    /// Connections that backends closed.
    pub dismissed: Number,
    /// Subscriptions that backends ended.
    pub unsubscribed: Number,
    /// Messages of backends to one connection alone.
    pub direct_messages: Number,
    /// Connections ended because no pong came.
    pub pong_missed: Number,
    /// Gauge: ring entries that wait for this shard. The sequencer's to set: a shard that stands
    /// still cannot say so itself.
    pub ring_lag: Number,
    /// Times that completions did not fit into the driver's queue and had to be asked for.
    pub queue_overflows: Number,
    /// Commands that found the inbox full and were offered again.
    pub inbox_full: Number,
}

/// What the sequencer counts.
#[derive(Debug, Default)]
pub struct SequencerMetrics {
    /// Messages that were given a place.
    pub published: Number,
    /// Their payload bytes.
    pub published_bytes: Number,
    /// Publishes that were refused.
    pub refused: Number,
    /// Those of them that their tenants' rates did not allow.
    pub rate_limited: Number,
    /// Publishes that had their place already, by their idempotency key.
    pub duplicates: Number,
    /// Publishes whose idempotency key was used for another message; refused.
    pub key_conflicts: Number,
    /// Idempotency keys that newer ones pushed out before their age.
    pub keys_pushed_out: Number,
    /// Gauge: idempotency keys that are remembered.
    pub idempotency_keys: Number,
    /// Gauge: channels that were published to and are not forgotten.
    pub channels: Number,
    /// Gauge: channels that clients follow.
    pub followed_channels: Number,
    /// Epochs that began while the node ran.
    pub epochs: Number,
    /// The present epoch's 40 bits.
    pub epoch: Number,
    /// Publishes that were refused for `limits.channels`.
    pub channels_refused: Number,
    /// Subscribes that were refused for `limits.followed_channels`.
    pub followed_refused: Number,
    /// Gauge: subscriptions.
    pub subscriptions: Number,
    /// Gauge: messages in all histories.
    pub history_messages: Number,
    /// Gauge: their bytes, with the packed positions of trimmed ones.
    pub history_bytes: Number,
    /// Channels that were forgotten.
    pub channels_forgotten: Number,
    /// Gauge: the last position.
    pub position: Number,
    /// Times that the ring was full and the sequencer waited.
    pub ring_full: Number,
}

/// What the Unix socket's thread counts.
#[derive(Debug, Default)]
pub struct IngestMetrics {
    /// Gauge: publishers that are connected.
    pub publishers: Number,
    /// Publishers turned away (credentials, room).
    pub turned_away: Number,
    /// Frames that were refused.
    pub refused: Number,
    /// Gauge: publishers that are not read because what waits for the order has no room.
    pub held: Number,
    /// Gauge: sessions without a connection.
    pub sessions: Number,
    /// Sessions that were taken up again.
    pub sessions_resumed: Number,
    /// Sessions that were forgotten before their publishers were done with them.
    pub sessions_forgotten: Number,
}

/// What is counted of key sets that endpoints publish.
#[derive(Debug, Default)]
pub struct KeyMetrics {
    /// Key sets that were fetched.
    pub fetched: Number,
    /// Fetches that failed; the keys that were there stay.
    pub failed: Number,
}

/// What is counted of the configuration's being read again.
#[derive(Debug, Default)]
pub struct ReloadMetrics {
    /// Times that it was taken on.
    pub done: Number,
    /// Times that it was wrong, so that the one before went on.
    pub failed: Number,
}

/// What the TLS of the API counts.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    /// Handshakes that came to nothing: malformed, too slow, too many, or plain HTTP.
    pub handshakes_failed: Number,
    /// Times that a new certificate was taken.
    pub reloads: Number,
    /// Times that changed files were no good pair, and the old one stayed.
    pub reloads_failed: Number,
    /// Gauge: when the certificate ends, in seconds since 1970; 0 without one.
    pub ends_unix_s: Number,
}

/// What may be held, as it is said beside what is held: fixed at start.
#[derive(Debug, Default)]
pub struct Budgets {
    /// Bytes of all histories.
    pub history: Number,
    /// Bytes that clients hold, each for itself.
    pub private: Number,
    /// Bytes of rendered messages and of live windows.
    pub rendered: Number,
    /// Bytes that wait for the order.
    pub in_flight: Number,
    /// Bytes of request bodies.
    pub bodies: Number,
}

impl Budgets {
    /// Those of these limits, where there are so many shards.
    pub fn say(&self, limits: &Limits, shards: usize) {
        self.history.set(limits.history_bytes as u64);
        self.private.set(limits.all_private(shards) as u64);
        self.rendered.set(limits.all_rendered(shards) as u64);
        self.in_flight.set(limits.all_in_flight() as u64);
        self.bodies.set(limits.all_bodies() as u64);
    }
}

/// Every number of one node.
#[derive(Debug, Default)]
pub struct Metrics {
    /// One for each shard.
    pub shards: Vec<ShardMetrics>,
    /// The sequencer's.
    pub sequencer: SequencerMetrics,
    /// The Unix socket's.
    pub ingest: IngestMetrics,
    /// Those of key sets.
    pub keys: KeyMetrics,
    /// Of the configuration's being read again.
    pub reloads: ReloadMetrics,
    /// The API's TLS.
    pub tls: TlsMetrics,
    /// The budget of request bodies, which is its own gauge.
    pub bodies: Arc<Bodies>,
    /// What may be held.
    pub budgets: Budgets,
    /// What waits for the order, which is its own gauge too: see [`crate::in_flight`].
    pub in_flight: Arc<Budget>,
    /// What of it is held out of the reserve.
    pub in_flight_reserve: Arc<Budget>,
}

impl Metrics {
    /// All zeros.
    pub fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| ShardMetrics::default()).collect(), ..Self::default() }
    }
}
