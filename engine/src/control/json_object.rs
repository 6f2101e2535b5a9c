//! A small JSON object as a request's body, read strictly: no field that is not known, none twice.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::answer::Fault;

/// Reads it; `how` says in a refusal what to send. Nothing of the body is repeated.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8], how: &str) -> Result<T, Fault> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Fault::bad_request("bad_json", "the body is not JSON: it is not UTF-8"))?;
    let place =
        |error: &serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    let not_json = |error: serde_json::Error| {
        let message = format!("the body is not JSON: it stops being JSON at {}", place(&error));
        Fault::bad_request("bad_json", message)
    };
    // serde would take an array too, its values for the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        return Err(Fault::unprocessable("bad_fields", format!("the body is no object: {how}")));
    }
    serde_json::from_str(text).map_err(|error| match error.is_data() {
        false => not_json(error),
        true => {
            let what = "a field is not known, stands twice or has a value of the wrong type";
            let message = format!("{what} at {}: {how}", place(&error));
            Fault::unprocessable("bad_fields", message)
        }
    })
}
