//! `GET /v1/channels/{channel}` and its `/history`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use fanfare_protocol::id::{Id, parse_decimal};
use fanfare_protocol::limits::{POLL_BYTES_MAX, POLL_MESSAGES_MAX};
use serde::Serialize;

use super::answer::{Fault, json, json_bytes};
use super::api::Api;
use super::caller::Caller;
use super::{page, target};
use crate::sequencer::command::{ChannelStats, Command, HistoryQuery};

/// How many messages a page has where the request does not say.
const LIMIT_DEFAULT: usize = 100;

#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    subscribers: u64,
    offset: u64,
    history: Kept,
}

#[derive(Serialize)]
struct Kept {
    messages: u64,
    bytes: u64,
}

/// A channel's numbers. They are zeros where nobody has used it, because a channel need not be
/// created.
pub(super) async fn stats(
    State(api): State<Arc<Api>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Fault> {
    let channel = target::channel(&uri, &caller.tenant)?;
    let name = Arc::clone(&channel.name);
    let ChannelStats { subscribers, offset, history_messages, history_bytes } =
        api.ask(|answer| Command::Stats(channel, answer)).await?;
    let history = Kept { messages: history_messages, bytes: history_bytes };
    Ok(json(StatusCode::OK, &Channel { channel: &name, subscribers, offset, history }))
}

/// What a channel keeps after a place, oldest first.
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Fault> {
    let channel = target::channel(&uri, &caller.tenant)?;
    let name = Arc::clone(&channel.name);
    target::spelled_right(&uri, &["since", "limit"])?;
    target::no_last(&uri)?;
    let since = target::parameter(&uri, "since")?.map(|text| since(&text)).transpose()?;
    let limit = page_limit(&uri)?;
    let mut found = api
        .ask(|answer| Command::History(Box::new(HistoryQuery { channel, since, limit, answer })))
        .await?;
    let page = page::history(&name, &mut found, POLL_BYTES_MAX);
    Ok(json_bytes(StatusCode::OK, page))
}

/// The most that a page is to have.
pub(super) fn page_limit(uri: &Uri) -> Result<usize, Fault> {
    match target::parameter(uri, "limit")? {
        Some(text) => limit(&text),
        None => Ok(LIMIT_DEFAULT),
    }
}

fn since(text: &str) -> Result<Id, Fault> {
    Id::parse(text.as_bytes()).ok_or_else(|| {
        Fault::bad_request(
            "bad_since",
            "\"since\" is not an id: give one that an answer named, or none for the oldest \
             message that is kept",
        )
    })
}

fn limit(text: &str) -> Result<usize, Fault> {
    match parse_decimal(text.as_bytes()) {
        Some(limit @ 1..) => {
            Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(POLL_MESSAGES_MAX))
        }
        _ => Err(Fault::bad_request("bad_limit", "\"limit\" is a number from 1 to 1000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_from_one() {
        assert_eq!(limit("1").unwrap(), 1);
        assert_eq!(limit("1000").unwrap(), 1_000);
        assert_eq!(limit("99999999999").unwrap(), 1_000);
        for text in ["0", "-1", "", "ten", "1.5", "01"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
