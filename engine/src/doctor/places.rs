//! Places for connections: descriptors, how the shards share them, and the rings' locked memory.

use super::case::Case;
use super::finding::{Finding, bytes, grouped};
use crate::control::Bounds;
use crate::driver::choose::ring_bytes;
use crate::node::plan::{Plan, RESERVE, SHARDS_MAX, TABLE_MAX, descriptors_needed};

/// Descriptors of a shard with `uring`: its ring, its listener, its waker.
const OF_A_SHARD: usize = 3;
/// Descriptors of everything else beside publishers and backends (a node with nothing to do has
/// 18), and some for what comes and goes.
const OF_THE_REST: usize = 32;
/// More shards than this on one core are mostly in each other's way.
const SHARDS_PER_CORE: usize = 8;

/// Descriptors that the process takes for itself, with `uring`: all but its connections.
fn own(case: &Case<'_>, shards: usize) -> usize {
    OF_A_SHARD * shards + case.settings.limits.publishers + backends() + OF_THE_REST
}

fn backends() -> usize {
    Bounds::default().connections
}

/// Everything about places.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = vec![open_files(case)];
    findings.extend(case.plan.as_ref().ok().map(|plan| shards(case, *plan)));
    findings.extend(files(case));
    findings.extend(locked(case));
    findings
}

/// The limit of this process against what the plan takes from it.
fn open_files(case: &Case<'_>) -> Finding {
    const CHECK: &str = "open files";
    let limit = case.facts.descriptors;
    let is = format!("{} for this process", grouped(limit as u64));
    let plan = match &case.plan {
        Ok(plan) => plan,
        Err(why) => return raise(Finding::fails(CHECK, is, why.as_str()), case, needed(case)),
    };
    let own = own(case, plan.shards);
    if case.tables && own > limit {
        let why = format!(
            "{} shards, {} publishers and {} backends may take {own}, and who comes last is turned \
             away",
            plan.shards,
            case.settings.limits.publishers,
            backends()
        );
        return raise(Finding::advice(CHECK, is, why), case, own.next_power_of_two());
    }
    let holds = if case.tables {
        format!("{is}; each shard's table holds as many again")
    } else {
        format!("{is}, which all connections share")
    };
    Finding::holds(CHECK, holds)
}

/// The limit that is enough for the connections asked for, and for the process itself.
fn needed(case: &Case<'_>) -> usize {
    let shards = case.settings.shards.unwrap_or(SHARDS_MAX);
    // Where nothing was asked for, room for anybody is what is missing.
    let asked = case.settings.connections_asked;
    let of_clients = if asked { descriptors_needed(case.settings, case.machine()) } else { 1_024 };
    of_clients.max(own(case, shards))
}

fn raise(finding: Finding, case: &Case<'_>, limit: usize) -> Finding {
    let wanted = case.settings.limits.connections;
    let finding = match case.settings.shards {
        Some(_) if case.tables => {
            let per_shard = case.facts.descriptors.min(TABLE_MAX).saturating_sub(RESERVE).max(1);
            let more = wanted.div_ceil(per_shard);
            finding.maybe((more <= SHARDS_MAX).then(|| format!("--shards {more}")))
        }
        _ => finding,
    };
    if case.tables && limit > TABLE_MAX {
        return finding.change(format!(
            "more shards, or less than {wanted} connections: the kernel ends a table at {TABLE_MAX}"
        ));
    }
    let above = case.facts.descriptors_max.is_some_and(|max| limit as u64 > max);
    let first = if above { format!("sysctl -w fs.nr_open={limit} && ") } else { String::new() };
    finding
        .change(format!("{first}ulimit -n {limit}   (as root, in this shell)"))
        .change(format!("systemd: LimitNOFILE={limit} in [Service] (systemctl edit fanfare)"))
        .change(format!("docker run --ulimit nofile={limit}:{limit}"))
}

/// How many shards, how full they become, and how they get on with the cores.
fn shards(case: &Case<'_>, plan: Plan) -> Finding {
    const CHECK: &str = "shards";
    let places = plan.capacity - RESERVE;
    let verb = if plan.shards == 1 { "holds" } else { "hold" };
    let is =
        format!("{} {verb} {}", numbered(plan.shards, places), grouped(case.connections as u64));
    if plan.shards > SHARDS_PER_CORE * case.facts.cores {
        let (cores, least) = (case.facts.cores, case.connections.div_ceil(case.facts.cores));
        let limit = (least * 5 / 4 + 2 * RESERVE).min(TABLE_MAX);
        let why = format!("so many threads share {cores} cores: they wait for each other");
        return Finding::advice(CHECK, is, why).change(format!(
            "systemd: LimitNOFILE={limit} in [Service]: then a shard for each core is enough"
        ));
    }
    let fullest = fullest(case.connections, plan.shards);
    if case.settings.connections_asked && plan.shards > 1 && fullest > places {
        let why = format!(
            "the kernel spreads clients by a hash, so that the fullest shard of {} gets about {}, \
             and turns the rest away while others have room",
            plan.shards,
            grouped(fullest as u64)
        );
        return slack(Finding::advice(CHECK, is, why), case, plan.shards, fullest);
    }
    if !case.settings.connections_asked && case.connections < case.settings.limits.connections {
        let why = "so few are held because nothing else was asked for and the limit is low";
        return raise(Finding::advice(CHECK, is, why), case, 20_000);
    }
    Finding::holds(CHECK, is)
}

/// Clients of the fullest shard. The kernel spreads them by a hash, so that a shard gets its share
/// give or take the root of it; four times that is rare.
fn fullest(connections: usize, shards: usize) -> usize {
    let share = connections.div_ceil(shards);
    share + (4.0 * (share as f64).sqrt()) as usize
}

fn slack(finding: Finding, case: &Case<'_>, shards: usize, fullest: usize) -> Finding {
    let share = case.connections.div_ceil(shards);
    let (limit, enough) = if case.tables {
        let places = case.facts.descriptors.min(TABLE_MAX) - RESERVE;
        let fits = |more: &usize| self::fullest(case.connections, *more) <= places;
        (fullest + RESERVE, (shards + 1..=SHARDS_MAX).find(fits))
    } else {
        let needed = descriptors_needed(case.settings, case.machine());
        (needed + shards * (fullest - share), None)
    };
    finding
        .maybe(enough.map(|more| format!("--shards {more}")))
        .change(format!("systemd: LimitNOFILE={limit} in [Service] (systemctl edit fanfare)"))
}

fn numbered(shards: usize, places: usize) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    let count = WORDS.get(shards).map_or_else(|| shards.to_string(), |word| (*word).to_owned());
    let plural = if shards == 1 { "" } else { "s" };
    format!("{count} shard{plural} of {} places", grouped(places as u64))
}

/// Files of the whole machine: a socket in a ring's table is one of them.
fn files(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "files of the machine";
    let files = case.facts.files?;
    let wanted = case.connections as u64;
    if files.left() >= wanted {
        return Some(Finding::holds(CHECK, format!("{} open", grouped(files.count))));
    }
    let is = format!("{} of {} open", grouped(files.count), grouped(files.max));
    let why = format!("{} connections are a file each (fs.file-max)", grouped(wanted));
    let max = files.count + 2 * wanted;
    Some(Finding::fails(CHECK, is, why).change(format!("sysctl -w fs.file-max={max}")))
}

/// Rings count against locked memory, together with other rings of this user.
fn locked(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "locked memory";
    let (true, Ok(plan)) = (case.tables, &case.plan) else { return None };
    let (full, least) = ring_bytes();
    let (full, least) = (full * plan.shards as u64, least * plan.shards as u64);
    let Some(limit) = case.facts.locked_bytes else {
        return Some(Finding::holds(CHECK, format!("no limit; the rings take {}", bytes(full))));
    };
    let is = format!("{}; the rings take {}", bytes(limit), bytes(full));
    let finding = match limit {
        _ if limit >= full => return Some(Finding::holds(CHECK, is)),
        _ if limit >= least => {
            let why = "rings become smaller, and sending dearer".to_owned();
            Finding::advice(CHECK, is, why)
        }
        _ => {
            let why = format!("even the smallest rings take {}", bytes(least));
            Finding::fails(CHECK, is, why)
        }
    };
    let kib = full.next_multiple_of(1 << 20) >> 10;
    Some(
        finding
            .change(format!("ulimit -l {kib}   (as root, in this shell)"))
            .change("systemd: LimitMEMLOCK=infinity in [Service]")
            .change("docker run --ulimit memlock=-1:-1"),
    )
}

#[cfg(test)]
mod tests {
    use crate::doctor::facts::tests::{change, expect, report, sound};
    use crate::doctor::facts::{Facts, Use};
    use crate::doctor::finding::Verdict;
    use crate::doctor::judge;
    use crate::node::Settings;

    fn epoll(descriptors: usize) -> Facts {
        Facts { ring: None, descriptors, ..sound() }
    }

    #[test]
    fn six_shards_hold_a_hundred_thousand() {
        let report = report(&sound(), 100_000);
        let shards = expect(&report, "shards", Verdict::Holds);
        assert_eq!(shards.is, "six shards of 19,936 places hold 100,000");
        assert!(report.holds());
    }

    #[test]
    fn more_than_sixty_four_shards_hold_is_told_with_the_limit() {
        let report = report(&sound(), 2_000_000);
        let files = expect(&report, "open files", Verdict::Fails);
        // 2,000,000 / 64 + 64
        change(&files, "LimitNOFILE=31314");
        change(&files, "ulimit -n 31314");
        assert!(!report.holds() && report.plan.is_none());
    }

    #[test]
    fn a_small_limit_is_told_for_both_drivers() {
        for (facts, limit) in
            [(Facts { descriptors: 300, ..sound() }, 1_627), (epoll(300), 100_704)]
        {
            let report = report(&facts, 100_000);
            change(&expect(&report, "open files", Verdict::Fails), &format!("={limit}"));
        }
        let free = judge(&Settings::on_loopback(), &epoll(300));
        change(&expect(&free, "open files", Verdict::Fails), "LimitNOFILE=1024");
    }

    #[test]
    fn a_limit_above_what_may_be_set_begins_with_the_sysctl() {
        let files = expect(&report(&epoll(300), 1_200_000), "open files", Verdict::Fails);
        change(&files, "sysctl -w fs.nr_open=1200704 && ulimit -n 1200704");
    }

    #[test]
    fn an_explicit_number_of_shards_that_is_too_small_is_told_the_right_one() {
        let mut settings = Settings::on_loopback();
        (settings.shards, settings.connections_asked) = (Some(2), true);
        settings.limits.connections = 100_000;
        let files = expect(&judge(&settings, &sound()), "open files", Verdict::Fails);
        change(&files, "--shards 6");
        change(&files, "LimitNOFILE=50064");
        settings.limits.connections = 5_000_000;
        let files = expect(&judge(&settings, &sound()), "open files", Verdict::Fails);
        change(&files, "the kernel ends a table at 1048576");
    }

    #[test]
    fn the_hash_needs_some_slack() {
        let shards = expect(&report(&sound(), 2 * 19_936), "shards", Verdict::Advice);
        change(&shards, "--shards 3");
        expect(&report(&sound(), 2 * 19_300), "shards", Verdict::Holds);
        // 10,000 on each of two: 400 more than the share is four times its root.
        let cramped = expect(&report(&epoll(20_704), 20_000), "shards", Verdict::Advice);
        change(&cramped, "LimitNOFILE=21504");
        expect(&report(&epoll(21_504), 20_000), "shards", Verdict::Holds);
    }

    #[test]
    fn a_crowd_of_shards_is_told_what_would_make_them_fewer() {
        let facts = Facts { descriptors: 1_000, ..sound() };
        let report = report(&facts, 20_000);
        change(&expect(&report, "shards", Verdict::Advice), "LimitNOFILE=12628");
        assert!(report.holds());
        let tiny = judge(&Settings::on_loopback(), &Facts { descriptors: 300, ..sound() });
        change(&expect(&tiny, "shards", Verdict::Advice), "LimitNOFILE=20000");
        change(&expect(&tiny, "open files", Verdict::Advice), "LimitNOFILE=512");
    }

    #[test]
    fn files_of_the_machine_are_counted() {
        let files = Some(Use { count: 10_000, max: 50_000 });
        let report = report(&Facts { files, ..sound() }, 100_000);
        change(&expect(&report, "files of the machine", Verdict::Fails), "fs.file-max=210000");
    }

    #[test]
    fn rings_count_against_locked_memory() {
        let with = |locked| report(&Facts { locked_bytes: Some(locked), ..sound() }, 100_000);
        // Six rings of 1,024 and 16,384 entries: 6 x 332 KiB.
        expect(&with(8 << 20), "locked memory", Verdict::Holds);
        let small = expect(&with(1 << 20), "locked memory", Verdict::Advice);
        change(&small, "LimitMEMLOCK=infinity");
        change(&small, "ulimit -l 2048");
        expect(&with(64 << 10), "locked memory", Verdict::Fails);
    }
}
