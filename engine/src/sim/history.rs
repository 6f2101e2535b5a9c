//! Backends that ask the API for what a channel keeps: pages that are whole, from where they asked
//! on, with an exact gap where that is kept no more.

use fanfare_protocol::id::Id;
use serde_json::Value;

use super::fact::{Fact, channel_name, channel_of};
use super::truth::Truth;
use super::wire::{gap, object};
use crate::channel::{ChannelName, Tenant};
use crate::control;
use crate::sequencer::command::{Command, HistoryQuery};

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryRequest {
    pub(super) channel: usize,
    /// After which position.
    pub(super) since: Option<u64>,
    pub(super) limit: usize,
}

/// The body of an answer.
pub(super) struct Page {
    asked: HistoryRequest,
    body: Vec<u8>,
}

/// The question, as the API asks it; the answer goes to `tell`.
pub(super) fn ask(
    asked: HistoryRequest,
    tenant: Tenant,
    truth: &Truth,
    tell: impl FnOnce(Page) + Send + 'static,
) -> Command {
    let HistoryRequest { channel, since, limit } = asked;
    let name = channel_name(channel);
    let since = since.map(|position| Id { epoch: truth.epoch_of(position), position });
    let channel = ChannelName::new(tenant, &name);
    let answer = Box::new(move |mut page| {
        let body = control::page_body(&name, &mut page);
        tell(Page { asked, body });
    });
    Command::History(Box::new(HistoryQuery { channel, since, limit, answer }))
}

impl Page {
    /// What publishers were answered by then says the same.
    pub(super) fn check(&self, (may_forget, keeps_all): (bool, bool), truth: &Truth) {
        let HistoryRequest { channel, since, limit } = self.asked;
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        let end = truth.position_in(body["id"].as_str().expect("an id"));
        let list = body["messages"].as_array().expect("a list");
        let facts: Vec<&Fact> = list.iter().map(|said| message(said, channel, truth)).collect();
        let gap = body.get("gap").map(gap);
        let more = body["more"].as_bool().expect("it says so");
        let about = || format!("{:?}: {facts:?} {gap:?} up to {end}", self.asked);
        assert!(facts.len() <= limit && !(more && facts.is_empty()), "{}", about());
        let last = facts.last().map(|fact| fact.position);
        assert!(last.is_none_or(|last| last <= end && (!more || last == end)), "{}", about());
        for two in facts.windows(2) {
            let follows = (two[1].life, two[1].offset) == (two[0].life, two[0].offset + 1);
            assert!(follows && two[0].position < two[1].position, "{}", about());
        }
        // What stands there and is not told, in the epoch that is told.
        let began = truth.epoch_at(end).position;
        let from = since.unwrap_or(0);
        let its = truth.after(from).take_while(|fact| fact.position <= end);
        let its = its.filter(|fact| fact.channel == channel && !fact.is_ephemeral());
        let is_told = |fact: &Fact| facts.iter().any(|told| told.position == fact.position);
        let untold: Vec<&Fact> = its.filter(|fact| !is_told(fact)).collect();
        assert!(facts.iter().all(|fact| fact.position > from), "{}", about());
        let bounds = gap.as_ref().map(|gap| gap.bounds);
        match (since, bounds) {
            // All that is kept, be it nothing; what is not comes before what is.
            (None, bounds) => {
                assert_eq!(bounds, None, "{}", about());
                let mut untold = untold.iter().filter(|fact| fact.position > began);
                let first = facts.first().map(|fact| fact.position);
                let is_before = |fact: &&Fact| first.is_none_or(|first| fact.position < first);
                assert!(untold.clone().all(is_before), "{}", about());
                assert!(!keeps_all || untold.next().is_none(), "{}", about());
            }
            (Some(_), None) => assert!(untold.is_empty(), "silence: {untold:?}, {}", about()),
            (Some(_), Some(Some((first, last)))) => {
                let offsets: Vec<u64> = untold.iter().map(|fact| fact.offset).collect();
                assert_eq!(offsets, (first..=last).collect::<Vec<_>>(), "{}", about());
                let next = facts.first().map(|fact| fact.offset);
                assert!(next.is_none_or(|next| next == last + 1), "{}", about());
                assert!(!keeps_all, "{}", about());
            }
            (Some(_), Some(None)) => {
                assert!(may_forget || truth.epochs_after(from) > 0, "{}", about());
            }
        }
    }
}

/// A message of a page, checked byte by byte.
fn message<'t>(said: &Value, channel: usize, truth: &'t Truth) -> &'t Fact {
    let said = object(said);
    assert_eq!(said.channel.as_deref().map(channel_of), Some(channel));
    let fact = truth.find(&said).iter().find(|fact| fact.channel == channel);
    let fact = fact.expect("it is of the channel");
    assert_eq!(said.offset, Some(fact.offset), "{fact:?}");
    assert_eq!(said.id.as_deref().map(|id| truth.position_in(id)), Some(fact.position));
    fact
}
