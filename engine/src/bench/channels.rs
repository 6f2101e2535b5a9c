//! The mode `channels`, which is several runs: what a server remembers for a channel that keeps a
//! message, for a client, and for each channel that a client follows.
//!
//! Memory is measured by what it grows by, and a server keeps what clients leave behind for those
//! who come: so nobody leaves before the end, and each step adds to the last.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::measure::measured;
use super::plan::{Follows, Mode, Plan};
use super::report::{self, Report};
use super::run::{Memory, Run, round};
use super::section::Section;

/// From the last message until memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs all steps.
pub(super) fn run(plan: &Plan, show: bool) -> Result<Report, String> {
    let steps = [
        ("one shared channel", Follows::Shared(1)),
        ("a channel of its own", Follows::Own),
        // Last: what is said of so many channels is let go of later, and would hide what comes.
        ("shared channels", plan.follows),
    ];
    let mut found = Map::new();
    let mut runs = Vec::new();
    for (nth, (name, follows)) in steps.into_iter().enumerate() {
        let channel = format!("{}-{nth}", plan.channel);
        let step = Plan { mode: Mode::Idle, follows, channel, ..plan.clone() };
        let mut run = Run::start(step, show)?;
        if nth == 0 {
            found.insert("filled".into(), plan.fill.into());
            found.insert("channel_with_one_message_bytes".into(), fill(&mut run, plan.fill)?);
        }
        let memory = Memory::now(plan.server_pid);
        let (run, section) = measured(run, &memory)?;
        runs.push((name, run, section));
    }
    let clients = f64::from(plan.clients());
    let grown: Vec<Option<f64>> = runs
        .iter()
        .map(|(_, run, _)| run.found["memory"]["server_pss_grown_bytes"].as_f64())
        .collect();
    let more = match plan.follows {
        Follows::Shared(channels) => f64::from(channels - 1),
        Follows::Own => 0.0,
    };
    let each = |bytes: Option<f64>, count: f64| {
        bytes.filter(|_| count > 0.0).map(|bytes| round(bytes / count))
    };
    let shared = grown[2].zip(grown[0]).map(|(many, one)| many - one);
    found.insert("client_on_one_shared_channel_bytes".into(), json!(each(grown[0], clients)));
    found.insert("client_on_a_channel_of_its_own_bytes".into(), json!(each(grown[1], clients)));
    let subscription = json!(each(shared, clients * more));
    found.insert("subscription_on_a_shared_channel_bytes".into(), subscription);
    whole(plan, runs, found)
}

/// A message in each of many channels that nobody follows: what each takes.
fn fill(run: &mut Run, channels: u32) -> Result<Value, String> {
    let pid = run.plan().server_pid;
    let Some(publisher) = run.publishers.first_mut() else {
        return Err("say how messages are published: --socket, or --publish-url".into());
    };
    let before = Memory::now(pid);
    publisher.fill(channels)?;
    std::thread::sleep(SETTLE);
    let grown = before.pss.zip(Memory::now(pid).pss).map(|(then, now)| now as f64 - then as f64);
    Ok(json!(grown.map(|bytes| round(bytes / f64::from(channels)))))
}

/// The last step's report with what all came to; sound where all steps were.
fn whole(
    plan: &Plan,
    runs: Vec<(&'static str, Run, Section)>,
    mut found: Map<String, Value>,
) -> Result<Report, String> {
    let (mut sound, mut steps, mut last) = (true, Map::new(), None);
    for (name, run, section) in runs {
        let report = report::make(run, section)?;
        sound &= report.sound;
        let json = &report.json;
        steps.insert(
            name.into(),
            json!({
                "connected": json["connect"]["opened"],
                "expected": json["expected"],
                "delivered": json["delivered"],
                "sound": report.sound,
            }),
        );
        last = Some(report);
    }
    let mut report = last.expect("there are steps");
    found.insert("steps".into(), steps.into());
    report.sound = sound;
    report.json["mode"] = plan.mode.name().into();
    report.json["sound"] = sound.into();
    report.json["channels"] = found.into();
    Ok(report)
}
