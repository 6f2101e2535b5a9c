//! Another configuration for a node that runs: what of it is taken on, what waits for a restart.
//!
//! Everybody who is connected stays. An invalid file changes nothing and says why. What a part of
//! the node was made with (listeners, threads, sizes, what channels keep) cannot become another
//! thing under it, so it is told, and goes on as it was.

use std::sync::{Arc, Mutex, PoisonError};

use super::posting::ContextPost;
use super::settings::Settings;
use crate::authority::Authority;
use crate::control::{ApiChanges, Reload, Reloaded};
use crate::keys::{KeyPlan, KeyPlans};
use crate::metrics::Metrics;
use crate::rule::Rule;
use crate::tenancy::KeySpec;
use crate::transport::Context;

/// What becomes of a part of the settings while a node runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Changes,
    NeedsRestart,
}

/// What a part is called, its fate, and whether it is the same in two settings.
type Row = (&'static str, Fate, fn(&Settings, &Settings) -> bool);

const ROWS: &[Row] = &[
    ("API keys", Fate::Changes, |a, b| same_keys(a, b) || opens(a, b)),
    ("origins", Fate::Changes, |a, b| a.origins == b.origins),
    ("hosts", Fate::Changes, |a, b| a.hosts == b.hosts),
    ("keys of tokens, and how tokens come", Fate::Changes, |a, b| {
        let of = |one: &Settings| (one.tenancy.tokens.clone(), keys(one));
        turns(a, b) || of(a) == of(b)
    }),
    ("who may use which channels", Fate::Changes, |a, b| {
        let access = |rule: &Rule| (rule.pattern.clone(), rule.access, rule.presence);
        turns(a, b) || a.rules.each(access) == b.rules.each(access)
    }),
    ("whether clients are asked who they are", Fate::NeedsRestart, |a, b| !turns(a, b)),
    ("that the API asks for no key", Fate::NeedsRestart, |a, b| !opens(a, b)),
    ("listen", Fate::NeedsRestart, |a, b| a.listen == b.listen),
    ("api", Fate::NeedsRestart, |a, b| a.api == b.api),
    ("the Unix socket and who may publish there", Fate::NeedsRestart, |a, b| {
        let of = |one: &Settings| (one.socket.clone(), one.socket_mode, one.socket_users.clone());
        of(a) == of(b) && a.tenancy.peers == b.tenancy.peers
    }),
    ("driver", Fate::NeedsRestart, |a, b| a.driver == b.driver),
    ("shards", Fate::NeedsRestart, |a, b| a.shards == b.shards),
    ("limits", Fate::NeedsRestart, |a, b| {
        let tenants = |one: &Settings| -> Vec<_> {
            let tenants = one.tenancy.tenants.iter();
            tenants.map(|one| (one.tenant.clone(), one.limits)).collect()
        };
        format!("{:?}", a.limits) == format!("{:?}", b.limits) && tenants(a) == tenants(b)
    }),
    ("api_tls", Fate::NeedsRestart, |a, b| a.api_tls == b.api_tls),
    ("trusted_proxies and how they say for whom they ask", Fate::NeedsRestart, |a, b| {
        a.proxies == b.proxies
    }),
    ("what channels keep", Fate::NeedsRestart, |a, b| {
        let kept = |rule: &Rule| (rule.pattern.clone(), rule.history, rule.window, rule.slow);
        a.rules.each(kept) == b.rules.each(kept)
    }),
    ("development mode", Fate::NeedsRestart, |a, b| a.development() == b.development()),
];

/// The keys of tokens, wherever they stand.
fn keys(settings: &Settings) -> Vec<KeySpec> {
    let keys = settings.tenancy.keys.iter().cloned();
    keys.map(|key| KeySpec { place: "".into(), ..key }).collect()
}

/// Whether clients were asked who they are, and would not be any more, or the other way round. A
/// node is made with or without what asks.
fn turns(before: &Settings, after: &Settings) -> bool {
    before.tenancy.on != after.tenancy.on
}

fn same_keys(a: &Settings, b: &Settings) -> bool {
    a.api_key == b.api_key && a.tenancy.api_keys == b.tenancy.api_keys
}

/// Whether an API that asks for keys would ask for none. That is more likely a mistake than a wish,
/// and whoever means it starts the node anew.
fn opens(before: &Settings, after: &Settings) -> bool {
    !before.backends().is_empty() && after.backends().is_empty()
}

/// What of a node changes while it runs.
#[derive(Default)]
pub(super) struct Changing {
    /// Its API.
    pub(super) api: Option<ApiChanges>,
    /// What clients are served by.
    pub(super) post: Option<ContextPost>,
    /// The keys of their tokens, where they are asked.
    pub(super) keys: Option<KeyPlans>,
}

/// The settings that a node was made with, and those that it runs by now.
struct Known {
    made: Settings,
    now: Settings,
}

impl Known {
    /// What differs in others. What waits for a restart is told again by every reading.
    fn differences(&self, next: &Settings) -> Reloaded {
        let names = |fate, before: &Settings| {
            let rows = ROWS.iter().filter(|(_, of, alike)| *of == fate && !alike(before, next));
            rows.map(|(name, ..)| *name).collect()
        };
        Reloaded {
            changed: names(Fate::Changes, &self.now),
            needs_restart: names(Fate::NeedsRestart, &self.made),
        }
    }

    /// Takes on what may change.
    fn take_on(&mut self, next: Settings) {
        if !opens(&self.now, &next) {
            self.now.api_key = next.api_key;
            self.now.tenancy.api_keys = next.tenancy.api_keys;
        }
        (self.now.origins, self.now.hosts) = (next.origins, next.hosts);
        if self.now.tenancy.on == next.tenancy.on {
            self.now.tenancy.tokens = next.tenancy.tokens;
            self.now.tenancy.keys = next.tenancy.keys;
            self.now.rules = next.rules;
        }
    }
}

impl Changing {
    /// Has the node run by these settings.
    ///
    /// # Errors
    /// Its keys are too many or none; nothing has changed then.
    fn apply(&self, settings: &Settings) -> Result<(), String> {
        if let Some(keys) = &self.keys {
            let plan = KeyPlan::of(&settings.tenancy)?;
            keys.take_on(plan).map_err(|error| error.to_string())?;
        }
        if let Some(api) = &self.api {
            api.set_api_keys(settings.backends());
        }
        if let Some(post) = &self.post {
            post.replace(|before| {
                let (origins, hosts) = (settings.origins.clone(), settings.hosts.clone());
                let authority = before.authority.as_deref().map(|authority| {
                    let tokens = &settings.tenancy.tokens;
                    let rules = Arc::new(settings.rules.clone());
                    // What is out and what was taken back stays.
                    let Authority { ways, max_age_ms, .. } =
                        Authority::new(tokens, rules.clone(), 1);
                    Arc::new(Authority { ways, max_age_ms, rules, ..authority.clone() })
                });
                Context { origins, hosts, authority, ..before.clone() }
            });
        }
        Ok(())
    }
}

/// Makes of whatever reads the configuration what takes it on: for the API and for signals. One
/// reading follows the other.
pub(super) fn reload(
    made: Settings,
    changing: Changing,
    metrics: Arc<Metrics>,
    read: impl Fn() -> Result<Settings, String> + Send + Sync + 'static,
) -> Reload {
    let known = Mutex::new(Known { now: made.clone(), made });
    Arc::new(move || {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut take_on = || {
            let next = read()?;
            let found = known.differences(&next);
            let mut after = Known { made: known.made.clone(), now: known.now.clone() };
            after.take_on(next);
            changing.apply(&after.now)?;
            *known = after;
            Ok(found)
        };
        let found = take_on().inspect_err(|what: &String| {
            metrics.reloads.failed.add(1);
            tracing::error!("the configuration is wrong, so that the one before goes on: {what}");
        })?;
        metrics.reloads.done.add(1);
        tracing::info!(
            changed = found.changed.join(", "),
            needs_restart = found.needs_restart.join(", "),
            "the configuration was read again"
        );
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    fn settings(text: &str) -> Settings {
        let text = format!("listen = '127.0.0.1:0'\n{text}");
        load_text("f", &text).unwrap_or_else(|problems| panic!("{problems}")).settings
    }

    #[test]
    fn every_change_is_told_with_what_becomes_of_it() {
        let key = |id: char| {
            let (id, hex) = (id.to_string().repeat(12), "0".repeat(64));
            format!("[[api_keys]]\nhash = 'sha256:{id}:{hex}'\nactions = ['all']\n")
        };
        let rule = "[[channels]]\nmatch = 'a'\n";
        let cases = [
            ("", "", &[][..], &[][..]),
            (&*key('1'), &*key('2'), &["API keys"], &[]),
            (&key('1'), &key('1'), &[], &[]),
            ("", &key('1'), &["API keys"], &["development mode"]),
            (&key('1'), "", &[], &["that the API asks for no key", "development mode"]),
            ("", "shards = 2\n", &[], &["shards"]),
            ("", "[limits]\nping = '30s'\n", &[], &["limits"]),
            ("", "hosts = ['a.example']\n", &["hosts"], &[]),
            ("", "origins = ['https://a.example']\n", &["origins"], &[]),
            ("", "no_dev = true\n", &[], &["development mode"]),
            (rule, &format!("{rule}presence = false\n"), &["who may use which channels"], &[]),
            (rule, &format!("{rule}history = {{ count = 1 }}\n"), &[], &["what channels keep"]),
            // Where a rule stands is nothing that it says.
            (rule, &format!("\n\n{rule}"), &[], &[]),
        ];
        for (before, after, changed, needs_restart) in cases {
            let made = settings(before);
            let known = Known { now: made.clone(), made };
            let found = known.differences(&settings(after));
            assert_eq!(
                (&*found.changed, &*found.needs_restart),
                (changed, needs_restart),
                "{after}"
            );
        }
    }

    #[test]
    fn what_is_wrong_changes_nothing() {
        let metrics = Arc::new(Metrics::new(1));
        let read = || Err("f:1:1: a problem".to_owned());
        let reload = reload(settings(""), Changing::default(), Arc::clone(&metrics), read);
        assert_eq!(reload(), Err("f:1:1: a problem".into()));
        assert_eq!((metrics.reloads.failed.read(), metrics.reloads.done.read()), (1, 0));
    }

    #[test]
    fn what_waits_is_told_until_it_is_done() {
        let metrics = Arc::new(Metrics::new(1));
        let read = || Ok(settings("shards = 2\n"));
        let reload =
            reload(settings("shards = 1\n"), Changing::default(), Arc::clone(&metrics), read);
        for _ in 0..2 {
            assert_eq!(reload().unwrap().needs_restart, ["shards"]);
        }
        assert_eq!(metrics.reloads.done.read(), 2);
    }
}
