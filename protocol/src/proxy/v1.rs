//! Version 1: a line of text (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ProxiedSource, ProxyHeaderFault, V1_BYTES_MAX, V1_PREFIX};

/// What a line is of which these bytes came, the last of them just now.
pub(super) fn step(line: &[u8]) -> Result<Option<ProxiedSource>, ProxyHeaderFault> {
    match line {
        [.., b'\r', b'\n'] => parse(&line[V1_PREFIX.len()..line.len() - 2]).map(Some),
        [.., b'\r', _] | [.., b'\n' | b'\0'] => Err(ProxyHeaderFault::Malformed),
        _ if line.len() == V1_BYTES_MAX => Err(ProxyHeaderFault::TooLong),
        _ => Ok(None),
    }
}

/// What stands between `PROXY ` and the end of the line.
fn parse(rest: &[u8]) -> Result<ProxiedSource, ProxyHeaderFault> {
    const MALFORMED: ProxyHeaderFault = ProxyHeaderFault::Malformed;
    let rest = std::str::from_utf8(rest).map_err(|_| MALFORMED)?;
    let mut words = rest.split(' ');
    let family = words.next().unwrap_or_default();
    // "The receiver must ignore anything presented before the CRLF."
    if family == "UNKNOWN" {
        return Ok(ProxiedSource::Unknown);
    }
    let read: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => return Err(ProxyHeaderFault::Unknown),
    };
    let mut next = || words.next().ok_or(MALFORMED);
    let (source, target) = (next()?, next()?);
    let (source_port, target_port) = (next()?, next()?);
    let (Some(source), Some(_), Some(port), Some(_), None) =
        (read(source), read(target), port(source_port), port(target_port), words.next())
    else {
        return Err(MALFORMED);
    };
    Ok(ProxiedSource::Client(SocketAddr::new(source, port)))
}

/// A decimal number of 16 bits, without signs and leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = text == "0" || !text.starts_with('0');
    (is_number && is_plain).then(|| text.parse().ok()).flatten()
}
