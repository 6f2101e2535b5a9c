//! What a run came to: one JSON object with everything, and the verdict.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::arrivals::Arrivals;
use super::plan::{Group, Mode, Plan};
use super::run::{Run, round};
use super::section::Section;
use super::tally::{self, Tally};
use super::worker::WorkerReport;
use crate::driver::dialing::Kind;
use crate::os::machine;

/// A thread that ran or wanted to run for more than this share of the time was the bottleneck, or
/// may have been.
const BUSY: f64 = 0.9;

/// A latency distribution with its name.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Nanoseconds.
    pub histogram: Histogram<u64>,
}

/// A run's result.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything, on one line when printed.
    pub json: Value,
    /// Every message came once and in order to everyone who was owed it.
    pub sound: bool,
    /// What there is to plot.
    pub curves: Vec<Curve>,
}

/// Ends a run and counts.
pub(super) fn make(run: Run, section: Section) -> Result<Report, String> {
    let expected = Group::ALL.map(|group| run.expected_of(group));
    let published = [run.published(0), run.published(1)];
    let last = [0, 1].map(|stream| (run.first[stream] + published[stream]).saturating_sub(1));
    let counted = run.expected().is_some();
    let Run { crew, shared, mut found, phases, publishers, .. } = run;
    let (kind, advice, threads) = (crew.kind, crew.advice.clone(), crew.threads());
    let over: u64 = crew.sum(|p| &p.over);
    let outcome = crew.finish(last)?;
    drop(publishers);
    let plan = &shared.plan;
    let burst_ends = found.remove("burst_ends");

    let (curves, latency) = latencies(plan, &outcome, &phases);
    let mut json = about(plan, kind, advice, threads);
    let messages = u64::from(published[0]) * u64::from(plan.publications());
    json.insert("messages".into(), json!(messages + u64::from(published[1])));
    let mut groups = Map::new();
    for group in Group::ALL.into_iter().filter(|group| plan.count(*group) > 0) {
        let expected = (counted || group == Group::Main).then_some(expected[group as usize]);
        let tally = &outcome.tallies[group as usize];
        groups.insert(name(group).into(), count(plan.count(group), expected, tally));
    }
    let sums = sum(&outcome.tallies);
    for (key, value) in [
        ("expected", counted.then(|| expected.iter().sum::<u64>()).into()),
        ("delivered", sums.delivered.into()),
        ("lost", sums.lost.into()),
        ("duplicates", sums.duplicates.into()),
        ("disordered", sums.disordered.into()),
        ("strays", sums.strays.into()),
    ] {
        json.insert(key.into(), value);
    }
    json.insert("groups".into(), groups.into());
    json.insert("latency_us".into(), latency);
    json.insert("work".into(), work(&section, &sums));
    if let (Some(ends), Some(arrivals)) = (burst_ends, &outcome.arrivals) {
        json.insert("burst_ms".into(), bursts(&ends, plan.messages, arrivals));
    }
    json.append(&mut found);
    json.insert("failures".into(), json!(outcome.failures));
    // Who stops reading may be thrown out; everyone else must still be there.
    let sound = (over == 0 || plan.mode == Mode::Slow)
        && !json.contains_key("stuck_at")
        && is_sound(plan, &outcome, &expected);
    let sound = sound && storm_ended(&json);
    json.insert("sound".into(), sound.into());
    json.insert("machine".into(), machine::facts());
    Ok(Report { json: json.into(), sound, curves })
}

fn name(group: Group) -> &'static str {
    match group {
        Group::Main => "main",
        Group::Lone => "lone",
        Group::Odd => "odd",
    }
}

fn about(plan: &Plan, kind: Kind, advice: Option<String>, threads: usize) -> Map<String, Value> {
    let Value::Object(json) = json!({
        "mode": plan.mode.name(),
        "url": plan.url.text,
        "clients": { "ws": plan.ws, "sse": plan.sse, "poll": plan.poll },
        "driver": if kind == Kind::Uring { "uring" } else { "epoll" },
        "driver_advice": advice,
        "threads": threads,
        "size": plan.size,
        "seconds": plan.seconds,
        "rate": plan.rate,
        "window": plan.window,
        "burst_messages": plan.messages,
    }) else {
        unreachable!("json! of braces is an object")
    };
    let used = |key: &str| match key {
        "rate" => plan.mode.is_paced(),
        "window" => matches!(plan.mode, Mode::Saturate | Mode::Fairness | Mode::Unicast),
        "burst_messages" => plan.mode == Mode::Burst,
        "seconds" => !matches!(plan.mode, Mode::Connect | Mode::Burst),
        "driver_advice" => json["driver_advice"] != Value::Null,
        _ => true,
    };
    json.iter()
        .filter(|(key, _)| used(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn count(clients: u32, expected: Option<u64>, tally: &Tally) -> Value {
    json!({
        "clients": clients,
        "expected": expected,
        "delivered": tally.delivered,
        "lost": tally.lost,
        "clients_short": tally.clients_short,
        "lost_by_transport": {
            "ws": tally.lost_by_transport[0],
            "sse": tally.lost_by_transport[1],
            "poll": tally.lost_by_transport[2],
        },
        "lost_at_closed_connections": tally.lost_told,
        "duplicates": tally.duplicates,
        "disordered": tally.disordered,
        "strays": tally.strays,
        "gap_notices": tally.gaps,
        "missed_by_notices": tally.missed,
        "closes": tally.closes,
        "violations": tally.violations,
    })
}

fn sum(tallies: &[Tally]) -> Tally {
    let mut all = Tally::default();
    tallies.iter().for_each(|tally| all.merge(tally.clone()));
    all
}

/// Latencies by group and phase, and of the last receivers; as curves and as numbers.
fn latencies(
    plan: &Plan,
    outcome: &WorkerReport,
    phases: &[Vec<&'static str>; 2],
) -> (Vec<Curve>, Value) {
    let (mut curves, mut json) = (Vec::new(), Map::new());
    for group in Group::ALL {
        let tally = &outcome.tallies[group as usize];
        let names = &phases[usize::from(group.stream())];
        let all = tally.all_latencies();
        if all.is_empty() {
            continue;
        }
        let mut object = Map::new();
        object.insert("each".into(), percentiles(&all));
        if names.len() > 1 {
            for (phase, histogram) in names.iter().zip(&tally.latency) {
                let Some(histogram) = histogram else { continue };
                object.insert((*phase).into(), percentiles(histogram));
                let name = format!("{}, {phase}", name(group));
                curves.push(Curve { name, histogram: histogram.clone() });
            }
        } else {
            let name = format!("{}, each receiver", name(group));
            curves.push(Curve { name, histogram: all });
        }
        // Where each has a message of its own nobody is the last to have it.
        if let (Group::Main, Some(arrivals), 1) = (group, &outcome.arrivals, plan.publications()) {
            let mut last = tally::latencies();
            arrivals.last().for_each(|(_, us)| last.saturating_record(u64::from(us) * 1_000));
            object.insert("last".into(), percentiles(&last));
            if !last.is_empty() && names.len() <= 1 {
                curves.push(Curve { name: "main, last receiver".into(), histogram: last });
            }
        }
        json.insert(name(group).into(), object.into());
    }
    (curves, json.into())
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    let us = |nanos: u64| round(nanos as f64 / 1_000.0);
    let at = |quantile: f64| us(histogram.value_at_quantile(quantile));
    json!({
        "count": histogram.len(),
        "min": us(histogram.min()),
        "mean": round(histogram.mean() / 1_000.0),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p99_9": at(0.999),
        "p99_99": at(0.999_9),
        "max": us(histogram.max()),
    })
}

fn work(section: &Section, sums: &Tally) -> Value {
    let seconds = section.nanos.max(1) as f64 / 1e9;
    let share = |nanos: u64| round(nanos as f64 / section.nanos.max(1) as f64);
    let each = |nanos: u64| {
        (section.delivered > 0).then(|| round(nanos as f64 / 1_000.0 / section.delivered as f64))
    };
    let busiest = share(section.busiest_nanos);
    json!({
        "seconds": round(seconds),
        "deliveries_per_second": round(section.delivered as f64 / seconds),
        "bytes_received": sums.bytes,
        "messages_per_receive": (sums.receives > 0)
            .then(|| round(sums.delivered as f64 / sums.receives as f64)),
        "server_cpu_share": section.server_nanos.map(share),
        "server_us_per_delivery": section.server_nanos.and_then(each),
        "own_cpu_share": share(section.own_nanos),
        "own_us_per_delivery": each(section.own_nanos),
        "own_busiest_thread_share": busiest,
        "bound_by_generator": busiest > BUSY,
        "backlog_drops": section.dropped,
    })
}

/// The time of each burst until its last message was with the last client.
fn bursts(ends: &Value, messages: u32, arrivals: &Arrivals) -> Value {
    let last: std::collections::HashMap<u32, u32> = arrivals.last().collect();
    let ends = ends.as_array().into_iter().flatten().filter_map(Value::as_u64);
    let mut times: Vec<Option<f64>> = ends
        .map(|end| {
            let end = end as u32;
            let each = (end + 1 - messages..=end).map(|sequence| last.get(&sequence).copied());
            each.collect::<Option<Vec<u32>>>()?.into_iter().max().map(|us| f64::from(us) / 1_000.0)
        })
        .collect();
    let rounds = times.clone();
    times.sort_by(|a, b| a.partial_cmp(b).expect("times are numbers"));
    json!({ "rounds": rounds, "median": times.get(times.len() / 2) })
}

fn storm_ended(json: &Map<String, Value>) -> bool {
    json.get("storm").is_none_or(|storm| !storm["resumed_ms"].is_null())
}

fn is_sound(plan: &Plan, outcome: &WorkerReport, expected: &[u64; 3]) -> bool {
    let [main, lone, odd] = &outcome.tallies;
    let complete =
        |group: Group| outcome.tallies[group as usize].delivered == expected[group as usize];
    let faithful = main.is_flawless() && lone.is_flawless();
    let delivered = complete(Group::Main) && complete(Group::Lone);
    // Who stops reading may lose messages and its connection, but not without being told.
    let told = odd.gaps_without_number > 0 || odd.lost - odd.lost_told.min(odd.lost) <= odd.missed;
    let orderly = odd.duplicates + odd.disordered + odd.strays == 0 && odd.violations.is_empty();
    let odd_is_sound = if plan.mode == Mode::Slow { told && orderly } else { odd.is_flawless() };
    faithful && delivered && odd_is_sound
}
