//! What publishers on the socket may use.

use std::path::PathBuf;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::ChannelReceipt;
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::channel::Tenant;
use crate::limits::Limits;
use crate::tenancy::{PeerId, SocketPeer};

use super::ledger::OUTCOME_BYTES;

/// How long a publisher may let us wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the rest of a frame, from its last bytes on.
    pub(super) frame_ms: u64,
    /// For the reading of replies, from the last bytes that it took.
    pub(super) stall_ms: u64,
}

/// What an outcome takes at most that was not confirmed and is a refusal, with its text.
const REFUSED_BYTES: usize = 256;

/// What the socket is started with.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The socket's file.
    pub path: PathBuf,
    /// Its mode, exactly.
    pub mode: u32,
    /// Peers beside root and our own user, by uid.
    pub users: Vec<u32>,
    /// Whose channels peers write to that are named here; the first that matches counts.
    pub peers: Vec<SocketPeer>,
    /// What the node may use.
    pub limits: Limits,
    /// The node's present epoch, for HELLO.
    pub epoch: Epoch,
    /// The epoch with which the node began, by which publishers know it again.
    pub life: Epoch,
    /// Whose channels all other publishers write to.
    pub tenant: Tenant,
}

/// Who a peer is, as the kernel says: never what it says itself, nor its process, whose number may
/// be another's by the time it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub user: u32,
    /// Its process's own group.
    pub group: u32,
}

impl IngestConfig {
    /// Whose channels this peer writes to; `None` where it may not publish here. `own_user` is the
    /// node's.
    pub fn tenant_of(&self, peer: Peer, own_user: u32) -> Option<&Tenant> {
        let is_meant = |named: &&SocketPeer| match named.who {
            PeerId::User(user) => user == peer.user,
            PeerId::Group(group) => group == peer.group,
        };
        if let Some(named) = self.peers.iter().find(is_meant) {
            return Some(&named.tenant);
        }
        let is_known = peer.user == 0 || peer.user == own_user || self.users.contains(&peer.user);
        is_known.then_some(&self.tenant)
    }

    /// What a publisher may send. The window has room for one batch, so that a batch never waits
    /// for itself.
    pub(super) fn wire(&self) -> IngestLimits {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let batch_messages = number(self.limits.batch_messages.min(self.outcomes_of_one()));
        IngestLimits {
            frame_bytes: number(self.limits.publish_frame_bytes()),
            message_bytes: number(self.limits.message_bytes),
            batch_messages,
            window: batch_messages,
            channels: number(self.limits.channels_per_message),
        }
    }

    /// How many sessions are kept, for how long, and what each may keep.
    pub fn sessions(&self) -> SessionLimits {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let window = self.wire().window;
        SessionLimits {
            // What is under way, and some times as much as lies between two confirmations.
            unconfirmed: window.saturating_mul(8).min(number(self.outcomes_of_one() as u64)),
            sessions: number(self.limits.publisher_sessions as u64),
            age_s: number(self.limits.publisher_session_age_ms / 1_000),
        }
    }

    /// Outcomes that are kept for one publisher that confirms none. Where all let it come to that,
    /// and each message was in as many channels as may be, they have half of what may be in flight:
    /// the API, clients who ask, and whoever has little under way go on.
    fn outcomes_of_one(&self) -> usize {
        let further = self.limits.channels_per_message.saturating_sub(1);
        let answered = OUTCOME_BYTES + further * size_of::<ChannelReceipt>();
        let each = self.limits.all_in_flight() / 2 / self.limits.publishers.max(1);
        (each / answered.max(REFUSED_BYTES)).max(1)
    }

    /// Bytes that sessions without a connection may hold, of those that may be in flight.
    pub fn kept_bytes(&self) -> usize {
        self.limits.all_in_flight() / 4
    }

    /// How long a publisher may let us wait: a frame is to go on as fast as a request head ends.
    pub(super) fn patience(&self) -> Patience {
        Patience { frame_ms: self.limits.head_ms, stall_ms: self.limits.publisher_stall_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> IngestConfig {
        IngestConfig {
            path: PathBuf::new(),
            mode: 0,
            users: Vec::new(),
            peers: Vec::new(),
            limits: Limits::default(),
            epoch: Epoch::from_random(1),
            life: Epoch::from_random(1),
            tenant: Tenant::default(),
        }
    }

    /// D1: a peer has its tenant by its user or its group, in the order of the list, and nobody
    /// else is let in.
    #[test]
    fn a_peer_is_known_by_what_the_kernel_says() {
        let named = |who, tenant| SocketPeer { who, tenant: Tenant::new(tenant) };
        let settings = IngestConfig {
            users: vec![5],
            peers: vec![
                named(PeerId::User(33), "web"),
                named(PeerId::Group(34), "jobs"),
                named(PeerId::User(0), "ops"),
            ],
            ..settings()
        };
        let tenant = |user, group| {
            settings.tenant_of(Peer { user, group }, 1_000).map(|tenant| tenant.as_str().to_owned())
        };
        assert_eq!(tenant(33, 7).as_deref(), Some("web"));
        assert_eq!(tenant(33, 34).as_deref(), Some("web"), "the first that matches");
        assert_eq!(tenant(7, 34).as_deref(), Some("jobs"));
        assert_eq!(tenant(0, 0).as_deref(), Some("ops"), "root too, where it is named");
        assert_eq!(tenant(5, 7).as_deref(), Some("default"));
        assert_eq!(tenant(1_000, 7).as_deref(), Some("default"), "the node's own user");
        for (user, group) in [(34, 33), (7, 0), (7, 5), (u32::MAX, u32::MAX)] {
            assert_eq!(tenant(user, group), None, "{user} {group}");
        }
    }

    /// The protocol's defaults are what `docs/PROTOCOLS.md` shows.
    #[test]
    fn a_server_that_nobody_has_configured_says_what_the_page_shows() {
        let settings = settings();
        assert_eq!(settings.wire(), IngestLimits::DEFAULT);
        assert_eq!(settings.sessions(), SessionLimits::DEFAULT);
    }
}
