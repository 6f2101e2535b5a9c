//! What stands between clients and the listener: backlogs, ports, connection tracking.

use super::case::Case;
use super::finding::{Finding, grouped};
use crate::driver::listener::BACKLOG;

/// Everything about the network, as far as the kernel tells it.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let findings = [
        backlog(case),
        device_backlog(case),
        ports(case),
        listening_port(case),
        conntrack(case),
        congestion(case),
    ];
    findings.into_iter().flatten().collect()
}

/// How many may wait to be accepted, on the listener of each shard.
fn backlog(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "listen backlog";
    let somaxconn = case.facts.somaxconn?;
    let wanted = u64::from(BACKLOG.unsigned_abs());
    let is = format!("{} for each shard", grouped(somaxconn.min(wanted)));
    if somaxconn >= wanted {
        return Some(Finding::holds(CHECK, is));
    }
    let why =
        "when everyone comes back at once the rest waits for a SYN to be sent again (1 s, 3 s)";
    Some(
        Finding::advice(CHECK, is, why)
            .change(format!("sysctl -w net.core.somaxconn={wanted}"))
            .change(format!("docker run --sysctl net.core.somaxconn={wanted}")),
    )
}

/// Where packets wait for a core: what loopback and proxies of this machine go through.
fn device_backlog(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "device backlog";
    let size = case.facts.netdev_max_backlog?;
    let is = format!("{} packets", grouped(size));
    let drops = case.facts.backlog_drops.unwrap_or(0);
    if drops == 0 {
        return Some(Finding::holds(CHECK, format!("{is}, none dropped since the start")));
    }
    let why = format!("{} packets found it full since the machine started", grouped(drops));
    let more = (size * 4).max(16_384);
    Some(
        Finding::advice(CHECK, is, why)
            .change(format!("sysctl -w net.core.netdev_max_backlog={more}")),
    )
}

/// Ports of whoever connects from one address: a proxy, a load generator.
fn ports(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "port range";
    let (first, last) = case.facts.ports?;
    let range = u64::from(last.saturating_sub(first)) + 1;
    let is = format!("{first} to {last}: {} from one address of this machine", grouped(range));
    let local = case.settings.listen.ip().to_canonical().is_loopback();
    let wanted = case.connections as u64;
    if !local || wanted <= range || !case.settings.connections_asked {
        return Some(Finding::holds(CHECK, is));
    }
    let why = format!(
        "clients of {} come through a proxy of this machine, which cannot open {} from one address",
        case.settings.listen,
        grouped(wanted)
    );
    let addresses = wanted.div_ceil(range.min(28_000));
    let finding = Finding::advice(CHECK, is, why);
    let finding = match range < 60_000 {
        true => finding.change("sysctl -w net.ipv4.ip_local_port_range='1024 65535'"),
        false => finding,
    };
    Some(
        finding.change(format!("{addresses} addresses in the proxy (nginx: proxy_bind 127.0.0.N)")),
    )
}

/// A port that outgoing connections may take before the node does.
fn listening_port(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "listening port";
    let (first, last) = case.facts.ports?;
    let port = case.settings.listen.port();
    if port == 0 || !(first..=last).contains(&port) {
        return None;
    }
    let is = format!("{port} is in the range of outgoing connections");
    if case.facts.port_reserved {
        return Some(Finding::holds(CHECK, format!("{is}, and reserved")));
    }
    let why = "an outgoing connection may have it when the node is started again";
    Some(
        Finding::advice(CHECK, is, why)
            .change(format!("sysctl -w net.ipv4.ip_local_reserved_ports={port}")),
    )
}

/// The table of a stateful firewall: full, it drops new clients in silence.
fn conntrack(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "conntrack";
    let Some(table) = case.facts.conntrack else {
        return Some(Finding::holds(CHECK, "not loaded"));
    };
    let is = format!("{} of {} tracked", grouped(table.count), grouped(table.max));
    let wanted = case.connections as u64;
    if table.left() >= wanted {
        return Some(Finding::holds(CHECK, is));
    }
    let max = (table.count + wanted) * 5 / 4;
    let why = format!(
        "{} connections do not fit: the rest is dropped without a word (dmesg: \"table full\")",
        grouped(wanted)
    );
    // With no rule that asks for it nothing is tracked, and then its size is no matter.
    let finding = match table.count {
        0 => Finding::advice(CHECK, is, format!("nothing is tracked now, but once it is, {why}")),
        _ => Finding::fails(CHECK, is, why),
    };
    let port = case.settings.listen.port();
    Some(finding.change(format!("sysctl -w net.netfilter.nf_conntrack_max={max}")).change(format!(
        "nftables: tcp dport {port} notrack (raw prerouting), tcp sport {port} notrack (raw \
                 output)"
    )))
}

fn congestion(case: &Case<'_>) -> Option<Finding> {
    let name = case.facts.congestion.as_deref()?;
    Some(Finding::holds("congestion control", format!("{name}: any will do, messages are small")))
}

#[cfg(test)]
mod tests {
    use crate::doctor::facts::tests::{change, expect, report, sound};
    use crate::doctor::facts::{Facts, Use};
    use crate::doctor::finding::Verdict;
    use crate::doctor::judge;
    use crate::node::Settings;

    #[test]
    fn a_short_backlog_is_advice() {
        let facts = Facts { somaxconn: Some(128), ..sound() };
        let backlog = expect(&report(&facts, 1_000), "listen backlog", Verdict::Advice);
        assert_eq!(backlog.is, "128 for each shard");
        change(&backlog, "sysctl -w net.core.somaxconn=4096");
    }

    #[test]
    fn dropped_packets_are_told() {
        let facts = Facts { backlog_drops: Some(7), ..sound() };
        let backlog = expect(&report(&facts, 1_000), "device backlog", Verdict::Advice);
        change(&backlog, "net.core.netdev_max_backlog=16384");
    }

    #[test]
    fn a_proxy_of_this_machine_needs_ports() {
        let facts = Facts { ports: Some((32_768, 60_999)), ..sound() };
        let ports = expect(&report(&facts, 100_000), "port range", Verdict::Advice);
        change(&ports, "ip_local_port_range='1024 65535'");
        change(&ports, "4 addresses");
        expect(&report(&facts, 28_000), "port range", Verdict::Holds);
        let mut public = Settings::on_loopback();
        (public.listen, public.connections_asked) = ("192.0.2.1:80".parse().unwrap(), true);
        public.limits.connections = 35_000;
        expect(&judge(&public, &facts), "port range", Verdict::Holds);
    }

    #[test]
    fn a_port_that_others_may_take_is_told() {
        let mut settings = Settings::on_loopback();
        settings.listen = "127.0.0.1:7070".parse().unwrap();
        expect(&judge(&settings, &sound()), "listening port", Verdict::Holds);
        let facts = Facts { port_reserved: false, ..sound() };
        let port = expect(&judge(&settings, &facts), "listening port", Verdict::Advice);
        change(&port, "ip_local_reserved_ports=7070");
    }

    #[test]
    fn a_full_conntrack_table_fails_and_an_unused_one_does_not() {
        let with =
            |count, max| report(&Facts { conntrack: Some(Use { count, max }), ..sound() }, 100_000);
        let full = expect(&with(65_536, 65_536), "conntrack", Verdict::Fails);
        change(&full, "sysctl -w net.netfilter.nf_conntrack_max=206920");
        expect(&with(200_000, 262_144), "conntrack", Verdict::Fails);
        expect(&with(100, 262_144), "conntrack", Verdict::Holds);
        expect(&with(0, 65_536), "conntrack", Verdict::Advice);
    }
}
