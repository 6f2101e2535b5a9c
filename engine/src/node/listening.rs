//! The addresses that a node listens on: all are bound before anything is started, so that nothing
//! runs where one is taken.

use std::net::{SocketAddr, TcpListener};

use super::settings::Settings;
use crate::driver::listener::{self, Inherited};
use crate::error::StartError;

/// How many ports are tried where any will do.
const PORT_TRIES: usize = 20;

/// Listens for clients, before anything is started: one listener for each shard. Port 0 becomes a
/// real one, the same for all; between the probe that finds it and the listeners, which join it,
/// another process may have been given it, so another is tried then.
pub(super) fn clients(
    settings: &Settings,
    shards: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    let inherited = Inherited::for_stall_limit(settings.limits.stall_ms);
    let mut tries = if settings.listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let address = probe("clients", settings.listen)?;
        let opened = (0..shards).map(|_| listener::open(address, &inherited));
        match opened.collect::<Result<_, _>>() {
            Ok(listeners) => return Ok((address, listeners)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(taken("clients", address, &error)),
        }
    }
}

/// Finds out whether an address is free; port 0 becomes a real one.
fn probe(who: &str, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener::probe(address).map_err(|error| taken(who, address, &error))
}

pub(super) fn api(address: SocketAddr) -> Result<TcpListener, StartError> {
    let address = if address.port() == 0 { address } else { probe("the API", address)? };
    TcpListener::bind(address).map_err(|error| taken("the API", address, &error))
}

/// Why an address cannot be listened on, and what to do.
pub(crate) fn taken(who: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    let message = format!("cannot listen on {address} for {who}: {error}");
    match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::Unavailable(format!(
            "{message}. Another process has the port (`ss -ltnp` names it): stop it, or choose \
             another address (--listen, --api)"
        )),
        std::io::ErrorKind::AddrNotAvailable => {
            StartError::Config(format!("{message}. This machine does not have that address"))
        }
        std::io::ErrorKind::PermissionDenied => StartError::Config(format!(
            "{message}. Ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        )),
        _ => StartError::Unavailable(message),
    }
}
