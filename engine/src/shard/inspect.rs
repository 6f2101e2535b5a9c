//! What must be true of a shard between ticks, and what it has still to do: for the simulation and
//! for tests. It walks over everything.

use super::Shard;
use super::connection::Phase;
use super::messages::ClientMessages;
use crate::driver::{Driver, Event, Token};

impl<D: Driver, M: ClientMessages> Shard<D, M> {
    /// Whether nothing is left to do for anyone, as far as can be seen from within.
    pub fn is_quiet(&self) -> bool {
        !self.sessions.has_work() && self.sessions.commands.is_empty() && self.ring.waiting() == 0
    }

    /// Why it is not quiet.
    pub fn unrest(&self) -> String {
        let sessions = &self.sessions;
        format!(
            "queue {} sweeps {} commands {} reading {} ring {} events {}",
            sessions.queue.len(),
            sessions.fanout.has_work(),
            sessions.commands.len(),
            sessions.reading.len(),
            self.ring.waiting(),
            self.events.len(),
        )
    }

    /// A connection as its fields are, for whoever reads a failed run.
    pub fn describe(&self, token: Token) -> String {
        format!("{:?}", self.sessions.table.at(token.index))
    }

    /// Sockets that the driver has given it and that it has not closed.
    pub fn sockets(&self) -> usize {
        let accepted = |event: &&Event| matches!(event, Event::Accepted { .. });
        self.sessions.table.len() + self.events.iter().filter(accepted).count()
    }

    /// Panics where any structure contradicts itself or another.
    pub fn invariants(&self) {
        let (sessions, metrics) = (&self.sessions, self.sessions.metrics());
        assert!(sessions.closes.is_empty(), "closes were told");
        assert_eq!(metrics.connections.read(), sessions.table.len() as u64);
        for (_, connection) in sessions.table.iter() {
            let private = connection.outbox.as_ref().map_or(0, |outbox| outbox.memory());
            let stream = connection.phase == Phase::Open;
            let asks = connection.ask.is_some() || connection.poll.is_some();
            assert!(!stream || !asks, "a stream keeps nothing of its request");
            assert!(
                connection.outbox.as_ref().is_none_or(|outbox| !outbox.is_empty()),
                "an outbox goes when it is empty"
            );
            assert!(!stream || private <= 40 << 10, "{private} private bytes of one connection");
        }
        let members = sessions.table.iter();
        let members = members.map(|(index, connection)| (index, &connection.subscriptions));
        sessions.fanout.invariants(members);
        sessions.wheel.invariants(&sessions.table);
        let most = 2 * self.driver.capacity() + 64;
        assert!(sessions.commands.len() <= most, "{} commands", sessions.commands.len());
    }

    /// Panics where anything is left of any client.
    pub fn assert_empty(&self) {
        let (sessions, metrics) = (&self.sessions, self.sessions.metrics());
        assert!(sessions.table.is_empty() && sessions.commands.is_empty());
        assert_eq!(sessions.fanout.channels(), 0, "interests have ended");
        for gauge in [
            &metrics.connections,
            &metrics.websockets,
            &metrics.event_streams,
            &metrics.polls,
            &metrics.subscriptions,
            &metrics.channels,
            &metrics.log_bytes,
        ] {
            assert_eq!(gauge.read(), 0, "{metrics:?}");
        }
    }
}
