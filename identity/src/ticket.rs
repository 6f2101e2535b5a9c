//! One-time tickets: what a browser puts into a URL instead of its token.
//!
//! Whoever has a token asks for a ticket and opens a stream with it within ten seconds, once. A
//! proxy that has logged the URL has logged a word that means nothing any more. Tickets are kept by
//! their hash, so that neither memory nor the time of a look-up gives one away.
//!
//! Each takes its place until its time is over or it was used; what one tenant may have, and all
//! together, is bounded.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::identity::Identity;
use crate::tenant::Tenant;

/// How long a ticket lives, in milliseconds.
pub const TICKET_LIFE_MS: u64 = 10_000;
/// Random bytes of a ticket: 192 bits.
pub const TICKET_RANDOM_BYTES: usize = 24;
/// What each begins with, so that one that was found somewhere is known for what it is.
const PREFIX: &str = "fft_";
/// Characters of a ticket: the prefix, and four for three bytes.
const TEXT_BYTES: usize = PREFIX.len() + TICKET_RANDOM_BYTES / 3 * 4;

/// What a ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whom the connection that comes with it speaks for. It may have expired or been revoked
    /// since.
    pub identity: Arc<Identity>,
    /// The channels that such a connection may follow; `None` for all that the identity may.
    pub channels: Option<Box<[Arc<str>]>>,
}

impl Ticket {
    /// Whether a connection that comes with it may follow the channel of this name, as far as the
    /// ticket goes.
    pub fn lets_follow(&self, channel: &str) -> bool {
        self.channels.as_ref().is_none_or(|names| names.iter().any(|name| **name == *channel))
    }
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketsFull {
    /// How many there may be.
    pub most: usize,
    /// Whether that bounds one tenant, not all of them.
    pub of_tenant: bool,
}

impl fmt::Display for TicketsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.of_tenant { "of this tenant " } else { "" };
        write!(
            f,
            "{} tickets {whose}wait to be used, as many as may: ask for one when a stream is to be \
             opened, and again in some seconds",
            self.most
        )
    }
}

impl std::error::Error for TicketsFull {}

/// The hash of a ticket.
type Key = [u8; 32];

/// All tickets that wait to be used.
#[derive(Debug)]
pub struct Tickets {
    waiting: HashMap<Key, Ticket>,
    /// When each is over, in the order in which they were made, those that were used too.
    ends: VecDeque<(u64, Key)>,
    of_tenants: HashMap<Tenant, usize>,
    most: usize,
    most_of_tenant: usize,
}

impl Tickets {
    /// None yet; `most` at once, of which one tenant may have `most_of_tenant`.
    pub fn new(most: usize, most_of_tenant: usize) -> Self {
        let (waiting, of_tenants, ends) = Default::default();
        Self { waiting, ends, of_tenants, most, most_of_tenant }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes a ticket out of random bytes, which must be the kernel's, and gives its text. Times
    /// are milliseconds of a clock that does not run backwards.
    ///
    /// # Errors
    /// There is no room.
    pub fn issue(
        &mut self,
        random: &[u8; TICKET_RANDOM_BYTES],
        ticket: Ticket,
        now_ms: u64,
    ) -> Result<String, TicketsFull> {
        self.expire(now_ms);
        let tenant = ticket.identity.tenant.clone();
        if self.of_tenants.get(&tenant).is_some_and(|count| *count >= self.most_of_tenant) {
            return Err(TicketsFull { most: self.most_of_tenant, of_tenant: true });
        }
        if self.waiting.len() >= self.most {
            return Err(TicketsFull { most: self.most, of_tenant: false });
        }
        let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let key = hash(text.as_bytes());
        if self.waiting.insert(key, ticket).is_none() {
            *self.of_tenants.entry(tenant).or_default() += 1;
        }
        self.ends.push_back((now_ms.saturating_add(TICKET_LIFE_MS), key));
        self.drop_used();
        Ok(text)
    }

    /// What the ticket of this text stands for, once: it is used up. `None` for one that never was,
    /// was used, or is over; which of these is told to nobody.
    pub fn redeem(&mut self, text: &[u8], now_ms: u64) -> Option<Ticket> {
        self.expire(now_ms);
        let is_one = text.len() == TEXT_BYTES && text.starts_with(PREFIX.as_bytes());
        if is_one { self.take(&hash(text)) } else { None }
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((end_ms, key)) = self.ends.front()
            && *end_ms <= now_ms
        {
            let key = *key;
            self.ends.pop_front();
            self.take(&key);
        }
    }

    fn take(&mut self, key: &Key) -> Option<Ticket> {
        let ticket = self.waiting.remove(key)?;
        let tenant = &ticket.identity.tenant;
        if let Some(count) = self.of_tenants.get_mut(tenant) {
            *count -= 1;
            if *count == 0 {
                self.of_tenants.remove(tenant);
            }
        }
        Some(ticket)
    }

    /// Those that were used leave their ends behind, which would be as many as are made in ten
    /// seconds: when they are most of all, they go.
    fn drop_used(&mut self) {
        if self.ends.len() > 2 * self.waiting.len() + 64 {
            self.ends.retain(|(_, key)| self.waiting.contains_key(key));
        }
    }
}

fn hash(text: &[u8]) -> Key {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tenant: &str) -> Ticket {
        let identity = Arc::new(Identity::anonymous(Tenant::new(tenant)));
        Ticket { identity, channels: None }
    }

    fn random(seed: u32) -> [u8; TICKET_RANDOM_BYTES] {
        let mut bytes = [0; TICKET_RANDOM_BYTES];
        bytes[..4].copy_from_slice(&seed.to_le_bytes());
        bytes
    }

    #[test]
    fn a_ticket_is_used_once() {
        let mut tickets = Tickets::new(10, 10);
        let text = tickets.issue(&random(1), ticket("a"), 0).unwrap();
        assert!(text.len() == 36 && text.starts_with("fft_"), "{text}");
        let other = tickets.issue(&random(2), ticket("b"), 0).unwrap();
        assert_ne!(text, other);
        let used = tickets.redeem(text.as_bytes(), 1).unwrap();
        assert_eq!(used.identity.tenant.as_str(), "a");
        assert_eq!(tickets.redeem(text.as_bytes(), 1), None, "it is used up");
        assert_eq!(tickets.len(), 1);
    }

    #[test]
    fn a_ticket_lives_ten_seconds() {
        let mut tickets = Tickets::new(10, 10);
        let text = tickets.issue(&random(1), ticket("a"), 500).unwrap();
        let later = tickets.issue(&random(2), ticket("a"), 600).unwrap();
        assert_eq!(tickets.redeem(text.as_bytes(), 10_500), None);
        assert!(tickets.redeem(later.as_bytes(), 10_599).is_some());
        assert!(tickets.is_empty() && tickets.of_tenants.is_empty());
    }

    #[test]
    fn what_is_no_ticket_finds_none() {
        let mut tickets = Tickets::new(10, 10);
        let text = tickets.issue(&random(1), ticket("a"), 0).unwrap();
        let upper = text.to_uppercase();
        let longer = format!("{text}=");
        for wrong in ["", "fft_", &text[..35], &text[4..], &upper, &longer, &"f".repeat(9_000)] {
            assert_eq!(tickets.redeem(wrong.as_bytes(), 0), None, "{wrong}");
        }
        assert!(tickets.redeem(text.as_bytes(), 0).is_some(), "wrong ones use up nothing");
    }

    #[test]
    fn room_is_shared_by_tenants_and_is_there_again() {
        let mut tickets = Tickets::new(3, 2);
        let first = tickets.issue(&random(1), ticket("a"), 0).unwrap();
        tickets.issue(&random(2), ticket("a"), 0).unwrap();
        let full = tickets.issue(&random(3), ticket("a"), 0).unwrap_err();
        assert_eq!(full, TicketsFull { most: 2, of_tenant: true });
        tickets.issue(&random(4), ticket("b"), 5_000).unwrap();
        let full = tickets.issue(&random(5), ticket("c"), 5_000).unwrap_err();
        assert_eq!(full, TicketsFull { most: 3, of_tenant: false });
        tickets.redeem(first.as_bytes(), 5_000).unwrap();
        tickets.issue(&random(6), ticket("a"), 5_000).expect("one was used");
        tickets.issue(&random(7), ticket("c"), 10_000).expect("one is over");
    }

    /// A stranger with a good token who asks and uses as fast as it can costs no memory.
    #[test]
    fn used_tickets_leave_nothing_behind() {
        let mut tickets = Tickets::new(100, 100);
        for seed in 0..20_000 {
            let text = tickets.issue(&random(seed), ticket("a"), 0).unwrap();
            tickets.redeem(text.as_bytes(), 0).unwrap();
        }
        assert!(tickets.ends.len() < 200, "{}", tickets.ends.len());
        assert!(tickets.is_empty());
    }

    #[test]
    fn a_ticket_for_channels_is_for_no_other() {
        let mut bound = ticket("a");
        assert!(bound.lets_follow("any"));
        bound.channels = Some(["a".into(), "b".into()].into());
        assert!(bound.lets_follow("a") && bound.lets_follow("b"));
        assert!(!bound.lets_follow("A") && !bound.lets_follow("ab"));
        bound.channels = Some(Box::default());
        assert!(!bound.lets_follow("a"));
    }
}
