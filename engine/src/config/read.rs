//! TOML values as the types of the configuration; errors are sentences.

use std::path::PathBuf;

use toml::de::{DeInteger, DeValue};

use super::document::expected;
use super::units;

/// A string.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("a string, as in \"…\"", value))
}

/// A string through one of the readers that flags use too.
pub(super) fn word<T>(
    read: fn(&str) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| read(&text(value)?)
}

/// true or false.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

/// A whole number that is not negative.
pub(super) fn whole(value: &DeValue<'_>) -> Result<u64, String> {
    let integer = value.as_integer().ok_or_else(|| expected("a whole number", value))?;
    number(integer)
}

/// A whole number through one of the readers that flags use too.
pub(super) fn whole_word<T>(
    read: fn(&str) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| read(&whole(value)?.to_string())
}

/// Bytes: a string with a unit, or a plain number of bytes.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    match value {
        DeValue::Integer(integer) => number(integer),
        DeValue::String(text) => units::bytes(text),
        _ => Err(expected("a size, as in \"16KB\" or \"16KiB\"", value)),
    }
}

/// Milliseconds: a string with a unit. A bare number would be a guess.
pub(super) fn time(value: &DeValue<'_>) -> Result<u64, String> {
    match value {
        DeValue::String(text) => units::millis(text),
        _ => Err(expected("a time with its unit, as in \"250ms\", \"5s\" or \"10m\"", value)),
    }
}

/// A file mode. `660` without a prefix is decimal in TOML, 0o1224, which nobody means.
pub(super) fn mode(value: &DeValue<'_>) -> Result<u32, String> {
    match value {
        DeValue::String(text) => units::mode(text),
        DeValue::Integer(integer) if integer.radix() == 8 => units::mode(integer.as_str()),
        DeValue::Integer(integer) => {
            Err(format!("a mode is octal: write \"0{integer}\" or 0o{integer}"))
        }
        _ => Err(expected("a file mode, as in \"0600\"", value)),
    }
}

/// The path of a file.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    match text(value)? {
        text if text.is_empty() => Err("a path is not empty".into()),
        text => Ok(text.into()),
    }
}

/// The number of a user or a group.
pub(super) fn id(value: &DeValue<'_>) -> Result<u32, String> {
    let ask = "a numeric user or group id, as `id -u NAME` or `id -g NAME` prints it";
    let id = value.as_integer().ok_or_else(|| expected(ask, value))?;
    u32::from_str_radix(id.as_str(), id.radix()).map_err(|_| format!("{id} is not {ask}"))
}

/// A whole number within bounds; `why` goes on with the sentence about one that is not.
pub(super) fn between(value: &DeValue<'_>, min: u64, max: u64, why: &str) -> Result<u64, String> {
    let number = whole(value)?;
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(format!("{number} is not between {min} and {max}{why}"))
}

/// A size within bounds; `why` goes on with the sentence about one that is not.
pub(super) fn bytes_between(
    value: &DeValue<'_>,
    min: u64,
    max: u64,
    why: &str,
) -> Result<u64, String> {
    let number = size(value)?;
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    let [number, min, max] = [number, min, max].map(units::bytes_text);
    Err(format!("{number} is not between {min} and {max}{why}"))
}

fn number(integer: &DeInteger<'_>) -> Result<u64, String> {
    u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
        let written = integer.as_str();
        if written.starts_with('-') {
            format!("{written} is less than 0, the least that can stand here")
        } else {
            format!("{written} is more than {}, the most that can stand here", u64::MAX)
        }
    })
}
