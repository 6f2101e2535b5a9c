//! Frames as publications: what is wrong with a message is found here, before the sequencer.

use fanfare_protocol::ingest::{ChannelReceipt, DeclaredKind, PublishFrame, Refusal};
use fanfare_protocol::limits::IngestLimits;
use fanfare_protocol::message::Kind;

use super::ledger::{self, GroupResults};
use super::session::PublisherSession;
use super::slots::Slots;
use crate::channel::{ChannelName, Tenant};
use crate::limits::{CHANNEL_OVERHEAD_BYTES, MESSAGE_OVERHEAD_BYTES};
use crate::payload;
use crate::sequencer::command::{BatchAnswer, Publication, Published, Refusal as SequencerRefusal};

/// Messages that go to the sequencer as one command.
#[derive(Debug)]
pub struct Group {
    /// The number of its session, and its own in that session's ledger.
    pub number: (u64, u64),
    /// The messages, at least one.
    pub publications: Vec<Publication>,
    /// Whether it is to be told where they stand, and not only which of them do not.
    pub wants_places: bool,
}

impl Group {
    /// What is to hear how they end, and passes it on to `tell` as the ledger wants it.
    pub fn answer(&self, tell: impl FnOnce(GroupResults) + Send + 'static) -> BatchAnswer {
        match self.wants_places {
            true => BatchAnswer::Each(Box::new(|results| tell(GroupResults::Each(results)))),
            false => BatchAnswer::Summary(Box::new(|all| tell(GroupResults::Refused(all.refused)))),
        }
    }
}

/// The messages of one read that are not entered yet.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) slots: Slots,
    publications: Vec<Publication>,
    /// What they take until their outcomes are told.
    bytes: usize,
}

/// What a message takes beside its publication, at most: what the ledger notes of it, its result,
/// and its outcome, told and kept.
const BESIDE_BYTES: usize = Slots::NOTE_BYTES
    + size_of::<Result<Published, SequencerRefusal>>()
    + ledger::OUTCOME_BYTES
    + REPLY_BYTES;
/// The longest frame of a reply, but for a refusal's text.
const REPLY_BYTES: usize = 48;
/// Names, keys and data have room in pieces of the allocator's.
const PIECES_BYTES: usize = 64;

/// What each further channel takes beside its name: its place in the result, in the reply and in
/// the outcome that is kept, and the name's piece of the allocator's.
const CHANNEL_BESIDE_BYTES: usize = 3 * size_of::<ChannelReceipt>() + PIECES_BYTES / 2;

const _: () = assert!(
    CHANNEL_BESIDE_BYTES + size_of::<ChannelName>() <= CHANNEL_OVERHEAD_BYTES,
    "what limits say that a further channel takes"
);
const _: () = assert!(
    BESIDE_BYTES + PIECES_BYTES + size_of::<Publication>() <= MESSAGE_OVERHEAD_BYTES,
    "what limits say that a message takes"
);

impl Draft {
    pub(super) fn add(&mut self, frame: &PublishFrame<'_>, limits: &IngestLimits, tenant: &Tenant) {
        let before = self.publications.last().map(|before| &before.channel);
        match publication(before, frame, limits, tenant) {
            Ok(publication) => {
                let also = publication.also.len() * CHANNEL_BESIDE_BYTES;
                self.bytes += BESIDE_BYTES + PIECES_BYTES + publication.cost() + also;
                self.publications.push(publication);
                self.slots.push_asked(frame.answer);
            }
            Err(refusal) => {
                // Its text is told, and kept to be told again.
                self.bytes += BESIDE_BYTES + 2 * refusal.text.len();
                self.slots.push_refused(refusal);
            }
        }
    }

    pub(super) fn enter(&mut self, session: &mut PublisherSession, groups: &mut Vec<Group>) {
        if self.slots.is_empty() {
            return;
        }
        let wants_places = self.slots.want_answers();
        let (slots, bytes) = (std::mem::take(&mut self.slots), std::mem::take(&mut self.bytes));
        let number = (session.number, session.ledger.enter(slots, bytes));
        let publications = std::mem::take(&mut self.publications);
        if !publications.is_empty() {
            groups.push(Group { number, publications, wants_places });
        }
    }
}

/// What a frame asks to publish: the same for a publisher on the socket and for one inside of this
/// process. Most publishers stay with a channel for a while: where it is the one that was published
/// to `before`, its name is known to be good, and it is shared and not copied.
///
/// # Errors
/// What is wrong with the message, as the socket's publishers are told it.
#[inline] // it is long, and moved if it is returned
pub fn publication(
    before: Option<&ChannelName>,
    frame: &PublishFrame<'_>,
    limits: &IngestLimits,
    tenant: &Tenant,
) -> Result<Publication, Refusal> {
    let good = before.map(|before| &*before.name);
    let checked = frame.check_after(good, limits)?;
    let (kind, data) = match checked.kind {
        DeclaredKind::Detect => payload::settle(checked.data),
        DeclaredKind::Known(Kind::Json) => {
            let message = payload::settle_json(checked.data).map_err(Refusal::not_json)?;
            (Kind::Json, message)
        }
        DeclaredKind::Known(kind) => (kind, checked.data),
    };
    payload::room(limits.message_bytes as usize, checked.channel, checked.event, kind, data)
        .map_err(Refusal::too_large)?;
    for name in checked.also() {
        payload::room(limits.message_bytes as usize, name, checked.event, kind, data)
            .map_err(Refusal::too_large)?;
    }
    // The very name that was called good, where it is the same.
    let same = before.filter(|same| std::ptr::eq(&*same.name, checked.channel));
    let same = same.filter(|same| same.tenant == *tenant);
    let also = match checked.is_for_one() {
        true => Box::default(),
        false => checked.also().map(|name| ChannelName::new(tenant.clone(), name)).collect(),
    };
    Ok(Publication {
        channel: match same {
            Some(same) => same.clone(),
            None => ChannelName::new(tenant.clone(), checked.channel),
        },
        also,
        kind,
        event: checked.event.map(Into::into),
        idempotency_key: checked.idempotency_key.map(Into::into),
        ephemeral: checked.ephemeral,
        except: checked.except.map(Into::into),
        data: data.into(),
    })
}
