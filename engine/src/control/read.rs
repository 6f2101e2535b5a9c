//! `GET /v1/channels/{channel}` and its `/history`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use fanfare_protocol::id::{Id, parse_decimal};
use fanfare_protocol::limits::{POLL_BYTES_MAX, POLL_MESSAGES_MAX};
use serde::Serialize;

use super::answer::{Fault, json, json_bytes};
use super::{Api, page, target};
use crate::sequencer::command::{ChannelStats, Command, HistoryPage, HistoryQuery};

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

/// A channel's numbers; zeros where nobody used it, as a channel needs no making.
pub(super) async fn stats(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Fault> {
    let channel = target::channel(&uri)?;
    let name = Arc::clone(&channel.name);
    let ChannelStats { subscribers, offset, history_messages, history_bytes } =
        api.ask(|answer| Command::Stats(channel, answer)).await?;
    let history = Kept { messages: history_messages, bytes: history_bytes };
    Ok(json(StatusCode::OK, &Channel { channel: &name, subscribers, offset, history }))
}

/// What a channel keeps after a place, oldest first.
pub(super) async fn history(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Fault> {
    let channel = target::channel(&uri)?;
    let name = Arc::clone(&channel.name);
    let since = target::parameter(&uri, "since")?.map(|text| since(&text)).transpose()?;
    let limit = match target::parameter(&uri, "limit")? {
        Some(text) => limit(&text)?,
        None => LIMIT_DEFAULT,
    };
    let mut found = api
        .ask(|answer| Command::History(Box::new(HistoryQuery { channel, since, limit, answer })))
        .await?;
    cut(&mut found, POLL_BYTES_MAX);
    Ok(json_bytes(StatusCode::OK, page::history(&name, &found, api.facts.epoch)))
}

fn since(text: &str) -> Result<Id, Fault> {
    Id::parse(text.as_bytes()).ok_or_else(|| {
        Fault::bad_request("bad_since", "\"since\" is not an id: give one that an answer named")
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

/// Keeps a page within `bytes`, but one message whatever its size; what is cut off is `more`.
fn cut(page: &mut HistoryPage, bytes: usize) {
    let mut sum = 0;
    let fits = page.messages.iter().take_while(|message| {
        sum += message.cost();
        sum <= bytes
    });
    let kept = fits.count().max(1);
    if kept >= page.messages.len() {
        return;
    }
    page.messages.truncate(kept);
    page.id.position = page.messages[kept - 1].position;
    page.more = true;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ChannelId, ChannelName, Tenant};
    use crate::clock::Millis;
    use crate::message::Message;
    use fanfare_protocol::id::Epoch;
    use fanfare_protocol::message::Kind;

    fn page_of(sizes: &[usize]) -> HistoryPage {
        let name = Arc::new(ChannelName::new(Tenant::default(), "demo"));
        let message = |(nth, size): (usize, &usize)| {
            Arc::new(Message {
                channel: ChannelId(1),
                name: Arc::clone(&name),
                position: 10 * (nth as u64 + 1),
                offset: nth as u64 + 1,
                floor: 1,
                at: Millis(0),
                kind: Kind::Text,
                event: None,
                data: vec![b'x'; *size].into(),
            })
        };
        HistoryPage {
            messages: sizes.iter().enumerate().map(message).collect(),
            gap: None,
            id: Id { epoch: Epoch::from_random(1), position: 99 },
            more: false,
        }
    }

    #[test]
    fn pages_are_cut_by_bytes() {
        let cases: [(&[usize], usize, u64, bool); 5] = [
            (&[], 0, 99, false),
            (&[100, 100], 2, 99, false),
            (&[600, 600, 600], 1, 10, true),
            (&[5_000], 1, 99, false),
            (&[5_000, 1], 1, 10, true),
        ];
        for (sizes, kept, position, more) in cases {
            let mut page = page_of(sizes);
            cut(&mut page, 1_000);
            assert_eq!((page.messages.len(), page.id.position, page.more), (kept, position, more));
        }
    }

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
