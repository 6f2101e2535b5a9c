//! For how long a connection speaks for whom it has shown a token of.
//!
//! A token ends at its `exp`, and some seconds later, for clocks that differ, so does what it has
//! opened; a while before the client is told, so that it can bring a new one without a break. A
//! connection may also have a greatest age. It never becomes anybody else's, or nobody's.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_identity::token::LEEWAY_S;

use super::here::Here;
use crate::authority::Authority;
use crate::clock::Millis;

/// From the notice to the end; of a token that lives for less than twice as long, half of its life.
const NOTICE_MS: u64 = 30_000;

/// Tokens that a connection may show to go on, and in which time.
const SHOWN_MAX: u32 = 5;
const SHOWN_MS: u64 = 10_000;

/// What a token made of a connection.
#[derive(Debug)]
pub(crate) struct Tenure {
    identity: Arc<Identity>,
    /// Since when tokens are counted that it shows to go on, and how many they are.
    shown: (Millis, u32),
    /// When the connection ends, if ever.
    ends: Option<Millis>,
    /// When the client is told, where it was not.
    notice: Option<Millis>,
}

/// What time has done to a tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TenureNews {
    /// Nothing.
    None,
    /// The client is to be told that it ends in so many seconds.
    EndsIn(u64),
    /// It has ended.
    Over,
}

impl Tenure {
    /// One that begins at `now`, which is `unix_ms` milliseconds since 1970. `spread` is any number
    /// that differs from client to client: those that came in one moment do not all come back in
    /// one.
    pub(super) fn new(
        identity: Arc<Identity>,
        authority: Option<&Authority>,
        spread: u16,
        (now, unix_ms): (Millis, u64),
    ) -> Self {
        let of_token = identity.expires_s.map(|end_s| {
            let end_ms = end_s.saturating_add(LEEWAY_S).saturating_mul(1_000);
            end_ms.saturating_sub(unix_ms)
        });
        let of_age = authority.and_then(|it| it.max_age_ms).map(|age_ms| {
            age_ms - ((u64::from(spread) * (age_ms / 10)) >> 16) // the last tenth is each one's own
        });
        let left_ms = match (of_token, of_age) {
            (Some(token_ms), Some(age_ms)) => Some(token_ms.min(age_ms)),
            (token_ms, age_ms) => token_ms.or(age_ms),
        };
        let ends = left_ms.map(|left_ms| now.plus(left_ms));
        let notice = left_ms.map(|left_ms| now.plus(left_ms - NOTICE_MS.min(left_ms / 2)));
        Self { identity, shown: (now, 0), ends, notice }
    }

    /// One of a client that is called now.
    pub(super) fn of(identity: Arc<Identity>, here: &Here<'_>) -> Box<Self> {
        let authority = here.shared.context.authority.as_deref();
        // Far apart for those who come one after the other.
        let spread = (here.now.0 as u16).wrapping_mul(40_503);
        let now = (here.now, here.unix_ms());
        Box::new(Self::new(identity, authority, spread, now))
    }

    /// Whether it may show another token now.
    pub(super) fn may_show_another(&mut self, now: Millis) -> bool {
        if now.since(self.shown.0) >= SHOWN_MS {
            self.shown = (now, 0);
        }
        self.shown.1 += 1;
        self.shown.1 <= SHOWN_MAX
    }

    /// It is what a new token has made of this one.
    pub(super) fn goes_on_from(&mut self, before: &Self) {
        self.shown = before.shown;
        // Who was told of an end is told again of a later one alone.
        let is_later = match (before.ends, self.ends) {
            (Some(before), Some(ends)) => ends > before.plus(1_000),
            _ => true,
        };
        if before.notice.is_none() && !is_later {
            self.notice = None;
        }
    }

    /// Whom it speaks for.
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// When the connection ends, if ever.
    pub(super) fn ends(&self) -> Option<Millis> {
        self.ends
    }

    /// When it is to be looked at, if ever.
    pub(super) fn due(&self) -> Option<Millis> {
        self.notice.or(self.ends)
    }

    /// How long it is from `now` to its end, in seconds.
    pub(super) fn left_s(&self, now: Millis) -> Option<u64> {
        Some(self.ends?.since(now) / 1_000)
    }

    /// What has become of it, as told once.
    pub(super) fn news(&mut self, now: Millis) -> TenureNews {
        if self.ends.is_some_and(|ends| ends <= now) {
            return TenureNews::Over;
        }
        if self.notice.is_some_and(|notice| notice <= now) {
            self.notice = None;
            return TenureNews::EndsIn(self.left_s(now).unwrap_or_default());
        }
        TenureNews::None
    }
}
