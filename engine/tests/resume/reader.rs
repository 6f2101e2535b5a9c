//! One client, whatever its transport: gap notices, where delivery begins, messages.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::Client;

/// How a client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    EventStream,
    Poll,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::EventStream, Self::Poll];
}

/// A message as a client of the JSON format sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub channel: String,
    pub offset: u64,
    pub id: String,
    pub data: String,
}

/// A client.
pub struct Reader {
    transport: Transport,
    channels: String,
    client: Client,
    /// Gap notices that came before anything else.
    pub gaps: Vec<Value>,
    /// Where delivery begins; of a poll that was answered with messages, where the next one does.
    pub id: String,
    waiting: VecDeque<Message>,
}

impl Reader {
    /// Connects, and reads up to where delivery begins.
    pub fn open(
        listen: SocketAddr,
        transport: Transport,
        channels: &str,
        since: Option<&str>,
    ) -> Self {
        let mut reader = Self::ask(listen, transport, channels, since);
        reader.hello();
        reader
    }

    /// Connects and asks; nothing is read yet.
    pub fn ask(
        listen: SocketAddr,
        transport: Transport,
        channels: &str,
        since: Option<&str>,
    ) -> Self {
        let since = since.map_or(String::new(), |since| match since.split_once('=') {
            Some(_) => format!("&{since}"), // another parameter
            None => format!("&since={since}"),
        });
        let query = format!("?channels={channels}&format=json{since}");
        let client = match transport {
            Transport::WebSocket => {
                let mut client = Client::connect(listen);
                client.send(crate::support::upgrade(&format!("/ws{query}")).as_bytes());
                client
            }
            Transport::EventStream => Client::get(listen, &format!("/sse{query}")),
            Transport::Poll => Client::get(listen, &format!("/poll{query}&wait=0")),
        };
        let channels = channels.to_owned();
        let (gaps, waiting) = (Vec::new(), VecDeque::new());
        Self { transport, channels, client, gaps, id: String::new(), waiting }
    }

    /// Reads up to where delivery begins.
    pub fn hello(&mut self) {
        match self.transport {
            Transport::WebSocket => {
                let head = self.client.head();
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                while self.id.is_empty() {
                    let value: Value = serde_json::from_str(&self.client.text_frame()).unwrap();
                    match value["event"].as_str() {
                        Some("fanfare.gap") => self.gaps.push(value),
                        Some("fanfare.open") => self.id = value["id"].as_str().unwrap().into(),
                        _ => panic!("before the opening: {value}"),
                    }
                }
            }
            Transport::EventStream => {
                let head = self.client.head();
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                while self.id.is_empty() {
                    let block = self.client.block();
                    if let Some(notice) = block.strip_prefix("event: fanfare.gap\ndata: ") {
                        self.gaps.push(serde_json::from_str(notice).unwrap());
                    } else {
                        let begin = "retry: 1000\nevent: fanfare.open\ndata: ";
                        assert!(block.starts_with(begin), "{block}");
                        self.id = block.rsplit_once("\nid: ").expect(&block).1.into();
                    }
                }
            }
            Transport::Poll => {
                let answer = self.answer();
                self.gaps = answer["gaps"].as_array().cloned().unwrap_or_default();
            }
        }
    }

    /// The next thing that a stream is told, which is a gap.
    pub fn notice(&mut self) -> Value {
        let told = match self.transport {
            Transport::WebSocket => self.client.text_frame(),
            Transport::EventStream => {
                let block = self.client.block();
                block.strip_prefix("event: fanfare.gap\ndata: ").expect(&block).into()
            }
            Transport::Poll => panic!("a poll has its gaps in an answer"),
        };
        serde_json::from_str(&told).unwrap()
    }

    /// The next message; anything else is a failure.
    pub fn message(&mut self) -> Message {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return message;
            }
            match self.transport {
                Transport::WebSocket => {
                    let value = serde_json::from_str(&self.client.text_frame()).unwrap();
                    self.waiting.push_back(message(&value));
                }
                Transport::EventStream => {
                    let block = self.client.block();
                    let Some((data, id)) =
                        block.strip_prefix("data: ").and_then(|block| block.rsplit_once("\nid: "))
                    else {
                        panic!("no message: {block}");
                    };
                    let message = message(&serde_json::from_str(data).unwrap());
                    assert_eq!(message.id, id);
                    self.waiting.push_back(message);
                }
                Transport::Poll => {
                    let (channels, id) = (&self.channels, &self.id);
                    let target = format!("/poll?channels={channels}&since={id}&wait=20");
                    self.client.send(
                        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
                    );
                    let answer = self.answer();
                    assert_eq!(answer.get("gaps"), None, "{answer}");
                }
            }
        }
    }

    /// So many messages.
    pub fn messages(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.message()).collect()
    }

    /// The offsets of so many messages.
    pub fn offsets(&mut self, count: usize) -> Vec<u64> {
        self.messages(count).iter().map(|message| message.offset).collect()
    }

    /// Reads a poll's answer: its messages wait, and the next poll goes on from its id.
    fn answer(&mut self) -> Value {
        let (head, body) = self.client.answer();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        self.id = answer["id"].as_str().unwrap().into();
        let messages = answer["messages"].as_array().unwrap();
        self.waiting.extend(messages.iter().map(message));
        if let Some(last) = self.waiting.back() {
            let position = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
            // A gap may lie behind the last message, and is told only once.
            let told = position(&self.id) - position(&last.id);
            assert!(told == 0 || answer.get("gaps").is_some(), "the id is the last message's");
        }
        answer
    }
}

fn message(value: &Value) -> Message {
    assert_eq!(value.get("event"), None, "no message: {value}");
    let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}")).into();
    Message {
        channel: text("channel"),
        offset: value["offset"].as_u64().unwrap(),
        id: text("id"),
        data: text("data"),
    }
}

/// One poll on a connection of its own: its answer.
pub fn poll(listen: SocketAddr, query: &str) -> Value {
    let mut client = Client::get(listen, &format!("/poll?{query}"));
    let (head, body) = client.answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
    serde_json::from_str(&body).unwrap()
}
