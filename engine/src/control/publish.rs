//! `POST /v1/channels/{channel}` and `POST /v1/publish`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use fanfare_protocol::ingest::ChannelReceipt;
use fanfare_protocol::message::Kind;
use serde::Serialize;

use super::answer::{Fault, json, refusal_words};
use super::api::{Api, json_bytes};
use super::batch::{self, BatchMessage, PublishRequest, with_room};
use super::caller::Caller;
use super::gate::idempotency_key;
use super::target;
use crate::channel::Tenant;
use crate::payload;
use crate::sequencer::command::{
    BatchAnswer, Command, Publication, PublishAnswer, Published, Refusal,
};

/// The raw body is the message; its kind is decided here.
pub(super) async fn raw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let channel = target::channel(&head.uri, &caller.tenant)?;
    target::spelled_right(&head.uri, &["event", "ephemeral", "except"])?;
    let event = target::event(target::parameter(&head.uri, "event")?)?;
    let ephemeral = target::ephemeral(target::parameter(&head.uri, "ephemeral")?)?;
    let except = target::except(target::parameter(&head.uri, "except")?)?;
    let key = idempotency_key(&head.headers)?.map(Into::into);
    let limits = &api.config.limits;
    let mut taken = api.take(&head.headers, body, limits.message_bytes).await?;
    let (kind, data) = kind_of(&head.headers, std::mem::take(&mut taken.bytes));
    let data = data.into_boxed_slice();
    let idempotency_key = key;
    let also = Box::default();
    let message =
        Publication { channel, also, kind, event, idempotency_key, ephemeral, except, data };
    publish_one(&api, BatchMessage { publication: with_room(message, limits)?, lists: false }).await
}

/// What a raw body is, without a byte order mark where it is text.
pub(super) fn kind_of(fields: &HeaderMap, mut body: Vec<u8>) -> (Kind, Vec<u8>) {
    let says_binary = |kind: &[u8]| kind.eq_ignore_ascii_case(b"application/octet-stream");
    if media_type(fields).is_some_and(says_binary) {
        return (Kind::Binary, body);
    }
    let (kind, message) = payload::settle(&body);
    let mark_bytes = body.len() - message.len();
    body.drain(..mark_bytes);
    (kind, body)
}

/// A JSON body names one message or several.
pub(super) async fn json_body(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let key = idempotency_key(&head.headers)?;
    if !says_json(&head.headers) {
        return Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "this path takes JSON: send \"Content-Type: application/json\" (curl --json does), or \
             POST the raw message to /v1/channels/{channel}",
        )
        .closing());
    }
    let order = read_order(&api, &caller.tenant, &head.headers, body, key).await?;
    match order {
        PublishRequest::One(asked) => publish_one(&api, asked).await,
        PublishRequest::Many(asked) => publish_many(&api, asked).await,
    }
}

async fn read_order(
    api: &Api,
    tenant: &Tenant,
    fields: &HeaderMap,
    body: Body,
    key: Option<&[u8]>,
) -> Result<PublishRequest, Fault> {
    let taken = api.take(fields, body, json_bytes(&api.config.limits)).await?;
    batch::read(&taken.bytes, key, tenant, &api.config.limits)
}

async fn publish_one(api: &Api, asked: BatchMessage) -> Result<Response, Fault> {
    let BatchMessage { publication, lists } = asked;
    let published =
        api.ask(|answer| Command::Publish(publication, PublishAnswer::Callback(answer))).await??;
    Ok(json(StatusCode::OK, &Receipt::of(&published, lists)))
}

/// One command and one answer, which has a result for each message, in order: none is dropped in
/// silence.
async fn publish_many(api: &Api, asked: Vec<BatchMessage>) -> Result<Response, Fault> {
    let lists: Vec<bool> = asked.iter().map(|asked| asked.lists).collect();
    let publications = asked.into_iter().map(|asked| asked.publication).collect();
    let results =
        api.ask(|answer| Command::PublishBatch(publications, BatchAnswer::Each(answer))).await?;
    let results = results.iter().zip(lists).map(|(result, lists)| BatchResult::of(result, lists));
    let results = results.collect();
    Ok(json(StatusCode::OK, &Results { results }))
}

/// The answer for a message that has its place. An ephemeral one has no id and no offset, because
/// nobody can come back to it.
#[derive(Serialize)]
struct Receipt {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    channels: Channels,
    /// Left out where it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// As the channels were named: one, or a list.
#[derive(Serialize)]
#[serde(untagged)]
enum Channels {
    One(OfChannel),
    Listed { channels: Vec<OfChannel> },
}

#[derive(Serialize)]
struct OfChannel {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    subscribers: u64,
}

impl From<ChannelReceipt> for OfChannel {
    fn from(ChannelReceipt { offset, subscribers }: ChannelReceipt) -> Self {
        Self { offset: (offset > 0).then_some(offset), subscribers }
    }
}

impl Receipt {
    fn of(published: &Published, lists: bool) -> Self {
        let Published { id, offset, subscribers, duplicate, .. } = *published;
        let first = OfChannel::from(ChannelReceipt { offset, subscribers });
        let id = first.offset.map(|_| id.to_string());
        let also = published.also().iter().copied().map(OfChannel::from);
        let channels = match lists {
            true => Channels::Listed { channels: std::iter::once(first).chain(also).collect() },
            false => Channels::One(first),
        };
        Self { id, channels, duplicate }
    }
}

#[derive(Serialize)]
struct Results {
    results: Vec<BatchResult>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BatchResult {
    Published(Receipt),
    Refused { error: &'static str, message: &'static str },
}

impl BatchResult {
    fn of(result: &Result<Published, Refusal>, lists: bool) -> Self {
        match result {
            Ok(published) => Self::Published(Receipt::of(published, lists)),
            Err(refusal) => {
                let (error, message) = refusal_words(*refusal);
                Self::Refused { error, message }
            }
        }
    }
}

/// The Content-Type without its parameters.
fn media_type(fields: &HeaderMap) -> Option<&[u8]> {
    let value = fields.get(CONTENT_TYPE)?.as_bytes();
    value.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii)
}

/// `application/json`, or a type that is JSON by its suffix (RFC 6839, section 3.1).
pub(super) fn says_json(fields: &HeaderMap) -> bool {
    media_type(fields).is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind == b"application/json" || kind.ends_with(b"+json")
    })
}
