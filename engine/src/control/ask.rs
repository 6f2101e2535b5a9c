//! Asks the sequencer and waits for its answer. The sequencer never waits for anybody here.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::Fault;
use super::api::Api;
use crate::sequencer::command::Command;
use crate::sequencer::inbox::NotTaken;

/// Where the sequencer leaves its answer.
pub(super) type Answer<T> = Box<dyn FnOnce(T) + Send>;

impl Api {
    /// Offers the command that `command` makes and waits for what the sequencer leaves in its
    /// answer. A command that was taken is done whether or not anyone still waits.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, Fault> {
        let (tell, hear) = oneshot::channel();
        let answer: Answer<T> = Box::new(move |answer| {
            if tell.send(answer).is_err() {
                tracing::debug!(
                    "a client of the API left before its answer; what it asked is done"
                );
            }
        });
        self.inbox.offer(command(answer)).map_err(|refused| match refused {
            NotTaken::Full(_) => Fault::unavailable(
                "busy",
                "the sequencer has as much to do as it may hold, so nothing was published: try \
                 again in a second",
                1,
            ),
            NotTaken::Ended(_) => Fault::from(crate::sequencer::command::Refusal::ShuttingDown),
        })?;
        match timeout(Duration::from_millis(self.config.bounds.answer_ms), hear).await {
            Ok(Ok(answer)) => Ok(answer),
            // The command was dropped unanswered, or is still waiting for room in the ring.
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                StatusCode::GATEWAY_TIMEOUT,
                "outcome_unknown",
                "the sequencer did not answer in time, so what was asked may be done or not: read \
                 the channel's history before sending it again",
            )),
        }
    }
}
