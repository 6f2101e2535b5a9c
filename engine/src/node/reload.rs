//! Another configuration for a node that runs: what of it is taken on, what waits for a restart.
//!
//! Everybody who is connected stays. An invalid file changes nothing and says why. What a part of
//! the node was made with (listeners, threads, sizes, what channels keep) cannot become another
//! thing under it, so it is told, and goes on as it was.

use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Settings;
use crate::control::{ApiChanges, Reload, Reloaded};
use crate::metrics::Metrics;
use crate::rule::Rule;

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
    ("that the API asks for no key", Fate::NeedsRestart, |a, b| !opens(a, b)),
    ("listen", Fate::NeedsRestart, |a, b| a.listen == b.listen),
    ("api", Fate::NeedsRestart, |a, b| a.api == b.api),
    ("the Unix socket and who may publish there", Fate::NeedsRestart, |a, b| {
        let of = |one: &Settings| (one.socket.clone(), one.socket_mode, one.socket_users.clone());
        of(a) == of(b) && a.tenancy.peers == b.tenancy.peers
    }),
    ("driver", Fate::NeedsRestart, |a, b| a.driver == b.driver),
    ("shards", Fate::NeedsRestart, |a, b| a.shards == b.shards),
    ("limits", Fate::NeedsRestart, |a, b| format!("{:?}", a.limits) == format!("{:?}", b.limits)),
    ("origins", Fate::NeedsRestart, |a, b| a.origins == b.origins),
    ("hosts", Fate::NeedsRestart, |a, b| a.hosts == b.hosts),
    ("trusted_proxies and how they say for whom they ask", Fate::NeedsRestart, |a, b| {
        a.proxies == b.proxies
    }),
    ("api_tls", Fate::NeedsRestart, |a, b| a.api_tls == b.api_tls),
    ("tenants, and keys of tokens", Fate::NeedsRestart, |a, b| {
        let (a, b) = (&a.tenancy, &b.tenancy);
        (a.on, &a.tokens, &a.keys) == (b.on, &b.tokens, &b.keys)
            && a.tenants
                .iter()
                .map(|one| (&one.tenant, one.limits))
                .eq(b.tenants.iter().map(|one| (&one.tenant, one.limits)))
    }),
    ("who may use which channels", Fate::NeedsRestart, |a, b| {
        let access = |rule: &Rule| (rule.pattern.clone(), rule.access, rule.presence);
        a.rules.each(access) == b.rules.each(access)
    }),
    ("what channels keep", Fate::NeedsRestart, |a, b| {
        let kept = |rule: &Rule| (rule.pattern.clone(), rule.history, rule.window, rule.slow);
        a.rules.each(kept) == b.rules.each(kept)
    }),
    ("development mode", Fate::NeedsRestart, |a, b| a.development() == b.development()),
];

fn same_keys(a: &Settings, b: &Settings) -> bool {
    a.api_key == b.api_key && a.tenancy.api_keys == b.tenancy.api_keys
}

/// Whether an API that asks for keys would ask for none. That is more likely a mistake than a wish,
/// and whoever means it starts the node anew.
fn opens(before: &Settings, after: &Settings) -> bool {
    !before.backends().is_empty() && after.backends().is_empty()
}

/// What differs between the settings that a node runs by and others.
fn differences(before: &Settings, after: &Settings) -> Reloaded {
    let names = |fate| {
        let rows = ROWS.iter().filter(|(_, of, alike)| *of == fate && !alike(before, after));
        rows.map(|(name, ..)| *name).collect()
    };
    Reloaded { changed: names(Fate::Changes), needs_restart: names(Fate::NeedsRestart) }
}

/// Makes of whatever reads the configuration what takes it on: for the API and for signals. One
/// reading follows the other.
pub(super) fn reload(
    current: Settings,
    api: Option<ApiChanges>,
    metrics: Arc<Metrics>,
    read: impl Fn() -> Result<Settings, String> + Send + Sync + 'static,
) -> Reload {
    let current = Mutex::new(current);
    Arc::new(move || {
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        let next = read().inspect_err(|what| {
            metrics.reloads.failed.add(1);
            tracing::error!("the configuration is wrong, so that the one before goes on: {what}");
        })?;
        let found = differences(&current, &next);
        // What waits for a restart stays as it was, so that the next reading tells it again.
        if !opens(&current, &next) {
            current.api_key = next.api_key;
            current.tenancy.api_keys = next.tenancy.api_keys;
        }
        if let Some(api) = &api {
            api.set_api_keys(current.backends());
        }
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
            ("", "hosts = ['a.example']\n", &[], &["hosts"]),
            ("", "origins = ['https://a.example']\n", &[], &["origins"]),
            ("", "no_dev = true\n", &[], &["development mode"]),
            (rule, &format!("{rule}presence = false\n"), &[], &["who may use which channels"]),
            (rule, &format!("{rule}history = {{ count = 1 }}\n"), &[], &["what channels keep"]),
            // Where a rule stands is nothing that it says.
            (rule, &format!("\n\n{rule}"), &[], &[]),
        ];
        for (before, after, changed, needs_restart) in cases {
            let found = differences(&settings(before), &settings(after));
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
        let reload = reload(settings(""), None, Arc::clone(&metrics), read);
        assert_eq!(reload(), Err("f:1:1: a problem".into()));
        assert_eq!((metrics.reloads.failed.read(), metrics.reloads.done.read()), (1, 0));
    }

    #[test]
    fn what_waits_is_told_until_it_is_done() {
        let metrics = Arc::new(Metrics::new(1));
        let read = || Ok(settings("shards = 2\n"));
        let reload = reload(settings("shards = 1\n"), None, Arc::clone(&metrics), read);
        for _ in 0..2 {
            assert_eq!(reload().unwrap().needs_restart, ["shards"]);
        }
        assert_eq!(metrics.reloads.done.read(), 2);
    }
}
