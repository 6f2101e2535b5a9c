//! A connection begins or ends to follow channels.
//!
//! A request may name thousands of channels and ask for all that they keep, so it is performed in
//! slices, and what backends publish comes between. Nothing else of clients does: whoever asks
//! later is performed later.

use std::sync::Arc;

use super::applied::Applied;
use super::channel::Channel;
use super::command::{Requester, Since, Subscribe, Subscribed, SubscribedChannel};
use super::followers::Followers;
use super::resume::Start;
use super::table::Channels;

/// A request to follow that is being performed.
pub(super) struct Following {
    request: Box<Subscribe>,
    /// Its channels that are followed by now: the first so many.
    done: usize,
    /// Position before the first message to deliver, where there is one.
    before_owed: Option<u64>,
}

impl Following {
    /// Nothing of it is done.
    pub(super) fn new(request: Box<Subscribe>) -> Self {
        Self { request, done: 0, before_owed: None }
    }

    /// Another epoch begins: nothing is owed any more of what was told.
    pub(super) fn begin_epoch(&mut self) {
        self.before_owed = None;
    }

    /// Its shard.
    pub(super) fn shard(&self) -> u8 {
        self.request.requester.shard
    }

    /// Channels that are still to be followed.
    pub(super) fn left(&self) -> usize {
        self.request.channels.len() - self.done
    }

    /// Follows the next channels of a request, until that was so many units of work: says how many.
    /// The reply is exact at what is applied: it must be the next entry of the ring for its shard.
    /// It begins no channel's life: what is merely followed pushes out nothing.
    pub(super) fn follow_next(
        &mut self,
        units_max: usize,
        applied: &Applied,
        followers: &mut Followers,
        all: &mut Channels,
    ) -> (Subscribed, usize) {
        let Self { request, done, before_owed } = self;
        let Requester { shard, .. } = request.requester;
        let (mut channels, mut units) = (Vec::new(), 0);
        for (name, since) in &request.channels[*done..] {
            if units >= units_max {
                break;
            }
            let id = all.find_or_make(name);
            let channel = all.living(id);
            followers.join(shard, channel);
            let (reply, owed) = reply(channel, shard, *since, applied);
            let before = owed.map(|position| position - 1);
            *before_owed = before_owed.iter().copied().chain(before).min();
            units += 1 + reply.import.len();
            channels.push(reply);
        }
        *done += channels.len();
        let present = applied.position;
        let reply = Subscribed {
            requester: request.requester,
            epoch: applied.epoch,
            begin: before_owed.map_or(present, |before| before.min(present)),
            present,
            channels: channels.into(),
            left: self.left(),
        };
        (reply, units.max(1))
    }
}

/// One channel's part of the reply, and the position of the first message to deliver.
fn reply(
    channel: &mut Channel,
    shard: u8,
    since: Since,
    applied: &Applied,
) -> (SubscribedChannel, Option<u64>) {
    let (next, gap) = channel.start(Start::since(since, applied), applied.watermark);
    // A gap without bounds may begin anywhere: in an earlier life, before all that is known.
    let first_missed = gap.and_then(|gap| gap.bounds).map(|(first, _)| first);
    let gap_begins = first_missed.and_then(|first| channel.trimmed.position_of(first));
    let (last, floor) = (channel.life.offset, channel.floor());
    let life = channel.life_name(applied.position);
    let log_from = channel.audience.log_from(shard);
    // History reaches a shard once: all that is kept and that its log lacks, so that every later
    // resume on that shard is a position and nothing else.
    let import = if next < *log_from {
        let end = std::mem::replace(log_from, floor);
        channel.history.range(floor, end).cloned().collect()
    } else {
        Box::default()
    };
    let owed = channel.history.at(next).map(|message| message.position);
    let reply = SubscribedChannel {
        channel: channel.id,
        name: Arc::clone(&channel.name),
        rule: Arc::clone(&channel.rule),
        since,
        next,
        last,
        life,
        floor,
        gap,
        gap_begins,
        import,
    };
    (reply, owed)
}
