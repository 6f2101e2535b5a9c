//! Whether somebody passed a request on.

use fanfare_protocol::http::Fields;

/// What proxies add and nobody else does, beside `X-Forwarded-…`.
const TRACES: [&str; 9] = [
    "forwarded", // RFC 7239
    "via",       // RFC 9110, section 7.6.3
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Whether the fields of a request say that a proxy passed it on. None of them is believed for what
/// it says: who sends it to a node in development mode gets less by it, never more.
pub fn passed_on(fields: &Fields<'_>) -> bool {
    fields.iter().any(|(name, _)| {
        let begins = name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded"));
        begins || TRACES.iter().any(|trace| name.eq_ignore_ascii_case(trace))
    })
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::http::HeadReader;
    use fanfare_protocol::limits::HttpLimits;

    use super::*;

    #[test]
    fn every_usual_trace_is_seen() {
        for (line, expected) in [
            ("X-Forwarded-For: 203.0.113.9", true),
            ("x-forwarded-proto: https", true),
            ("X-Forwarded: for=203.0.113.9", true),
            ("Forwarded: for=203.0.113.9", true),
            ("FORWARDED:", true),
            ("Via: 1.1 varnish", true),
            ("X-Real-IP: 203.0.113.9", true),
            ("CF-Connecting-IP: 203.0.113.9", true),
            ("X-Forward: no", false),
            ("X-Request-Id: 1", false),
            ("Cookie: via=1", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            let mut reader = HeadReader::new();
            reader.feed(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
            let request = reader.request(&HttpLimits::DEFAULT).unwrap();
            assert_eq!(passed_on(&request.fields), expected, "{line}");
        }
    }
}
