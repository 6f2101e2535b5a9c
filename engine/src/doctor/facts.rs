//! What a machine is, as far as it matters here. Numbers as the kernel tells them; what it does not
//! tell (in a container much of `/proc/sys` is absent) is `None` and judged as nothing.

use std::net::SocketAddr;

use crate::driver::choose;

/// What is. Made by [`super::collect`] or by a test.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, such as `6.18.1`.
    pub kernel: String,
    /// What became of trying io_uring; `None` where `epoll` was asked for.
    pub ring: Option<choose::Support>,
    /// `kernel.io_uring_disabled`.
    pub io_uring_disabled: Option<u64>,
    /// Whether a seccomp filter is on this process.
    pub seccomp: bool,
    /// Cores that this process may use.
    pub cores: usize,
    /// The open files limit that `serve` runs with: the hard one.
    pub descriptors: usize,
    /// `fs.nr_open`: the highest that the limit above can be set to.
    pub descriptors_max: Option<u64>,
    /// `fs.file-max`, and how many files the machine has open.
    pub files: Option<Use>,
    /// The limit of locked memory in bytes; `None` for none (or the capability `CAP_IPC_LOCK`).
    pub locked_bytes: Option<u64>,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Memory that can be had without swapping, in bytes.
    pub memory_available: Option<u64>,
    /// The smallest limit of this cgroup and those above it, in bytes; `None` for none.
    pub memory_limit: Option<u64>,
    /// `net.ipv4.tcp_mem` in pages: low, pressure, high.
    pub tcp_mem: Option<[u64; 3]>,
    /// `net.ipv4.tcp_rmem` in bytes: least, default, most.
    pub tcp_rmem: Option<[u64; 3]>,
    /// `net.ipv4.tcp_wmem`, likewise.
    pub tcp_wmem: Option<[u64; 3]>,
    /// `net.core.rmem_max` and `net.core.wmem_max` in bytes.
    pub buffers_max: Option<(u64, u64)>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u64>,
    /// `net.core.netdev_max_backlog`.
    pub netdev_max_backlog: Option<u64>,
    /// Packets that found that backlog full since the machine started.
    pub backlog_drops: Option<u64>,
    /// `net.ipv4.ip_local_port_range`.
    pub ports: Option<(u16, u16)>,
    /// Whether the port of the clients' listener is in `net.ipv4.ip_local_reserved_ports`.
    pub port_reserved: bool,
    /// `net.ipv4.tcp_congestion_control`.
    pub congestion: Option<String>,
    /// Connection tracking; `None` where it is not loaded.
    pub conntrack: Option<Use>,
    /// Where clients connect.
    pub listen: Spot,
    /// Where backends publish over HTTP.
    pub api: Option<Spot>,
    /// Why the Unix socket cannot be made; `Ok` with none configured.
    pub socket: Result<(), String>,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// What is used.
    pub count: u64,
    /// What there is.
    pub max: u64,
}

impl Use {
    /// What is left.
    pub fn left(self) -> u64 {
        self.max.saturating_sub(self.count)
    }
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct Spot {
    /// As configured.
    pub address: SocketAddr,
    /// Why it cannot be had.
    pub taken: Option<String>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::doctor::finding::{Finding, Verdict};
    use crate::doctor::{Report, judge};
    use crate::node::Settings;

    /// A plain machine of two cores and 16 GiB where everything is well.
    pub(crate) fn sound() -> Facts {
        let spot = |port| Spot { address: SocketAddr::from(([127, 0, 0, 1], port)), taken: None };
        Facts {
            kernel: "6.18.1".into(),
            ring: Some(choose::Support::Uring { entries: 1_024, advice: None }),
            io_uring_disabled: Some(0),
            seccomp: false,
            cores: 2,
            descriptors: 20_000,
            descriptors_max: Some(1 << 20),
            files: Some(Use { count: 2_000, max: u64::MAX >> 1 }),
            locked_bytes: None,
            page_bytes: 4_096,
            memory_available: Some(16 << 30),
            memory_limit: None,
            tcp_mem: Some([190_000, 253_000, 380_000]),
            tcp_rmem: Some([4_096, 131_072, 6_291_456]),
            tcp_wmem: Some([4_096, 16_384, 4_194_304]),
            buffers_max: Some((212_992, 212_992)),
            somaxconn: Some(4_096),
            netdev_max_backlog: Some(1_000),
            backlog_drops: Some(0),
            ports: Some((1_024, 65_535)),
            port_reserved: true,
            congestion: Some("cubic".into()),
            conntrack: None,
            listen: spot(7_070),
            api: Some(spot(7_071)),
            socket: Ok(()),
        }
    }

    /// What is said of `facts` when so many connections are asked for.
    pub(crate) fn report(facts: &Facts, connections: usize) -> Report {
        let mut settings = Settings::on_loopback();
        settings.limits.connections = connections;
        settings.connections_asked = true;
        judge(&settings, facts)
    }

    /// One finding, which must have this verdict.
    #[track_caller]
    pub(crate) fn expect(report: &Report, check: &str, verdict: Verdict) -> Finding {
        let found = report.findings.iter().find(|finding| finding.check == check);
        let found = found.unwrap_or_else(|| panic!("{check} is not looked at: {report:#?}"));
        assert_eq!(found.verdict, verdict, "{found:#?}");
        assert_eq!(found.why.is_empty(), verdict == Verdict::Holds, "{found:#?}");
        found.clone()
    }

    /// That one of the ways to change it says `words`.
    #[track_caller]
    pub(crate) fn change(finding: &Finding, words: &str) {
        let said = finding.change.iter().any(|change| change.contains(words));
        assert!(said, "{words:?} is not in {finding:#?}");
    }

    #[test]
    fn a_sound_machine_holds_and_has_nothing_to_change() {
        let report = report(&sound(), 35_000);
        let odd: Vec<_> = report.findings.iter().filter(|f| f.verdict != Verdict::Holds).collect();
        assert!(odd.is_empty() && report.holds(), "{odd:#?}");
        assert_eq!(report.driver, "uring");
    }

    #[test]
    fn a_machine_that_tells_nothing_is_not_blamed() {
        let facts = Facts {
            io_uring_disabled: None,
            descriptors_max: None,
            files: None,
            memory_available: None,
            tcp_mem: None,
            tcp_rmem: None,
            tcp_wmem: None,
            buffers_max: None,
            somaxconn: None,
            netdev_max_backlog: None,
            backlog_drops: None,
            ports: None,
            congestion: None,
            ..sound()
        };
        let report = report(&facts, 35_000);
        assert!(report.findings.iter().all(|f| f.verdict == Verdict::Holds), "{report:#?}");
    }
}
