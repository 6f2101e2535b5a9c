//! What a token claims, read strictly: right names with wrong types are refused, not passed over.

use std::sync::Arc;

use fanfare_protocol::names::is_channel_name;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::grants::{read_channels, with_follow};
use super::limits::{GRANTS_MAX, INFO_BYTES_MAX, LEEWAY_S, NAME_BYTES_MAX, TIME_S_MAX};
use super::members::Members;
use crate::grants::{Grant, Grants};
use crate::identity::{Identity, User};
use crate::keys::KeyPolicy;
use crate::refusal::{TokenRefusal, quoted};

/// The claims of a token whose signature was good. Those with other names are passed over.
#[derive(Default)]
pub(crate) struct Claims {
    user: Option<User>,
    issuer: Option<String>,
    /// `aud`, whose string is a list of one; `None` where it is missing.
    audiences: Option<Vec<String>>,
    expires_s: Option<u64>,
    not_before_s: Option<u64>,
    issued_s: Option<u64>,
    token_id: Option<Box<str>>,
    info: Option<Box<str>>,
    grants: Vec<Grant>,
    follow: Vec<Arc<str>>,
}

impl Claims {
    /// Reads them.
    ///
    /// # Errors
    /// The first that is not what it has to be.
    pub fn read(json: &[u8]) -> Result<Self, TokenRefusal> {
        let members = Members::read(json)
            .map_err(|what| TokenRefusal::invalid(format!("the token's claims are {what}")))?;
        let mut claims = Self::default();
        for (name, value) in members.0 {
            claims.take(&name, value)?;
        }
        Ok(claims)
    }

    fn take(&mut self, name: &str, value: &RawValue) -> Result<(), TokenRefusal> {
        match name {
            "sub" => self.user = Some(User::new(&read_name("sub", value)?)),
            "jti" => self.token_id = Some(read_name("jti", value)?.into()),
            "iss" => self.issuer = Some(read(value).ok_or(refused("`iss` is no string"))?),
            "aud" => self.audiences = Some(read_audiences(value)?),
            "exp" => self.expires_s = Some(read_time("exp", value)?),
            "nbf" => self.not_before_s = Some(read_time("nbf", value)?),
            "iat" => self.issued_s = Some(read_time("iat", value)?),
            "info" => self.info = Some(read_info(value)?),
            "channels" => self.grants = read_channels(value)?,
            "follow" => self.follow = read_follow(value)?,
            _ => {}
        }
        Ok(())
    }

    /// What they are good for now, at `now_s` seconds since 1970, by the policy of the key that
    /// signed them.
    ///
    /// # Errors
    /// What of them is not so, the end of the token last: only a token that is good in all else is
    /// one that has expired.
    pub fn judged(self, policy: &KeyPolicy, now_s: u64) -> Result<Identity, TokenRefusal> {
        self.judge_names(policy)?;
        self.judge_times(policy, now_s)?;
        Ok(Identity {
            tenant: policy.tenant.clone(),
            user: self.user,
            grants: Grants::new(with_follow(self.grants, &self.follow)?),
            follow: self.follow.into(),
            expires_s: self.expires_s,
            issued_s: self.issued_s,
            token_id: self.token_id,
            info: self.info,
        })
    }

    fn judge_names(&self, policy: &KeyPolicy) -> Result<(), TokenRefusal> {
        if let Some(issuer) = &policy.issuer
            && self.issuer.as_deref() != Some(&**issuer)
        {
            return Err(TokenRefusal::invalid(match &self.issuer {
                Some(other) => {
                    format!("the token's `iss` is {}: its key is another's", quoted(other))
                }
                None => "the token has no `iss`, and its key wants one".into(),
            }));
        }
        if policy.audiences.is_empty() {
            return Ok(());
        }
        let Some(audiences) = &self.audiences else {
            return Err(refused("it has no `aud`, and its key wants one"));
        };
        if !audiences.iter().any(|audience| policy.audiences.iter().any(|own| **own == **audience))
        {
            return Err(refused("it is for others: none in its `aud` is one that its key wants"));
        }
        Ok(())
    }

    fn judge_times(&self, policy: &KeyPolicy, now_s: u64) -> Result<(), TokenRefusal> {
        let latest_s = now_s.saturating_add(LEEWAY_S);
        for (name, time_s) in [("nbf", self.not_before_s), ("iat", self.issued_s)] {
            if let Some(time_s) = time_s.filter(|time_s| *time_s > latest_s) {
                let ahead_s = time_s - now_s;
                return Err(TokenRefusal::invalid(format!(
                    "the token's `{name}` lies {ahead_s} s ahead: 30 s are allowed"
                )));
            }
        }
        match self.expires_s {
            Some(end_s) if now_s >= end_s.saturating_add(LEEWAY_S) => {
                let ago_s = now_s - end_s;
                Err(TokenRefusal::expired(format!("the token expired {ago_s} s ago (`exp`)")))
            }
            None if policy.require_exp => Err(refused("it has no end (`exp`), and needs one")),
            _ => Ok(()),
        }
    }
}

/// Who a token says has made it, before its signature was checked: it may narrow down which of
/// our keys are tried, and is believed in nothing.
pub(crate) fn issuer_hint(json: &[u8]) -> Option<String> {
    let members = Members::read(json).ok()?;
    let (_, value) = members.0.into_iter().find(|(name, _)| name == "iss")?;
    read(value)
}

/// A refusal of what the claims are.
pub(super) fn refused(what: &'static str) -> TokenRefusal {
    TokenRefusal::invalid(format!("of the token's claims: {what}"))
}

/// Reads a value of one type and no other.
pub(super) fn read<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// A string that others are told, and that logs show.
fn read_name(name: &'static str, value: &RawValue) -> Result<String, TokenRefusal> {
    let text: String = read(value)
        .ok_or_else(|| TokenRefusal::invalid(format!("the token's `{name}` is no string")))?;
    if !(1..=NAME_BYTES_MAX).contains(&text.len()) || text.chars().any(char::is_control) {
        return Err(TokenRefusal::invalid(format!(
            "the token's `{name}` is not 1 to 255 bytes without control characters"
        )));
    }
    Ok(text)
}

/// A time is a whole number, as it is written: a string, a fraction and `null` are none, though
/// some readers would make one of them (CVE-2026-25537).
fn read_time(name: &'static str, value: &RawValue) -> Result<u64, TokenRefusal> {
    read::<u64>(value).filter(|time_s| *time_s <= TIME_S_MAX).ok_or_else(|| {
        TokenRefusal::invalid(format!(
            "the token's `{name}` is not a time: whole seconds since 1970, as a number"
        ))
    })
}

fn read_audiences(value: &RawValue) -> Result<Vec<String>, TokenRefusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }
    match read(value) {
        Some(Audience::One(one)) => Ok(vec![one]),
        Some(Audience::Several(several)) => Ok(several),
        None => Err(refused("`aud` is neither a string nor a list of strings")),
    }
}

/// It is passed on as it was written, so it has to be what every reader takes.
fn read_info(value: &RawValue) -> Result<Box<str>, TokenRefusal> {
    if value.get().len() > INFO_BYTES_MAX {
        return Err(refused("`info` has more than 1,024 bytes"));
    }
    read::<serde_json::Value>(value)
        .ok_or(refused("`info` is not JSON that every reader takes"))?;
    Ok(value.get().into())
}

fn read_follow(value: &RawValue) -> Result<Vec<Arc<str>>, TokenRefusal> {
    let names: Vec<String> = read(value).ok_or(refused("`follow` is no list of strings"))?;
    if names.len() > GRANTS_MAX {
        return Err(refused("`follow` names more than 256 channels"));
    }
    if !names.iter().all(|name| is_channel_name(name)) {
        return Err(refused("`follow` has what no channel can be called"));
    }
    Ok(names.into_iter().map(Arc::from).collect())
}
