//! Connections as the API tells of them.

use serde::Serialize;

use crate::inquiry::{DescribedConnection, DescribedSubscription, Findings};

/// One connection.
#[derive(Serialize)]
pub(super) struct DescribedBody<'a> {
    connection: String,
    user: Option<&'a str>,
    transport: &'static str,
    dialect: Option<String>,
    address: Option<String>,
    /// Seconds since 1970.
    since: u64,
    slow: bool,
    waiting_bytes: usize,
    subscriptions: usize,
    /// Fewer than there are subscriptions where the answer would be too long.
    channels: Vec<DescribedChannel<'a>>,
}

#[derive(Serialize)]
struct DescribedChannel<'a> {
    channel: &'a str,
    offset: u64,
    lag: u64,
}

impl<'a> DescribedBody<'a> {
    /// One that was found, when it was `now_s` seconds since 1970.
    pub(super) fn of(found: &'a DescribedConnection, now_s: u64) -> Self {
        let channel = |it: &'a DescribedSubscription| {
            let DescribedSubscription { channel, offset, lag } = it;
            DescribedChannel { channel: &channel.name, offset: *offset, lag: *lag }
        };
        Self {
            connection: found.id.to_string(),
            user: found.user.as_ref().map(|user| user.as_str()),
            transport: found.transport,
            dialect: found.form.map(|form| form.to_string()),
            address: found.address.map(|address| address.to_string()),
            since: now_s.saturating_sub(found.age_ms / 1_000),
            slow: found.is_slow,
            waiting_bytes: found.waiting_bytes,
            subscriptions: found.subscriptions,
            channels: found.channels.iter().map(channel).collect(),
        }
    }
}

/// All connections of a user.
#[derive(Serialize)]
pub(super) struct UserBody<'a> {
    user: &'a str,
    /// How many there are, whether they are all here or not.
    count: usize,
    connections: Vec<DescribedBody<'a>>,
}

impl<'a> UserBody<'a> {
    /// Those that were found.
    pub(super) fn of(user: &'a str, found: &'a Findings, now_s: u64) -> Self {
        let connections = found.described.iter().map(|it| DescribedBody::of(it, now_s));
        Self { user, count: found.connections, connections: connections.collect() }
    }
}

/// How many connections were closed.
#[derive(Serialize)]
pub(super) struct DisconnectedBody {
    pub(super) disconnected: usize,
}

/// How many subscriptions ended, and of how many connections.
#[derive(Serialize)]
pub(super) struct UnsubscribedBody {
    pub(super) connections: usize,
    pub(super) subscriptions: usize,
}

/// A message is on its way to its connection.
#[derive(Serialize)]
pub(super) struct SentBody {
    pub(super) sent: bool,
}
