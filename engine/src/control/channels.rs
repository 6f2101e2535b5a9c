//! `GET /v1/channels`: the channels that there are, page by page in the order of their names.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use fanfare_protocol::limits::CHANNEL_NAME_BYTES_MAX;
use serde::Serialize;

use super::answer::{Fault, json};
use super::api::Api;
use super::caller::Caller;
use super::{read, target};
use crate::sequencer::command::ChannelStats;

#[derive(Serialize)]
struct Page<'a> {
    channels: Vec<Listed<'a>>,
    more: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    channel: &'a str,
    subscribers: u64,
    offset: u64,
}

/// A page of channels with what there is of each.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Fault> {
    target::spelled_right(&uri, &["prefix", "after", "limit"])?;
    let prefix = part_of_name(&uri, "prefix")?.unwrap_or_default();
    let after = part_of_name(&uri, "after")?;
    let limit = read::page_limit(&uri)?;
    let page = api.list_channels(caller.tenant, (&prefix, after.as_deref()), limit).await?;
    let channels = page.channels.iter().map(|(channel, stats)| {
        let ChannelStats { subscribers, offset, .. } = *stats;
        Listed { channel, subscribers, offset }
    });
    Ok(json(StatusCode::OK, &Page { channels: channels.collect(), more: page.more }))
}

/// What a channel's name begins with, or any text that is as long as a name at most.
fn part_of_name(uri: &Uri, name: &str) -> Result<Option<String>, Fault> {
    let Some(text) = target::parameter(uri, name)? else { return Ok(None) };
    if text.len() > CHANNEL_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let message = format!(
            "\"{name}\" is up to {CHANNEL_NAME_BYTES_MAX} bytes without control characters, as a \
             channel's name is"
        );
        return Err(Fault::bad_request("bad_parameter", message));
    }
    Ok(Some(text.into_owned()))
}
