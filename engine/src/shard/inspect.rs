//! What must be true of a shard between ticks, and what it has still to do: for the simulation and
//! for tests. It walks over everything.

use super::Shard;
use super::connection::{Connection, Listed};
use crate::driver::{Driver, Event, Token};
use crate::session::REQUESTS_MAX;

impl<D: Driver> Shard<D> {
    /// Whether nothing is left to do for anyone, as far as can be seen from within.
    pub fn is_quiet(&self) -> bool {
        let is_new = |event: &Event| matches!(event, Event::Accepted { .. });
        !self.clients.has_work(self.polled)
            && self.clients.connections.room_queue.len() == 0
            && self.clients.commands.is_empty()
            && self.ring.waiting() == 0
            && !self.events.iter().any(is_new)
    }

    /// Whether it would not sleep now.
    #[cfg(test)]
    pub(crate) fn has_work(&self, now: crate::clock::Millis) -> bool {
        self.clients.has_work(now)
    }

    /// Whether it has read all that the order has told.
    #[cfg(test)]
    pub(crate) fn is_drained(&self) -> bool {
        self.ring.waiting() == 0
    }

    /// Why it is not quiet.
    pub fn unrest(&self) -> String {
        let clients = &self.clients;
        format!(
            "queue {} for room {} sweeps {} commands {} reading {} ring {} events {}",
            clients.connections.visits_waiting(),
            clients.connections.room_queue.len(),
            clients.fanout.sweep.has_work(),
            clients.commands.len(),
            clients.connections.receives_waiting(),
            self.ring.waiting(),
            self.events.len(),
        )
    }

    /// A connection as its fields are, for whoever reads a failed run.
    pub fn describe(&self, token: Token) -> String {
        format!("{:?}", self.clients.connections.table.at(token.index))
    }

    /// Sockets that the driver has given it and that it has not closed.
    pub fn sockets(&self) -> usize {
        let accepted = |event: &&Event| matches!(event, Event::Accepted { .. });
        let connections = self.clients.connections.table.len() - self.clients.carriers.len();
        connections + self.events.iter().filter(accepted).count()
    }

    /// Panics where any structure contradicts itself or another.
    pub fn invariants(&self) {
        let (clients, metrics) = (&self.clients, self.clients.metrics());
        assert!(clients.closes.is_empty(), "closes were told");
        assert_eq!(metrics.connections.read(), clients.connections.table.len() as u64);
        for (_, connection) in clients.connections.table.iter() {
            let session = &connection.session;
            let private = session.line.outbox().map_or(0, |outbox| outbox.memory());
            assert!(
                session.line.outbox().is_none_or(|outbox| !outbox.is_empty()),
                "an outbox goes when it is empty"
            );
            assert!(
                !session.state.is_stream() || private <= 40 << 10,
                "{private} private bytes of one connection"
            );
        }
        let members = clients.connections.table.iter();
        let members = members.map(|(index, connection)| (index, &connection.subscriptions));
        let slices = clients.connections.table.iter();
        let slices = slices.flat_map(|(_, connection)| connection.slices());
        clients.fanout.invariants(members, slices.chain(clients.carriers.slices()));
        clients.connections.invariants();
        clients.carriers.invariants();
        let all = clients.connections.table.iter();
        let of_users = all.filter(|(_, it)| it.flags.listed.has(Listed::OF_USER));
        let known = |it| Connection::identity(it).expect("it speaks for a user");
        clients.users.invariants(of_users.map(|(place, it)| (place, known(it))));
        // Each may have so many requests under way, be it only to leave what it follows.
        let most = (self.driver.capacity() + clients.carriers.len()) * REQUESTS_MAX + 64;
        assert!(clients.commands.len() <= most, "{} commands", clients.commands.len());
    }

    /// Panics where anything is left of any client.
    pub fn assert_empty(&self) {
        let (clients, metrics) = (&self.clients, self.clients.metrics());
        assert!(clients.connections.table.is_empty() && clients.commands.is_empty());
        assert_eq!(clients.fanout.channels.len(), 0, "interests have ended");
        for gauge in [
            &metrics.connections,
            &metrics.websockets,
            &metrics.event_streams,
            &metrics.polls,
            &metrics.subscriptions,
            &metrics.channels,
            &metrics.rendered_bytes,
            &metrics.window_bytes,
        ] {
            assert_eq!(gauge.read(), 0, "{metrics:?}");
        }
    }
}
