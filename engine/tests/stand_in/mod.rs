//! A sequencer for tests of what feeds it: takes every command, gives places in order, remembers
//! what was published. It has no subscribers and forgets nothing; it can be told to be deaf.
#![allow(dead_code)] // each test binary uses its own part of it

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use fanfare::channel::ChannelId;
use fanfare::clock::Millis;
use fanfare::inquiry::Findings;
use fanfare::message::{Filling, Message};
use fanfare::sequencer::command::{
    BatchAnswer, BatchSummary, ChannelList, ChannelListQuery, ChannelStats, Command, Gap,
    HistoryPage, HistoryQuery, Publication, PublishAnswer, Published, Refusal,
};
use fanfare::sequencer::inbox::{Inbox, inbox};
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::GapReason;

/// The epoch of every stand-in.
pub(crate) fn epoch() -> Epoch {
    Epoch::from_random(0x12_3456_789a)
}

/// The id of a position under that epoch, as text.
pub(crate) fn id_text(position: u64) -> String {
    Id { epoch: epoch(), position }.to_string()
}

/// Publications to this channel are refused for want of room.
pub(crate) const FULL: &str = "full";
/// A batch that begins with a publication to this channel is dropped without an answer.
pub(crate) const LOST: &str = "lost";
/// This channel's history begins with a gap.
pub(crate) const TRIMMED: &str = "trimmed";

pub(crate) struct StandIn {
    pub(crate) inbox: Inbox,
    pub(crate) published: Arc<Mutex<Vec<Publication>>>,
    /// How many messages each command brought.
    pub(crate) commands: Arc<Mutex<Vec<usize>>>,
    /// While set, commands are left in the inbox: see [`StandIn::deafen`].
    pub(crate) deaf: Arc<AtomicBool>,
    is_deaf: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    pub(crate) fn start(inbox_commands: usize) -> Self {
        let (inbox, commands_in) = inbox(inbox_commands);
        let published = Arc::new(Mutex::new(Vec::new()));
        let commands = Arc::new(Mutex::new(Vec::new()));
        let deaf = Arc::new(AtomicBool::new(false));
        let is_deaf = Arc::new(AtomicBool::new(false));
        let (log, sizes) = (Arc::clone(&published), Arc::clone(&commands));
        let (wish, state) = (Arc::clone(&deaf), Arc::clone(&is_deaf));
        let thread = std::thread::spawn(move || {
            loop {
                while wish.load(SeqCst) {
                    state.store(true, SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                }
                state.store(false, SeqCst);
                match commands_in.recv_timeout(Duration::from_millis(1)) {
                    Ok(Command::Shutdown) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(command) => answer(command, &log, &sizes),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        });
        Self { inbox, published, commands, deaf, is_deaf, thread: Some(thread) }
    }

    /// From the return of this on commands are left in the inbox, until `deaf` is unset.
    pub(crate) fn deafen(&self) {
        self.deaf.store(true, SeqCst);
        while !self.is_deaf.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Hears again.
    pub(crate) fn hear(&self) {
        self.deaf.store(false, SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.published.lock().unwrap().len()
    }

    /// The payloads that were published, in order.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        self.published.lock().unwrap().iter().map(|p| p.data.to_vec()).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.deaf.store(false, SeqCst);
        let _ = self.inbox.send(Command::Shutdown);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn place(publication: Publication, log: &Mutex<Vec<Publication>>) -> Result<Published, Refusal> {
    if &*publication.channel.name == FULL {
        return Err(Refusal::ChannelLimit);
    }
    let mut log = log.lock().unwrap();
    log.push(publication);
    let channel = &log.last().unwrap().channel;
    let offset = log.iter().filter(|p| p.channel == *channel).count() as u64;
    let id = Id { epoch: epoch(), position: log.len() as u64 };
    Ok(Published { id, offset, subscribers: 3, duplicate: false, also: None })
}

fn answer(command: Command, log: &Mutex<Vec<Publication>>, sizes: &Mutex<Vec<usize>>) {
    match command {
        Command::Publish(publication, answer) => {
            sizes.lock().unwrap().push(1);
            let result = place(publication, log);
            if let PublishAnswer::Callback(answer) = answer {
                answer(result);
            }
        }
        Command::PublishBatch(publications, _) if &*publications[0].channel.name == LOST => {}
        Command::PublishBatch(publications, answer) => {
            sizes.lock().unwrap().push(publications.len());
            answer_batch(answer, publications.into_iter().map(|p| place(p, log)));
        }
        Command::History(query) => history(*query, &log.lock().unwrap()),
        Command::Stats(channel, answer) => {
            let log = log.lock().unwrap();
            let offset = log.iter().filter(|p| p.channel == channel).count() as u64;
            let history_bytes = offset * 10;
            answer(ChannelStats {
                subscribers: 0,
                offset,
                history_messages: offset,
                history_bytes,
            });
        }
        Command::HearEpochs(mut hear) => hear(epoch()),
        Command::List(query) => list(*query, &log.lock().unwrap()),
        Command::Inquire(inquiry) if inquiry.shards(1) == 1 => inquiry.answer(Findings::default()),
        Command::Inquire(_) => {}
        Command::Subscribe(_)
        | Command::Unsubscribe { .. }
        | Command::Relay(_)
        | Command::Shutdown => {}
    }
}

fn list(query: ChannelListQuery, log: &[Publication]) {
    let mut offsets = BTreeMap::<_, u64>::new();
    for publication in log {
        *offsets.entry(Arc::clone(&publication.channel.name)).or_default() += 1;
    }
    let channels = offsets.into_iter().map(|(name, offset)| {
        let stats = ChannelStats { offset, ..ChannelStats::default() };
        (name, stats)
    });
    let is_meant = |name: &str| {
        name.starts_with(&*query.prefix) && query.after.as_deref().is_none_or(|after| name > after)
    };
    let mut channels: Vec<_> = channels.filter(|(name, _)| is_meant(name)).collect();
    let more = channels.len() > query.limit;
    channels.truncate(query.limit);
    (query.answer)(ChannelList { channels, more });
}

fn history(query: HistoryQuery, log: &[Publication]) {
    let since = query.since.map_or(0, |id| id.position);
    let mut messages = Vec::new();
    let mut offset = 0;
    for (nth, publication) in log.iter().enumerate() {
        if publication.channel != query.channel {
            continue;
        }
        offset += 1;
        let position = nth as u64 + 1;
        if position > since {
            messages.push(Arc::new(message(publication, position, offset)));
        }
    }
    let more = messages.len() > query.limit;
    messages.truncate(query.limit);
    let position = messages.last().map_or(log.len() as u64, |message| message.position);
    let gap = Gap { bounds: Some((4, 6)), reason: GapReason::Trimmed };
    let gap = (&*query.channel.name == TRIMMED).then_some(gap);
    let id = Id { epoch: epoch(), position };
    (query.answer)(HistoryPage { messages, gap, id, more });
}

fn message(publication: &Publication, position: u64, offset: u64) -> Message {
    Message {
        channel: ChannelId(1),
        name: Arc::new(publication.channel.clone()),
        position,
        nth: 0,
        offset,
        ephemeral: false,
        except: None,
        floor: 1,
        at: Millis(0),
        kind: publication.kind,
        event: publication.event.clone(),
        data: publication.data.clone().into(),
        filling: Filling::default(),
    }
}

fn answer_batch(answer: BatchAnswer, results: impl Iterator<Item = Result<Published, Refusal>>) {
    match answer {
        BatchAnswer::Each(answer) => answer(results.collect()),
        BatchAnswer::Summary(answer) => {
            let mut summary = BatchSummary::default();
            for (nth, result) in results.enumerate() {
                match result {
                    Ok(_) => summary.placed += 1,
                    Err(refusal) => summary.refused.push((nth, refusal)),
                }
            }
            answer(summary);
        }
    }
}
