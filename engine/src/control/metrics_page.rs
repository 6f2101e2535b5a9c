//! `GET /metrics`: the node's numbers as OpenMetrics text.
//!
//! Every family is a row of a table: its name (unit last), its sentence, whether it only grows, and
//! where its number is. Nothing is labelled by channel or tenant: there may be a million of them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, SequencerMetrics, ShardMetrics};

/// The Content-Type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the page tells of a node beside its numbers; fixed at start.
#[derive(Clone, Debug)]
pub struct Build {
    /// The driver that the shards run.
    pub driver: &'static str,
    /// Whether it is not the one that was preferred.
    pub driver_fallback: bool,
    /// Whether the node was started with a public listener and no identity.
    pub insecure: bool,
    /// Whether the node is in development mode.
    pub development: bool,
    /// The program's version.
    pub version: &'static str,
    /// When the node started, in seconds since 1970.
    pub started_unix_s: u64,
}

/// Writes the page.
pub fn page(metrics: &Arc<Metrics>, build: &Build) -> String {
    let mut registry = Registry::default();
    let numbers = Numbers { metrics: Arc::clone(metrics), build: build.clone() };
    registry.register_collector(Box::new(numbers));
    let mut out = String::with_capacity(8 << 10);
    text::encode(&mut out, &registry).expect("a String takes every write");
    out
}

/// One family: name, sentence, whether it only grows (a counter), and where its number is.
type Row<T> = (&'static str, &'static str, bool, fn(&T) -> u64);

const COUNTER: bool = true;
const GAUGE: bool = false;

const SHARD: &[Row<ShardMetrics>] = &[
    ("fanfare_connections", "Sockets that are open", GAUGE, |m| m.connections.read()),
    ("fanfare_websockets", "WebSocket connections", GAUGE, |m| m.websockets.read()),
    ("fanfare_event_streams", "SSE streams", GAUGE, |m| m.event_streams.read()),
    ("fanfare_polls", "Polls that wait", GAUGE, |m| m.polls.read()),
    (
        "fanfare_detached_sessions",
        "Sessions of clients over many sockets for which no request is held",
        GAUGE,
        |m| m.detached_sessions.read(),
    ),
    ("fanfare_connection_subscriptions", "Subscriptions of connections", GAUGE, |m| {
        m.subscriptions.read()
    }),
    ("fanfare_logs", "Channels that a log of recent messages is kept of", GAUGE, |m| {
        m.channels.read()
    }),
    ("fanfare_rendered_bytes", "Rendered pages, of logs and of clients", GAUGE, |m| {
        m.rendered_bytes.read()
    }),
    ("fanfare_waiting_for_room", "Connections that wait for limits.rendered_bytes", GAUGE, |m| {
        m.waiting_for_room.read()
    }),
    (
        "fanfare_holders_closed",
        "Connections ended for what they held of limits.rendered_bytes",
        COUNTER,
        |m| m.holders_closed.read(),
    ),
    ("fanfare_window_bytes", "Messages in live windows beyond history", GAUGE, |m| {
        m.window_bytes.read()
    }),
    (
        "fanfare_pages_evicted",
        "Rendered pages dropped to stay within limits.rendered_bytes",
        COUNTER,
        |m| m.pages_evicted.read(),
    ),
    ("fanfare_ring_lag_entries", "Ring entries that wait", GAUGE, |m| m.ring_lag.read()),
    (
        "fanfare_driver_queue_overflows",
        "Times the driver's queue of completions was full",
        COUNTER,
        |m| m.queue_overflows.read(),
    ),
    ("fanfare_accepted", "Sockets accepted", COUNTER, |m| m.accepted.read()),
    ("fanfare_turned_away", "Sockets turned away for want of room", COUNTER, |m| {
        m.turned_away.read()
    }),
    (
        "fanfare_address_connections_refused",
        "Turned away for limits.connections_per_address",
        COUNTER,
        |m| m.address_connections_refused.read(),
    ),
    ("fanfare_address_heads_refused", "Turned away for limits.heads_per_address", COUNTER, |m| {
        m.address_heads_refused.read()
    }),
    (
        "fanfare_address_rate_refused",
        "Turned away for limits.handshakes_per_address",
        COUNTER,
        |m| m.address_rate_refused.read(),
    ),
    ("fanfare_refused_silently", "Turned away with RST, being too many", COUNTER, |m| {
        m.refused_silently.read()
    }),
    (
        "fanfare_forwarded_unreadable",
        "Requests of trusted proxies that do not say for whom they are",
        COUNTER,
        |m| m.forwarded_unreadable.read(),
    ),
    ("fanfare_proxy_headers_refused", "Connections without the right PROXY header", COUNTER, |m| {
        m.proxy_headers_refused.read()
    }),
    ("fanfare_denied", "Tokens that were not good, and what clients may not do", COUNTER, |m| {
        m.denied.read()
    }),
    ("fanfare_requests_refused", "Requests answered with 4xx or 5xx", COUNTER, |m| {
        m.requests_refused.read()
    }),
    ("fanfare_protocol_faults", "WebSockets closed for a client's fault", COUNTER, |m| {
        m.protocol_faults.read()
    }),
    ("fanfare_client_messages", "Messages of WebSocket clients", COUNTER, |m| {
        m.client_messages.read()
    }),
    ("fanfare_sends", "Sends asked of the kernel", COUNTER, |m| m.sends.read()),
    ("fanfare_deliveries", "Messages handed to the kernel, per client", COUNTER, |m| {
        m.deliveries.read()
    }),
    ("fanfare_sent_bytes", "Bytes handed to the kernel", COUNTER, |m| m.sent_bytes.read()),
    ("fanfare_gaps", "Gap notices given", COUNTER, |m| m.gaps.read()),
    (
        "fanfare_ephemeral_lost",
        "Ephemeral messages, and presence, that clients were too slow for, once for each client",
        COUNTER,
        |m| m.ephemeral_lost.read(),
    ),
    ("fanfare_private_bytes", "What clients hold, each for itself", GAUGE, |m| {
        m.private_bytes.read()
    }),
    ("fanfare_private_let_go", "Clients let go for what they held of these", COUNTER, |m| {
        m.private_let_go.read()
    }),
    ("fanfare_slow_closed", "Connections closed as slow", COUNTER, |m| m.slow_closed.read()),
    ("fanfare_dismissed", "Connections closed by backends", COUNTER, |m| m.dismissed.read()),
    ("fanfare_unsubscribed", "Subscriptions ended by backends", COUNTER, |m| m.unsubscribed.read()),
    ("fanfare_direct_messages", "Messages of backends to one connection", COUNTER, |m| {
        m.direct_messages.read()
    }),
    ("fanfare_pong_missed", "Connections ended for want of a pong", COUNTER, |m| {
        m.pong_missed.read()
    }),
    ("fanfare_inbox_full", "Commands offered again, the inbox being full", COUNTER, |m| {
        m.inbox_full.read()
    }),
];

const SEQUENCER: &[Row<SequencerMetrics>] = &[
    ("fanfare_published", "Messages that were given a place", COUNTER, |m| m.published.read()),
    ("fanfare_published_bytes", "Their payload bytes", COUNTER, |m| m.published_bytes.read()),
    ("fanfare_publish_refused", "Publishes that were refused", COUNTER, |m| m.refused.read()),
    ("fanfare_publish_rate_limited", "Those refused for their tenant's rate", COUNTER, |m| {
        m.rate_limited.read()
    }),
    ("fanfare_publish_duplicates", "Publishes that had their place already", COUNTER, |m| {
        m.duplicates.read()
    }),
    ("fanfare_idempotency_conflicts", "Keys used for another message", COUNTER, |m| {
        m.key_conflicts.read()
    }),
    ("fanfare_idempotency_keys_pushed_out", "Keys forgotten before their age", COUNTER, |m| {
        m.keys_pushed_out.read()
    }),
    ("fanfare_idempotency_keys", "Keys that are remembered", GAUGE, |m| m.idempotency_keys.read()),
    ("fanfare_epochs", "Epochs that began while the node ran", COUNTER, |m| m.epochs.read()),
    ("fanfare_channels_forgotten", "Channels that were forgotten", COUNTER, |m| {
        m.channels_forgotten.read()
    }),
    ("fanfare_channels_refused", "Publishes refused by limits.channels", COUNTER, |m| {
        m.channels_refused.read()
    }),
    (
        "fanfare_followed_channels_refused",
        "Requests to follow refused by limits.followed_channels",
        COUNTER,
        |m| m.followed_refused.read(),
    ),
    ("fanfare_ring_full", "Times that the sequencer waited for ring space", COUNTER, |m| {
        m.ring_full.read()
    }),
    ("fanfare_channels", "Channels that were published to", GAUGE, |m| m.channels.read()),
    ("fanfare_followed_channels", "Channels that clients follow", GAUGE, |m| {
        m.followed_channels.read()
    }),
    ("fanfare_subscriptions", "Subscriptions, as the sequencer counts them", GAUGE, |m| {
        m.subscriptions.read()
    }),
    ("fanfare_history_messages", "Messages in all histories", GAUGE, |m| m.history_messages.read()),
    ("fanfare_history_bytes", "Bytes of all histories", GAUGE, |m| m.history_bytes.read()),
    ("fanfare_position", "The last position", GAUGE, |m| m.position.read()),
];

const NODE: &[Row<Metrics>] = &[
    ("fanfare_history_limit_bytes", "limits.history_bytes", GAUGE, |m| m.budgets.history.read()),
    ("fanfare_private_limit_bytes", "limits.private_bytes", GAUGE, |m| m.budgets.private.read()),
    ("fanfare_rendered_limit_bytes", "limits.rendered_bytes", GAUGE, |m| m.budgets.rendered.read()),
    ("fanfare_in_flight_limit_bytes", "limits.in_flight_bytes", GAUGE, |m| {
        m.budgets.in_flight.read()
    }),
    ("fanfare_body_limit_bytes", "limits.bodies_bytes", GAUGE, |m| m.budgets.bodies.read()),
    ("fanfare_body_bytes", "Request bodies that are being read or published", GAUGE, |m| {
        m.bodies.held()
    }),
    ("fanfare_bodies_refused", "Request bodies refused for want of room", COUNTER, |m| {
        m.bodies.refused()
    }),
    ("fanfare_in_flight_bytes", "Bytes that wait for the order", GAUGE, |m| {
        (m.in_flight.held() + m.in_flight_reserve.held()) as u64
    }),
    ("fanfare_in_flight_refused", "Found no room in limits.in_flight_bytes", COUNTER, |m| {
        m.in_flight.refused()
    }),
    ("fanfare_publishers_held", "Publishers not read for want of that room", GAUGE, |m| {
        m.ingest.held.read()
    }),
    ("fanfare_publishers", "Publishers on the Unix socket", GAUGE, |m| m.ingest.publishers.read()),
    ("fanfare_publishers_turned_away", "Publishers turned away", COUNTER, |m| {
        m.ingest.turned_away.read()
    }),
    ("fanfare_ingest_refused", "Frames of publishers that were refused", COUNTER, |m| {
        m.ingest.refused.read()
    }),
    ("fanfare_publisher_sessions", "Sessions of publishers without a connection", GAUGE, |m| {
        m.ingest.sessions.read()
    }),
    ("fanfare_publisher_sessions_resumed", "Sessions that were taken up again", COUNTER, |m| {
        m.ingest.sessions_resumed.read()
    }),
    ("fanfare_publisher_sessions_forgotten", "Sessions forgotten before their end", COUNTER, |m| {
        m.ingest.sessions_forgotten.read()
    }),
    ("fanfare_key_sets_fetched", "Key sets fetched from endpoints", COUNTER, |m| {
        m.keys.fetched.read()
    }),
    ("fanfare_key_sets_failed", "Fetches of key sets that failed", COUNTER, |m| {
        m.keys.failed.read()
    }),
    ("fanfare_config_reloads", "Times that the configuration was read again", COUNTER, |m| {
        m.reloads.done.read()
    }),
    (
        "fanfare_config_reload_failed",
        "Times that the configuration was wrong, so that the one before went on",
        COUNTER,
        |m| m.reloads.failed.read(),
    ),
    ("fanfare_api_tls_handshakes_failed", "TLS handshakes that came to nothing", COUNTER, |m| {
        m.tls.handshakes_failed.read()
    }),
    ("fanfare_api_certificate_reloads", "New certificates of the API", COUNTER, |m| {
        m.tls.reloads.read()
    }),
    (
        "fanfare_api_certificate_reloads_failed",
        "Changed certificate files that were not taken",
        COUNTER,
        |m| m.tls.reloads_failed.read(),
    ),
    (
        "fanfare_api_certificate_end_time_seconds",
        "When the API's certificate ends, since 1970; 0 without one",
        GAUGE,
        |m| m.tls.ends_unix_s.read(),
    ),
    // The process's, as standard error is.
    ("fanfare_log_dropped", "Lines of the log that could not be written", COUNTER, |_| {
        crate::diagnostics::dropped()
    }),
];

#[derive(Debug)]
struct Numbers {
    metrics: Arc<Metrics>,
    build: Build,
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let kind = |grows| if grows { MetricType::Counter } else { MetricType::Gauge };
        for (name, help, grows, number) in SHARD {
            let mut family = encoder.encode_descriptor(name, help, None, kind(*grows))?;
            for (nth, shard) in self.metrics.shards.iter().enumerate() {
                let labels = [("shard", nth)];
                let mut metric = family.encode_family(&labels)?;
                encode_number(&mut metric, *grows, number(shard))?;
            }
        }
        for (name, help, grows, number) in SEQUENCER {
            let mut metric = encoder.encode_descriptor(name, help, None, kind(*grows))?;
            encode_number(&mut metric, *grows, number(&self.metrics.sequencer))?;
        }
        for (name, help, grows, number) in NODE {
            let mut metric = encoder.encode_descriptor(name, help, None, kind(*grows))?;
            encode_number(&mut metric, *grows, number(&self.metrics))?;
        }
        self.encode_build(&mut encoder)
    }
}

impl Numbers {
    fn encode_build(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Build { driver, driver_fallback, insecure, development, version, started_unix_s } =
            self.build;
        let mut one = |name: &str, help: &str, labels: &[(&str, &str)]| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            family.encode_family(&labels)?.encode_gauge(&1u64)
        };
        let fallback = if driver_fallback { "true" } else { "false" };
        let driver_labels = [("driver", driver), ("fallback", fallback)];
        one("fanfare_driver", "The driver that the shards run", &driver_labels)?;
        one("fanfare_build", "The program", &[("version", version)])?;
        let mut plain = |name: &str, help: &str, value: u64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        plain(
            "fanfare_insecure",
            "1 where a public listener has no identity",
            u64::from(insecure),
        )?;
        let help = "1 where the playground publishes and pages of this machine may connect";
        plain("fanfare_development_mode", help, u64::from(development))?;
        // These two have the names that every Prometheus dashboard knows.
        plain("process_start_time_seconds", "Start, since 1970", started_unix_s)?;
        match resident_bytes() {
            Some(bytes) => plain("process_resident_memory_bytes", "Resident memory", bytes),
            None => Ok(()),
        }
    }
}

fn encode_number(
    metric: &mut MetricEncoder<'_>,
    grows: bool,
    value: u64,
) -> Result<(), fmt::Error> {
    if grows {
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    } else {
        metric.encode_gauge(&value)
    }
}

/// Memory of this process, as the kernel tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build {
            driver: "uring",
            driver_fallback: false,
            insecure: true,
            development: true,
            version: "1.2.3",
            started_unix_s: 1_700_000_000,
        }
    }

    #[test]
    fn the_page_tells_every_number_with_its_place() {
        let metrics = Arc::new(Metrics::new(2));
        metrics.shards[0].connections.set(7);
        metrics.shards[1].sent_bytes.add(11);
        metrics.sequencer.position.set(42);
        metrics.sequencer.published.add(3);
        metrics.ingest.publishers.set(5);
        let page = page(&metrics, &build());
        for line in [
            "# TYPE fanfare_connections gauge",
            "fanfare_connections{shard=\"0\"} 7",
            "fanfare_connections{shard=\"1\"} 0",
            "# TYPE fanfare_sent_bytes counter",
            "fanfare_sent_bytes_total{shard=\"1\"} 11",
            "fanfare_position 42",
            "fanfare_published_total 3",
            "fanfare_publishers 5",
            "fanfare_driver{driver=\"uring\",fallback=\"false\"} 1",
            "fanfare_build{version=\"1.2.3\"} 1",
            "fanfare_insecure 1",
            "fanfare_development_mode 1",
            "process_start_time_seconds 1700000000",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
        let resident = page.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.unwrap().parse::<u64>().unwrap() > 1 << 20);
    }

    #[test]
    fn what_operators_are_told_to_watch_is_there() {
        let page = page(&Arc::new(Metrics::new(1)), &build());
        let there: Vec<_> = page.lines().filter_map(|l| l.split(['{', ' ']).next()).collect();
        let manual = include_str!("../../../docs/OPERATIONS.md");
        let words = manual.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: Vec<_> = words
            .filter(|word| word.starts_with("fanfare_") || word.starts_with("process_"))
            .collect();
        assert!(named.len() > 15, "{named:?}");
        for name in named {
            assert!(there.contains(&name), "{name} is in docs/OPERATIONS.md and not on the page");
        }
    }

    #[test]
    fn no_family_stands_twice() {
        let page = page(&Arc::new(Metrics::new(1)), &build());
        let mut names: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let all = names.len();
        assert!(all > 30);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
