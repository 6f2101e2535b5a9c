//! What the kernel says of TCP sockets (`/proc/net/tcp`): of some things that are under way nobody
//! else can tell when they are over.

/// A socket.
pub(super) struct Socket {
    /// The port here, and the peer's.
    pub(super) port: u16,
    pub(super) peer_port: u16,
    pub(super) is_open: bool,
    /// Bytes that the peer's kernel has not acknowledged.
    pub(super) unsent: u64,
}

/// All of this machine, of IPv4.
pub(super) fn all() -> Vec<Socket> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).map(Socket::parse).collect()
}

impl Socket {
    fn parse(line: &str) -> Self {
        const OPEN: [&str; 2] = ["01", "08"]; // established, and its peer's side ended
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let columns: Vec<&str> = line.split_whitespace().collect();
        let parts = |nth: usize| columns[nth].split_once(':').unwrap();
        Self {
            port: hex(parts(1).1) as u16,
            peer_port: hex(parts(2).1) as u16,
            is_open: OPEN.contains(&columns[3]),
            unsent: hex(parts(4).0),
        }
    }
}
