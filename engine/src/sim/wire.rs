//! What a client reads, parsed as small as possible and without the engine's codecs: an error in
//! these would otherwise be in both.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How a persona listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Socket { json: bool },
    Events { json: bool },
    Poll,
}

/// A gap notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GapSaid {
    pub(crate) channel: String,
    pub(crate) bounds: Option<(u64, u64)>,
    pub(crate) reason: String,
}

/// A message, with what the encoding tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MessageSaid {
    pub(crate) channel: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) payload: Vec<u8>,
    /// SSE gives line breaks back as LF.
    pub(crate) breaks_lost: bool,
}

/// Something a client heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Head(u16),
    Gap(GapSaid),
    Open(String),
    Message(MessageSaid),
    Answer {
        id: String,
        messages: Vec<MessageSaid>,
        gaps: Vec<GapSaid>,
    },
    Ping,
    Pong(Vec<u8>),
    Close(u16),
    Heartbeat,
    /// The end of an event stream, with its reason.
    Closed(String),
    /// A backend has ended its subscription to this channel.
    Unsubscribed(String),
    /// Its token ends in so many seconds.
    Expiring(u64),
    /// Its new token was taken.
    Refreshed,
    /// What the machine of a client says to it: see [`super::lines`].
    Told(String),
}

/// Bytes that came, up to the first that are not whole.
pub(crate) struct Ear {
    way: Way,
    bytes: Vec<u8>,
    /// What is not taken out of its chunks yet, where the answer has chunks.
    chunks: Option<Vec<u8>>,
    /// Whether the head of the answer was read; a poll begins again after each answer.
    streaming: bool,
    pub(crate) closed: Option<u16>,
    /// Whether the last chunk has come, or all of a list.
    pub(crate) ended: bool,
    /// What a list had that is not said yet.
    list: VecDeque<Said>,
}

impl Ear {
    pub(crate) fn new(way: Way) -> Self {
        let (bytes, chunks, list) = (Vec::new(), None, VecDeque::new());
        Self { way, bytes, chunks, streaming: false, closed: None, ended: false, list }
    }

    /// Whether everything that came was whole: a stream that ends elsewhere was cut in a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.bytes.is_empty() && self.chunks.as_ref().is_none_or(Vec::is_empty)
    }

    /// Whether it is a WebSocket by now.
    pub(crate) fn hears_frames(&self) -> bool {
        self.streaming && matches!(self.way, Way::Socket { .. })
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.chunks.as_mut().unwrap_or(&mut self.bytes).extend_from_slice(bytes);
        self.take_chunks();
        let mut said = Vec::new();
        while let Some(one) = self.next() {
            said.push(one);
        }
        said
    }

    /// Whole chunks become bytes; the last one ends the stream.
    fn take_chunks(&mut self) {
        let Some(chunks) = &mut self.chunks else { return };
        while let Some(line) = chunks.windows(2).position(|two| two == b"\r\n") {
            let digits = std::str::from_utf8(&chunks[..line]).expect("a chunk's size is text");
            let length = usize::from_str_radix(digits, 16).expect("a chunk has its size");
            let Some(chunk) = chunks.get(line + 2..line + 2 + length + 2) else { return };
            assert!(chunk.ends_with(b"\r\n"), "a chunk is as long as it says: {chunk:?}");
            assert!(length > 0 || chunks.len() == 5, "nothing follows the last chunk: {chunks:?}");
            self.ended = length == 0;
            self.bytes.extend_from_slice(&chunk[..length]);
            chunks.drain(..line + 2 + length + 2);
        }
    }

    fn next(&mut self) -> Option<Said> {
        if let Some(said) = self.list.pop_front() {
            return Some(said);
        }
        if !self.streaming {
            return self.head();
        }
        match self.way {
            Way::Socket { json } => self.frame(json),
            Way::Events { json } => self.block(json),
            Way::Poll => self.late_answer(),
        }
    }

    /// The body of an answer whose head came before it was known; it ends with its connection.
    fn late_answer(&mut self) -> Option<Said> {
        let body: Value = serde_json::from_slice(&self.bytes).ok()?;
        self.bytes.clear();
        Some(answer(&body))
    }

    fn head(&mut self) -> Option<Said> {
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.bytes[..end].to_vec()).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 "), "{head:?}");
        let status: u16 = head[9..12].parse().expect("a status");
        let length = head.to_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length: ").map(|text| text.parse::<usize>().unwrap())
        });
        let body = match length {
            Some(length) if self.bytes.len() < end + length => return None,
            Some(length) => self.bytes[end..end + length].to_vec(),
            None => Vec::new(),
        };
        self.bytes.drain(..end + body.len());
        if head.contains("\r\nTransfer-Encoding: chunked\r\n") {
            self.chunks = Some(std::mem::take(&mut self.bytes));
            self.take_chunks();
        }
        match (self.way, status) {
            (Way::Events { json: true }, 200) if length.is_some() => {
                let list: Vec<Value> = serde_json::from_slice(&body).expect("a list");
                self.list = list.iter().map(datum).collect();
                self.ended = true;
            }
            (Way::Socket { .. }, 101) | (Way::Events { .. }, 200) => self.streaming = true,
            (Way::Poll, 200) if length.is_none() => {
                self.streaming = true;
                return self.late_answer();
            }
            (Way::Poll, 200) => {
                let body: Value = serde_json::from_slice(&body).expect("an answer is JSON");
                return Some(answer(&body));
            }
            _ => {}
        }
        Some(Said::Head(status))
    }

    fn frame(&mut self, json: bool) -> Option<Said> {
        let (&first, &second) = (self.bytes.first()?, self.bytes.get(1)?);
        assert!(self.closed.is_none(), "a frame after the close frame");
        assert_eq!(first & 0xf0, 0x80, "one frame, no extension");
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let (length, start) = match second {
            126 => (usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(self.bytes.get(2..10)?.try_into().ok()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        let payload = self.bytes.get(start..start + length)?.to_vec();
        self.bytes.drain(..start + length);
        Some(match first & 0x0f {
            kind @ (1 | 2) => {
                if kind == 1 {
                    std::str::from_utf8(&payload).expect("text is UTF-8");
                }
                data(payload, json)
            }
            8 => {
                let code = u16::from_be_bytes(payload[..2].try_into().expect("a code"));
                self.closed = Some(code);
                Said::Close(code)
            }
            9 => Said::Ping,
            10 => Said::Pong(payload),
            other => panic!("frames are mixed up: opcode {other}"),
        })
    }

    fn block(&mut self, json: bool) -> Option<Said> {
        // A line and no block: whoever ended it with an empty line would make half of the parsers
        // in use see a message without data.
        if self.bytes.starts_with(b":") {
            let end = self.bytes.iter().position(|byte| *byte == b'\n')? + 1;
            assert_eq!(self.bytes.drain(..end).as_slice(), b":\n");
            return Some(Said::Heartbeat);
        }
        let end = self.bytes.windows(2).position(|two| two == b"\n\n")? + 2;
        let block: Vec<u8> = self.bytes.drain(..end).collect();
        let block = String::from_utf8(block).expect("a stream is text");
        let (mut id, mut event, mut lines) = (None, None, Vec::new());
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.to_string()),
                Some(("event", value)) => event = Some(value.to_string()),
                Some(("data", value)) => lines.push(value.to_string()),
                Some(("retry", value)) => assert!(value.parse::<u64>().is_ok(), "{block:?}"),
                None if line.is_empty() => {}
                other => panic!("events are mixed up: {other:?} in {block:?}"),
            }
        }
        assert!(!lines.is_empty(), "a block without data is an empty message: {block:?}");
        let data_text = lines.join("\n");
        if event.as_deref() == Some("fanfare.open") {
            let said: Value = serde_json::from_str(&data_text).expect("JSON");
            assert_eq!(Some(text(&said["id"])), id, "both ids are the same");
            return Some(Said::Open(text(&said["id"])));
        }
        if event.as_deref() == Some("fanfare.close") {
            let said: Value = serde_json::from_str(&data_text).expect("JSON");
            return Some(Said::Closed(text(&said["reason"])));
        }
        if event.as_deref() == Some("said") {
            return Some(Said::Told(data_text));
        }
        let notices = ["fanfare.unsubscribed", "fanfare.expiring", "fanfare.refreshed"];
        if event.as_deref().is_some_and(|event| notices.contains(&event)) {
            return Some(datum(&serde_json::from_str(&data_text).expect("JSON")));
        }
        if event.as_deref() == Some("fanfare.gap") {
            return Some(Said::Gap(gap(&serde_json::from_str(&data_text).expect("JSON"))));
        }
        let mut said = if json {
            object(&serde_json::from_str(&data_text).expect("JSON"))
        } else {
            MessageSaid { payload: data_text.into_bytes(), ..MessageSaid::default() }
        };
        assert!(!json || said.id == id, "both ids are the same");
        said.id = id;
        said.breaks_lost = !json;
        Some(Said::Message(said))
    }
}

fn data(payload: Vec<u8>, json: bool) -> Said {
    let event = |said: &Value| said["event"].as_str().unwrap_or_default().to_string();
    if !json {
        return match serde_json::from_slice::<Value>(&payload) {
            Ok(said) if event(&said) == "fanfare.gap" => Said::Gap(gap(&said)),
            Ok(said) if event(&said) == "fanfare.unsubscribed" => datum(&said),
            Ok(said) if event(&said) == "said" => Said::Told(text(&said["text"])),
            _ => Said::Message(MessageSaid { payload, ..MessageSaid::default() }),
        };
    }
    datum(&serde_json::from_slice(&payload).expect("JSON"))
}

/// What one object says.
fn datum(said: &Value) -> Said {
    match said["event"].as_str().unwrap_or_default() {
        "fanfare.gap" => Said::Gap(gap(said)),
        "fanfare.open" => Said::Open(text(&said["id"])),
        "said" => Said::Told(text(&said["text"])),
        "fanfare.unsubscribed" => Said::Unsubscribed(text(&said["channel"])),
        "fanfare.expiring" => Said::Expiring(said["in"].as_u64().expect("seconds")),
        "fanfare.refreshed" => Said::Refreshed,
        _ => Said::Message(object(said)),
    }
}

pub(super) fn object(said: &Value) -> MessageSaid {
    let payload = match (&said["data"], &said["base64"]) {
        (Value::Null, Value::String(coded)) => STANDARD.decode(coded).expect("base64"),
        (Value::String(string), Value::Null) => string.clone().into_bytes(),
        other => panic!("a payload in neither or in both: {other:?}"),
    };
    let channel = Some(text(&said["channel"]));
    let id = said.get("id").map(text);
    MessageSaid { channel, id, offset: said["offset"].as_u64(), payload, breaks_lost: false }
}

fn answer(body: &Value) -> Said {
    let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let messages = list("messages").iter().map(object).collect();
    let gaps = list("gaps").iter().map(gap).collect();
    Said::Answer { id: text(&body["id"]), messages, gaps }
}

pub(super) fn gap(said: &Value) -> GapSaid {
    let bounds = said["from"].as_u64().zip(said["to"].as_u64());
    let missed = bounds.map(|(from, to)| to - from + 1);
    assert_eq!(said["missed"].as_u64(), missed, "missed is their count: {said}");
    assert!(bounds.is_some() || said["to"].is_null() && said["from"].is_null(), "{said}");
    GapSaid { channel: text(&said["channel"]), bounds, reason: text(&said["reason"]) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_string()
}

/// A frame as a client sends it.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a client says little");
    let mut frame = vec![0x80 | opcode, 0x80 | length.min(126) as u8];
    if length >= 126 {
        frame.extend(length.to_be_bytes());
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    frame
}

/// The same request of a newcomer, who says so where to begin.
pub(crate) fn beginning(head: &str, parameter: &str) -> String {
    head.replacen(" HTTP/1.1", &format!("&{parameter} HTTP/1.1"), 1)
}

/// A request to follow channels.
pub(crate) fn request(
    way: Way,
    channels: &[String],
    since: Option<&str>,
    wait: u64,
    max: Option<usize>,
) -> String {
    let path = match way {
        Way::Socket { .. } => "/ws",
        Way::Events { .. } => "/sse",
        Way::Poll => "/poll",
    };
    let mut target = format!("{path}?channels={}", channels.join(","));
    match way {
        Way::Socket { json } | Way::Events { json } => {
            target += if json { "&format=json" } else { "&format=raw" };
        }
        Way::Poll => target += &format!("&wait={wait}"),
    }
    target += &max.map(|max| format!("&max={max}")).unwrap_or_default();
    let mut fields = String::from("Host: localhost\r\n");
    match (way, since) {
        (Way::Events { .. }, Some(since)) => fields += &format!("Last-Event-ID: {since}\r\n"),
        (_, Some(since)) => target += &format!("&since={since}"),
        _ => {}
    }
    if matches!(way, Way::Socket { .. }) {
        fields += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    }
    format!("GET {target} HTTP/1.1\r\n{fields}\r\n")
}
