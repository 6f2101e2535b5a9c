//! The limit: what this kernel can do when there is no server in the way.
//!
//! **The idea.** A handshake, then nothing but sends. No task, no queue, no timer for a client: it
//! is a socket and a cursor into a log of ready-made frames. Nothing is armed on its socket and
//! nothing is read from it. So whatever a server costs above this is the server.
//!
//! | variant | a message to a client is |
//! |---|---|
//! | `send` | one `send(2)` |
//! | `ring` | one send among 256 in an `io_uring_enter`, on direct descriptors, silent on success |
//! | `coalesce` | the same, but everything that waits for a client is one send |
//! | `own` | as `ring`, to the one client whose number the publisher's path ends with |
//! | `accept` | as `coalesce`; for connecting, and for what a bare socket costs |
//!
//! **Tuning.** A round goes over all clients, from each one's cursor; what is published meanwhile
//! is there for those who come later in it. Between enters the publishers' connections are looked
//! at, which costs nothing where nothing came. Before a round, `coalesce` waits for 100 us after
//! each publish whether there is another: a serial publisher needs about 50 us for one, and a round
//! costs as much as thousands. Short sends keep their place and are tried in the next round.
//!
//! **Clients that left.** Nobody watches their sockets, so who has left is found when a send fails,
//! and by asking all sockets once when connecting begins again and when all has been quiet for 3 s.
//!
//! One ring holds about 15,700 clients (`RLIMIT_NOFILE` bounds its table); for more there are more
//! rings, one after the other, on the one thread.

mod log;
mod ring;
mod server;

use contender::start::{Start, raise_open_files};

use crate::server::{Server, Way};

fn main() {
    let start = Start::from_arguments(&["send", "ring", "coalesce", "own", "accept"]);
    let way = match start.variant.as_str() {
        "send" => Way::Send,
        "ring" => Way::Ring,
        "own" => Way::Own,
        _ => Way::Coalesce,
    };
    let listener = start.listen(0);
    let server = Server::new(way, listener, raise_open_files());
    let mut server = server.unwrap_or_else(|error| {
        eprintln!("no io_uring: {error}");
        std::process::exit(69);
    });
    start.ready();
    server.run();
}
