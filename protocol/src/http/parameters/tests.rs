//! Parameters as real encoders write them.

use proptest::prelude::*;

use super::*;
use crate::http::percent::encode;

fn of(raw: &str) -> Result<Parameters<'_>, Violation> {
    Parameters::of(Query::new(raw), 3)
}

fn names(raw: &str) -> Result<String, Violation> {
    of(raw).map(|parameters| parameters.channels.join("|"))
}

#[test]
fn channels() {
    let ok = |names: &str| Ok(names.to_string());
    let cases = [
        ("channels=a", ok("a")),
        ("channels=a,b,a,b", ok("a|b")),
        ("channels=b,a", ok("b|a")),
        // URLSearchParams, requests, httpx, Go's url.Values.
        ("channels=a%2Cb", ok("a|b")),
        ("channels=ca%2Cc+b", ok("ca|c b")),
        ("channels=a%2cb,c", ok("a|b|c")),
        ("channels=a&channels=b", ok("a|b")),
        ("channels=a&x=1&channels=b,a&channel=a", ok("a|b")),
        ("channel=a", ok("a")),
        ("channel=a,b", ok("a,b")),
        ("channel=a%2Cb&channel=a", ok("a,b|a")),
        ("channel=a,b&channels=a,b", ok("a,b|a|b")),
        ("ch%61nnels=a", ok("a")),
        ("channels=room:%C3%A4", ok("room:ä")),
        ("channels=a+b,a%2Bb", ok("a b|a+b")),
        ("channels=%61,a", ok("a")),
        ("channels=%2561", ok("%61")),
        ("channels=a%252Cb", ok("a%2Cb")),
        ("channels=a,b,c,a&channel=c", ok("a|b|c")),
        ("channels=a,b,c,d", Err(Violation::TooManyChannels)),
        ("channels=a,b&channels=c&channel=d", Err(Violation::TooManyChannels)),
        ("", Err(Violation::NoChannels)),
        ("x=channels", Err(Violation::NoChannels)),
        ("channels=", Err(Violation::EmptyChannel)),
        ("channel=", Err(Violation::EmptyChannel)),
        ("channels", Err(Violation::EmptyChannel)),
        ("channels=a,", Err(Violation::EmptyChannel)),
        ("channels=%2Ca", Err(Violation::EmptyChannel)),
        ("channels=a,,b", Err(Violation::EmptyChannel)),
        ("channels=a%2C%2Cb", Err(Violation::EmptyChannel)),
        ("channels=*", Err(Violation::BadChannel)),
        ("channel=%2a", Err(Violation::BadChannel)),
        ("channels=a%00", Err(Violation::BadChannel)),
        ("channels=a%0d%0ab", Err(Violation::BadChannel)),
        ("channel=%c0%af", Err(Violation::BadChannel)),
        ("channels=%", Err(Violation::BadChannel)),
    ];
    for (raw, expected) in cases {
        assert_eq!(names(raw), expected, "{raw}");
    }
    assert!(names(&format!("channels={}", "x".repeat(255))).is_ok());
    assert_eq!(names(&format!("channel={}", "x".repeat(256))), Err(Violation::BadChannel));
}

#[test]
fn the_others_stand_once() {
    let all =
        of("channels=a&since=1&last=3&format=json&names=data&open=0&wait=2.5&max=9&name=x&t=1");
    let expected = Parameters {
        channels: vec!["a".into()],
        since: Some("1".into()),
        last: Some("3".into()),
        last_event_id: LastEventId::None,
        format: Some("json".into()),
        names: Some("data".into()),
        open: Some("0".into()),
        wait: Some("2.5".into()),
        max: Some("9".into()),
    };
    assert_eq!(all, Ok(expected));
    for key in ["since", "last", "format", "names", "open", "wait"] {
        for raw in [format!("{key}=1&{key}=1"), format!("{key}=%zz"), format!("{key}=%00")] {
            assert_eq!(of(&format!("channels=a&{raw}")), Err(Violation::BadParameter), "{raw}");
        }
        assert!(of(&format!("channels=a&{key}")).is_ok(), "an empty value is judged elsewhere");
    }
}

#[test]
fn ids_that_libraries_bring_back() {
    let some = |id: &'static str| LastEventId::Some(id.into());
    for (raw, expected) in [
        ("lastEventId=7", some("7")),
        ("lastEventID=7", some("7")),
        ("last_event_id=7", some("7")),
        ("Last-Event-ID=7", some("7")),
        ("last-event-id=7", some("7")),
        ("LASTEVENTID=7", some("7")),
        ("lastEventId=0123abcd%2D7", some("0123abcd-7")),
        ("lastEventId=7&Last-Event-ID=7", some("7")),
        ("lastEventId=&last_event_id=7", some("7")),
        ("lastEventId=", LastEventId::None),
        ("lastEventId", LastEventId::None),
        ("lastEventId=7&lastEventID=8", LastEventId::Unreadable),
        ("lastEventId=7&lastEventID=8&last_event_id=7", LastEventId::Unreadable),
        ("lastEventId=%ff", LastEventId::Unreadable),
        ("lastEventId=%00", LastEventId::Unreadable),
        ("lastId=7", LastEventId::None),
    ] {
        let raw = format!("channels=a&{raw}");
        assert_eq!(of(&raw).unwrap().last_event_id, expected, "{raw}");
    }
}

#[test]
fn what_is_nearly_ours_is_told_its_right_name() {
    for (key, violation) in [
        ("Channels", Violation::MeantChannels),
        ("chanels", Violation::MeantChannels),
        ("channels[]", Violation::MeantChannels),
        ("channels%5B0%5D", Violation::MeantChannels),
        ("channells", Violation::MeantChannels),
        ("Channel", Violation::MeantChannel),
        ("chanel", Violation::MeantChannel),
        ("channnel", Violation::MeantChannel),
        ("Since", Violation::MeantSince),
        ("sinse", Violation::MeantSince),
        ("LAST", Violation::MeantLast),
        ("last[]", Violation::MeantLast),
        ("formats", Violation::MeantFormat),
        ("Wait", Violation::MeantWait),
        ("waits", Violation::MeantWait),
        ("MAX", Violation::MeantMax),
        ("NAMES", Violation::MeantNames),
        ("nmaes", Violation::MeantNames),
        ("opne", Violation::MeantOpen),
        ("lastEventIds", Violation::MeantLastEventId),
        ("lastEvenId", Violation::MeantLastEventId),
    ] {
        assert_eq!(of(&format!("channels=a&{key}=1")), Err(violation), "{key}");
    }
}

/// Three channels, and [`OTHERS_MAX`] more.
#[test]
fn there_may_be_so_many_of_all_and_no_more() {
    let more = 3 + OTHERS_MAX - 1;
    for other in ["&a", "&abcd=1", "&channel=a", "&%zz", "&lastEventId=7", "&channels=a,a", "&&="] {
        let within = format!("channels=a,b,c{}", other.repeat(more));
        assert!(of(&within).is_ok(), "{other}");
        let beyond = format!("{within}{other}");
        assert_eq!(of(&beyond), Err(Violation::TooManyParameters), "{other}");
    }
    let parts = ["&abcd=1".repeat(more), "abcd".into()];
    let mut both = Gathering::new(3);
    assert_eq!(both.take_all(Query::new(&parts[0])), Ok(()));
    assert_eq!(both.take_all(Query::new("channels=a")), Ok(()));
    assert_eq!(both.take_all(Query::new(&parts[1])), Err(Violation::TooManyParameters));
    let list = format!("channels={}a&x=1", "a,".repeat(10_000));
    assert_eq!(names(&list), Ok("a".into()), "a list is one, however long");
}

#[test]
fn what_proxies_caches_and_pages_append_is_ignored() {
    let foreign = [
        "t",
        "_",
        "v",
        "ts",
        "cb",
        "r",
        "token",
        "access_token",
        "apikey",
        "key",
        "auth",
        "jwt",
        "sig",
        "user",
        "uid",
        "id",
        "name",
        "Name",
        "event",
        "topic",
        "topics",
        "stream",
        "room",
        "session",
        "sid",
        "client",
        "limit",
        "from",
        "after",
        "last",
        "timeout",
        "retry",
        "lang",
        "utm_source",
        "gclid",
        "fbclid",
        "nocache",
        "authorization",
        "EIO",
        "transport",
        "pid",
    ];
    for key in foreign {
        assert!(of(&format!("channels=a&{key}=1")).is_ok(), "{key}");
    }
}

proptest! {
    /// However a list is written, the names come out.
    #[test]
    fn any_spelling_of_a_list_is_that_list(
        list in prop::collection::vec("[a-c ,+%&ä:]{1,6}", 1..8),
        ways in prop::collection::vec(0u8..4, 8),
    ) {
        let mut raw = String::new();
        for (name, way) in list.iter().zip(ways) {
            // A list has no commas within a name, and `channel` takes any.
            let list_fits = !name.contains(',');
            match way {
                0 if list_fits && raw.rsplit('&').next().unwrap().starts_with("channels=") => {
                    raw.push(',');
                    encode(name, &mut raw);
                }
                1 if list_fits && raw.rsplit('&').next().unwrap().starts_with("channels=") => {
                    raw.push_str("%2C");
                    encode(name, &mut raw);
                }
                2 if list_fits => {
                    raw.push_str("&channels=");
                    encode(name, &mut raw);
                }
                _ => {
                    raw.push_str("&channel=");
                    encode(name, &mut raw);
                }
            }
        }
        let found = Parameters::of(Query::new(&raw), 8).unwrap().channels;
        let mut expected: Vec<&str> = Vec::new();
        for name in &list {
            if !expected.contains(&name.as_str()) {
                expected.push(name);
            }
        }
        prop_assert_eq!(found, expected);
    }

    /// Nothing that a stranger appends is taken for one of ours, unless it is nearly one.
    #[test]
    fn foreign_parameters_change_nothing(key in "[a-zA-Z_]{1,12}", value in "[a-z%]{0,4}") {
        let raw = format!("channels=a&{key}={value}");
        match of(&raw) {
            Ok(found) if is_last_event_id(&key) || KEYS.iter().any(|(known, ..)| *known == key) => {
                drop(found);
            }
            Ok(found) => prop_assert_eq!(Ok(found), of("channels=a")),
            Err(violation) => {
                let near = spelling::meant(&key, &NAMES);
                prop_assert!(near.is_some(), "{key} {violation:?}");
            }
        }
    }
}
