//! One run from its beginning to its report: connecting, the mode, the count.

use super::crew::Crew;
use super::modes;
use super::plan::{Mode, Plan};
use super::report::{self, Report};
use super::run::{Memory, Run, SECOND};
use super::section::Section;

/// Runs a plan of one run.
pub(super) fn whole_run(plan: Plan, show: bool) -> Result<Report, String> {
    let memory = Memory::now(plan.server_pid);
    let run = Run::start(plan, show)?;
    let (run, section) = measured(run, &memory)?;
    report::make(run, section)
}

/// Connects everyone and measures. Memory is what has grown since `memory`.
pub(super) fn measured(mut run: Run, memory: &Memory) -> Result<(Run, Section), String> {
    let measured = measure(&mut run, memory);
    run.clear_line();
    match measured {
        Ok(section) => Ok((run, section)),
        Err(why) => Err(with_failures(run.crew, why)),
    }
}

fn measure(run: &mut Run, memory: &Memory) -> Result<Section, String> {
    let mode = run.plan().mode;
    let connecting = run.begin_section();
    run.connect()?;
    if mode == Mode::Connect {
        let section = run.end_section(connecting);
        if run.crew.sum(|p| &p.over) == 0 {
            check(run)?;
        }
        return Ok(section);
    }
    let everyone = u64::from(run.plan().everyone());
    if run.crew.sum(|p| &p.open) < everyone {
        return Err(run.explain_missing());
    }
    if mode == Mode::Idle {
        run.wait_for(SECOND, "settling", |_| false);
        run.note_memory(memory, "memory");
        let section = run.begin_section();
        modes::wait::run(run);
        let section = run.end_section(section);
        check(run)?;
        return Ok(section);
    }
    run.roll_call()?;
    let section = run.begin_section();
    modes::run(run)?;
    run.drain();
    let section = run.end_section(section);
    run.note_memory(memory, "memory");
    Ok(section)
}

/// One message to all, where there is a way to publish: proof that who is connected is served.
fn check(run: &mut Run) -> Result<(), String> {
    if run.publishers.is_empty() {
        return Ok(());
    }
    run.roll_call()?;
    run.publishers[0].publish_now()?;
    run.drain();
    Ok(())
}

/// A reason with what clients met, the most frequent first.
fn with_failures(crew: Crew, why: String) -> String {
    let failures = crew.finish([0, 0]).map(|outcome| outcome.failures).unwrap_or_default();
    let mut failures: Vec<_> = failures.into_iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut words = failures.iter().map(|(what, count)| format!("{count} x {what}"));
    match words.next() {
        None => why,
        Some(first) => {
            let rest: String = words.take(3).map(|word| format!(", {word}")).collect();
            format!("{why}; clients met: {first}{rest}")
        }
    }
}
