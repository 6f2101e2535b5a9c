//! What is allowed and hardly meant: said by `config check` and at each start, and no reason not to
//! start.

use fanfare_identity::keys::{Algorithm, TRIED_MAX};
use fanfare_protocol::limits::EVENT_NAME_BYTES_MAX;

use super::Config;
use super::units::bytes_text;
use crate::message::OVERHEAD_BYTES;
use crate::rule::Rule;

impl Config {
    /// A sentence for each channel rule whose channels cannot keep the largest message, and for
    /// each that never counts, since an earlier one matches all that it matches.
    pub fn warnings(&self) -> Vec<String> {
        let message_bytes = self.settings.limits.message_bytes;
        let largest = message_bytes + EVENT_NAME_BYTES_MAX + OVERHEAD_BYTES;
        let rules = &self.settings.rules;
        let common: Vec<&Rule> = rules.common().map(|rule| &**rule).collect();
        // The last one is of whatever no rule of the configuration matches.
        let said = &common[..common.len() - 1];
        let own = self
            .settings
            .tenancy
            .tenants
            .iter()
            .map(|one| -> Vec<&Rule> { rules.own(&one.tenant).map(|rule| &**rule).collect() });
        let tables: Vec<_> = own.chain([said.to_vec()]).collect();
        let all = tables.iter().flatten().chain(common.last());
        let too_small = all.filter_map(|rule| warning(rule, message_bytes, largest));
        let hidden = tables.iter().flat_map(|table| {
            (0..table.len()).filter_map(|nth| never_counts(&table[..nth], table[nth]))
        });
        too_small
            .chain(hidden)
            .chain(self.everyone_is_trusted())
            .chain(self.key_in_the_clear())
            .chain(self.keys_without_names())
            .collect()
    }

    fn key_in_the_clear(&self) -> Option<String> {
        let api = self.settings.api.filter(|api| !super::is_loopback(*api))?;
        let is_clear = self.settings.api_tls.is_none();
        is_clear.then(|| {
            format!(
                "api is {api}, which other machines can reach, and speaks plain HTTP: the API key \
                 and all that is published can be read on the way. Set api_tls, or listen on \
                 127.0.0.1 behind a proxy that speaks TLS"
            )
        })
    }

    /// Of many keys that a token may mean only some are tried, whoever's they are.
    fn keys_without_names(&self) -> Option<String> {
        let keys = self.settings.tenancy.keys.iter();
        let mut algorithms: Vec<Algorithm> = keys
            .filter(|key| key.kid.is_none() && key.issuer.is_none())
            .filter_map(|key| key.alg)
            .collect();
        algorithms.sort_by_key(|algorithm| *algorithm as usize);
        let mut groups = algorithms.chunk_by(|one, other| one == other);
        let group = groups.find(|group| group.len() > TRIED_MAX)?;
        Some(format!(
            "{} keys of {} have neither a kid nor an issuer, and of those that a token may mean \
             {TRIED_MAX} are tried, so that some tokens will not be believed: give each key its \
             kid, and name it in the header of the tokens",
            group.len(),
            group[0]
        ))
    }

    fn everyone_is_trusted(&self) -> Option<String> {
        let all = self.trusted_proxies.iter().find(|range| range.ends_with("/0"))?;
        Some(format!(
            "trusted_proxies has \"{all}\": whoever connects is believed when it says for whom it \
             asks, so that no limit by address holds for anybody. Name the proxies alone"
        ))
    }
}

fn warning(rule: &Rule, message_bytes: usize, largest: usize) -> Option<String> {
    let keeps = rule.history.count > 0 && rule.history.bytes > 0 && rule.history.age_ms > 0;
    let (what, bytes, lost) = if keeps && rule.history.bytes < largest {
        ("history", rule.history.bytes, "is told of a gap in their place when it comes back")
    } else if rule.history.bytes.max(rule.window.bytes) < largest {
        ("window", rule.window.bytes, "loses them unless it takes them at once")
    } else {
        return None;
    };
    Some(format!(
        "{what} = {{ bytes = \"{}\" }} of the channels \"{}\" does not hold the largest message \
         that limits.message_bytes = \"{}\" lets pass: a client {lost}. Raise it to {largest} \
         bytes, or lower message_bytes",
        bytes_text(bytes as u64),
        rule.pattern.as_str(),
        bytes_text(message_bytes as u64),
    ))
}

fn never_counts(earlier: &[&Rule], rule: &Rule) -> Option<String> {
    let covers = |earlier: &&&Rule| earlier.pattern.covers(&rule.pattern);
    let first = earlier.iter().find(covers)?;
    Some(format!(
        "the rule of the channels \"{}\" never counts: the first rule that matches a channel \
         wins, and an earlier one, of \"{}\", matches all of these. Put it before that one, or \
         remove it",
        rule.pattern.as_str(),
        first.pattern.as_str(),
    ))
}
