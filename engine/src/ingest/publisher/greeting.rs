//! HELLO: what a publisher is told of the node before anything else.

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::Hello;
use fanfare_protocol::ingest::session::Standing;
use fanfare_protocol::ingest::{VERSION, VERSION_WITH_SESSIONS, write};
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::ingest::config::IngestConfig;

/// What HELLO tells, or told.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) limits: IngestLimits,
    /// The epoch: the present one, until it is told.
    pub(super) epoch: Epoch,
    /// The epoch with which the node began.
    life: Epoch,
    /// Whether it has been told.
    is_told: bool,
}

impl Greeting {
    /// As the node is now.
    pub(super) fn of(config: &IngestConfig) -> Self {
        let (epoch, life) = (config.epoch, config.life);
        Self { limits: config.wire(), epoch, life, is_told: false }
    }

    /// Tells it to one without a session.
    pub(super) fn tell(&mut self, out: &mut Vec<u8>) {
        self.write(VERSION, None, out);
    }

    /// Tells it to one that asked for a session: whether that is known, and the number of the last
    /// message that it took.
    pub(super) fn tell_session(
        &mut self,
        known: bool,
        taken: u64,
        limits: SessionLimits,
        out: &mut Vec<u8>,
    ) {
        let standing = Standing { known, taken, limits, life: self.life };
        self.write(VERSION_WITH_SESSIONS, Some(standing), out);
    }

    fn write(&mut self, version: u8, session: Option<Standing>, out: &mut Vec<u8>) {
        self.is_told = true;
        write::hello(&Hello { version, epoch: self.epoch, limits: self.limits, session }, out);
    }

    /// Another epoch has begun; whether the publisher was told of the one before.
    pub(super) fn begin_epoch(&mut self, epoch: Epoch) -> bool {
        if !self.is_told {
            self.epoch = epoch;
        }
        self.is_told
    }
}
