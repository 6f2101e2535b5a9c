//! Reads what is, and judges nothing. Everything is `/proc`, `/sys` and limits, but for three
//! things that can only be tried: io_uring, the addresses (bound, never listened on), and whether
//! somebody is at the Unix socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::process::{Resource, getrlimit};

use super::facts::{Facts, Spot, Use};
use crate::driver::{choose, listener};
use crate::ingest::socket;
use crate::node::{self, DriverChoice, Settings, plan};
use crate::os::machine::backlog_drops;

/// The capability to lock any amount of memory (capabilities(7)).
const CAP_IPC_LOCK: u32 = 14;

/// What is, on this machine and for this process, with the limits that it has now.
pub fn collect(settings: &Settings) -> Facts {
    let machine = node::machine(true);
    let status = text("/proc/self/status").unwrap_or_default();
    let spot = |who, address| Spot {
        address,
        taken: listener::probe_once(address)
            .err()
            .map(|error| node::taken(who, address, &error).to_string()),
    };
    let ports: Option<Vec<u16>> = numbers("/proc/sys/net/ipv4/ip_local_port_range");
    let reserved = text("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    Facts {
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        ring: (settings.driver != DriverChoice::Epoll)
            .then(|| choose::probe(machine.descriptors, plan::shards(settings, machine))),
        io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
        // 0 is none, 1 strict (nothing would run), 2 a filter (proc_pid_status(5)).
        seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode != "0"),
        cores: machine.cores,
        descriptors: machine.descriptors,
        descriptors_max: number("/proc/sys/fs/nr_open"),
        files: numbers("/proc/sys/fs/file-nr").and_then(|n: Vec<u64>| used(n.first(), n.get(2))),
        locked_bytes: locked(&status),
        page_bytes: page_bytes().unwrap_or(4_096),
        memory_available: text("/proc/meminfo")
            .and_then(|text| field(&text, "MemAvailable:")?.parse::<u64>().ok())
            .map(|kib| kib << 10),
        memory_limit: memory_limit(Path::new("/sys/fs/cgroup"), &cgroups()),
        tcp_mem: three("/proc/sys/net/ipv4/tcp_mem"),
        tcp_rmem: three("/proc/sys/net/ipv4/tcp_rmem"),
        tcp_wmem: three("/proc/sys/net/ipv4/tcp_wmem"),
        buffers_max: number("/proc/sys/net/core/rmem_max")
            .zip(number("/proc/sys/net/core/wmem_max")),
        somaxconn: number("/proc/sys/net/core/somaxconn"),
        netdev_max_backlog: number("/proc/sys/net/core/netdev_max_backlog"),
        backlog_drops: backlog_drops(),
        ports: ports.and_then(|ports| Some((*ports.first()?, *ports.get(1)?))),
        port_reserved: reserves(&reserved, settings.listen.port()),
        congestion: text("/proc/sys/net/ipv4/tcp_congestion_control"),
        conntrack: used(
            number("/proc/sys/net/netfilter/nf_conntrack_count").as_ref(),
            number("/proc/sys/net/netfilter/nf_conntrack_max").as_ref(),
        ),
        listen: spot("clients", settings.listen),
        api: settings.api.map(|api| spot("the API", api)),
        socket: settings
            .socket
            .as_deref()
            .map_or(Ok(()), |path| socket::judge(path).map_err(|error| error.to_string())),
    }
}

/// The text of a file of the kernel, trimmed.
fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

fn numbers<T: FromStr>(path: &str) -> Option<Vec<T>> {
    text(path)?.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn three(path: &str) -> Option<[u64; 3]> {
    numbers(path)?.try_into().ok()
}

fn used(count: Option<&u64>, max: Option<&u64>) -> Option<Use> {
    Some(Use { count: *count?, max: *max? })
}

/// The first word after a name at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

fn locked(status: &str) -> Option<u64> {
    let capabilities = field(status, "CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    if capabilities.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1) {
        return None;
    }
    getrlimit(Resource::Memlock).current
}

fn page_bytes() -> Option<u64> {
    let maps = text("/proc/self/smaps")?;
    field(&maps, "KernelPageSize:")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Whether a list such as `80,7000-7099` has a port.
fn reserves(list: &str, port: u16) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let ends = first.trim().parse::<u16>().ok().zip(last.trim().parse::<u16>().ok());
        ends.is_some_and(|(first, last)| (first..=last).contains(&port))
    })
}

/// Where the memory of this process is accounted: the file of the limit, and the path below the
/// mount, for cgroup v2 and v1 (cgroups(7)).
fn cgroups() -> Vec<(&'static str, &'static str, PathBuf)> {
    let lines = text("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in lines.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = PathBuf::from(path.trim_start_matches('/'));
        if controllers.is_empty() {
            found.push(("", "memory.max", path.clone()));
            found.push(("unified", "memory.max", path));
        } else if controllers.split(',').any(|name| name == "memory") {
            found.push(("memory", "memory.limit_in_bytes", path));
        }
    }
    found
}

/// The smallest limit of these cgroups and of those above them. In a container the path may be the
/// host's and absent here; then what is mounted at the top is its own.
fn memory_limit(top: &Path, cgroups: &[(&str, &str, PathBuf)]) -> Option<u64> {
    /// cgroup v1 has no word for "none": it says the highest number of whole pages.
    const NONE: u64 = 1 << 62;
    let limits = cgroups.iter().flat_map(|(mount, file, path)| {
        path.ancestors().filter_map(move |above| number(top.join(mount).join(above).join(file)))
    });
    limits.filter(|limit| *limit < NONE).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_read() {
        let facts = collect(&Settings::on_loopback());
        assert!(facts.kernel.contains('.'), "{facts:?}");
        assert!(facts.descriptors > 0 && facts.page_bytes.is_power_of_two(), "{facts:?}");
        assert!(facts.memory_available.is_some_and(|bytes| bytes > 1 << 20), "{facts:?}");
        assert!(facts.ring.is_some() && facts.listen.taken.is_none(), "{facts:?}");
    }

    #[test]
    fn an_address_in_use_is_noticed_at_once() {
        let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::on_loopback();
        settings.listen = owner.local_addr().unwrap();
        let taken = collect(&settings).listen.taken.unwrap();
        assert!(taken.contains("ss -ltnp"), "{taken}");
    }

    #[test]
    fn ports_are_found_in_lists() {
        for (list, reserved) in
            [("", false), ("7070", true), ("80,7000-7099,9000", true), ("7071-7080", false)]
        {
            assert_eq!(reserves(list, 7_070), reserved, "{list}");
        }
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a/b/memory.max", "max\n");
        put("a/memory.max", "1000\n");
        put("memory.max", "3000\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |cgroup: (&'static str, &'static str, &str)| {
            memory_limit(folder.path(), &[(cgroup.0, cgroup.1, cgroup.2.into())])
        };
        assert_eq!(limit(("", "memory.max", "a/b")), Some(1_000));
        assert_eq!(limit(("", "memory.max", "elsewhere")), Some(3_000));
        assert_eq!(limit(("memory", "memory.limit_in_bytes", "docker/123")), None);
        put("memory/memory.limit_in_bytes", "5000\n");
        assert_eq!(limit(("memory", "memory.limit_in_bytes", "docker/123")), Some(5_000));
    }
}
