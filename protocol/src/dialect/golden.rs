//! Every encoding, byte for byte as it was recorded: clients in the field parse these.

use super::{CloseReason, DirectView, Encoding, Opening, TokenNotice, UnsubscribedView};
use crate::id::{Epoch, Id};
use crate::message::{GapReason, GapView, Kept, Kind, MessageView};
use crate::ws::CloseCode;

const RECORDED: &str = include_str!("golden.txt");

/// What is written in each encoding, by name.
fn written(encoding: Encoding) -> Vec<(&'static str, Vec<u8>)> {
    let id = Id { epoch: Epoch::from_random(0x1234_5678), position: 4_097 };
    let message = |event, kind, data| {
        let kept = Some(Kept { id, offset: 12 });
        let view = MessageView { channel: "room:\"\u{e4}\"", view: None, kept, event, kind, data };
        move |out: &mut Vec<u8>| encoding.message(&view, out)
    };
    let gap = |bounds, reason| {
        let view = GapView { channel: "a\\b", view: None, bounds, reason };
        move |out: &mut Vec<u8>| encoding.gap(&view, out)
    };
    let (long, longer) = ([b'x'; 300], vec![b'y'; 70_000]);
    let mut all: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |name, write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = b"before".to_vec();
        write(&mut out);
        assert!(out.starts_with(b"before"), "what was there stays");
        all.push((name, out.split_off(b"before".len())));
    };
    add("json", &message(None, Kind::Json, b"{\"a\":[1,\r\n2],\r\"b\":\"\\n\"}"));
    add("json-event", &message(Some("tick \u{e4}\""), Kind::Json, b"1"));
    add("text", &message(None, Kind::Text, b"a\r\n\"b\"\n\rc\0\\\x7f\xe2\x80\xa8"));
    add("text-event", &message(Some("e"), Kind::Text, b""));
    add("text-long", &message(None, Kind::Text, &long));
    add("text-longer", &message(None, Kind::Text, &longer));
    add("binary", &message(Some("b"), Kind::Binary, b"\xff\0\n{}"));
    add("gap", &gap(Some((3, 9)), GapReason::Slow));
    add("gap-unknown", &gap(None, GapReason::Epoch));
    add("open", &|out| encoding.open(&Opening { id, origin: None, retry_ms: 1_500 }, out));
    add("open-unsaid", &|out| encoding.framing().retry(1_500, out));
    if encoding.framing().is_event_stream() {
        add("heartbeat", &|out| encoding.framing().heartbeat(out));
        add("close", &|out| encoding.close(CloseReason::Restart, 1_500, out));
        let dismissed = CloseReason::Dismissed { code: CloseCode::FORBIDDEN, reason: "\"b\n" };
        add("close-dismissed", &|out| encoding.close(dismissed, 1_500, out));
    }
    add("expiring", &|out| encoding.token(TokenNotice::Expiring(30), out));
    add("refreshed", &|out| encoding.token(TokenNotice::Refreshed(Some(9)), out));
    add("refreshed-for-ever", &|out| encoding.token(TokenNotice::Refreshed(None), out));
    add("refresh-again", &|out| encoding.token(TokenNotice::TryAgain, out));
    let (channel, code) = ("a\\b", CloseCode::TOKEN_EXPIRED);
    let notice = UnsubscribedView { channel, view: None, code, reason: "of \u{e4}" };
    add("unsubscribed", &|out| encoding.unsubscribed(&notice, out));
    let direct = |event, kind, data| {
        let message = DirectView { event, kind, data };
        move |out: &mut Vec<u8>| encoding.direct(&message, out)
    };
    add("direct", &direct(None, Kind::Json, b"{\"a\":\n1}"));
    add("direct-event", &direct(Some("e\""), Kind::Text, b"say \"hi\"\n"));
    add("direct-binary", &direct(Some("b"), Kind::Binary, b"\xff\0"));
    all
}

/// One line for each. Of what is long the beginning, the end and the length.
fn lines() -> String {
    let mut lines = String::new();
    // What is compiled for tests alone is recorded nowhere.
    for encoding in Encoding::ALL.into_iter().filter(|encoding| !encoding.tells_presence()) {
        for (what, bytes) in written(encoding) {
            let (length, shown) = (bytes.len(), |bytes: &[u8]| bytes.escape_ascii().to_string());
            let text = match bytes.len() {
                0..=400 => shown(&bytes),
                _ => format!("{} ... {}", shown(&bytes[..150]), shown(&bytes[length - 40..])),
            };
            lines += &format!("{} {what} {length}: {text}\n", encoding);
        }
    }
    lines
}

#[test]
fn nothing_on_the_wire_has_changed() {
    let (mut now, mut recorded): (Vec<_>, Vec<_>) = (Vec::new(), RECORDED.lines().collect());
    let lines = lines();
    now.extend(lines.lines());
    now.sort_unstable();
    recorded.sort_unstable();
    for (now, recorded) in now.iter().zip(&recorded) {
        assert_eq!(now, recorded);
    }
    assert_eq!(now.len(), recorded.len());
}
