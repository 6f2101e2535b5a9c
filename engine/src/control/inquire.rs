//! Asks the shards for connections, by way of the order, and merges what they answer.
//!
//! What a backend makes this node hold is bounded: so many questions are under way, and each brings
//! the room that its answers may take. A question counts until the order and the last shard have
//! let go of it, however long ago whoever asked it left or lost patience.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::answer::Fault;
use super::api::Api;
use crate::channel::Tenant;
use crate::inquiry::{Act, Findings, Inquiry, Whom};
use crate::sequencer::command::{ChannelList, ChannelListQuery, Command, Refusal};
use crate::sequencer::inbox::NotTaken;

/// Questions for one connection that are under way: as many as there may be requests.
const SINGLES_MAX: usize = 256;
/// Questions that are under way for which connections or channels are gone through.
const WALKS_MAX: usize = 8;
/// Bytes of descriptions in all answers to one question.
const ROOM_BYTES: usize = 1 << 20;

/// Places for questions that are under way.
pub(super) struct Inquirers {
    singles: Arc<Semaphore>,
    walks: Arc<Semaphore>,
}

impl Default for Inquirers {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { singles: places(SINGLES_MAX), walks: places(WALKS_MAX) }
    }
}

impl Api {
    /// What all shards that are asked find, and did.
    pub(super) async fn inquire(
        &self,
        tenant: Tenant,
        whom: Whom,
        act: Act,
    ) -> Result<Findings, Fault> {
        let places = match &whom {
            Whom::Connection(_) => &self.inquirers.singles,
            Whom::User(_) | Whom::Following(_) | Whom::Everyone => &self.inquirers.walks,
        };
        let place = take_place(places)?;
        let (tell, mut hear) = mpsc::unbounded_channel();
        let answer = Box::new(move |findings| {
            let _held_until_all_let_go = &place;
            // Where nobody waits any more, nobody is told what was done all the same.
            let _ = tell.send(findings);
        });
        let inquiry = Arc::new(Inquiry::new(tenant, whom, act, ROOM_BYTES, answer));
        let asked = inquiry.shards(self.metrics.shards.len()).count_ones();
        self.offer(Command::Inquire(inquiry))?;
        let all = async {
            let mut found = Findings::default();
            for _ in 0..asked {
                found.add(hear.recv().await?);
            }
            Some(found)
        };
        in_time(self.config.bounds.answer_ms, all).await
    }

    /// A page of the channels that there are.
    pub(super) async fn list_channels(
        &self,
        tenant: Tenant,
        (prefix, after): (&str, Option<&str>),
        limit: usize,
    ) -> Result<ChannelList, Fault> {
        let place = take_place(&self.inquirers.walks)?;
        let (tell, hear) = oneshot::channel();
        let answer = Box::new(move |list| {
            drop(place);
            let _ = tell.send(list); // as above
        });
        let (prefix, after) = (prefix.into(), after.map(Into::into));
        let query = ChannelListQuery { tenant, prefix, after, limit, answer };
        self.offer(Command::List(Box::new(query)))?;
        in_time(self.config.bounds.answer_ms, async { hear.await.ok() }).await
    }

    fn offer(&self, command: Command) -> Result<(), Fault> {
        self.inbox.offer(command).map_err(|refused| match refused {
            NotTaken::Full(_) => busy("the sequencer has as much to do as it may hold"),
            NotTaken::Ended(_) => Fault::from(Refusal::ShuttingDown),
        })
    }
}

fn take_place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    let taken = Arc::clone(places).try_acquire_owned();
    taken.map_err(|_| busy("as many questions of this kind are under way as may be"))
}

fn busy(why: &str) -> Fault {
    let message = format!("{why}, so nothing was done: try again in a second");
    Fault::unavailable("busy", message, 1)
}

async fn in_time<T>(most_ms: u64, answer: impl Future<Output = Option<T>>) -> Result<T, Fault> {
    match timeout(Duration::from_millis(most_ms), answer).await {
        Ok(Some(answer)) => Ok(answer),
        // The question was dropped: the order has ended, or a shard has.
        Ok(None) => Err(Fault::from(Refusal::ShuttingDown)),
        Err(_) => Err(Fault::new(
            StatusCode::GATEWAY_TIMEOUT,
            "outcome_unknown",
            "not all parts of the node answered in time, so what was asked may be done to some \
             connections and not to others: ask again, it does no harm to do it twice",
        )),
    }
}
