//! The kernel, and whether io_uring can be used; where it is blocked, by what.

use super::case::Case;
use super::facts::Facts;
use super::finding::Finding;
use crate::driver::choose::{FLOOR, Support};
use crate::node::DriverChoice;

/// The calls that a filter has to let through.
const CALLS: &str = "io_uring_setup io_uring_enter io_uring_register";

/// Whether the shards would run `uring`. Rings for which there is no room are rings nevertheless:
/// `serve` does not start then, rather than change the driver in silence.
pub(super) fn usable(facts: &Facts) -> bool {
    matches!(facts.ring, Some(Support::Uring { .. } | Support::NoRoom(_)))
}

/// The release against the floor of `uring`.
pub(super) fn kernel(case: &Case<'_>) -> Finding {
    let (major, minor) = FLOOR;
    let is = format!("Linux {}", case.facts.kernel);
    if !old(&case.facts.kernel) {
        return Finding::holds("kernel", is);
    }
    let why = format!("io_uring is used from Linux {major}.{minor} on; before, it is epoll");
    Finding::advice("kernel", is, why).change(format!("boot a kernel from {major}.{minor} on"))
}

/// Whether a release is below the floor. One that cannot be read is not.
fn old(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < FLOOR,
        _ => false,
    }
}

/// What became of trying io_uring.
pub(super) fn ring(case: &Case<'_>) -> Finding {
    const CHECK: &str = "io_uring";
    let asked = case.settings.driver == DriverChoice::Uring;
    match &case.facts.ring {
        None => Finding::holds(CHECK, "not needed: the driver epoll was asked for"),
        Some(Support::Uring { advice: None, .. }) => {
            Finding::holds(CHECK, "works: sent and received")
        }
        Some(Support::Uring { advice: Some(why), .. }) => {
            locked(Finding::advice(CHECK, "works, with smaller rings than it should", why.as_str()))
        }
        Some(Support::NoRoom(why)) => {
            locked(Finding::fails(CHECK, "there is no room for a ring", why.as_str()))
                .change("systemd: LimitNOFILE=1048576 in [Service]")
        }
        Some(Support::Blocked(why)) if asked => {
            let is = "blocked, and the driver uring was asked for";
            allow(Finding::fails(CHECK, is, why.as_str()), case.facts).change("--driver auto")
        }
        Some(Support::Blocked(why)) => {
            let why = format!(
                "{why}. Connections are served by epoll: more CPU, and each is a descriptor of the \
                 process"
            );
            allow(Finding::advice(CHECK, "blocked, so epoll is used", why), case.facts)
        }
    }
}

fn locked(finding: Finding) -> Finding {
    finding.change("ulimit -l unlimited").change("systemd: LimitMEMLOCK=infinity in [Service]")
}

/// What lets io_uring through, as far as a setting does.
fn allow(finding: Finding, facts: &Facts) -> Finding {
    if old(&facts.kernel) {
        return finding;
    }
    if facts.io_uring_disabled.is_some_and(|disabled| disabled > 0) {
        return finding.change("sysctl -w kernel.io_uring_disabled=0");
    }
    if !facts.seccomp {
        return finding;
    }
    finding
        .change("docker run --security-opt seccomp=fanfare-seccomp.json   (docs/OPERATIONS.md)")
        .change(
            "Kubernetes: securityContext.seccompProfile: {type: Localhost, localhostProfile: …}",
        )
        .change(format!("systemd: SystemCallFilter={CALLS}   (beside the line that is there)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::tests::{change, expect, report, sound};
    use crate::doctor::finding::Verdict;
    use crate::doctor::judge;
    use crate::node::Settings;

    fn blocked() -> Facts {
        Facts { ring: Some(Support::Blocked("io_uring_setup failed".into())), ..sound() }
    }

    #[test]
    fn a_container_is_served_by_epoll_and_told_of_the_profile() {
        let report = report(&Facts { seccomp: true, ..blocked() }, 10_000);
        let ring = expect(&report, "io_uring", Verdict::Advice);
        change(&ring, "docker run --security-opt seccomp=");
        change(&ring, "SystemCallFilter=io_uring_setup");
        assert!(report.holds() && report.driver == "epoll", "{report:#?}");
    }

    #[test]
    fn a_sysctl_is_undone_by_its_command() {
        for disabled in [1, 2] {
            let facts = Facts { io_uring_disabled: Some(disabled), seccomp: true, ..blocked() };
            let ring = expect(&report(&facts, 10_000), "io_uring", Verdict::Advice);
            assert_eq!(ring.change, ["sysctl -w kernel.io_uring_disabled=0"]);
        }
    }

    #[test]
    fn an_old_kernel_is_named_and_no_profile_is_offered_for_it() {
        for (kernel, verdict) in [("6.12.48", Verdict::Advice), ("6.13.0", Verdict::Holds)] {
            let facts = Facts { kernel: kernel.into(), seccomp: true, ..blocked() };
            let report = report(&facts, 10_000);
            let found = expect(&report, "kernel", verdict);
            assert_eq!(found.is, format!("Linux {kernel}"));
            let ring = expect(&report, "io_uring", Verdict::Advice);
            assert_eq!(ring.change.is_empty(), verdict == Verdict::Advice, "{ring:#?}");
        }
    }

    #[test]
    fn uring_or_nothing_is_nothing_where_it_is_blocked() {
        let mut settings = Settings::on_loopback();
        settings.driver = DriverChoice::Uring;
        let report = judge(&settings, &Facts { seccomp: true, ..blocked() });
        change(&expect(&report, "io_uring", Verdict::Fails), "--driver auto");
        assert!(!report.holds());
    }

    #[test]
    fn lack_of_room_is_no_reason_for_another_driver() {
        let facts = Facts { ring: Some(Support::NoRoom("no memory".into())), ..sound() };
        let report = report(&facts, 10_000);
        change(&expect(&report, "io_uring", Verdict::Fails), "LimitMEMLOCK=infinity");
        assert_eq!((report.driver, report.holds()), ("uring", false));
        let facts = Facts {
            ring: Some(Support::Uring { entries: 256, advice: Some("small".into()) }),
            ..sound()
        };
        change(
            &expect(
                &super::super::judge(&Settings::on_loopback(), &facts),
                "io_uring",
                Verdict::Advice,
            ),
            "ulimit -l",
        );
    }

    #[test]
    fn epoll_by_choice_needs_no_ring() {
        let report = report(&Facts { ring: None, ..sound() }, 10_000);
        expect(&report, "io_uring", Verdict::Holds);
        assert_eq!(report.driver, "epoll");
    }
}
