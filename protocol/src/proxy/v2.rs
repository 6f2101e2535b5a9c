//! Version 2: binary (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ProxiedSource, ProxyHeaderFault, V2_LENGTH_MAX, V2_START_BYTES};

/// What a header is of which so many bytes came, and the first of them are kept. Each fault is told
/// at the byte that shows it.
pub(super) fn step(kept: &[u8], came: usize) -> Result<Option<ProxiedSource>, ProxyHeaderFault> {
    match came {
        13 => command(kept[12]).map(|_| None),
        14 if is_local(kept) => Ok(None), // whatever else it says is to be passed over
        14 => addresses(kept[13]).map(|_| None),
        16.. => {
            let length = usize::from(u16::from_be_bytes([kept[14], kept[15]]));
            if length > V2_LENGTH_MAX {
                return Err(ProxyHeaderFault::TooLong);
            }
            if !is_local(kept) && length < addresses(kept[13])? {
                return Err(ProxyHeaderFault::Malformed);
            }
            Ok((came == V2_START_BYTES + length).then(|| source(kept)))
        }
        _ => Ok(None),
    }
}

/// The version in the upper half, the command in the lower.
fn command(byte: u8) -> Result<u8, ProxyHeaderFault> {
    match byte {
        0x20 | 0x21 => Ok(byte & 0xf),
        _ => Err(ProxyHeaderFault::Unknown),
    }
}

fn is_local(kept: &[u8]) -> bool {
    kept[12] == 0x20
}

/// Bytes of the addresses of a family over a transport, where those are ones that there are.
fn addresses(byte: u8) -> Result<usize, ProxyHeaderFault> {
    match byte {
        0x00 => Ok(0),
        0x11 | 0x12 => Ok(12),
        0x21 | 0x22 => Ok(36),
        0x31 | 0x32 => Ok(216),
        _ => Err(ProxyHeaderFault::Unknown),
    }
}

/// For whom a whole header speaks.
fn source(kept: &[u8]) -> ProxiedSource {
    let bytes = &kept[V2_START_BYTES..];
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    match kept[13] {
        _ if is_local(kept) => ProxiedSource::Itself,
        0x11 => {
            let address = Ipv4Addr::from([bytes[0], bytes[1], bytes[2], bytes[3]]);
            ProxiedSource::Client(SocketAddr::from((address, port(8))))
        }
        0x21 => {
            let address: [u8; 16] = bytes[..16].try_into().expect("16 bytes");
            ProxiedSource::Client(SocketAddr::from((Ipv6Addr::from(address), port(32))))
        }
        _ => ProxiedSource::Unknown,
    }
}
