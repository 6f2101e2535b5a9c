//! Reads a request's body: refused by its declared length before a byte is read, by its growth
//! where no length is declared, and held within a budget that all bodies share, inflated ones too.
//! Nothing is allocated from a declared length (CVE-2022-35922).

use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::answer::Fault;
use super::api::Api;
use super::connection::UNREAD_GRACE;
use super::encoding::{Coding, Failed, codings, inflate, wire_limit};
use crate::bodies::{BodySender, BodyShare};

/// A body that was read whole, with its share of the budget.
pub(super) struct Taken {
    pub(super) bytes: Vec<u8>,
    share: BodyShare,
}

impl Api {
    /// Reads all of `body`, at most `limit` bytes, within the time for bodies, and undoes its
    /// codings.
    pub(super) async fn take(
        &self,
        fields: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<Taken, Fault> {
        let codings = codings(fields)?;
        let most = if codings.is_empty() { limit } else { wire_limit(limit) };
        match declared(fields) {
            Some(length) if length > most as u64 => return Err(too_large(limit)),
            None if !fields.contains_key(TRANSFER_ENCODING) => {
                return Err(Fault::new(
                    StatusCode::LENGTH_REQUIRED,
                    "length_required",
                    "the request has neither a Content-Length nor a chunked body: send a body, an \
                     HTTP client adds its length",
                )
                .closing());
            }
            _ => {}
        }
        let mut read = pin!(self.read(body, most));
        let body_time = Duration::from_millis(self.config.bounds.body_ms);
        let taken = match timeout(body_time, &mut read).await {
            Err(_) => timeout(UNREAD_GRACE, read).await,
            in_time => in_time,
        };
        let mut taken = taken.unwrap_or_else(|_| {
            Err(Fault::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body did not arrive in time: send it without pauses",
            )
            .closing())
        })?;
        for (nth, coding) in codings.iter().enumerate().rev() {
            taken = self.inflate(taken, *coding, if nth == 0 { limit } else { most })?;
        }
        if taken.bytes.is_empty() {
            return Err(Fault::bad_request(
                "empty_body",
                "the body is empty and a message is not: send the message as the body",
            ));
        }
        Ok(taken)
    }

    async fn read(&self, mut body: Body, limit: usize) -> Result<Taken, Fault> {
        let mut taken = Taken { bytes: Vec::new(), share: BodyShare::default() };
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            match frame {
                None => return Ok(taken),
                Some(Err(_)) => {
                    let message = "the body's framing is broken or it ended early";
                    return Err(Fault::bad_request("bad_body", message).closing());
                }
                Some(Ok(frame)) => {
                    // Trailers are read and dropped: nothing in them is ours.
                    let Ok(bytes) = frame.into_data() else { continue };
                    if taken.bytes.len() + bytes.len() > limit {
                        return Err(too_large(limit));
                    }
                    self.pay(&mut taken, bytes.len())?;
                    taken.bytes.extend_from_slice(&bytes);
                }
            }
        }
    }

    /// The body without one of its codings. The deflated one is let go of when this is whole, so
    /// that both are paid for meanwhile.
    fn inflate(&self, deflated: Taken, coding: Coding, limit: usize) -> Result<Taken, Fault> {
        let mut taken = Taken { bytes: Vec::new(), share: BodyShare::default() };
        let inflated = inflate(coding, &deflated.bytes, limit, |bytes| self.pay(&mut taken, bytes));
        taken.bytes = inflated.map_err(|failed| match failed {
            Failed::TooLarge => too_large(limit),
            Failed::Corrupt => Fault::bad_request(
                "bad_body",
                "the body is not what its Content-Encoding says, or ends early",
            ),
            Failed::Unpaid(fault) => fault,
        })?;
        Ok(taken)
    }

    /// Takes the next bytes' share of the budget.
    fn pay(&self, taken: &mut Taken, bytes: usize) -> Result<(), Fault> {
        let limits = &self.config.limits;
        if taken.share.grow(&self.metrics.bodies, bytes, BodySender::Backend, limits) {
            return Ok(());
        }
        Err(Fault::unavailable(
            "busy",
            "the requests of others hold all memory that bodies may use, so nothing was \
             published: try again in a second",
            1,
        )
        .closing())
    }
}

fn declared(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body is not read further, so the connection cannot go on.
fn too_large(limit: usize) -> Fault {
    let message = format!(
        "the body has more than {limit} bytes, inflated where it is compressed: send less, or \
         raise limits.message_bytes"
    );
    Fault::too_large("body_too_large", message).closing()
}
