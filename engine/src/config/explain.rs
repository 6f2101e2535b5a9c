//! What holds for one channel, and where that is said: `fanfare config explain`.

use std::fmt::Write;

use super::Config;
use super::meant;
use super::show::{history, window};
use crate::channel::Tenant;
use crate::rule::Rule;

impl Config {
    /// The tenant of this name.
    ///
    /// # Errors
    /// A sentence with the nearest name: there is none.
    pub fn tenant(&self, name: &str) -> Result<Tenant, String> {
        let default = &self.settings.tenant;
        let listed = self.settings.tenancy.tenants.iter().map(|one| &one.tenant);
        let mut all = std::iter::once(default).chain(listed);
        if let Some(tenant) = all.find(|tenant| tenant.as_str() == name) {
            return Ok(tenant.clone());
        }
        let tenants = self.settings.tenancy.tenants.iter();
        let names: Vec<_> = tenants.map(|one| one.tenant.as_str().to_owned()).collect();
        let meant = meant::nearest(name, names.iter(), |one| one);
        let hint = meant.map_or(String::new(), |meant| format!("; did you mean \"{meant}\"?"));
        Err(format!("there is no tenant \"{name}\" in the configuration{hint}"))
    }

    /// Which rule counts for a channel, where it stands, what it keeps and who may do what: lines
    /// for people.
    pub fn explain_channel(&self, tenant: &Tenant, channel: &str) -> String {
        let rules = &self.settings.rules;
        let (_, rule) = rules.of(tenant, channel);
        let is_own = rules.own(tenant).any(|own| std::ptr::eq(&**own, &**rule));
        let is_last = rules.common().last().is_some_and(|last| std::ptr::eq(&**last, &**rule));
        let pattern = rule.pattern.as_str();
        let whose = if is_own { "of this tenant" } else { "of all tenants" };
        let found = match is_last {
            true => "no rule matches, so what is said for all channels".to_owned(),
            false => format!("\"{pattern}\" at {}, {whose}", rule.place),
        };
        let mut page = format!("channel    {channel}\ntenant     {}\n", tenant.as_str());
        let mut line = |name: &str, value: &str| {
            writeln!(page, "{name:<10} {value}").expect("a String takes all");
        };
        line("rule", &found);
        line("history", &history(rule.history));
        line("window", &window(rule.window));
        line("slow", rule.slow.as_str());
        line("presence", if rule.presence { "on" } else { "off: no token helps" });
        for (name, value) in self.who_may(rule) {
            line(name, &value);
        }
        page
    }

    fn who_may(&self, rule: &Rule) -> Vec<(&'static str, String)> {
        let backends =
            "publish with an API key that has \"publish\", or over the Unix socket".to_owned();
        if !self.settings.tenancy.on {
            let all = "may follow it, see who is there and read its history: nothing in the \
                       configuration asks who they are (no [auth], tenant or allow)";
            let backends = "whoever reaches the API or the Unix socket publishes";
            return vec![("anybody", all.into()), ("backends", backends.into())];
        }
        let access = rule.access;
        let users = access.anonymous.and(access.user);
        let own = if rule.pattern.is_of_user() { ", where {user} is their name" } else { "" };
        vec![
            ("anybody", format!("may {}", access.anonymous)),
            ("users", format!("may {users}{own}")),
            ("tokens", "may what their grants say beside that".into()),
            ("backends", backends),
        ]
    }
}
