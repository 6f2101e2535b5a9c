//! Bodies that say what to follow, good ones and bad ones.

use fanfare_protocol::http::HeadReader;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::limits::HttpLimits;

use super::*;
use crate::channel::Tenant;
use crate::clock::{Millis, Wall};
use crate::limits::Limits;
use crate::sequencer::command::Since;
use crate::transport::claim::Claim;
use crate::transport::follow_request::{Endpoint, WantedOpening};
use crate::transport::request::Asker;

const NOW: Millis = Millis(60_000);
const WALL: Wall = Wall::Since(0);

fn asked(query: &str, form: BodyForm, body: impl AsRef<[u8]>) -> Result<FollowRequest, Violation> {
    let limits = Limits { channels_per_connection: 3, ..Limits::default() };
    let context = Context::new(limits, Tenant::default());
    let head = format!("POST /sse{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut reader = HeadReader::new();
    reader.feed(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
    let request = reader.request(&HttpLimits::DEFAULT).unwrap();
    let asker = Asker { reader: None, claim: Claim::Nobody };
    let head = FollowHead::new(&request, &context, Endpoint::EventStream, &asker).unwrap();
    PendingFollow::new(head, &request, form).with(body.as_ref(), &context)
}

fn names(query: &str, form: BodyForm, body: impl AsRef<[u8]>) -> Result<String, Violation> {
    let ask = asked(query, form, body)?;
    Ok(ask.channels.iter().map(|channel| &*channel.name).collect::<Vec<_>>().join("|"))
}

#[test]
fn names_in_a_body() {
    let json = |body| names("", BodyForm::Json, body);
    let ok = |names: &str| Ok(names.to_string());
    let cases = [
        (r#"{"channels":["a","b","a"]}"#, ok("a|b")),
        ("\u{feff} {\"channels\" : [\"\\u00e4\", \"a,b\"]}\n", ok("ä|a,b")),
        (r#"{"channel":"a,b","channels":["c"]}"#, ok("a,b|c")),
        (r#"{"channels":["a"],"other":{"channels":[1,{}]},"x":[["y"]],"z":null}"#, ok("a")),
        (r#"{"channels":["a","b","c","d"]}"#, Err(Violation::TooManyChannels)),
        (r#"{"channels":[]}"#, Err(Violation::NoChannels)),
        (r#"{}"#, Err(Violation::NoChannels)),
        (r#"{"channels":[""]}"#, Err(Violation::EmptyChannel)),
        (r#"{"channels":["a*"]}"#, Err(Violation::BadChannel)),
        (r#"{"channels":"a,b"}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channels":["a",1]}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channels":{"a":1}}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channel":["a"]}"#, Err(Violation::ChannelsNoList)),
        (r#"["a"]"#, Err(Violation::BadJson)),
        (r#""a""#, Err(Violation::BadJson)),
        ("", Err(Violation::BadJson)),
        (r#"{"channels":["a"],"channel":null}"#, ok("a")),
        (r#"{"channels":null,"channel":"a"}"#, ok("a")),
        (r#"{"channels":null,"channels":["a"],"channels":["b"]}"#, ok("a|b")),
        (r#"{"channels":[],"channel":"a"}"#, ok("a")),
        (r#"{"channels":null,"channel":null}"#, Err(Violation::NoChannels)),
        (r#"{"channels":[null]}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channels":true}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channels":7}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channel":7}"#, Err(Violation::ChannelsNoList)),
        (r#"{"channels":["a"]"#, Err(Violation::BadJson)),
        (r#"{"channels":["a"]} x"#, Err(Violation::BadJson)),
        (r#"{"channels":["a"],}"#, Err(Violation::BadJson)),
        (r#"{"Channels":["a"]}"#, Err(Violation::MeantChannels)),
        (r#"{"channels":["a"],"sinse":"x"}"#, Err(Violation::MeantSince)),
    ];
    for (body, expected) in cases {
        assert_eq!(json(body), expected, "{body}");
    }
    let many = 100_000;
    let deep = format!("{{\"x\":{}1{},\"channel\":\"a\"}}", "[".repeat(many), "]".repeat(many));
    assert_eq!(json(&deep), ok("a"), "what is nobody's is passed over without a stack");
    let pairs = |body: &str| names("", BodyForm::Pairs, body);
    assert_eq!(pairs("channels=a%2Cb&channel=c%2Cd\r\n"), ok("a|b|c,d"));
    assert_eq!(pairs("since=x"), Err(Violation::NoChannels));
    assert_eq!(
        names("?channels=a", BodyForm::Pairs, "channels=b"),
        ok("a|b"),
        "one list from both"
    );
    assert_eq!(names("?channels=a", BodyForm::Json, r#"{"channels":["b"]}"#), ok("a|b"));
    for nothing in [r#"{"channels":[]}"#, r#"{"channels":null}"#, r#"{"channel":null}"#, "{}"] {
        assert_eq!(names("?channels=a", BodyForm::Json, nothing), ok("a"), "{nothing}");
        assert_eq!(json(nothing), Err(Violation::NoChannels), "{nothing}");
    }
}

#[test]
fn broken_json_is_told_as_that_wherever_it_breaks() {
    let lists = [
        r#"["#,
        r#"["a"#,
        r#"["a""#,
        r#"["a",]"#,
        r#"["a" "b"]"#,
        r#"["\ud800"]"#,
        r#"["\ud800a"]"#,
        r#"["\x"]"#,
        "[\"\n\"]",
        r#"["a*""#,
        "nul",
        "",
    ];
    let ones = [r#""a"#, r#""\udc00""#, r#""\ud800\u0041""#, "\"\t\"", "tru", ""];
    let members = lists.iter().map(|list| format!("{{\"channels\":{list}"));
    let singles = ["channel", "since", "last", "lastEventId", "format", "wait", "open", "names"];
    let singles = singles.iter().flat_map(|name| {
        ones.iter().map(move |one| format!("{{\"channels\":[\"a\"],\"{name}\":{one}"))
    });
    for body in members.chain(singles) {
        for end in ["", "}"] {
            let body = format!("{body}{end}");
            assert_eq!(names("", BodyForm::Json, &body), Err(Violation::BadJson), "{body}");
        }
    }
    for place in ["\"channels\":[\"?\"]", "\"channel\":\"?\"", "\"x\":\"?\"", "\"?\":1"] {
        let body = format!("{{\"channel\":\"a\",{place}}}").replace('?', "\u{1}").into_bytes();
        let body: Vec<u8> = body.into_iter().map(|b| if b == 1 { 0xff } else { b }).collect();
        assert_eq!(names("", BodyForm::Json, &body), Err(Violation::BadJson), "{place}: no UTF-8");
    }
}

/// JSON bounds neither numbers nor what strings may spell, and what is somebody else's is not read.
#[test]
fn foreign_members_may_be_whatever_json_can_be() {
    let digits = "9".repeat(400);
    for value in [
        "1e400",
        "-1e400",
        "1e-400",
        &digits,
        &format!("[{digits}]"),
        "{\"y\":1e400}",
        r#""\ud800""#,
        "null",
        "true",
    ] {
        let body = format!("{{\"x\":{value},\"channels\":[\"a\"],\"ts\":{value}}}");
        assert_eq!(names("", BodyForm::Json, &body), Ok("a".into()), "{body}");
    }
    for (member, expected) in [
        (format!("\"wait\":{digits}"), Violation::BadWait),
        ("\"wait\":1e400".into(), Violation::BadWait),
        ("\"since\":1e400".into(), Violation::BadSince),
        (format!("\"open\":{digits}"), Violation::BadOpen),
        ("\"channel\":1e400".into(), Violation::ChannelsNoList),
        ("\"channels\":{}".into(), Violation::ChannelsNoList),
    ] {
        let body = format!("{{\"channels\":[\"a\"],{member}}}");
        assert_eq!(names("", BodyForm::Json, &body), Err(expected), "{body}");
    }
    let ask =
        asked("", BodyForm::Json, format!("{{\"channel\":\"a\",\"wait\":{}}}", "9".repeat(300)));
    assert_eq!(ask.unwrap().wait_ms, 30_000, "a long one is clamped");
}

#[test]
fn a_body_has_so_many_members_and_no_more() {
    use fanfare_protocol::http::parameters::OTHERS_MAX;
    let more = 3 + OTHERS_MAX - 1;
    for other in ["\"x\":0", "\"\":[]", "\"channels\":null", "\"since\":null", "\"channel\":\"a\""]
    {
        let within = format!("{{\"channels\":[\"a\"]{}}}", format!(",{other}").repeat(more));
        assert_eq!(names("", BodyForm::Json, &within), Ok("a".into()), "{other}");
        let beyond = names("?channels=a", BodyForm::Json, &within);
        assert_eq!(beyond, Err(Violation::TooManyParameters), "{other}");
    }
    let pairs = "&abcd".repeat(3 + OTHERS_MAX);
    let beyond = names("", BodyForm::Pairs, format!("channel=a{pairs}"));
    assert_eq!(beyond, Err(Violation::TooManyParameters));
}

#[test]
fn the_others_have_their_types_and_a_wrong_one_is_told_by_its_name() {
    let with = |member: &str| {
        asked("", BodyForm::Json, format!("{{\"channels\":[\"a\"],{member}}}")).map(|_| ())
    };
    let cases = [
        (r#""since":null"#, Ok(())),
        (r#""since":7"#, Err(Violation::BadSince)),
        (r#""since":"x""#, Err(Violation::BadSince)),
        (r#""format":"json""#, Ok(())),
        (r#""format":true"#, Err(Violation::BadFormat)),
        (r#""wait":2.5"#, Ok(())),
        (r#""wait":"2""#, Err(Violation::BadWait)),
        (r#""wait":-1"#, Err(Violation::BadWait)),
        (r#""open":false"#, Ok(())),
        (r#""open":0"#, Err(Violation::BadOpen)),
        (r#""open":"origin""#, Ok(())),
        (r#""max":1000"#, Ok(())),
        (r#""max":"1000""#, Err(Violation::BadMax)),
        (r#""max":0"#, Err(Violation::BadMax)),
        (r#""max":1.5"#, Err(Violation::BadMax)),
        (r#""names":"data","format":"json""#, Ok(())),
        (r#""names":{}"#, Err(Violation::BadNames)),
        (r#""wait":1,"wait":1"#, Err(Violation::BadParameter)),
        (r#""last":null"#, Ok(())),
        (r#""last":"2""#, Err(Violation::BadLast)),
        (r#""last":-1"#, Err(Violation::BadLast)),
        (r#""last":2.0"#, Err(Violation::BadLast)),
        (r#""last":2,"since":"earliest""#, Err(Violation::SinceAndLast)),
    ];
    for (member, expected) in cases {
        assert_eq!(with(member), expected, "{member}");
    }
    let id = Id { epoch: Epoch::from_random(1), position: 7 };
    let ask = asked("", BodyForm::Json, format!("{{\"channels\":[\"a\"],\"since\":\"{id}\"}}"));
    assert_eq!(ask.unwrap().since(WALL, NOW), Since::After(id));
    for (member, since) in [
        (r#""last":2"#, Since::Last(2)),
        (r#""since":"earliest""#, Since::Earliest),
        (r#""since":"10s""#, Since::Time(Millis(50_000))),
        (r#""since":"@59""#, Since::Time(Millis(59_000))),
    ] {
        let ask = asked("", BodyForm::Json, format!("{{\"channels\":[\"a\"],{member}}}"));
        assert_eq!(ask.unwrap().since(WALL, NOW), since, "{member}");
    }
    let ask = asked("?last=2", BodyForm::Pairs, "channels=a").unwrap();
    assert_eq!(ask.since(WALL, NOW), Since::Last(2));
    let ask = asked("", BodyForm::Pairs, format!("channels=a&since={id}&open=0")).unwrap();
    assert_eq!((ask.since(WALL, NOW), ask.opening), (Since::After(id), WantedOpening::None));
    let twice = asked(&format!("?since={id}"), BodyForm::Pairs, format!("channel=a&since={id}"));
    assert_eq!(twice.map(|_| ()), Err(Violation::BadParameter));
    for name in ["lastEventId", "last_event_id", "Last-Event-ID"] {
        let ask =
            asked("", BodyForm::Json, format!("{{\"channels\":[\"a\"],\"{name}\":5}}")).unwrap();
        assert_eq!(
            ask.since(WALL, NOW),
            Since::Unreadable,
            "a library wrote it, not a person: {name}"
        );
    }
}
