//! Long-poll answers: `{"id":…,"messages":[…],"gaps":[…]}` around items that are rendered already.
//!
//! The length is known before a byte is written, so that head and body go into one buffer and no
//! item is copied twice. `gaps` is there only when something was missed.

use crate::http::date::HttpDate;
use crate::http::response::{Answer, ContentType, Ending, Field};
use crate::http::status::Status;
use crate::id::Id;

/// What one poll is told.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    /// Where the next poll goes on: that of the last message here, or of the present.
    pub id: Id,
    /// Each message in an encoding of [`crate::framing::Framing::Poll`], in order.
    pub messages: &'a [&'a [u8]],
    /// Gap notices in the same encoding.
    pub gaps: &'a [&'a [u8]],
}

impl Poll<'_> {
    /// Appends the whole answer: 200 with its length. `fields` should hold
    /// [`crate::http::response::NO_STORE`] and what CORS asks for.
    pub fn write_answer(
        &self,
        out: &mut Vec<u8>,
        date: HttpDate,
        ending: Ending,
        fields: &[Field<'_>],
        head_only: bool,
    ) {
        let (status, content_type) = (Status::Ok, ContentType::Json);
        let body_bytes = self.body_bytes();
        let answer = Answer { date, status, content_type, ending, fields, head_only };
        answer.write_head(out, body_bytes);
        if !head_only {
            self.write_body(out);
        }
    }

    /// Appends the body alone, for a head that went out before.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        out.reserve(self.body_bytes());
        self.pieces(|piece| out.extend_from_slice(piece));
    }

    /// Length of the body in bytes.
    pub fn body_bytes(&self) -> usize {
        let mut sum = 0;
        self.pieces(|piece| sum += piece.len());
        sum
    }

    /// The body in order, piece by piece: the one place that knows its shape.
    fn pieces(&self, mut give: impl FnMut(&[u8])) {
        let mut id = Vec::with_capacity(crate::id::ID_TEXT_BYTES_MAX);
        self.id.write(&mut id);
        give(b"{\"id\":\"");
        give(&id);
        give(b"\",\"messages\":[");
        list(self.messages, &mut give);
        if !self.gaps.is_empty() {
            give(b"],\"gaps\":[");
            list(self.gaps, &mut give);
        }
        give(b"]}");
    }
}

fn list(items: &[&[u8]], give: &mut impl FnMut(&[u8])) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            give(b",");
        }
        give(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::NO_STORE;
    use crate::id::Epoch;
    use serde_json::{Value, json};

    fn answer(messages: Items<'_>, gaps: Items<'_>, head_only: bool) -> (String, Vec<u8>) {
        let id = Id { epoch: Epoch::from_random(1), position: 9 };
        let mut out = Vec::new();
        let poll = Poll { id, messages, gaps };
        let date = HttpDate::from_unix_seconds(0);
        poll.write_answer(&mut out, date, Ending::KeepAlive, &[NO_STORE], head_only);
        let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let body = out.split_off(end);
        (String::from_utf8(out).unwrap(), body)
    }

    type Items<'a> = &'a [&'a [u8]];

    #[test]
    fn bodies() {
        let (one, two): (&[u8], &[u8]) = (br#"{"a":1}"#, br#"{"b":2}"#);
        let cases: [(Items<'_>, Items<'_>, Value); 4] = [
            (&[], &[], json!({"id": "00000001-9", "messages": []})),
            (&[one], &[], json!({"id": "00000001-9", "messages": [{"a": 1}]})),
            (&[one, two], &[], json!({"id": "00000001-9", "messages": [{"a": 1}, {"b": 2}]})),
            (
                &[one],
                &[two, one],
                json!({"id": "00000001-9", "messages": [{"a": 1}], "gaps": [{"b": 2}, {"a": 1}]}),
            ),
        ];
        for (messages, gaps, expected) in cases {
            let (head, body) = answer(messages, gaps, false);
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
            assert!(head.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
            assert!(head.contains("\r\nCache-Control: no-store\r\n"));
            assert_eq!(answer(messages, gaps, true), (head, Vec::new()), "HEAD: the same head");
        }
    }
}
