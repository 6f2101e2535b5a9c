//! Every mode in small, on both drivers, over all transports: all that was owed was delivered, and
//! the result has what the mode is for.

use fanfare::node::{DriverChoice, Server};
use fanfare::rule::{HistoryRule, Rules, Window};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{DRIVERS, node_with};
use crate::{Ran, bench};

const CLIENTS: u64 = 20;
/// What they are.
const MIX: &str = "--ws 10 --sse 6 --poll 4";

/// More than is published while the machine stands still for a second, and less than while some
/// clients do not read.
const WINDOW: Window = Window { count: 1 << 20, bytes: 6 << 20 };

/// A node with its socket in a folder of its own.
struct Target {
    node: Server,
    folder: TempDir,
    driver: DriverChoice,
}

impl Target {
    fn new(driver: DriverChoice) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let node = node_with(driver, |settings| {
            settings.socket = Some(path);
            settings.rules = Rules::new(Vec::new(), HistoryRule::DEFAULT, WINDOW);
        });
        Self { node, folder, driver }
    }

    /// Runs a mode with a mix of clients; they are on the node's driver too.
    fn bench(&self, mix: &str, words: &str) -> Ran {
        let driver = if self.driver == DriverChoice::Epoll { "epoll" } else { "uring" };
        let ran = bench(&format!(
            "{words} {mix} --threads 2 --json --driver {driver} --url http://{} \
             --socket {} --server-pid {}",
            self.node.addresses().listen,
            self.folder.path().join("s").display(),
            std::process::id()
        ));
        assert_eq!(ran.json["driver"], driver, "{ran:?}");
        ran
    }
}

/// Runs a mode on both drivers and checks what holds in each: a sound run that delivered all.
fn each(words: &str, clients: u64, check: impl Fn(&Value, u64)) {
    each_of(MIX, words, clients, check);
}

/// The same with a mix of its own.
fn each_of(mix: &str, words: &str, clients: u64, check: impl Fn(&Value, u64)) {
    for driver in DRIVERS {
        let ran = undisturbed(driver, mix, words);
        assert_eq!(ran.code, Some(0), "{driver:?}: {ran:?}");
        let json = &ran.json;
        assert_eq!(json["sound"], true, "{ran:?}");
        let main = &json["groups"]["main"];
        let messages = main["expected"].as_u64().unwrap() / main["clients"].as_u64().unwrap();
        assert!(messages > 0, "{ran:?}");
        assert_eq!(main["delivered"], main["expected"], "{ran:?}");
        for fault in ["lost", "duplicates", "disordered", "strays"] {
            assert_eq!(main[fault], 0, "{ran:?}");
        }
        assert_eq!(json["connect"]["opened"], clients, "{ran:?}");
        assert!(json["work"]["own_cpu_share"].as_f64().unwrap() > 0.0, "{ran:?}");
        check(json, messages);
    }
}

/// A run of which nobody was too slow who was to read: on a machine that stands still for longer
/// than the window has room, those were too slow, and the run says so. Then it is run again.
fn undisturbed(driver: DriverChoice, mix: &str, words: &str) -> Ran {
    for _ in 0..20 {
        let ran = Target::new(driver).bench(mix, words);
        let main = &ran.json["groups"]["main"];
        if main["lost"] == 0 || main["lost"] != main["lost_at_closed_connections"] {
            return ran;
        }
    }
    panic!("this machine is too slow for {words}");
}

#[test]
fn connect_tells_the_rate_and_proves_that_all_are_served() {
    each("connect", CLIENTS, |json, messages| {
        assert_eq!(messages, 1, "one message, to see that all get it");
        assert!(json["connect"]["per_second"].as_f64().unwrap() > 0.0);
        assert_eq!(json["connect"]["failed_attempts"], 0);
    });
}

#[test]
fn idle_tells_memory() {
    each("idle --seconds 0.2", CLIENTS, |json, _| {
        let memory = &json["memory"];
        assert!(memory["server_pss_bytes"].as_u64().unwrap() > 1_000_000, "{memory}");
        assert!(memory["server_pss_bytes_per_client"].is_i64(), "{memory}");
        assert!(memory["kernel_slab_bytes_per_client_both_ends"].is_i64(), "{memory}");
    });
}

#[test]
fn paced_tells_latency_to_each_and_to_the_last() {
    each("paced --seconds 1 --rate 30 --size 300", CLIENTS, |json, messages| {
        assert_eq!(messages, 30, "30 a second for a second");
        assert_eq!(json["delivered"], CLIENTS * 30);
        let latency = &json["latency_us"]["main"];
        assert_eq!(latency["each"]["count"], CLIENTS * 30);
        assert_eq!(latency["last"]["count"], 30, "each message has one last receiver");
        let max = |which: &str| latency[which]["max"].as_f64().unwrap();
        assert!(max("each") > 0.0 && (max("last") - max("each")).abs() <= max("each") / 100.0);
    });
}

#[test]
fn long_messages_arrive_whole() {
    // Over 65,535 bytes: the longest form of a frame's length, and many receives for one message.
    each("paced --seconds 0.5 --rate 10 --size 70000", CLIENTS, |json, messages| {
        assert_eq!(messages, 5);
        let bytes = json["work"]["bytes_received"].as_u64().unwrap();
        assert!(bytes > CLIENTS * 5 * 70_000, "{bytes}");
    });
}

#[test]
fn saturate_keeps_its_window_and_tells_throughput() {
    each("saturate --seconds 1 --window 4", CLIENTS, |json, messages| {
        assert!(messages > 4, "the window moved: {messages}");
        let work = &json["work"];
        assert!(work["deliveries_per_second"].as_f64().unwrap() > 0.0, "{work}");
        assert!(work["server_us_per_delivery"].as_f64().unwrap() > 0.0, "{work}");
        assert!(work["messages_per_receive"].as_f64().unwrap() >= 1.0, "{work}");
        assert!(work["bound_by_generator"].is_boolean(), "{work}");
    });
}

#[test]
fn burst_tells_the_time_of_each_round() {
    each("burst --messages 50 --rounds 3", CLIENTS, |json, messages| {
        assert_eq!(messages, 150);
        let rounds = json["burst_ms"]["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 3);
        assert!(rounds.iter().all(|ms| ms.as_f64().unwrap() > 0.0), "{rounds:?}");
    });
}

#[test]
fn fairness_tells_one_client_s_latency_in_peace_and_beside_a_broadcast() {
    each("fairness --seconds 1.5 --rate 20", CLIENTS + 1, |json, _| {
        let lone = &json["latency_us"]["lone"];
        assert_eq!(lone["alone"]["count"], 10, "20 a second for half a second");
        assert!(lone["beside a broadcast"]["count"].as_u64().unwrap() > 10, "{lone}");
        let group = &json["groups"]["lone"];
        assert_eq!(group["delivered"], group["expected"]);
        assert_eq!(group["lost"], 0);
    });
}

#[test]
fn slow_tells_what_the_slow_ones_were_told() {
    // Without polls: between two of them a busy machine may make more messages than history keeps.
    let words = "slow --seconds 4 --rate 300 --size 16000 --share 0.4";
    each_of("--ws 12 --sse 8 --poll 0", words, CLIENTS, |json, _| {
        let (main, odd) = (&json["groups"]["main"], &json["groups"]["odd"]);
        assert_eq!((main["clients"].as_u64(), odd["clients"].as_u64()), (Some(12), Some(8)));
        let lost = odd["lost"].as_u64().unwrap();
        assert!(lost > 0, "5 MB a second do not fit into buffers: {odd}");
        let closed = odd["lost_at_closed_connections"].as_u64().unwrap();
        assert!(lost <= closed + odd["missed_by_notices"].as_u64().unwrap(), "{odd}");
        assert!(odd["closes"]["4508"].as_u64().unwrap() > 0, "{odd}");
        let latency = &json["latency_us"]["main"];
        assert!(latency["all read"]["count"].as_u64().unwrap() > 0, "{latency}");
        assert!(latency["some do not read"]["count"].as_u64().unwrap() > 0, "{latency}");
        assert!(json["memory_while_slow"]["server_pss_grown_bytes"].is_i64());
    });
}

#[test]
fn storm_brings_everyone_back_with_what_they_missed() {
    each("storm --seconds 1.5 --rate 40", CLIENTS + 1, |json, messages| {
        assert!(messages > 40, "before, while and after: {messages}");
        let storm = &json["storm"];
        assert_eq!((storm["reset"].as_u64(), storm["back"].as_u64()), (Some(20), Some(21)));
        let ms = |name: &str| storm[name].as_f64().unwrap();
        assert!(ms("back_ms") > 0.0 && ms("resumed_ms") >= ms("back_ms"), "{storm}");
        assert!(json["latency_us"]["lone"]["after"]["count"].as_u64().unwrap() > 0);
    });
}

#[test]
fn churn_replaces_clients_and_those_who_stay_miss_nothing() {
    each("churn --seconds 1 --rate 40 --churn-rate 30 --share 0.5", CLIENTS, |json, _| {
        let replaced = json["churn"]["replaced"].as_u64().unwrap();
        // 30 a second for a second. Fewer where the machine does not keep up, and some more where
        // it stands still before it sees that the second is over.
        assert!(replaced >= 1, "{replaced}");
        let odd = &json["groups"]["odd"];
        assert_eq!(odd["clients"], 10);
        assert!(odd["delivered"].as_u64().unwrap() > 0);
        for fault in ["lost", "duplicates", "disordered"] {
            assert_eq!(odd[fault], 0, "{odd}");
        }
    });
}

#[test]
fn unicast_tells_what_a_delivery_to_one_costs_and_how_long_it_takes() {
    each("unicast --seconds 1 --window 8", CLIENTS, |json, messages| {
        assert!(messages > 1, "the window moved: {messages}");
        assert_eq!(json["messages"], CLIENTS * messages, "each client has its own");
        assert_eq!(json["delivered"], CLIENTS * messages);
        assert_eq!(json["window"], 8);
        let (work, latency) = (&json["work"], &json["latency_us"]["main"]);
        assert!(work["deliveries_per_second"].as_f64().unwrap() > 0.0, "{work}");
        assert!(work["server_us_per_delivery"].as_f64().unwrap() > 0.0, "{work}");
        assert_eq!(latency["each"]["count"], CLIENTS * messages);
        assert!(latency["last"].is_null(), "nobody is the last of one: {latency}");
    });
}

#[test]
fn channels_tells_memory_by_channel_client_and_subscription() {
    let words = "channels --fill 2000 --follow 8 --seconds 0.2 --size 100";
    each_of("--ws 10", words, 10, |json, messages| {
        assert_eq!(messages, 1, "one message, to see that all get it");
        let channels = &json["channels"];
        assert_eq!((&channels["filled"], &json["size"]), (&2_000.into(), &100.into()));
        for what in [
            "channel_with_one_message_bytes",
            "client_on_one_shared_channel_bytes",
            "subscription_on_a_shared_channel_bytes",
            "client_on_a_channel_of_its_own_bytes",
        ] {
            assert!(channels[what].is_f64(), "{what}: {channels}");
        }
        let steps = channels["steps"].as_object().unwrap();
        assert_eq!(steps.len(), 3);
        for (name, step) in steps {
            assert_eq!((&step["connected"], &step["sound"]), (&10.into(), &true.into()), "{name}");
            assert_eq!(step["delivered"], step["expected"], "{name}");
        }
    });
}

#[test]
fn a_publish_by_http_counts_and_resumes_as_well() {
    let target = Target::new(DriverChoice::Epoll);
    let api = target.node.addresses().api.unwrap();
    let listen = target.node.addresses().listen;
    let ran = bench(&format!(
        "storm --ws 5 --seconds 0.9 --rate 30 --json --url http://{listen} \
         --publish-url http://{api}"
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json["storm"]["resumes"], true);
}

/// With io_uring, clients are no descriptors: a process with 300 of those has 700 clients.
#[test]
fn clients_outnumber_descriptors() {
    let target = Target::new(DriverChoice::Uring);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_fanfare")]);
    command.args(["bench", "paced", "--ws", "500", "--sse", "200", "--threads", "5", "--json"]);
    command.args(["--seconds", "0.5", "--rate", "10", "--driver", "uring", "--socket"]);
    command.arg(target.folder.path().join("s"));
    command.args(["--url", &format!("http://{}", target.node.addresses().listen)]);
    let ran = crate::finish(command);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json["machine"]["nofile"], 300, "{ran:?}");
    assert_eq!(ran.json["delivered"], 700 * 5, "{ran:?}");
}
