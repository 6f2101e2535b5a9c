//! Memory: what a connection takes, against what there is.
//!
//! The two figures for a connection are measured, not guessed: `fanfare bench idle` on Linux 6.18
//! (x86-64) saw 8,105 bytes of kernel memory for both ends of a loopback connection (`Slab` of
//! `/proc/meminfo`), and in the server (PSS) 160 bytes for each of 100,000 WebSocket clients of
//! six shards and 220 for each of 15,000 of one, of which 3 MB are the ring's and the inbox's first
//! use. A socket with one unread message takes a page more, because TCP counts pages; a client
//! that reads nothing takes what its buffers hold.

use super::case::Case;
use super::finding::{Finding, bytes, grouped};
use crate::driver::listener::Inherited;

/// Kernel memory of an idle connection: socket, inode, file, its armed poll, its place in a table.
const KERNEL_BYTES: u64 = 4_200;
/// Our memory of an idle connection that follows one channel.
const USER_BYTES: u64 = 200;
/// What a publisher on the Unix socket takes beside what it has in flight: a frame's beginning, and
/// the room of replies that it has read.
const PUBLISHER_BYTES: u64 = 128 << 10;
/// A channel's record: one for each that was published to or is followed.
const RECORD_BYTES: u64 = 600;
/// A subscription to a channel that has others: its place at the connection and its seat in the
/// channel, as lists grow (`fanfare bench channels`).
const SUBSCRIPTION_BYTES: u64 = 48;
/// A node without connections.
const NODE_BYTES: u64 = 30 << 20;

/// What the connections take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Kernel memory of one idle connection.
    pub kernel_per_connection: u64,
    /// Memory of the process for it.
    pub user_per_connection: u64,
    /// All connections, with nothing to send.
    pub idle: u64,
    /// All connections, each with a message on the way, and every budget full: history, broadcast
    /// ring, request bodies, what waits for the order, what clients hold, each for itself, and what
    /// is rendered for all.
    pub busy: u64,
    /// Records of channels take so much of that, were there as many as may be.
    pub records: u64,
    /// What subscriptions take more, did each connection follow as many channels as it may: they
    /// are bounded by their number, and by no budget of bytes.
    pub subscriptions: u64,
    /// What the sockets' buffers take more, were every client to stop reading; `tcp_mem` ends it
    /// before.
    pub stalled_buffers: u64,
}

/// What the case's connections take.
pub(super) fn estimate(case: &Case<'_>) -> Estimate {
    let connections = case.connections as u64;
    let (limits, facts) = (&case.settings.limits, case.facts);
    let buffers = Inherited::for_stall_limit(limits.stall_ms);
    let buffers = (buffers.send_buffer_bytes + buffers.receive_buffer_bytes) as u64;
    let shards = case.plan.as_ref().map_or(1, |plan| plan.shards);
    let kept = limits.history_bytes + limits.ring_bytes + limits.all_bodies();
    let kept = kept + limits.all_in_flight() + limits.all_private(shards);
    let kept = kept + limits.all_rendered(shards);
    let kept = kept as u64 + limits.publishers as u64 * PUBLISHER_BYTES;
    let records = (limits.channels + limits.followed_channels) as u64 * RECORD_BYTES;
    let idle = NODE_BYTES + connections * (KERNEL_BYTES + USER_BYTES);
    Estimate {
        kernel_per_connection: KERNEL_BYTES,
        user_per_connection: USER_BYTES,
        idle,
        busy: idle + connections * facts.page_bytes + kept + records,
        records,
        subscriptions: connections * limits.channels_per_connection as u64 * SUBSCRIPTION_BYTES,
        stalled_buffers: connections * buffers,
    }
}

/// Everything about memory.
pub(super) fn judge(case: &Case<'_>, estimate: &Estimate) -> Vec<Finding> {
    let mut findings = vec![memory(case, estimate)];
    findings.extend(tcp_mem(case, estimate));
    findings.extend(buffers(case));
    findings
}

/// The estimate against the cgroup's limit and what the machine has left.
fn memory(case: &Case<'_>, estimate: &Estimate) -> Finding {
    const CHECK: &str = "memory";
    let facts = case.facts;
    let takes = format!(
        "{} idle, {} when all is full, {} of that for records of channels, and up to {} more for \
         subscriptions were each connection to follow {} channels: {} connections of {} B \
         (kernel {KERNEL_BYTES} + user {USER_BYTES}, measured by fanfare bench idle)",
        bytes(estimate.idle),
        bytes(estimate.busy),
        bytes(estimate.records),
        bytes(estimate.subscriptions),
        grouped(case.settings.limits.channels_per_connection as u64),
        grouped(case.connections as u64),
        grouped(KERNEL_BYTES + USER_BYTES),
    );
    let limit = facts.memory_limit.unwrap_or(u64::MAX);
    let left = facts.memory_available.unwrap_or(u64::MAX);
    let least = limit.min(left);
    if least >= estimate.busy {
        return Finding::holds(CHECK, takes);
    }
    let what = if limit <= left { "this cgroup may take" } else { "this machine has left" };
    let finding = if least < estimate.idle {
        let why = format!("{what} {}: the node would be killed", bytes(least));
        Finding::fails(CHECK, takes, why)
    } else {
        let why = format!("{what} {}: too little when all is full", bytes(least));
        Finding::advice(CHECK, takes, why)
    };
    if limit <= left {
        let mib = (estimate.busy + estimate.busy / 4).div_ceil(1 << 20);
        return finding
            .change(format!("systemd: MemoryMax={mib}M in [Service]"))
            .change(format!("docker run --memory={mib}m"));
    }
    let kept = estimate.busy - estimate.idle - case.connections as u64 * facts.page_bytes;
    let each = KERNEL_BYTES + USER_BYTES + facts.page_bytes;
    let fit = left.saturating_sub(NODE_BYTES + kept) / each;
    let finding = match fit {
        0 => finding,
        _ => finding.change(format!("at most --max-connections {fit}")),
    };
    finding
        .change(
            "history_bytes, rendered_bytes, ring_bytes, private_bytes, bodies_bytes and \
             in_flight_bytes under [limits], lower",
        )
        .change("channels and followed_channels under [limits], lower: 600 B for each record")
}

/// Pages for what is on its way. TCP counts whole pages, so that a socket with anything unread or
/// not acknowledged has one at least; with a quarter of the clients in that state nothing is wrong.
fn tcp_mem(case: &Case<'_>, estimate: &Estimate) -> Option<Finding> {
    const CHECK: &str = "tcp_mem";
    let [_, pressure, high] = case.facts.tcp_mem?;
    let page = case.facts.page_bytes;
    let pages = case.connections as u64;
    let is = format!(
        "{} until pressure, {} at most; a message on the way to everyone takes {}, clients that \
         stop reading up to {}",
        bytes(pressure * page),
        bytes(high * page),
        bytes(pages * page),
        bytes(estimate.stalled_buffers),
    );
    let finding = match pages {
        _ if pages <= pressure => return Some(Finding::holds(CHECK, is)),
        _ if pages / 4 <= high => {
            let why = "a message that few have acknowledged yet brings all of TCP under pressure";
            Finding::advice(CHECK, is, why)
        }
        _ => {
            let why = "a message that a quarter has not acknowledged yet takes more than TCP may \
                       have, and sends fail";
            Finding::fails(CHECK, is, why)
        }
    };
    let (low, pressure, high) = (pages * 2, pages * 3, pages * 4);
    Some(finding.change(format!("sysctl -w net.ipv4.tcp_mem='{low} {pressure} {high}'")))
}

/// Buffers of a socket. They are set for each, so `tcp_rmem` and `tcp_wmem` do not count, but the
/// highest that may be set does.
fn buffers(case: &Case<'_>) -> Option<Finding> {
    const CHECK: &str = "socket buffers";
    let (receive_max, send_max) = case.facts.buffers_max?;
    let ours = Inherited::for_stall_limit(case.settings.limits.stall_ms);
    // What is asked for is half: the kernel doubles it for its overhead (socket(7)).
    let (send, receive) = (ours.send_buffer_bytes as u64 / 2, ours.receive_buffer_bytes as u64 / 2);
    let kernel = |name: &str, values: Option<[u64; 3]>| match values {
        Some([_, default, most]) => format!("{name} {default} to {most} does not count"),
        None => format!("{name} does not count"),
    };
    let is = format!(
        "set to {} for sending and {} for receiving ({}, {})",
        bytes(ours.send_buffer_bytes as u64),
        bytes(ours.receive_buffer_bytes as u64),
        kernel("tcp_wmem", case.facts.tcp_wmem),
        kernel("tcp_rmem", case.facts.tcp_rmem),
    );
    if send_max >= send && receive_max >= receive {
        return Some(Finding::holds(CHECK, is));
    }
    let why =
        format!("wmem_max {send_max} and rmem_max {receive_max} cut that: more, smaller sends");
    Some(Finding::advice(CHECK, is, why).change(format!(
        "sysctl -w net.core.wmem_max={} net.core.rmem_max={}",
        send_max.max(send),
        receive_max.max(receive)
    )))
}

#[cfg(test)]
mod tests {
    use crate::doctor::facts::Facts;
    use crate::doctor::facts::tests::{change, expect, report, sound};
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_hundred_thousand_take_half_a_gibibyte_idle() {
        let estimate = report(&sound(), 100_000).estimate;
        assert_eq!(estimate.idle, (30 << 20) + 100_000 * 4_400);
        let budgets = 2 * 256_000_000 + 2 * (64 << 20) + 2 * (128 << 20);
        assert_eq!(estimate.records, 2_000_000 * 600);
        let budgets = budgets + estimate.records;
        let more = 100_000 * 4_096 + budgets + 64 * (128 << 10);
        assert_eq!(estimate.busy - estimate.idle, more);
        assert_eq!(estimate.stalled_buffers, 100_000 * 96 * 1_024);
        assert_eq!(estimate.subscriptions, 100_000 * 1_000 * 48);
        let memory = report(&sound(), 100_000).findings.into_iter().find(|it| it.check == "memory");
        let memory = memory.unwrap();
        assert!(memory.is.contains("more for subscriptions"), "{}", memory.is);
    }

    #[test]
    fn a_cgroup_that_is_too_small_is_told_the_right_size() {
        let with = |limit| report(&Facts { memory_limit: Some(limit), ..sound() }, 100_000);
        let fails = expect(&with(256 << 20), "memory", Verdict::Fails);
        assert!(fails.why.contains("256.0 MiB"), "{fails:#?}");
        change(&fails, "MemoryMax=3582M");
        change(&fails, "docker run --memory=3582m");
        expect(&with(1 << 30), "memory", Verdict::Advice);
        expect(&with(4 << 30), "memory", Verdict::Holds);
    }

    #[test]
    fn a_machine_that_is_too_small_is_told_how_many_fit() {
        let with = |left| report(&Facts { memory_available: Some(left), ..sound() }, 100_000);
        // 2 GiB and a half less 30 MiB for the node, 256 MB of history, as much of what is
        // rendered, 64 MiB of ring, 64 of bodies, 128 of what is in flight, 128 of what clients
        // hold, 8 of publishers and 1,200 MB of records, by 8,496.
        change(&expect(&with(5 << 29), "memory", Verdict::Advice), "--max-connections 62365");
        change(&expect(&with(448 << 20), "memory", Verdict::Fails), "in_flight_bytes");
        change(&expect(&with(448 << 20), "memory", Verdict::Fails), "followed_channels");
        expect(&with(4 << 30), "memory", Verdict::Holds);
        // What is least decides, whichever it is.
        let (limit, left) = (Some(1 << 30), Some(448 << 20));
        let both = Facts { memory_limit: limit, memory_available: left, ..sound() };
        change(&expect(&report(&both, 100_000), "memory", Verdict::Fails), "history_bytes");
    }

    #[test]
    fn tcp_counts_a_page_for_each_socket() {
        let with = |tcp_mem| report(&Facts { tcp_mem: Some(tcp_mem), ..sound() }, 100_000);
        expect(&with([80_000, 100_000, 120_000]), "tcp_mem", Verdict::Holds);
        expect(&with([80_000, 99_999, 120_000]), "tcp_mem", Verdict::Advice);
        expect(&with([10_000, 20_000, 25_000]), "tcp_mem", Verdict::Advice);
        let fails = expect(&with([10_000, 20_000, 24_999]), "tcp_mem", Verdict::Fails);
        change(&fails, "sysctl -w net.ipv4.tcp_mem='200000 300000 400000'");
    }

    #[test]
    fn buffers_that_are_cut_are_told() {
        let facts = Facts { buffers_max: Some((212_992, 8_192)), ..sound() };
        let buffers = expect(&report(&facts, 1_000), "socket buffers", Verdict::Advice);
        change(&buffers, "net.core.wmem_max=32768 net.core.rmem_max=212992");
    }
}
