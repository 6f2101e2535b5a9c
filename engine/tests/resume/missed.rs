//! What was missed and is kept comes once, in order, and then what is live.

use crate::reader::{Message, Reader, Transport, poll};
use crate::support::{Client, publish_all};
use crate::{everywhere, fill, on_both};

/// Ten rounds over three channels; as clients see them.
fn rounds(node: &fanfare::node::Server, from: u64) -> Vec<Message> {
    let messages: Vec<(&str, String)> = (from..from + 10)
        .flat_map(|round| ["a", "b", "c"].map(|channel| (channel, format!("{channel}{round}"))))
        .collect();
    let published = publish_all(node, messages.clone());
    let seen = messages.iter().zip(published).map(|((channel, data), place)| Message {
        channel: (*channel).into(),
        offset: place.offset,
        id: place.id.to_string(),
        data: data.clone(),
    });
    seen.collect()
}

/// The place right before this one, where nothing may stand.
fn before(id: &str) -> String {
    let (epoch, position) = id.split_once('-').unwrap();
    format!("{epoch}-{}", position.parse::<u64>().unwrap() - 1)
}

#[test]
fn one_position_resumes_many_channels_on_every_transport() {
    everywhere(
        |_| {},
        |node, transport| {
            let published = rounds(node, 1);
            let listen = node.addresses().listen;
            // In the middle of a round: "a" was seen one more time than "b" and "c".
            for seen in [0, 9, 10, 29, 30] {
                let since = match seen {
                    0 => format!("{}-0", published[0].id.split_once('-').unwrap().0),
                    seen => published[seen - 1].id.clone(),
                };
                let mut reader = Reader::open(listen, transport, "a,b,c", Some(&since));
                assert_eq!(reader.gaps, [] as [serde_json::Value; 0]);
                if transport != Transport::Poll {
                    let begin = published.get(seen).map_or(since.clone(), |next| before(&next.id));
                    assert_eq!(reader.id, begin, "delivery begins right before what is missed");
                }
                assert_eq!(reader.messages(30 - seen), published[seen..], "after {since}");
            }
            let since = &published[9].id;
            let mut reader = Reader::open(listen, transport, "c,a", Some(since));
            let mut expected: Vec<Message> = published[10..].to_vec();
            expected.extend(rounds(node, 11));
            expected.retain(|message| message.channel != "b");
            assert_eq!(reader.messages(expected.len()), expected, "missed, then live");
        },
    );
}

#[test]
fn ids_are_the_same_on_every_transport() {
    on_both(
        |_| {},
        |node| {
            let published = rounds(node, 1);
            let listen = node.addresses().listen;
            // Round and round: each transport goes on where another one stopped.
            let mut since = published[0].id.clone();
            for (nth, expected) in published[1..].chunks(3).enumerate() {
                let transport = Transport::ALL[nth % 3];
                let mut reader = Reader::open(listen, transport, "b,c,a", Some(&since));
                let got = reader.messages(expected.len());
                assert_eq!(got, expected, "{transport:?}");
                since.clone_from(&got.last().unwrap().id);
            }
        },
    );
}

#[test]
fn last_event_id_wins_over_since_on_an_event_stream() {
    on_both(
        |_| {},
        |node| {
            let ids: Vec<String> =
                fill(node, "a", 1..=9).iter().map(|place| place.id.to_string()).collect();
            let listen = node.addresses().listen;
            let (early, late) = (&ids[1], &ids[6]);
            let mut client = Client::connect(listen);
            client.send(
                format!(
                    "GET /sse?channels=a&since={early} HTTP/1.1\r\nHost: localhost\r\n\
                     Last-Event-ID: {late}\r\n\r\n"
                )
                .as_bytes(),
            );
            client.head();
            assert_eq!(client.opening(), *late);
            assert_eq!(client.block(), format!("data: 8\nid: {}", ids[7]));
            assert_eq!(client.block(), format!("data: 9\nid: {}", ids[8]));
        },
    );
}

/// What libraries write that cannot set a header (event-source-polyfill, Mercure's clients). Were
/// it ignored like any stranger's parameter, what was missed would be lost without a word.
#[test]
fn a_last_event_id_in_the_query_is_the_header_on_every_transport() {
    everywhere(
        |_| {},
        |node, transport| {
            let places = fill(node, "a", 1..=5);
            let listen = node.addresses().listen;
            let (early, late) = (places[0].id, places[2].id);
            for name in ["lastEventId", "lastEventID", "last_event_id", "Last-Event-ID"] {
                let query = format!("a&{name}={late}");
                let mut reader = Reader::open(listen, transport, &query, Some(&early.to_string()));
                assert_eq!((reader.gaps.len(), reader.offsets(2)), (0, vec![4, 5]), "{name}");
            }
            let query = format!("a&lastEventId={early}&lastEventID={late}");
            for query in ["a&lastEventId=7", "a&lastEventId=%ff", query.as_str()] {
                let reader = Reader::open(listen, transport, query, None);
                let reasons: Vec<_> = reader.gaps.iter().map(|gap| &gap["reason"]).collect();
                assert_eq!(reasons, ["unknown"], "{query}: a gap, and no silence");
            }
        },
    );
}

#[test]
fn a_client_that_has_received_nothing_resumes_from_its_opening() {
    everywhere(
        |_| {},
        |node, transport| {
            fill(node, "a", 1..=3);
            fill(node, "other", 1..=3); // positions that are not of this channel
            let listen = node.addresses().listen;
            let opening = Reader::open(listen, transport, "a", None).id;
            fill(node, "other", 4..=5);
            fill(node, "a", 4..=6);
            let mut reader = Reader::open(listen, transport, "a", Some(&opening));
            assert_eq!((reader.gaps.len(), reader.offsets(3)), (0, vec![4, 5, 6]));
            fill(node, "a", 7..=7);
            assert_eq!(reader.offsets(1), [7]);
        },
    );
}

#[test]
fn an_empty_poll_tells_the_present_position_and_never_goes_back() {
    on_both(
        |_| {},
        |node| {
            let listen = node.addresses().listen;
            let zero = poll(listen, "channels=a&wait=0");
            assert!(zero["id"].as_str().unwrap().ends_with("-0"), "{zero}");
            let place = fill(node, "elsewhere", 1..=5).pop().unwrap();
            let now = poll(listen, "channels=a&wait=0");
            assert_eq!(now["id"], place.id.to_string());
            assert_eq!(now["messages"].as_array().unwrap().len(), 0);
            let since = now["id"].as_str().unwrap().to_owned();
            let waited = poll(listen, &format!("channels=a&since={since}&wait=0"));
            assert_eq!(waited["id"], since);
        },
    );
}
