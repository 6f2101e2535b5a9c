//! Whether the configured addresses can be had, and for whom they are.

use super::case::Case;
use super::facts::Spot;
use super::finding::Finding;

/// The two listeners and the Unix socket.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = vec![address("clients", &case.facts.listen, "--listen")];
    findings.extend(per_address(case));
    findings.push(mode(case));
    findings.extend(case.facts.api.as_ref().map(|api| address("API", api, "--api")));
    findings.extend(case.settings.socket.as_ref().map(|path| {
        let is = path.display().to_string();
        match &case.facts.socket {
            Ok(()) => Finding::holds("Unix socket", format!("{is} can be made")),
            Err(why) => Finding::fails("Unix socket", is, why.as_str()).change("--socket PATH"),
        }
    }));
    findings
}

/// What one peer address may have. A proxy is one address, and only on loopback it is not counted.
fn per_address(case: &Case<'_>) -> Option<Finding> {
    let each = case.settings.limits.connections_per_address;
    let is_loopback = case.settings.listen.ip().to_canonical().is_loopback();
    if each == 0 || is_loopback || !case.settings.proxies.is_empty() {
        return None;
    }
    let is = format!("{each} connections of one");
    let why = "behind a proxy on another machine or in another container that is all clients";
    Some(
        Finding::advice("peer addresses", is, why)
            .change("trusted_proxies = [\"ADDRESS OF THE PROXY\"], so that its clients are counted")
            .change("connections_per_address = 0 and heads_per_address = 0 under [limits]"),
    )
}

/// Development mode is for one machine; what is listed for others says that it is meant for more.
fn mode(case: &Case<'_>) -> Finding {
    const CHECK: &str = "mode";
    let settings = case.settings;
    if !settings.development() {
        return Finding::holds(CHECK, "production: the playground only follows");
    }
    let is = "development: the playground publishes, pages of this machine may connect";
    if settings.hosts.is_empty() && settings.origins.is_empty() {
        return Finding::holds(CHECK, format!("{is}; --no-dev ends it"));
    }
    let why =
        "hosts or origins are listed: whoever comes through a proxy under such a name publishes";
    Finding::advice(CHECK, is, why)
        .change("--no-dev")
        .change("FANFARE_API_KEY=…, which ends it too")
}

fn address(check: &'static str, spot: &Spot, flag: &str) -> Finding {
    let is = spot.address.to_string();
    let Some(why) = &spot.taken else {
        return Finding::holds(check, format!("{is} is free"));
    };
    let beside =
        format!("{flag} {}:0   (to judge this machine beside a node that runs)", spot.address.ip());
    Finding::fails(check, is, why.as_str())
        .change(format!("ss -ltnp 'sport = :{}'   (names who has it)", spot.address.port()))
        .change(beside)
}

#[cfg(test)]
mod tests {
    use crate::admission::host::Hosts;
    use crate::admission::origin::Origins;
    use crate::doctor::facts::Facts;
    use crate::doctor::facts::tests::{change, expect, sound};
    use crate::doctor::finding::Verdict;
    use crate::doctor::judge;
    use crate::node::Settings;

    #[test]
    fn an_address_that_is_taken_fails() {
        let mut facts = sound();
        facts.listen.taken = Some("in use".into());
        let report = judge(&Settings::on_loopback(), &facts);
        change(&expect(&report, "clients", Verdict::Fails), "--listen 127.0.0.1:0");
        expect(&report, "API", Verdict::Holds);
        assert!(!report.holds());
    }

    #[test]
    fn a_public_listener_is_told_of_proxies() {
        let mut settings = Settings::on_loopback();
        let told = |settings: &Settings| {
            judge(settings, &sound()).findings.iter().any(|f| f.check == "peer addresses")
        };
        assert!(!told(&settings));
        settings.listen = "192.0.2.1:80".parse().unwrap();
        change(
            &expect(&judge(&settings, &sound()), "peer addresses", Verdict::Advice),
            "connections_per_address = 0",
        );
        settings.limits.connections_per_address = 0;
        assert!(!told(&settings));
    }

    #[test]
    fn the_mode_is_told_and_where_it_may_be_a_mistake() {
        let mut settings = Settings::on_loopback();
        let mode =
            |settings: &Settings, verdict| expect(&judge(settings, &sound()), "mode", verdict);
        assert!(mode(&settings, Verdict::Holds).is.starts_with("development"));
        settings.origins = Origins::new(&["https://app.example".to_owned()]).unwrap();
        change(&mode(&settings, Verdict::Advice), "--no-dev");
        settings.api_key = Some("0123456789abcdef".into());
        assert!(mode(&settings, Verdict::Holds).is.starts_with("production"));
        (settings.api_key, settings.dev) = (None, false);
        assert!(mode(&settings, Verdict::Holds).is.starts_with("production"));
        (settings.dev, settings.origins) = (true, Origins::default());
        settings.hosts = Hosts::new(&["app.example".to_owned()]).unwrap();
        change(&mode(&settings, Verdict::Advice), "--no-dev");
    }

    #[test]
    fn a_socket_that_cannot_be_made_fails_and_none_is_not_judged() {
        let facts = Facts { socket: Err("no such directory".into()), ..sound() };
        let mut settings = Settings::on_loopback();
        assert!(judge(&settings, &facts).holds());
        settings.socket = Some("/nowhere/fanfare.sock".into());
        let report = judge(&settings, &facts);
        let socket = expect(&report, "Unix socket", Verdict::Fails);
        assert_eq!(socket.is, "/nowhere/fanfare.sock");
    }
}
