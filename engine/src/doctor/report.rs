//! A report as people and as machines read it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Report;
use super::finding::{Finding, Verdict, grouped};

/// Columns of a terminal that nobody has widened, less some.
const COLUMNS: usize = 96;
/// Where the text of a finding begins.
const INDENT: usize = 32;

/// The table for people.
pub fn table(report: &Report) -> String {
    let mut out = format!(
        "Will this machine hold {} connections, by {}?\n\n",
        grouped(report.connections as u64),
        report.driver
    );
    for finding in &report.findings {
        row(&mut out, finding);
    }
    let fails = count(report, Verdict::Fails);
    let advice = count(report, Verdict::Advice);
    let lasting = report.findings.iter().flat_map(|finding| &finding.change);
    let more = match advice {
        0 => String::new(),
        1 => " One thing could be better.".to_owned(),
        _ => format!(" {advice} things could be better."),
    };
    match fails {
        0 => _ = writeln!(out, "\nIt holds.{more}"),
        1 => _ = writeln!(out, "\nIT WILL NOT HOLD: one thing fails.{more}"),
        _ => _ = writeln!(out, "\nIT WILL NOT HOLD: {fails} things fail.{more}"),
    }
    if lasting.into_iter().any(|change| change.contains("sysctl -w")) {
        out.push_str(
            "sysctl -w lasts until the next boot; /etc/sysctl.d/90-fanfare.conf is for good.\n",
        );
    }
    out.push_str(
        "Limits are those of this shell: a unit or a container has its own, so ask there.\n",
    );
    out
}

fn count(report: &Report, verdict: Verdict) -> usize {
    report.findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn row(out: &mut String, finding: &Finding) {
    let mark = match finding.verdict {
        Verdict::Holds => "ok",
        Verdict::Advice => "advice",
        Verdict::Fails => "FAILS",
    };
    let begin = format!("  {:<21} {mark:<6}  ", finding.check);
    paragraph(out, &begin, &finding.is);
    if !finding.why.is_empty() {
        paragraph(out, "", &finding.why);
    }
    for (nth, change) in finding.change.iter().enumerate() {
        // Not broken: it is to be copied.
        let word = if nth == 0 { "change" } else { "or" };
        _ = writeln!(out, "{:INDENT$}{word:>6}: {change}", "");
    }
}

/// Words in lines that fit, all but the first below the text of the first.
fn paragraph(out: &mut String, begin: &str, text: &str) {
    let mut line = format!("{begin:<INDENT$}");
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            _ = writeln!(out, "{line}");
            line = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    _ = writeln!(out, "{line}");
}

/// The same for machines, as one object.
pub fn json(report: &Report) -> Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "verdict": finding.verdict.name(),
                "is": finding.is,
                "why": (!finding.why.is_empty()).then_some(&finding.why),
                "change": finding.change,
            })
        })
        .collect();
    let estimate = &report.estimate;
    json!({
        "holds": report.holds(),
        "connections": report.connections,
        "driver": report.driver,
        "shards": report.plan.map(|plan| plan.shards),
        "places_per_shard": report.plan.map(|plan| plan.capacity),
        "memory": {
            "kernel_bytes_per_connection": estimate.kernel_per_connection,
            "user_bytes_per_connection": estimate.user_per_connection,
            "idle_bytes": estimate.idle,
            "busy_bytes": estimate.busy,
            "channel_record_bytes": estimate.records,
            "subscription_bytes": estimate.subscriptions,
            "stalled_buffer_bytes": estimate.stalled_buffers,
        },
        "findings": findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::Facts;
    use crate::doctor::facts::tests::{report, sound};

    #[test]
    fn people_see_what_to_change() {
        let facts = Facts { somaxconn: Some(128), descriptors: 300, ..sound() };
        let text = table(&report(&facts, 100_000));
        for words in [
            "hold 100,000 connections, by uring?",
            "\n  open files            FAILS   300 for",
            "\n  listen backlog        advice  128",
            "change: sysctl -w net.core.somaxconn=4096",
            "    or: docker run --sysctl",
            "IT WILL NOT HOLD: one thing fails. 2 things could be better.",
            "/etc/sysctl.d/90-fanfare.conf",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        let wide = text.lines().find(|line| !line.contains(": ") && line.chars().count() > COLUMNS);
        assert_eq!(wide, None);
    }

    #[test]
    fn machines_see_the_same() {
        let json = json(&report(&sound(), 35_000));
        assert_eq!((&json["holds"], &json["shards"]), (&true.into(), &2.into()));
        let kernel = &json["findings"][0];
        assert_eq!((&kernel["check"], &kernel["verdict"]), (&"kernel".into(), &"holds".into()));
        assert!(kernel["why"].is_null());
        assert_eq!(json["memory"]["user_bytes_per_connection"], 200);
    }
}
