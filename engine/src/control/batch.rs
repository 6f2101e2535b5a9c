//! The JSON body of `POST /v1/publish`, read into publications: all of it is valid, or nothing of
//! it is published and the answer names the message that is wrong.
//!
//! `data` stays as the publisher wrote it (numbers, key order, space), because it is cut out of the
//! body as raw text and never parsed into a tree.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::message::Kind;
use fanfare_protocol::names::is_channel_name;
use fanfare_protocol::refusals;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::Fault;
use super::{gate, target};
use crate::channel::{ChannelName, Tenant};
use crate::limits::Limits;
use crate::payload;
use crate::sequencer::command::Publication;

/// What a body asks for.
#[derive(Debug)]
pub(super) enum PublishRequest {
    /// One message; the answer is one result.
    One(BatchMessage),
    /// Several; the answer is `results`.
    Many(Vec<BatchMessage>),
}

/// A message, and how it named its channels.
#[derive(Debug)]
pub(super) struct BatchMessage {
    /// What is to be published.
    pub(super) publication: Publication,
    /// Whether it names its channels in a list, even one of a single channel: then its answer has a
    /// list of places.
    pub(super) lists: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "list")]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(default)]
    ephemeral: bool,
    #[serde(borrow, default)]
    except: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    messages: Option<&'a RawValue>,
}

/// The message, if every frame that is made of it will be short enough.
pub(super) fn with_room(message: Publication, limits: &Limits) -> Result<Publication, Fault> {
    let Publication { kind, event, data, .. } = &message;
    for channel in message.channels() {
        payload::room(limits.message_bytes, &channel.name, event.as_deref(), *kind, data)
            .map_err(|too_long| Fault::too_large("message_too_large", too_long.to_string()))?;
    }
    Ok(message)
}

/// A field that is there counts even if it is `null`: `"data":null` publishes `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A field that is there has to be a list: `"channels":null` is of the wrong type, and so is
/// `"messages":null`.
fn list<'de, D: Deserializer<'de>>(names: D) -> Result<Option<Vec<Cow<'de, str>>>, D::Error> {
    Vec::deserialize(names).map(Some)
}

/// Reads a body that names channels of `tenant`. `key` is the request's own `Idempotency-Key`.
pub(super) fn read(
    body: &[u8],
    key: Option<&[u8]>,
    tenant: &Tenant,
    limits: &Limits,
) -> Result<PublishRequest, Fault> {
    // RFC 8259, section 8.1: a byte order mark may be passed over, and some editors write one.
    let body = body.strip_prefix(payload::BYTE_ORDER_MARK).unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| not_json("it is not UTF-8"))?;
    if matches!(text.trim_ascii(), "null" | "{}" | "") {
        let message = "the body says nothing: send {\"channel\":…,\"data\":…}";
        return Err(Fault::bad_request("empty_body", message));
    }
    let mut document = document(text, text)?;
    let Some(messages) = document.messages.take() else {
        return document.asked(key, tenant, limits).map(PublishRequest::One);
    };
    if key.is_some() {
        return Err(Fault::unprocessable(
            "bad_idempotency_key",
            "an Idempotency-Key field is for one message: give each message of a batch its own \
             \"idempotency_key\"",
        ));
    }
    if !document.is_empty() {
        return Err(Fault::unprocessable(
            "bad_message",
            "beside \"messages\" nothing else is read: put the fields into each message",
        ));
    }
    read_many(messages, text, tenant, limits).map(PublishRequest::Many)
}

/// One message out of `text`, which is a part of `body` or all of it.
fn document<'a>(text: &'a str, body: &str) -> Result<Document<'a>, Fault> {
    let failed = |error| unreadable(&error, text, body);
    // serde would take an array too, its values for the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(failed)?;
        return Err(wrong_shape("a message is a JSON object"));
    }
    serde_json::from_str(text).map_err(failed)
}

fn read_many(
    messages: &RawValue,
    body: &str,
    tenant: &Tenant,
    limits: &Limits,
) -> Result<Vec<BatchMessage>, Fault> {
    let limit = limits.batch_messages;
    let mut text = serde_json::Deserializer::from_str(messages.get());
    let items = Items { limit: limit + 1 }
        .deserialize(&mut text)
        .map_err(|error| unreadable(&error, messages.get(), body))?;
    if items.is_empty() {
        let message = "\"messages\" is empty: name at least one";
        return Err(Fault::unprocessable("empty_batch", message));
    }
    if items.len() > limit {
        let message = format!(
            "more than {limit} messages in one request, and nothing was published: send them in \
             several"
        );
        return Err(Fault::too_large("batch_too_large", message));
    }
    let asked = |item: &RawValue| {
        document(item.get(), body).and_then(|item| item.asked(None, tenant, limits))
    };
    let count = items.len();
    let items = items.into_iter().enumerate();
    items.map(|(nth, item)| asked(item).map_err(|fault| fault.at(nth, count))).collect()
}

/// Reads an array but keeps no more than `limit` items of it: a million `{}` are few bytes and much
/// memory (CVE-2026-32689).
struct Items {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.limit {
            match items.next_element()? {
                Some(item) => kept.push(item),
                None => return Ok(kept),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept)
    }
}

impl Document<'_> {
    fn is_empty(&self) -> bool {
        self.channel.is_none()
            && self.channels.is_none()
            && self.data.is_none()
            && self.base64.is_none()
            && self.event.is_none()
            && self.idempotency_key.is_none()
            && !self.ephemeral
            && self.except.is_none()
    }

    fn asked(
        mut self,
        key: Option<&[u8]>,
        tenant: &Tenant,
        limits: &Limits,
    ) -> Result<BatchMessage, Fault> {
        let lists = self.channels.is_some();
        let mut channels = self.take_channels(tenant, limits)?;
        let channel = channels.remove(0);
        let publication = self.publication(channel, channels.into(), key, limits)?;
        Ok(BatchMessage { publication, lists })
    }

    /// At least one.
    fn take_channels(
        &mut self,
        tenant: &Tenant,
        limits: &Limits,
    ) -> Result<Vec<ChannelName>, Fault> {
        let lists = self.channels.is_some();
        let names = match (self.channel.take(), self.channels.take()) {
            (Some(_), Some(_)) => {
                let message = "a message has either \"channel\" or a list of \"channels\"";
                return Err(Fault::unprocessable("bad_message", message));
            }
            (None, Some(names)) => names,
            (one, None) => one.into_iter().collect(),
        };
        if !names.iter().all(|name| is_channel_name(name)) || names.is_empty() {
            let what = match lists {
                true => "\"channels\" is empty, or holds what is no name",
                false => "\"channel\" is missing or no name",
            };
            let message = format!("{what}: {}", refusals::BAD_CHANNEL);
            return Err(Fault::unprocessable("bad_channel", message));
        }
        let is_known = |(nth, name): (usize, &Cow<'_, str>)| names[..nth].contains(name);
        let most = limits.channels_per_message;
        if names.len() > most || names.iter().enumerate().any(is_known) {
            let message = format!("\"channels\": {}", refusals::bad_channels(most));
            return Err(Fault::unprocessable("bad_channels", message));
        }
        Ok(names.iter().map(|name| ChannelName::new(tenant.clone(), name)).collect())
    }

    fn publication(
        self,
        channel: ChannelName,
        also: Box<[ChannelName]>,
        key: Option<&[u8]>,
        limits: &Limits,
    ) -> Result<Publication, Fault> {
        if self.messages.is_some() {
            let message = "a message of a batch is a single one: \"messages\" cannot stand in it";
            return Err(Fault::unprocessable("bad_message", message));
        }
        let (kind, data) = content(self.data, self.base64)?;
        if data.is_empty() {
            return Err(Fault::unprocessable("empty_message", refusals::EMPTY));
        }
        if data.len() > limits.message_bytes {
            let message = refusals::too_large(data.len(), limits.message_bytes);
            return Err(Fault::too_large("message_too_large", message));
        }
        let own_key = self.idempotency_key.as_ref().map(|key| gate::checked_key(key.as_bytes()));
        let own_key = own_key.transpose()?;
        if own_key.is_some() && key.is_some() && own_key != key {
            return Err(Fault::unprocessable(
                "bad_idempotency_key",
                "the Idempotency-Key field and \"idempotency_key\" differ: give one of them",
            ));
        }
        let message = Publication {
            channel,
            also,
            kind,
            event: target::event(self.event)?,
            idempotency_key: own_key.or(key).map(Into::into),
            ephemeral: self.ephemeral,
            except: target::except(self.except)?,
            data,
        };
        with_room(message, limits)
    }
}

fn content(
    data: Option<&RawValue>,
    base64: Option<Cow<'_, str>>,
) -> Result<(Kind, Box<[u8]>), Fault> {
    match (data, base64) {
        (Some(data), None) => {
            payload::check(data.get()).map_err(|unfit| {
                let message = format!("\"data\" {unfit}: send it as a string, or in \"base64\"");
                Fault::unprocessable("bad_data", message)
            })?;
            Ok((Kind::Json, data.get().as_bytes().into()))
        }
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| {
                let message = "\"base64\" is not base 64 (RFC 4648, section 4, with padding)";
                Fault::unprocessable("bad_base64", message)
            })?;
            Ok((Kind::Binary, bytes.into()))
        }
        _ => Err(Fault::unprocessable(
            "bad_message",
            "a message has either \"data\" (any JSON) or \"base64\" (bytes)",
        )),
    }
}

/// What serde says of `text`, without the parts that it repeats, and where in the body that is.
fn unreadable(error: &serde_json::Error, text: &str, body: &str) -> Fault {
    let place = place(error, text, body);
    if !error.is_data() {
        return not_json(&format!("it stops being JSON at {place}"));
    }
    let said = error.to_string();
    // These two name only fields that we know.
    let known = ["missing field", "duplicate field"].iter().any(|known| said.starts_with(known));
    let what = match said.split(" at line").next() {
        Some(said) if known => said.to_owned(),
        _ if said.starts_with("unknown field") => "a field that is not known".into(),
        _ => "a value of the wrong type".into(),
    };
    wrong_shape(&format!("{what} at {place}"))
}

/// A place in the whole body, as its sender counts, though a part of it was read. serde counts
/// lines from 1 and, in each, the bytes that it has read.
fn place(error: &serde_json::Error, text: &str, body: &str) -> String {
    let part = (text.as_ptr().addr() - body.as_ptr().addr()).min(body.len());
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let at = part + lines.map(str::len).sum::<usize>() + error.column();
    let before = &body.as_bytes()[..at.min(body.len())];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
    format!("line {line}, column {column}")
}

fn wrong_shape(what: &str) -> Fault {
    let message = format!(
        "{what}: send {{\"channel\"|\"channels\",\"data\"|\"base64\",\"event\"?,\
         \"idempotency_key\"?,\"ephemeral\"?,\"except\"?}}, or several as {{\"messages\":[…]}}"
    );
    Fault::unprocessable("bad_message", message)
}

fn not_json(why: &str) -> Fault {
    Fault::bad_request("bad_json", format!("the body is not JSON: {why}"))
}
