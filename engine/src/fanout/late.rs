//! Where a subscription begins that was told earlier, because the rest of its request came later.
//!
//! A request that is performed in slices has its place where its last slice is, and until then its
//! member follows nothing. So a channel that was told before is looked at again there, as it is by
//! then: what was published meanwhile is in its log, and what went from it is missed.

use fanfare_protocol::message::GapReason;

use super::channels::FollowedChannels;
use super::lives::EndedBy;
use super::log::ChannelLog;
use super::subscription::Subscription;
use crate::sequencer::command::{Gap, Since, SubscribedChannel};

/// Where the subscription of a reply begins now, where the order is at `present`: its channel was
/// imported earlier, when the log was of this `life`, and its member has still to
/// [`Subscription::join`]. Says too the position of the first message to deliver, where there is
/// one. The reply says from here on what is true now.
pub(crate) fn begin_late(
    reply: &mut SubscribedChannel,
    life: u64,
    present: u64,
    channels: &FollowedChannels,
) -> (Subscription, Option<u64>) {
    let channel = channels.find(reply.channel).expect("its log stays until it is left");
    let log = &channels.at(channel).log;
    let next = begin(log, life, present, reply);
    (Subscription::before_joining(channel, next), log.entries().position(next))
}

/// Seq to begin with now, in the log of a channel of which the reply was told when the log was of
/// this `life`; the order is at `present` now. The reply says from here on where that is, and what
/// is missed by it.
fn begin(log: &ChannelLog, life: u64, present: u64, reply: &mut SubscribedChannel) -> u64 {
    let (seq, entries) = (find(log, life, reply), log.entries());
    reply.last = entries.next_offset() - 1;
    if log.lives().present() != life {
        reply.life = match reply.last {
            0 => present + 1,
            // Where that is gone already the old name stays: who brings it is told a gap.
            _ => entries.began_at().unwrap_or(reply.life),
        };
    }
    reply.next = entries.offset_at(seq);
    seq
}

fn find(log: &ChannelLog, life: u64, reply: &mut SubscribedChannel) -> u64 {
    let (entries, ended) = (log.entries(), log.lives().ended_since(life));
    let first = entries.first_offset();
    match reply.since {
        // With what is published from here on.
        Since::Now | Since::Unreadable => return entries.end(),
        _ if ended.is_none() && reply.next >= first => return entries.seq_of(reply.next),
        // What is kept now is what was asked for.
        Since::Earliest | Since::Last(_) => {}
        Since::After(_) | Since::Offset(..) | Since::Time(_) => {
            reply.gap = Some(match (ended, reply.gap) {
                // That nothing is known of all before was said already.
                (Some(EndedBy::Forgetting), Some(gap)) if gap.bounds.is_none() => gap,
                (Some(ended), _) => Gap { bounds: None, reason: ended.reason() },
                (None, Some(Gap { bounds, reason })) => {
                    Gap { bounds: bounds.map(|(from, _)| (from, first - 1)), reason }
                }
                (None, None) => {
                    Gap { bounds: Some((reply.next, first - 1)), reason: GapReason::Trimmed }
                }
            });
            if ended.is_some() {
                reply.gap_begins = None;
            }
        }
    }
    entries.first()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::page::Pages;
    use super::*;
    use crate::channel::{ChannelId, ChannelName, Tenant};
    use crate::clock::Millis;
    use crate::message::{Filling, Message};
    use crate::rule::{HistoryRule, Rule, Window};
    use fanfare_protocol::id::{Epoch, Id};
    use fanfare_protocol::message::Kind;

    /// A log with the last three of these messages, of which history keeps none.
    fn log(messages: u64) -> ChannelLog {
        let (name, rule) = parts();
        let mut log = ChannelLog::after(ChannelId(1), name, rule, 0);
        (1..=messages).for_each(|offset| append(&mut log, offset));
        log.trim(&mut Vec::new(), &mut Pages::default());
        log
    }

    fn parts() -> (Arc<ChannelName>, Arc<Rule>) {
        let window = Window { count: 3, ..Window::DEFAULT };
        let rules = crate::rule::Rules::new(Vec::new(), HistoryRule::DEFAULT, window);
        (
            Arc::new(ChannelName::new(Tenant::default(), "c")),
            Arc::clone(rules.of(&Tenant::default(), "c").1),
        )
    }

    fn append(log: &mut ChannelLog, offset: u64) {
        let message = Message {
            channel: ChannelId(1),
            name: Arc::new(ChannelName::new(Tenant::default(), "c")),
            position: offset * 10,
            nth: 0,
            offset,
            ephemeral: false,
            except: None,
            floor: offset + 1,
            at: Millis(0),
            kind: Kind::Text,
            event: None,
            data: Vec::new().into(),
            filling: Filling::default(),
        };
        log.append(Arc::new(message));
    }

    fn told(since: Since, next: u64, gap: Option<Gap>) -> SubscribedChannel {
        let (name, rule) = parts();
        SubscribedChannel {
            channel: ChannelId(1),
            name,
            rule,
            since,
            next,
            last: 4,
            life: 10,
            floor: 5,
            gap,
            gap_begins: gap.map(|_| 20),
            import: Box::default(),
        }
    }

    fn begins(log: &ChannelLog, since: Since, next: u64, gap: Option<Gap>) -> (u64, Option<Gap>) {
        let mut reply = told(since, next, gap);
        let seq = begin(log, 0, 70, &mut reply);
        let (first, end) = (log.entries().offset_at(seq), log.entries().next_offset());
        assert_eq!((reply.next, reply.last), (first, end - 1));
        (reply.next, reply.gap)
    }

    #[test]
    fn what_was_published_between_two_slices_is_neither_lost_nor_doubled() {
        let after = Since::After(Id { epoch: Epoch::from_random(1), position: 20 });
        let log = log(6); // holds 4, 5 and 6
        assert_eq!(begins(&log, after, 4, None), (4, None));
        assert_eq!(begins(&log, after, 5, None), (5, None), "it came after the slice");
        assert_eq!(begins(&log, Since::Now, 5, None), (7, None), "that was before its place");
        assert_eq!(begins(&log, Since::Last(3), 2, None), (4, None), "as many as there are");
    }

    #[test]
    fn what_went_between_two_slices_is_missed() {
        let after = Since::After(Id { epoch: Epoch::from_random(1), position: 20 });
        let gap = |bounds, reason| Some(Gap { bounds, reason });
        let log = log(6);
        assert_eq!(begins(&log, after, 3, None), (4, gap(Some((3, 3)), GapReason::Trimmed)));
        let before = gap(Some((1, 2)), GapReason::Expired);
        assert_eq!(begins(&log, after, 3, before), (4, gap(Some((1, 3)), GapReason::Expired)));
        let unknown = gap(None, GapReason::Epoch);
        assert_eq!(begins(&log, after, 3, unknown), (4, unknown));
    }

    #[test]
    fn an_epoch_that_began_between_two_slices_is_told() {
        let after = Since::After(Id { epoch: Epoch::from_random(1), position: 20 });
        let mut log = log(6);
        log.begin_epoch(&mut Pages::default());
        let gap = Some(Gap { bounds: None, reason: GapReason::Epoch });
        assert_eq!(begins(&log, after, 5, None), (1, gap));
        append(&mut log, 1);
        assert_eq!(begins(&log, after, 5, None), (1, gap));
        assert_eq!(begins(&log, Since::Now, 5, None), (2, None), "it follows from here on");
        log.begin_anew(&mut Pages::default());
        assert_eq!(begins(&log, after, 5, None), (1, gap), "and was forgotten after it");
    }

    #[test]
    fn nobody_knows_what_went_with_a_life() {
        let after = Since::After(Id { epoch: Epoch::from_random(1), position: 20 });
        let mut log = log(6);
        log.begin_anew(&mut Pages::default());
        append(&mut log, 1);
        let unknown = Some(Gap { bounds: None, reason: GapReason::Unknown });
        assert_eq!(begins(&log, after, 5, None), (1, unknown));
        let epoch = Some(Gap { bounds: None, reason: GapReason::Epoch });
        assert_eq!(begins(&log, after, 5, epoch), (1, epoch), "that is why it knows nothing");
        assert_eq!(begins(&log, Since::Earliest, 5, None), (1, None));
        assert_eq!(begins(&log, Since::Now, 5, None), (2, None));
    }

    #[test]
    fn a_life_is_named_anew_where_it_is_another() {
        let named = |log: &ChannelLog| {
            let mut reply = told(Since::Now, 5, None);
            begin(log, 0, 70, &mut reply);
            reply.life
        };
        let mut log = log(6);
        assert_eq!(named(&log), 10, "it goes on");
        log.begin_anew(&mut Pages::default());
        assert_eq!(named(&log), 71, "the next one is still to begin");
        (1..=3).for_each(|offset| append(&mut log, offset));
        assert_eq!(named(&log), 10, "its first message stands there");
        (4..=6).for_each(|offset| append(&mut log, offset));
        log.trim(&mut Vec::new(), &mut Pages::default());
        assert_eq!(log.entries().began_at(), None);
    }
}
