//! What it costs to hand a socket from one shard's ring to another's, three ways: as a descriptor
//! of the process, which is what `uring`'s `detach` and `adopt` do; by `MSG_RING` with `SEND_FD`,
//! from one ring's table to the other's; and as `epoll` does it.
//!
//! One thread gives, one takes. The taker sleeps in its ring, and the giver waits until it really
//! does. Each socket has a byte waiting, and a move is over when the taker is told of it. Told are
//! the time until the socket has left its giver, the time until the taker is told of the byte, and
//! the CPU time of both threads for each move, which other load on the machine disturbs least.
//!
//!     cargo bench -p fanfare --bench moves
//!
//! `cargo test --benches` moves a few each way and checks that each arrives.

mod by_message;
mod drivers;
#[path = "../pair/mod.rs"]
mod pair;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use fanfare::driver::listener::Inherited;

use pair::{rounds, spread};

/// Nanoseconds for each move.
#[derive(Default)]
pub(crate) struct Costs {
    /// Until the giver's table has forgotten the socket.
    pub(crate) giver: Vec<u64>,
    /// From the beginning until the taker is told of the byte.
    pub(crate) latency: Vec<u64>,
    /// Of the thread that gives, which does nothing else meanwhile.
    pub(crate) giver_cpu: u64,
    /// Of the one that takes.
    pub(crate) taker_cpu: u64,
}

type Run = fn(u64, &mut Costs) -> io::Result<()>;

const WAYS: [(&str, Run); 3] = [
    ("a descriptor (uring)", drivers::uring),
    ("MSG_RING with SEND_FD", by_message::run),
    ("a descriptor (epoll)", drivers::epoll),
];

fn main() {
    let (moves, mut costs) = rounds(&WAYS, (15, 400, 20));
    println!("{moves} moves each; nanoseconds, median (lowest tenth)");
    let [one, two, three, four] = ["until it is gone", "until told", "giver's CPU", "taker's CPU"];
    println!("{:<24} {one:>18} {two:>18} {three:>12} {four:>12}", "way");
    for ((name, _), costs) in WAYS.into_iter().zip(&mut costs) {
        let count = costs.giver.len() as u64;
        if count == 0 {
            continue;
        }
        println!(
            "{name:<24} {:>18} {:>18} {:>12} {:>12}",
            spread(&mut costs.giver),
            spread(&mut costs.latency),
            costs.giver_cpu / count,
            costs.taker_cpu / count
        );
    }
}

/// A listener as shards have it.
pub(crate) fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let address = fanfare::driver::listener::probe(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok((fanfare::driver::listener::open(address, &Inherited::default())?, address))
}

/// A client that has said something.
pub(crate) fn client(address: SocketAddr) -> io::Result<TcpStream> {
    use std::io::Write;
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"x")?;
    Ok(client)
}
