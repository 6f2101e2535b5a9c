//! The table of encodings.

use std::collections::HashSet;

use super::*;

#[test]
fn encodings_stand_at_their_number_and_are_found_again() {
    for (nth, encoding) in Encoding::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(encoding.0), nth);
        assert_eq!(Encoding::of(encoding.form(), encoding.framing()), Some(encoding));
    }
    let names: HashSet<_> = Encoding::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), Encoding::COUNT, "each has its name: {names:?}");
}

#[test]
fn what_a_framing_has_no_place_for_is_no_encoding() {
    let (raw, json) = (Form::Plain(plain::Form::Raw), Form::Plain(plain::Form::Json));
    let unnamed = Framing::Sse { chunked: true, named: false };
    for (form, framing, offered) in [
        (raw, Framing::Ws, true),
        (raw, Framing::Poll, false),
        (raw, unnamed, false),
        (json, Framing::Poll, true),
        (json, unnamed, true),
    ] {
        assert_eq!(Encoding::of(form, framing).is_some(), offered, "{form}, {framing:?}");
    }
    let offered = Encoding::ALL.iter().filter(|encoding| !encoding.tells_presence());
    assert_eq!(offered.count(), 9, "nothing was lost, and nothing is offered unawares");
}

#[test]
fn presence_is_told_by_those_who_say_so_and_nothing_by_others() {
    let (change, info) = (crate::message::Change::Join, &b"{}"[..]);
    let event = PresenceView { channel: "c", view: None, change, member: "m", info };
    for encoding in Encoding::ALL {
        let mut out = Vec::new();
        encoding.presence(&event, &mut out);
        assert_eq!(!out.is_empty(), encoding.tells_presence(), "{encoding}");
    }
}
