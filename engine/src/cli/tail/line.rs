//! One event of a stream as one line.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The name of the event that tells of missing messages.
pub(super) const GAP: &str = "fanfare.gap";

/// A message of the JSON format, its payload as it was written.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    base64: Option<String>,
}

/// A key that is there has a value, `null` too: that is a payload like any other.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

#[derive(Deserialize)]
struct Gap {
    channel: String,
    from: Option<u64>,
    to: Option<u64>,
    missed: Option<u64>,
    reason: String,
}

/// A payload of the raw format. JSON that was published over several lines is put on one, which
/// does not change what it says; other text stays as it is, for [`printable`].
pub(super) fn raw(data: &str) -> String {
    let json = || serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
    if data.contains('\n') && json() { one_line(data) } else { data.to_owned() }
}

/// JSON on one line: in valid JSON a line break stands only between tokens (RFC 8259, section 7:
/// strings hold none).
pub(super) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// Text as one line that a terminal shows and does not obey. Line breaks and control characters are
/// written as JSON would escape them in a string, which is the only place where valid JSON on one
/// line may have any. A tab is a tab.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push('\t'),
            it if it.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(it))),
            it => line.push(it),
        }
    }
    line
}

/// The payload of an envelope: JSON as it was published, text as itself, binary as base64. What is
/// no envelope is printed as it came.
pub(super) fn payload(envelope: &str) -> String {
    let Ok(Envelope { data, base64 }) = serde_json::from_str(envelope) else {
        return envelope.to_owned();
    };
    match (data.map(RawValue::get), base64) {
        (Some(json), _) if json.starts_with('"') => {
            serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
        }
        (Some(json), _) => one_line(json),
        (None, Some(base64)) => base64,
        (None, None) => envelope.to_owned(),
    }
}

/// What a gap notice says, for people.
pub(super) fn gap(notice: &str) -> String {
    let Ok(Gap { channel, from, to, missed, reason }) = serde_json::from_str(notice) else {
        return format!("messages are missing: {notice}");
    };
    let why = match reason.as_str() {
        "trimmed" => "the history does not reach back that far",
        "expired" => "they are older than the history keeps",
        "slow" => "this reader was too slow",
        "epoch" => "the server has begun anew",
        "unknown" => "the server does not know the place to continue from",
        other => other,
    };
    match (from, to, missed) {
        (Some(from), Some(to), Some(missed)) => {
            format!("gap in \"{channel}\": {missed} missing, offsets {from} to {to}: {why}")
        }
        _ => format!("gap in \"{channel}\": an unknown number missing: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_cut_out_as_they_were_published() {
        let number = r#"{"channel":"a","id":"x","offset":1,"data":1.00000000000000000000001}"#;
        assert_eq!(payload(number), "1.00000000000000000000001");
        let object = "{\"channel\":\"a\",\"data\":{\"b\": 1,\n \"a\" : 2}}";
        assert_eq!(payload(object), r#"{"b": 1,  "a" : 2}"#);
        assert_eq!(payload(r#"{"channel":"a","data":"say \"hi\"\n"}"#), "say \"hi\"\n");
        assert_eq!(payload(r#"{"channel":"a","base64":"AAE="}"#), "AAE=");
        assert_eq!(payload(r#"{"channel":"a","data":null}"#), "null");
        assert_eq!(payload("no envelope"), "no envelope");
    }

    #[test]
    fn raw_text_stays_and_raw_json_is_one_line() {
        assert_eq!(raw("two\nlines"), "two\nlines");
        assert_eq!(raw("{\n\"a\": 1\n}"), "{ \"a\": 1 }");
        assert_eq!(raw("\"hi\""), "\"hi\"");
    }

    #[test]
    fn what_is_printed_is_one_line_and_no_command() {
        let text = "two\nlines\r\n\tand \u{1b}[2J\u{7}\u{9b}31m\u{7f}\0 é";
        let line = r"two\nlines\r\n	and \u001b[2J\u0007\u009b31m\u007f\u0000 é";
        assert_eq!(printable(text), line);
        // What is JSON says the same.
        let json = "{\"a\":\"\u{9b}\u{7f}\", \"b\": 1}";
        let again: serde_json::Value = serde_json::from_str(&printable(json)).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }

    #[test]
    fn gaps_are_sentences() {
        let exact =
            r#"{"event":"fanfare.gap","channel":"c","from":3,"to":5,"missed":3,"reason":"slow"}"#;
        assert_eq!(gap(exact), "gap in \"c\": 3 missing, offsets 3 to 5: this reader was too slow");
        let unknown = r#"{"channel":"c","from":null,"to":null,"missed":null,"reason":"epoch"}"#;
        assert_eq!(
            gap(unknown),
            "gap in \"c\": an unknown number missing: the server has begun anew"
        );
    }
}
