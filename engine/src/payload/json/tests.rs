//! The rules one by one, and the whole beside serde_json.

use std::fmt;

use proptest::prelude::*;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{DEPTH_MAX, Unfit, Why, check, plain_bytes};

fn nested(depth: usize, inner: &str) -> String {
    // Arrays and objects by turns.
    let open: String = (0..depth).map(|n| if n % 2 == 0 { "[" } else { "{\"a\":" }).collect();
    let close: String = (0..depth).rev().map(|n| if n % 2 == 0 { "]" } else { "}" }).collect();
    format!("{open}{inner}{close}")
}

fn why(text: &str) -> Option<Why> {
    check(text).err().map(|unfit| unfit.why)
}

#[test]
fn depth() {
    for inner in ["1", "\"[[[[\""] {
        assert_eq!(why(&nested(64, inner)), None);
        assert_eq!(why(&nested(65, inner)), Some(Why::Depth));
    }
    assert_eq!(why(&nested(63, "[],{}").replace("[],{}", "[]")), None);
    assert_eq!(why(&nested(64, "[]")), Some(Why::Depth));
    assert_eq!(why(&nested(100_000, "")), Some(Why::Depth));
    // As wide as it likes, and as often up and down.
    assert_eq!(why(&format!("[{}[]]", format!("{},", nested(63, "1")).repeat(100))), None);
}

#[test]
fn numbers() {
    let ones = |count| "1".repeat(count);
    let fine = [
        "0".into(),
        "-0".into(),
        "-0.0e-0".into(),
        "1.7976931348623157e308".into(),
        "1e-400".into(),
        "0e99999999999999999999".into(),
        "1E-99999999999999999999".into(),
        "18446744073709551616".into(),
        ones(308),
        format!("0.{}", ones(998)),
        format!("{}e-400", ones(400)),
    ];
    for number in &fine {
        assert_eq!(why(number), None, "{number}");
        assert_eq!(why(&format!("[-1,{number} ]")), None, "{number}");
    }
    let most = "1".to_owned() + &"0".repeat(308);
    assert_eq!(why(&most), None, "1e308");
    for number in ["1E400", "-1e400", "1.8e308", "1e309", "1e99999999999999999999", &ones(310)] {
        assert_eq!(why(number), Some(Why::Infinite), "{number}");
        assert_eq!(why(&format!("{{\"a\":[{number}]}}")), Some(Why::Infinite), "{number}");
    }
    assert_eq!(why(&format!("0.{}", ones(999))), Some(Why::LongNumber));
    assert_eq!(why(&format!("{}e-5000", ones(5_000))), Some(Why::LongNumber));
    for number in ["01", "-", "-a", "1.", ".5", "1e", "1e+", "+1", "0x1", "1_0", "--1", "1.e1"] {
        assert_eq!(why(number), Some(Why::Syntax), "{number}");
    }
}

#[test]
fn surrogates() {
    for text in [r#""\ud83d\ude00""#, r#""\uD83D\uDE00\ud83d\ude00""#, r#"{"\ud83d\ude00":1}"#] {
        assert_eq!(why(text), None, "{text}");
    }
    for half in [
        r"\ud800",
        r"\udbff",
        r"\udc00",
        r"\udfff",
        r"\uD800\ud800",
        r"\ud800x",
        r"\ud800\n",
        r"\ude00\ud83d",
        r"\ud83d\ude00\ude00",
        r"\ud800\\ude00",
    ] {
        for text in [format!("\"{half}\""), format!("[{{\"{half}\":1}}]")] {
            assert_eq!(why(&text), Some(Why::Surrogate), "{text}");
        }
    }
}

#[test]
fn names() {
    let name = |name: &str| why(&format!("[{{\"x\":0,\"{name}\":1}}]"));
    assert_eq!(name(r"\u0000a"), Some(Why::NulName));
    assert_eq!(name(r"\u0000"), Some(Why::NulName));
    assert_eq!(name(r"a\u0000"), None);
    assert_eq!(name(""), None);
    assert_eq!(why(r#""\u0000""#), None);
    assert_eq!(name(&"k".repeat(50_000)), None);
    assert_eq!(name(&"k".repeat(50_001)), Some(Why::LongName));
}

#[test]
fn places_and_sentences() {
    assert_eq!(check("[1, 1e400]"), Err(Unfit { why: Why::Infinite, at: 4 }));
    assert_eq!(check("{\"a\":\"\\udead\"}"), Err(Unfit { why: Why::Surrogate, at: 6 }));
    assert_eq!(check("[1,]"), Err(Unfit { why: Why::Syntax, at: 3 }));
    let said = check("[1, 1e400]").unwrap_err().to_string();
    assert!(said.ends_with("(at byte 4)") && said.contains("1.8e308"), "{said}");
    for why in Why::ALL {
        assert!((10..200).contains(&why.text().len()));
    }
}

#[test]
fn plain_bytes_end_where_one_by_one_they_do() {
    for byte in 0..=255u8 {
        for at in 0..20 {
            for around in [b' ', b'a', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'] {
                let mut text = [around; 20];
                text[at] = byte;
                let ends = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(plain_bytes(&text), if ends { at } else { 20 }, "{byte} at {at}");
                text[19] = b'"'; // and never beyond the first of two
                assert_eq!(plain_bytes(&text), if ends { at } else { 19 }, "{byte} at {at}");
            }
        }
    }
}

/// What serde_json says of it, and what our rules add, told as serde reads: half of a surrogate
/// pair in a string and a number that is not finite are errors of its own.
fn by_serde(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    Level(DEPTH_MAX).deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// A value that may hold so many levels.
#[derive(Clone, Copy)]
struct Level(u32);

impl Level {
    fn below<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if number.is_finite() { Ok(()) } else { Err(E::custom("not finite")) }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while let Some(name) = members.next_key::<String>()? {
            if name.starts_with('\0') {
                return Err(A::Error::custom("NUL"));
            }
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        concat!(
            "\"([ -!#-\\[\\]-~é\u{2028}]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|",
            "\\\\ud8[0-9]{2}\\\\udc[0-9]{2}){0,6}\""
        ),
    ];
    leaf.prop_recursive(70, 200, 4, |inner| {
        let name = "\"(a|\\\\u0000|\\\\ud83d\\\\ude00|\\\\n){0,2}\"";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {} ]", items.join("\t,"))),
            prop::collection::vec((name, inner), 0..3).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, item)| format!("{name} : {item}")).collect();
                format!("{{{}\n}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_what_serde_reads_within_our_rules(text in json()) {
        prop_assert_eq!(check(&text).is_ok(), by_serde(&text), "{}", text);
    }

    #[test]
    fn one_changed_character_changes_both_alike(
        text in json(),
        at: prop::sample::Index,
        with in "[\\[\\]{}:,\"\\\\u0-9a-f. \\x00-\\x1feE+é-]",
    ) {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let at = *at.get(&places);
        let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
        for with in [with.as_str(), ""] {
            let changed = format!("{}{with}{}", &text[..at], &text[end..]);
            prop_assert_eq!(check(&changed).is_ok(), by_serde(&changed), "{}", changed);
        }
    }

    #[test]
    fn anything_is_read_to_its_end_or_its_fault(text in "\\PC{0,40}") {
        prop_assert_eq!(check(&text).is_ok(), by_serde(&text), "{}", text);
        if let Err(unfit) = check(&text) {
            prop_assert!(unfit.at <= text.len());
        }
    }
}
