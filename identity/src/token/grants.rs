//! The claims `channels` and `follow`: what a token lets its bearer do with which channels.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::claims::{read, refused};
use super::limits::GRANTS_MAX;
use super::members::Members;
use crate::grants::Grant;
use crate::pattern::Pattern;
use crate::refusal::TokenRefusal;
use crate::right::{Right, Rights};

/// Reads `channels`: a list of patterns, which grants all that a listener does, or an object of
/// patterns with a list of rights each.
///
/// # Errors
/// What is neither, and a pattern or a right that there is not: a token that grants what nobody
/// understands is refused whole, so that its maker hears of it at once.
pub(super) fn read_channels(value: &RawValue) -> Result<Vec<Grant>, TokenRefusal> {
    let grants: Vec<Grant> = if value.get().starts_with('[') {
        let patterns: Vec<String> =
            read(value).ok_or(refused("`channels` is a list, and not of strings alone"))?;
        let to_listen = |pattern: &String| grant(pattern, Rights::TO_LISTEN);
        patterns.iter().map(to_listen).collect::<Result<_, _>>()?
    } else {
        let members = Members::of(value).map_err(|what| {
            TokenRefusal::invalid(format!(
                "`channels` of the token is neither a list nor good: {what}"
            ))
        })?;
        let grants = members.0.iter().map(|(pattern, rights)| grant(pattern, read_rights(rights)?));
        grants.collect::<Result<_, _>>()?
    };
    if grants.len() > GRANTS_MAX {
        return Err(refused("`channels` has more than 256 patterns"));
    }
    Ok(grants)
}

/// These grants, and that to hear each channel which the token follows at once.
///
/// # Errors
/// A name that is no channel's alone.
pub(super) fn with_follow(
    mut grants: Vec<Grant>,
    follow: &[Arc<str>],
) -> Result<Vec<Grant>, TokenRefusal> {
    for name in follow {
        if !grants
            .iter()
            .any(|grant| grant.rights.has(Right::Subscribe) && grant.pattern.matches(name))
        {
            grants.push(grant(name, Rights::NONE.with(Right::Subscribe))?);
        }
    }
    Ok(grants)
}

fn grant(pattern: &str, rights: Rights) -> Result<Grant, TokenRefusal> {
    // A sentence about what is wrong names the pattern, which is the token's: it is not repeated.
    let pattern = Pattern::parse(pattern).map_err(|_| {
        refused("a pattern in `channels` is none: `*` is one segment, `**` the rest")
    })?;
    Ok(Grant { pattern, rights })
}

fn read_rights(value: &RawValue) -> Result<Rights, TokenRefusal> {
    let names: Vec<String> =
        read(value).ok_or(refused("the rights to a pattern are no list of strings"))?;
    let rights = names.iter().map(|name| Right::parse(name)).collect::<Option<Rights>>();
    rights.ok_or(refused("a right is one of subscribe, publish, presence and history"))
}
