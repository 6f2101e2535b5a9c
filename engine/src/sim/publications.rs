//! Messages that publishers have offered and that have no outcome yet, and those that may be
//! published again.

use std::collections::{HashMap, VecDeque};

use fanfare_protocol::message::Kind;

use super::fact::{Fact, Keyed, Manner, UnderWay};
use super::truth::Truth;
use crate::driver::sim::Chance;

/// Of how many messages under a key one may be published again.
const KEYED_MAX: usize = 16;

/// All of them. Each message has a number, which is in its payload.
#[derive(Default)]
pub(super) struct Publications {
    /// The last number.
    numbers: u64,
    under_way: HashMap<u64, UnderWay>,
    /// The newest of what was published under a key.
    keyed: VecDeque<Keyed>,
    /// Numbers of messages that the order has read of the log, and their positions.
    read: VecDeque<(u64, u64)>,
}

impl Publications {
    /// A new message for these channels, of about this length.
    pub(super) fn make(&mut self, channels: Vec<usize>, bytes: usize, kind: Kind) -> Keyed {
        self.numbers += 1;
        let text = format!("#n{};", self.numbers);
        let filler = if kind == Kind::Text { "line one\nline two\n" } else { "filler " };
        let text: String = text.chars().chain(filler.chars().cycle().take(bytes)).collect();
        let payload = match kind {
            Kind::Text => text.into_bytes(),
            Kind::Json => serde_json::to_vec(&text).unwrap(),
            Kind::Binary => [b"\xff\xfe", text.as_bytes()].concat(),
        };
        Keyed { number: self.numbers, channels, kind, payload }
    }

    /// This message is published under its key.
    pub(super) fn remember(&mut self, message: Keyed) {
        self.keyed.push_back(message);
        if self.keyed.len() > KEYED_MAX {
            self.keyed.pop_front();
        }
    }

    /// One that was published under its key, if any was.
    pub(super) fn any_keyed(&self, chance: &mut Chance) -> Option<Keyed> {
        (!self.keyed.is_empty()).then(|| self.keyed[chance.below(self.keyed.len())].clone())
    }

    /// A backend publishes this message, for the first time or again.
    pub(super) fn begin(&mut self, message: &Keyed, manner: Manner) {
        let Keyed { number, channels, kind, payload } = message.clone();
        let by_client = false;
        let first = UnderWay { channels, kind, payload, manner, by_client, asked: 0 };
        self.under_way.entry(number).or_insert(first).asked += 1;
    }

    /// A client publishes a message in this channel: its number, and what it says.
    pub(super) fn begin_by_client(&mut self, channel: usize) -> (u64, String) {
        self.numbers += 1;
        let text = format!("#n{};said", self.numbers);
        let (payload, manner) = (text.clone().into_bytes(), Manner::default());
        let (channels, kind, by_client) = (vec![channel], Kind::Text, true);
        let asked = UnderWay { channels, kind, payload, manner, by_client, asked: 1 };
        self.under_way.insert(self.numbers, asked);
        (self.numbers, text)
    }

    /// The order has read this message of the log, where it stands at this position.
    pub(super) fn note_read(&mut self, number: u64, position: u64) {
        self.read.push_back((number, position));
    }

    /// Where a message that was read and is not placed yet stands.
    pub(super) fn read_at(&self, number: u64) -> u64 {
        self.read.iter().find(|read| read.0 == number).expect("it was read").1
    }

    /// The message that an outcome is of, which may have several outcomes.
    pub(super) fn settle(&mut self, number: u64) -> UnderWay {
        let asked = self.under_way.get_mut(&number).expect("asked for");
        asked.asked -= 1;
        if asked.asked == 0 {
            return self.under_way.remove(&number).expect("it is there");
        }
        asked.clone()
    }

    /// What was read of the log up to there is placed. A message of a client, who alone hears how,
    /// is the next of its channel.
    pub(super) fn place_up_to(&mut self, to: u64, truth: &mut Truth) {
        while let Some((number, position)) = self.read.pop_front_if(|(_, position)| *position <= to)
        {
            if !self.under_way.get(&number).is_some_and(|asked| asked.by_client) {
                continue;
            }
            let UnderWay { channels, kind, payload, .. } =
                self.under_way.remove(&number).expect("it is there");
            let channel = channels[0];
            let offset = truth.next_offset(channel);
            let fact = Fact { channel, life: 0, position, offset, except: None, kind, payload };
            truth.placed(number, vec![fact]);
        }
    }
}
