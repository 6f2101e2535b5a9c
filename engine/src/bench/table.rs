//! A run's result for people. What machines want is the JSON, of which this shows a part.

use std::fmt::Write;

use serde_json::Value;

/// The table of a report's JSON.
pub fn render(json: &Value) -> String {
    let mut out = String::new();
    let clients = &json["clients"];
    let _ = writeln!(
        out,
        "{} of {}: {} WebSocket, {} SSE, {} long-poll clients, {} x {}",
        text(&json["mode"]),
        text(&json["url"]),
        clients["ws"],
        clients["sse"],
        clients["poll"],
        json["threads"],
        text(&json["driver"]),
    );
    let connect = &json["connect"];
    line(&mut out, "connected", &format!("{} of {}", connect["opened"], connect["asked"]));
    line(&mut out, "", &format!("in {} s, {}/s", connect["seconds"], connect["per_second"]));
    for (why, count) in json["failures"].as_object().into_iter().flatten() {
        line(&mut out, "failed attempts", &format!("{count} x {why}"));
    }
    let expected = match &json["expected"] {
        Value::Null => String::new(),
        expected => format!(" of {expected}"),
    };
    if json["messages"] != 0 {
        line(&mut out, "messages", &json["messages"].to_string());
        line(&mut out, "delivered", &format!("{}{expected}", json["delivered"]));
        let faults = ["lost", "duplicates", "disordered", "strays"];
        let faults: Vec<_> = faults.iter().map(|name| format!("{} {name}", json[*name])).collect();
        line(&mut out, "", &faults.join(", "));
    }
    groups(&mut out, json);
    work(&mut out, json);
    latencies(&mut out, &json["latency_us"]);
    for (key, title) in [
        ("burst_ms", "burst (ms)"),
        ("storm", "storm"),
        ("churn", "churn"),
        ("channels", "channels"),
        ("memory", "memory"),
        ("memory_while_slow", "memory while slow"),
        ("stuck_at", "STUCK at message"),
    ] {
        match &json[key] {
            Value::Null => {}
            Value::Object(object) => {
                let known =
                    object.iter().filter(|(_, value)| !value.is_null() && !value.is_object());
                for (nth, (name, value)) in known.enumerate() {
                    let title = if nth == 0 { title } else { "" };
                    line(&mut out, title, &format!("{}: {value}", name.replace('_', " ")));
                }
            }
            other => line(&mut out, title, &other.to_string()),
        }
    }
    let verdict = if json["sound"] == true {
        "every message came once, in order, to everyone who was owed it"
    } else {
        "NOT SOUND: see what was lost, doubled, disordered or not connected above"
    };
    line(&mut out, "verdict", verdict);
    out
}

fn groups(out: &mut String, json: &Value) {
    for (name, group) in json["groups"].as_object().into_iter().flatten() {
        for (key, what) in
            [("gap_notices", "gap notices"), ("closes", "closes"), ("violations", "violations")]
        {
            for (kind, count) in group[key].as_object().into_iter().flatten() {
                line(out, &format!("{name}: {what}"), &format!("{count} x {kind}"));
            }
        }
    }
}

fn work(out: &mut String, json: &Value) {
    let work = &json["work"];
    if json["messages"] != 0 {
        line(out, "deliveries", &format!("{}/s", work["deliveries_per_second"]));
        if !work["messages_per_receive"].is_null() {
            line(out, "", &format!("{} messages per receive", work["messages_per_receive"]));
        }
    }
    if !work["server_cpu_share"].is_null() {
        line(out, "server", &format!("{} of a core", work["server_cpu_share"]));
        if !work["server_us_per_delivery"].is_null() {
            line(out, "", &format!("{} us of CPU per delivery", work["server_us_per_delivery"]));
        }
    }
    let own = format!("{} of a core", work["own_cpu_share"]);
    line(out, "generator", &own);
    let busy = &work["own_busiest_thread_share"];
    line(out, "", &format!("{busy} of the time its busiest thread ran or waited for a core"));
    if work["bound_by_generator"] == true {
        line(out, "", "THE GENERATOR WAS THE BOTTLENECK: use more --threads, or fewer clients");
    }
}

fn latencies(out: &mut String, json: &Value) {
    const COLUMNS: [&str; 6] = ["p50", "p90", "p99", "p99_9", "p99_99", "max"];
    let groups = json.as_object().into_iter().flatten();
    let rows: Vec<_> = groups
        .flat_map(|(group, phases)| {
            let phases = phases.as_object().into_iter().flatten();
            phases.map(move |(phase, row)| (format!("{group}, {phase}"), row))
        })
        .filter(|(_, row)| row["count"] != 0)
        .collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "\n  {:<30}", "latency (ms)");
    for column in COLUMNS {
        let _ = write!(out, "{:>10}", column.replace('_', "."));
    }
    out.push('\n');
    for (name, row) in rows {
        let _ = write!(out, "  {name:<30}");
        for column in COLUMNS {
            let ms = row[column].as_f64().unwrap_or(0.0) / 1_000.0;
            let _ = write!(out, "{ms:>10.2}");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<20} {value}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
