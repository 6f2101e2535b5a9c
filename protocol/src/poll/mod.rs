//! Long-poll answers: `{"id":…,"messages":[…],"gaps":[…],"unsubscribed":[…]}` around items that
//! are rendered already.
//!
//! The messages may lie anywhere, and nobody copies them: what stands before them and what stands
//! behind them is written here, and their length is known before the first byte. `gaps` is there
//! only when something was missed, `unsubscribed` only when a backend has ended a subscription.

use crate::http::date::HttpDate;
use crate::http::response::{Answer, ContentType, Ending, Field};
use crate::http::status::Status;
use crate::id::Id;

/// What one poll is told.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    /// Where the next poll goes on: that of the last message here, or of the present.
    pub id: Id,
    /// Bytes of all messages, each in an encoding of [`crate::framing::Framing::Poll`], in order,
    /// and of what separates them.
    pub messages_bytes: usize,
    /// Gap notices in the same encoding.
    pub gaps: &'a [&'a [u8]],
    /// Notices of subscriptions that a backend has ended, in the same encoding.
    pub unsubscribed: &'a [&'a [u8]],
}

impl Poll<'_> {
    /// Appends the head, 200 with the length of the body, and the body up to the first message.
    /// `fields` should hold [`crate::http::response::NO_STORE`] and what CORS asks for.
    pub fn begin_answer(
        &self,
        out: &mut Vec<u8>,
        date: HttpDate,
        ending: Ending,
        fields: &[Field<'_>],
    ) {
        let (status, content_type) = (Status::Ok, ContentType::Json);
        let answer = Answer { date, status, content_type, ending, fields, head_only: false };
        answer.write_head(out, self.body_bytes());
        self.begin_body(out);
    }

    /// Appends the body up to the first message, for a head that went out before.
    pub fn begin_body(&self, out: &mut Vec<u8>) {
        self.before(|piece| out.extend_from_slice(piece));
    }

    /// Appends what stands behind the last message.
    pub fn end(&self, out: &mut Vec<u8>) {
        self.behind(|piece| out.extend_from_slice(piece));
    }

    /// Length of the body in bytes.
    pub fn body_bytes(&self) -> usize {
        let mut sum = self.messages_bytes;
        self.before(|piece| sum += piece.len());
        self.behind(|piece| sum += piece.len());
        sum
    }

    fn before(&self, mut give: impl FnMut(&[u8])) {
        let mut id = Vec::with_capacity(crate::id::ID_TEXT_BYTES_MAX);
        self.id.write(&mut id);
        give(b"{\"id\":\"");
        give(&id);
        give(b"\",\"messages\":[");
    }

    fn behind(&self, mut give: impl FnMut(&[u8])) {
        for (index, gap) in self.gaps.iter().enumerate() {
            give(if index == 0 { b"],\"gaps\":[" } else { b"," });
            give(gap);
        }
        for (index, notice) in self.unsubscribed.iter().enumerate() {
            give(if index == 0 { b"],\"unsubscribed\":[" } else { b"," });
            give(notice);
        }
        give(b"]}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::NO_STORE;
    use crate::id::Epoch;
    use serde_json::{Value, json};

    fn answer(messages: Items<'_>, gaps: Items<'_>, unsubscribed: Items<'_>) -> (String, Vec<u8>) {
        let id = Id { epoch: Epoch::from_random(1), position: 9 };
        let separator = crate::framing::Framing::Poll.separator();
        let messages = messages.join(separator);
        let poll = Poll { id, messages_bytes: messages.len(), gaps, unsubscribed };
        let date = HttpDate::from_unix_seconds(0);
        let (mut out, mut body) = (Vec::new(), Vec::new());
        poll.begin_answer(&mut out, date, Ending::KeepAlive, &[NO_STORE]);
        out.extend_from_slice(&messages);
        poll.end(&mut out);
        let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        poll.begin_body(&mut body);
        body.extend_from_slice(&messages);
        poll.end(&mut body);
        assert_eq!(out.split_off(end), body, "the same behind a head that went out before");
        (String::from_utf8(out).unwrap(), body)
    }

    type Items<'a> = &'a [&'a [u8]];

    #[test]
    fn bodies() {
        let (one, two): (&[u8], &[u8]) = (br#"{"a":1}"#, br#"{"b":2}"#);
        let cases: [(Items<'_>, Items<'_>, Items<'_>, Value); 6] = [
            (&[], &[], &[], json!({"id": "00000001-9", "messages": []})),
            (&[one], &[], &[], json!({"id": "00000001-9", "messages": [{"a": 1}]})),
            (&[one, two], &[], &[], json!({"id": "00000001-9", "messages": [{"a": 1}, {"b": 2}]})),
            (
                &[],
                &[],
                &[one, two],
                json!({"id": "00000001-9", "messages": [], "unsubscribed": [{"a": 1}, {"b": 2}]}),
            ),
            (
                &[one],
                &[two],
                &[one],
                json!({"id": "00000001-9", "messages": [{"a": 1}], "gaps": [{"b": 2}],
                       "unsubscribed": [{"a": 1}]}),
            ),
            (
                &[one],
                &[two, one],
                &[],
                json!({"id": "00000001-9", "messages": [{"a": 1}], "gaps": [{"b": 2}, {"a": 1}]}),
            ),
        ];
        for (messages, gaps, unsubscribed, expected) in cases {
            let (head, body) = answer(messages, gaps, unsubscribed);
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
            assert!(head.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
            assert!(head.contains("\r\nCache-Control: no-store\r\n"));
        }
    }
}
