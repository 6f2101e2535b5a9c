//! Who the client is, where a proxy that is trusted says so: `X-Forwarded-For`, `Forwarded` (RFC
//! 7239).
//!
//! Each proxy on the way adds whom *it* was called by at the right end; all that stands to the left
//! of that came with the request, and a stranger may have written it. So the list is read from the
//! right, as long as what stands there is a proxy that is trusted, and the first that is none is
//! the client. Whoever is not trusted is never asked: its own address is the client's (THREATS
//! H29).
//!
//! **One field is read, never both.** A proxy adds to the one that it knows and passes the other on
//! as it came, so where both were believed a client would write the one that its proxy does not. It
//! is `X-Forwarded-For` unless the configuration says `Forwarded`, since that is what nginx,
//! HAProxy and the load balancers of the clouds write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fanfare_protocol::http::Fields;

use super::network::AddressRange;

/// Which field the trusted proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

impl ForwardedField {
    /// Its name, as it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
        }
    }

    /// Reads its name.
    ///
    /// # Errors
    /// A sentence that names both.
    pub fn parse(text: &str) -> Result<Self, String> {
        let both = [Self::XForwardedFor, Self::Forwarded];
        both.into_iter().find(|field| field.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            format!(
                "\"{text}\" is not a field that clients' addresses are read from: there are \
                 \"X-Forwarded-For\" and \"Forwarded\""
            )
        })
    }
}

/// The proxies that are believed, and how they tell whom they speak for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    ranges: Vec<AddressRange>,
    /// What each of their requests says.
    pub field: ForwardedField,
    /// Whether each connection begins with a header of the PROXY protocol: then nobody but they may
    /// connect.
    pub proxy_protocol: bool,
}

/// A trusted proxy wrote something that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadForwarded;

/// One element of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Address(IpAddr),
    /// `unknown`, or a name that only the proxy knows (RFC 7239, sections 6.2 and 6.3).
    Hidden,
}

impl TrustedProxies {
    /// Reads the list of the configuration.
    ///
    /// # Errors
    /// A sentence about the first entry that is wrong.
    pub fn new(list: &[String]) -> Result<Self, String> {
        let ranges = list.iter().map(|entry| AddressRange::parse(entry));
        Ok(Self { ranges: ranges.collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether this is the address of a proxy that is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.has(address))
    }

    /// The client of a request that a trusted proxy has sent: the right-most address that is not
    /// trusted. `None` where there is none: the proxy asks for itself, as its health checks do, or
    /// it hides who asks.
    ///
    /// # Errors
    /// What is to be read of the list is none. It was the proxy that wrote it, so its configuration
    /// is wrong; not to count its clients then would end the limits in silence.
    pub fn client(&self, fields: &Fields<'_>) -> Result<Option<IpAddr>, BadForwarded> {
        let values: Vec<&[u8]> = fields.all(self.field.name()).collect();
        let mut client = None;
        for value in values.into_iter().rev() {
            let hops = match self.field {
                ForwardedField::XForwardedFor => x_forwarded_for(value),
                ForwardedField::Forwarded => forwarded(value)?,
            };
            for hop in hops.into_iter().rev() {
                match hop? {
                    Hop::Hidden => return Ok(client),
                    Hop::Address(address) if self.trusts(address) => client = Some(address),
                    Hop::Address(address) => return Ok(Some(address)),
                }
            }
        }
        Ok(client)
    }
}

type Hops = Vec<Result<Hop, BadForwarded>>;

/// What is wrong with an element counts only if it is reached.
fn x_forwarded_for(value: &[u8]) -> Hops {
    let elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty()).map(node).collect()
}

/// The `for` of each element. Quoted text may hold a comma, so an element cannot be read from the
/// right, and where one of them is malformed the field is.
fn forwarded(value: &[u8]) -> Result<Hops, BadForwarded> {
    let (mut hops, mut rest) = (Vec::new(), value.trim_ascii());
    while !rest.is_empty() {
        let (mut hop, mut is_empty) = (None, true);
        loop {
            rest = rest.trim_ascii_start();
            match rest.first() {
                None | Some(b',') => break,
                Some(b';') => rest = &rest[1..],
                Some(_) => {
                    let (name, value, behind) = pair(rest)?;
                    is_empty = false;
                    if name.eq_ignore_ascii_case(b"for") && hop.replace(node(&value)).is_some() {
                        return Err(BadForwarded);
                    }
                    rest = behind.trim_ascii_start();
                    if !matches!(rest.first(), None | Some(b',' | b';')) {
                        return Err(BadForwarded);
                    }
                }
            }
        }
        rest = rest.get(1..).unwrap_or_default();
        // An element that does not say for whom hides it; an empty one is none (RFC 9110, 5.6.1).
        hops.extend(hop.or_else(|| (!is_empty).then_some(Ok(Hop::Hidden))));
    }
    Ok(hops)
}

/// A name, its value, and what is behind them.
type ForwardedPair<'a> = (&'a [u8], Vec<u8>, &'a [u8]);

/// Reads `token "=" ( token / quoted-string )`.
fn pair(text: &[u8]) -> Result<ForwardedPair<'_>, BadForwarded> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let token = |text: &[u8]| text.iter().take_while(|byte| is_token(byte)).count();
    let name = token(text);
    if name == 0 || text.get(name) != Some(&b'=') {
        return Err(BadForwarded);
    }
    let (name, text) = (&text[..name], &text[name + 1..]);
    if text.first() != Some(&b'"') {
        // Addresses of IPv4 with a port are written without quotes by many, though ":" is no token.
        let end = text.iter().take_while(|byte| is_token(byte) || **byte == b':').count();
        return if end > 0 {
            Ok((name, text[..end].to_vec(), &text[end..]))
        } else {
            Err(BadForwarded)
        };
    }
    let (mut value, mut at) = (Vec::new(), 1);
    loop {
        match text.get(at) {
            None => return Err(BadForwarded),
            Some(b'"') => return Ok((name, value, &text[at + 1..])),
            Some(b'\\') => {
                value.push(*text.get(at + 1).ok_or(BadForwarded)?);
                at += 2;
            }
            Some(byte) => {
                value.push(*byte);
                at += 1;
            }
        }
    }
}

/// A node: an address, with a port or without, `unknown`, or `_` and a name.
fn node(text: &[u8]) -> Result<Hop, BadForwarded> {
    let text = std::str::from_utf8(text).map_err(|_| BadForwarded)?;
    if text.eq_ignore_ascii_case("unknown") || is_obfuscated(text) {
        return Ok(Hop::Hidden);
    }
    let address = |address: IpAddr| Ok(Hop::Address(address.to_canonical()));
    if let Ok(bare) = text.parse::<IpAddr>() {
        return address(bare); // of IPv6, as X-Forwarded-For has it
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (host, port) = inside.split_once(']').ok_or(BadForwarded)?;
        let host: Ipv6Addr = host.parse().map_err(|_| BadForwarded)?;
        let is_right = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if is_right { address(host.into()) } else { Err(BadForwarded) };
    }
    let (host, port) = text.split_once(':').ok_or(BadForwarded)?;
    if host.eq_ignore_ascii_case("unknown") || is_obfuscated(host) {
        return if is_port(port) { Ok(Hop::Hidden) } else { Err(BadForwarded) };
    }
    let host: Ipv4Addr = host.parse().map_err(|_| BadForwarded)?;
    if is_port(port) { address(host.into()) } else { Err(BadForwarded) }
}

/// RFC 7239, section 6.3: `"_" 1*( ALPHA / DIGIT / "." / "_" / "-" )`.
fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|name| {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(is_name_byte)
    })
}

/// A number, or a port that is hidden.
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    (is_number && text.parse::<u16>().is_ok()) || is_obfuscated(text)
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::http::HeadReader;
    use fanfare_protocol::limits::HttpLimits;

    use super::*;

    fn proxies(field: ForwardedField) -> TrustedProxies {
        let list = ["10.0.0.0/8".to_owned(), "2001:db8:ffff::/48".into(), "127.0.0.1".into()];
        TrustedProxies { field, ..TrustedProxies::new(&list).unwrap() }
    }

    /// Who the client is by these lines: an address, `none`, or `bad`.
    fn client(field: ForwardedField, lines: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let mut reader = HeadReader::new();
        reader.feed(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        let request = reader.request(&HttpLimits::DEFAULT).unwrap();
        match proxies(field).client(&request.fields) {
            Ok(client) => client.map_or("none".into(), |client| client.to_string()),
            Err(BadForwarded) => "bad".into(),
        }
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        for (lines, expected) in [
            ("X-Forwarded-For: 203.0.113.9", "203.0.113.9"),
            ("x-forwarded-for: 192.0.2.1, 203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: 192.0.2.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
            ("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.1,,127.0.0.1", "203.0.113.9"),
            ("X-Forwarded-For: 10.0.0.7, 10.0.0.1", "10.0.0.7"),
            ("X-Forwarded-For: rubbish, 203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: 203.0.113.9:5678", "203.0.113.9"),
            ("X-Forwarded-For: 2001:db8::1", "2001:db8::1"),
            ("X-Forwarded-For: [2001:db8::1]:4711", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:203.0.113.9", "203.0.113.9"),
            ("X-Forwarded-For: ::ffff:10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For: 203.0.113.9, 2001:db8:ffff::1", "203.0.113.9"),
            ("X-Forwarded-For: unknown", "none"),
            ("X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For:", "none"),
            ("Accept: */*", "none"),
            ("Forwarded: for=203.0.113.9", "none"),
            ("X-Forwarded-For: rubbish", "bad"),
            ("X-Forwarded-For: rubbish, 10.0.0.1", "bad"),
            ("X-Forwarded-For: 203.0.113.9 10.0.0.1", "bad"),
            ("X-Forwarded-For: 203.0.113.999", "bad"),
            ("X-Forwarded-For: 203.0.113.9:", "bad"),
            ("X-Forwarded-For: 203.0.113.9:99999", "bad"),
            ("X-Forwarded-For: 203.0.113.9:+80", "bad"),
            ("X-Forwarded-For: [2001:db8::1", "bad"),
            ("X-Forwarded-For: [2001:db8::1]x", "bad"),
            ("X-Forwarded-For: [203.0.113.9]", "bad"),
            ("X-Forwarded-For: client.example", "bad"),
            ("X-Forwarded-For: 0x7f.1", "bad"),
            ("X-Forwarded-For: fe80::1%eth0", "bad"),
        ] {
            assert_eq!(client(ForwardedField::XForwardedFor, lines), expected, "{lines}");
        }
    }

    /// RFC 7239, section 4, and what can be done to it.
    #[test]
    fn forwarded_is_read_by_its_grammar() {
        for (lines, expected) in [
            ("Forwarded: for=203.0.113.9", "203.0.113.9"),
            ("Forwarded: for=\"_gazonk\"", "none"),
            ("Forwarded: For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("Forwarded: for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("Forwarded: for=198.51.100.17 , for=10.0.0.1", "198.51.100.17"),
            ("Forwarded: for=198.51.100.17;host=\"a, for=192.0.2.1\"", "198.51.100.17"),
            ("Forwarded: for=192.0.2.1\r\nForwarded: for=198.51.100.17", "198.51.100.17"),
            ("Forwarded: proto=https;for=198.51.100.17:80", "198.51.100.17"),
            ("Forwarded: for=\"198.51.100.17:_port\"", "198.51.100.17"),
            ("Forwarded: for=\"198.51\\.100.17\"", "198.51.100.17"),
            ("Forwarded: for=unknown, for=10.0.0.1", "10.0.0.1"),
            ("Forwarded: for=198.51.100.17, proto=https", "none"),
            ("Forwarded: , ,for=198.51.100.17,", "198.51.100.17"),
            ("Forwarded: for=_secret, for=\"_x:1\"", "none"),
            ("X-Forwarded-For: 203.0.113.9", "none"),
            ("Forwarded: for=192.0.2.1;for=198.51.100.17", "bad"),
            ("Forwarded: for=\", for=198.51.100.17", "bad"),
            ("Forwarded: for=", "bad"),
            ("Forwarded: for", "bad"),
            ("Forwarded: =198.51.100.17", "bad"),
            ("Forwarded: for =198.51.100.17", "bad"),
            ("Forwarded: for=198.51.100.17 proto=http", "bad"),
            ("Forwarded: for=\"2001:db8::1\"x", "bad"),
            ("Forwarded: for=\"198.51.100.17\\", "bad"),
            ("Forwarded: for=_", "bad"),
        ] {
            assert_eq!(client(ForwardedField::Forwarded, lines), expected, "{lines}");
        }
    }

    /// A client that a proxy passes on can only add at the left: whatever it writes, the address
    /// that the proxy adds is the one.
    #[test]
    fn what_a_client_writes_before_its_proxy_changes_nothing_or_is_refused() {
        let rubbish = ["", ",", "10.0.0.1", "\"", "for=10.0.0.1", "10.0.0.1,", "a=\"", ";", "\\"];
        for word in rubbish {
            let line = format!("X-Forwarded-For: {word}, 203.0.113.9");
            let expected = "203.0.113.9";
            assert_eq!(client(ForwardedField::XForwardedFor, &line), expected, "{line}");
            let line = format!("Forwarded: {word}, for=203.0.113.9");
            let found = client(ForwardedField::Forwarded, &line);
            assert!(["203.0.113.9", "bad"].contains(&&*found), "{line}: {found}");
            let lines = format!("Forwarded: {word}\r\nForwarded: for=203.0.113.9");
            let found = client(ForwardedField::Forwarded, &lines);
            assert_eq!(found, "203.0.113.9", "{lines}");
        }
    }

    #[test]
    fn the_list_is_checked_and_the_field_has_a_name() {
        assert!(TrustedProxies::new(&["10.0.0.0/8".into(), "x".into()]).is_err());
        assert!(TrustedProxies::default().is_empty());
        assert_eq!(ForwardedField::parse("forwarded"), Ok(ForwardedField::Forwarded));
        assert_eq!(ForwardedField::parse("X-FORWARDED-FOR"), Ok(ForwardedField::XForwardedFor));
        assert!(ForwardedField::parse("X-Real-IP").unwrap_err().contains("\"Forwarded\""));
    }
}
