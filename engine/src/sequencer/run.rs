//! The sequencer's thread: steps, and waits between them.

use std::time::Duration;

use crossbeam_utils::Backoff;

use crate::clock::Clock;
use crate::log::Log;

use super::inbox::Side;
use super::{Phase, Sequencer, Sink, Step, Ticket};

/// How long an idle sequencer sleeps while shards still read: what they have read is let go of
/// soon, though nothing else happens.
const SLEEP_WHILE_HELD_MS: u64 = 50;
/// How long it sleeps otherwise, where nothing is due earlier.
const SLEEP_MS_MAX: u64 = 60_000;
/// Sleeps of a sequencer that waits for room in the ring, once spinning did not help.
const NAP_MIN: Duration = Duration::from_micros(100);
const NAP_MAX: Duration = Duration::from_millis(1);

impl<S: Sink, L: Log<Ticket>> Sequencer<S, L> {
    /// Steps until the order ends: the body of the sequencer's thread.
    ///
    /// Commands that were offered before it ends are all answered. One that is offered in the very
    /// moment of the end may be dropped with the inbox, and its answer with it, uncalled: whoever
    /// waits for an answer takes a dropped one for a refusal.
    pub fn run(mut self, clock: Clock) {
        self.inbox.bell().hear();
        let (mut backoff, mut nap) = (Backoff::new(), NAP_MIN);
        loop {
            match self.step(clock.now()) {
                Step::Worked => (backoff, nap) = (Backoff::new(), NAP_MIN),
                Step::Idle => self.wait_for_command(),
                Step::Blocked => {
                    self.ring.wake_lagging();
                    if backoff.is_completed() {
                        std::thread::sleep(nap);
                        nap = (nap * 2).min(NAP_MAX);
                    } else {
                        backoff.snooze();
                    }
                }
                Step::Ended => break,
            }
        }
        for side in [Side::Backends, Side::Clients] {
            while let Ok(command) = self.inbox.try_recv(side) {
                self.refuse(command);
            }
        }
    }

    /// Sleeps until a command comes, the log rings, or something is due.
    fn wait_for_command(&mut self) {
        let most = if self.held > 0 { SLEEP_WHILE_HELD_MS } else { SLEEP_MS_MAX };
        let upkeep = self.order.next_due(!self.time_asked);
        let end = if let Phase::Closing { until } = self.phase { Some(until) } else { None };
        let patience = self.patience_ends().filter(|_| self.offers.are_waiting());
        let due = upkeep.into_iter().chain(end).chain(patience).min();
        let due = due.map_or(most, |due| due.since(self.order.now)).min(most);
        self.inbox.sleep(Duration::from_millis(due));
    }
}
