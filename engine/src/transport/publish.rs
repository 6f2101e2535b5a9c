//! The playground's publish: its answer. The backends' way in is [`crate::control`].

use fanfare_protocol::http::response::NO_STORE;
use fanfare_protocol::http::{Answer, ContentType, Ending, HttpDate, Status};

use crate::sequencer::command::Published;

/// `{"id","offset","subscribers"}`, as the API says it.
pub fn answer(published: Published, date: HttpDate, ending: Ending, out: &mut Vec<u8>) {
    let Published { id, offset, subscribers, .. } = published; // it has no key
    let body = format!("{{\"id\":\"{id}\",\"offset\":{offset},\"subscribers\":{subscribers}}}");
    let (status, content_type, fields) = (Status::Ok, ContentType::Json, &[NO_STORE]);
    let answer = Answer { date, status, content_type, ending, fields, head_only: false };
    answer.write(out, body.as_bytes());
}
