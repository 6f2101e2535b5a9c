//! What a group of clients has seen, counted on each thread and merged at the end.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::scan::Gap;

/// Latencies from 1 us to an hour, in nanoseconds, to three digits.
const NANOS_MIN: u64 = 1_000;
const NANOS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// An empty histogram of latencies in nanoseconds.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS).expect("the bounds are well formed")
}

/// What one group has seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Messages, each counted once for each client that had it.
    pub delivered: u64,
    /// Of these, such as came after a later one.
    pub disordered: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages that never came.
    pub lost: u64,
    /// Clients that lost any.
    pub clients_short: u64,
    /// The lost ones by transport: WebSocket, SSE, long-poll.
    pub lost_by_transport: [u64; 3],
    /// Messages of another run or another channel.
    pub strays: u64,
    /// Gap notices by reason.
    pub gaps: BTreeMap<String, u64>,
    /// Messages that gap notices with a number told as missed.
    pub missed: u64,
    /// Gap notices that could not tell how many.
    pub gaps_without_number: u64,
    /// Connections that the server ended, by close code; 1006 where it said none (RFC 6455, section
    /// 7.1.5).
    pub closes: BTreeMap<u16, u64>,
    /// Breaches of protocol, by what they were.
    pub violations: BTreeMap<&'static str, u64>,
    /// Messages that never came to clients whose connection was ended, and who so were told.
    pub lost_told: u64,
    /// Receives that brought a message, and the messages that they brought: how well the server
    /// coalesces.
    pub receives: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Latency of each delivery, by phase of the run.
    pub latency: Vec<Option<Histogram<u64>>>,
}

impl Tally {
    /// A delivery in a phase.
    pub fn record(&mut self, phase: usize, nanos: u64) {
        if self.latency.len() <= phase {
            self.latency.resize(phase + 1, None);
        }
        self.latency[phase].get_or_insert_with(latencies).saturating_record(nanos);
    }

    /// A gap notice.
    pub fn gap(&mut self, gap: Gap) {
        match gap.missed {
            Some(missed) => self.missed += missed,
            None => self.gaps_without_number += 1,
        }
        *self.gaps.entry(gap.reason).or_default() += 1;
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.delivered, other.delivered),
            (&mut self.disordered, other.disordered),
            (&mut self.duplicates, other.duplicates),
            (&mut self.lost, other.lost),
            (&mut self.strays, other.strays),
            (&mut self.clients_short, other.clients_short),
            (&mut self.missed, other.missed),
            (&mut self.gaps_without_number, other.gaps_without_number),
            (&mut self.lost_told, other.lost_told),
            (&mut self.receives, other.receives),
            (&mut self.bytes, other.bytes),
        ] {
            *sum += more;
        }
        for (sum, more) in self.lost_by_transport.iter_mut().zip(other.lost_by_transport) {
            *sum += more;
        }
        add(&mut self.gaps, other.gaps);
        add(&mut self.closes, other.closes);
        add(&mut self.violations, other.violations);
        self.latency.resize(self.latency.len().max(other.latency.len()), None);
        for (mine, theirs) in self.latency.iter_mut().zip(other.latency) {
            if let Some(theirs) = theirs {
                let sum = mine.get_or_insert_with(latencies);
                sum.add(theirs).expect("all histograms have the same bounds");
            }
        }
    }

    /// Latencies of all phases together.
    pub fn all_latencies(&self) -> Histogram<u64> {
        let mut all = latencies();
        for phase in self.latency.iter().flatten() {
            all.add(phase).expect("all histograms have the same bounds");
        }
        all
    }

    /// Whether every message came once, in order, and nothing was unexpected.
    pub fn is_flawless(&self) -> bool {
        let told = self.gaps.is_empty() && self.closes.is_empty() && self.violations.is_empty();
        told && self.lost + self.duplicates + self.disordered + self.strays == 0
    }
}

/// Adds counts by name.
pub fn add<K: Ord>(sum: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut one = Tally { delivered: 3, ..Tally::default() };
        one.record(1, 5_000_000);
        one.gap(Gap { missed: Some(4), reason: "slow".into() });
        let mut two = Tally { delivered: 4, lost: 1, ..Tally::default() };
        two.record(0, 1_000_000);
        two.record(1, 9_000_000);
        two.gap(Gap { missed: None, reason: "slow".into() });
        two.closes.insert(4508, 2);
        one.merge(two);
        assert_eq!((one.delivered, one.lost, one.missed), (7, 1, 4));
        assert_eq!((one.gaps["slow"], one.gaps_without_number, one.closes[&4508]), (2, 1, 2));
        assert_eq!(one.latency[1].as_ref().map(Histogram::len), Some(2));
        assert_eq!(one.all_latencies().len(), 3);
        assert!(!one.is_flawless() && Tally::default().is_flawless());
    }
}
