//! What backends say to the API, as it is read there.

use crate::channel::Tenant;
use crate::control;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::sequencer::command::Publication;

/// A message as the API reads it out of a body.
pub(super) fn posted(
    tenant: &Tenant,
    names: &[String],
    json: &[u8],
    (ephemeral, except, key): (bool, Option<Origin>, Option<&str>),
    limits: &Limits,
) -> Publication {
    let json = std::str::from_utf8(json).expect("JSON is text");
    let except = except.map_or("null".into(), |except| format!("\"{except}\""));
    let key = key.map_or("null".into(), |key| format!("{key:?}"));
    let body = format!(
        r#"{{"channels":{names:?},"ephemeral":{ephemeral},"except":{except},"data":{json},
            "idempotency_key":{key}}}"#
    );
    control::read_one(body.as_bytes(), tenant, limits).expect("the API takes it")
}
