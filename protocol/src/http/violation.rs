//! Every reason for which a request is refused, and what the peer is told: one table.
//!
//! The rows are fixed text. Nothing of the request comes back in an answer, so that there is
//! nothing to inject, nothing to reflect and no token to leak.

use std::fmt;

use super::status::Status;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $message:literal;)+) => {
        /// Why a request is refused. Codes are retired, never given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation { $($(#[$doc])* $name,)+ }

        impl Violation {
            /// All of them, for tests and tables.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What the peer is told. The only place that decides it.
            pub fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)+ }
            }

            /// The stable word for programs: `error` of the answer's body.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The sentence for people: `message` of the answer's body. ASCII, no `"`, no `\`.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }
        }
    };
}

violations! {
    /// A byte that cannot begin a request: TLS, SSH, noise.
    NotHttp = BadRequest, "not_http",
        "This port speaks plain HTTP/1.1; TLS ends at the proxy in front of it.";
    /// The request line is not `method SP target SP version CRLF`.
    RequestLine = BadRequest, "bad_request_line",
        "The request line is not a method, a target and a version.";
    /// A target of the wrong form, an escape that is none, `..`, a backslash, a control character.
    Target = BadRequest, "bad_target",
        "The request target is malformed; percent-encode it once, as UTF-8, without dot segments.";
    /// Bare CR or LF, a folded line, a space before the colon, a control character.
    FieldLine = BadRequest, "bad_header",
        "A header line is malformed; each is a name, a colon, a value and CRLF.";
    /// No Host, two, a malformed one, or one that differs from an absolute target.
    Host = BadRequest, "bad_host",
        "Exactly one valid Host header is needed, equal to the authority of an absolute target.";
    /// Content-Length or Transfer-Encoding that could be read in two ways.
    Framing = BadRequest, "bad_framing",
        "The length of the body is ambiguous; send one Content-Length or chunked coding alone.";
    /// A body where none can be meant: on an upgrade it would be a smuggled request.
    UnexpectedBody = BadRequest, "unexpected_body",
        "This request takes no body.";
    /// What a trusted proxy writes about its client is no address.
    BadForwarded = BadRequest, "bad_forwarded",
        "The proxy in front of this server does not name its client as it should: \
         X-Forwarded-For, or Forwarded, ends in the address of whoever called it.";
    /// `Sec-WebSocket-Key` is missing, repeated, or not sixteen bytes in base64.
    WsKey = BadRequest, "bad_websocket_key",
        "Exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed.";
    /// A WebSocket upgrade over HTTP/1.0.
    WsHttpVersion = BadRequest, "upgrade_needs_http_1_1",
        "A WebSocket begins with an HTTP/1.1 request.";
    /// No `channels` parameter.
    NoChannels = BadRequest, "no_channels",
        "Name the channels to follow: ?channels=a,b or channel=a for each, percent-encoded.";
    /// An empty name in the list.
    EmptyChannel = BadRequest, "empty_channel",
        "A channel name in the list is empty.";
    /// A name that is no channel name.
    BadChannel = BadRequest, "bad_channel",
        "A channel name is 1 to 255 bytes of UTF-8 without control characters or *.";
    /// More channels than one connection may follow.
    TooManyChannels = BadRequest, "too_many_channels",
        "More channels than one connection may follow; use several connections.";
    /// More parameters, ours and others', than there can be channels and a reserve.
    TooManyParameters = BadRequest, "too_many_parameters",
        "More parameters than this server reads; name many channels in one list: channels=a,b.";
    /// `since` is not a position.
    BadSince = BadRequest, "bad_since",
        "since is an id given by this server, earliest, an age (10m) or a time (@1764180000).";
    /// `last` is no number of messages.
    BadLast = BadRequest, "bad_last",
        "last is a whole number of messages, 0 or more.";
    /// Two places to begin at.
    SinceAndLast = BadRequest, "since_and_last",
        "since and last are two places to begin at; give one of them.";
    /// `wait` is not a number of seconds.
    BadWait = BadRequest, "bad_wait",
        "wait is a number of seconds, 0 or more.";
    /// `format` is unknown, or not offered on this transport.
    BadFormat = BadRequest, "bad_format",
        "format is raw or json; a poll is always json.";
    /// `open` is neither 0 nor 1.
    BadOpen = BadRequest, "bad_open",
        "open is 1 (in JSON: true), 0 (false) for a stream without the opening, or origin.";
    /// `max` is not a number of bytes.
    BadMax = BadRequest, "bad_max",
        "max is a number of bytes, 1 or more.";
    /// `names` is neither event nor data.
    BadNames = BadRequest, "bad_names",
        "names is event, or data for names in the JSON alone.";
    /// `names=data` where there is no JSON to hold a name.
    NamesNeedJson = BadRequest, "names_need_json",
        "names=data puts the names of events into the JSON: ask for format=json.";
    /// A parameter that is `channels` but for its case or a letter.
    MeantChannels = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written channels, exactly so, without [].";
    /// The same of `channel`.
    MeantChannel = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written channel, exactly so, without [].";
    /// The same of `since`.
    MeantSince = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written since, exactly so.";
    /// The same of `last`.
    MeantLast = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written last, exactly so.";
    /// The same of `lastEventId`.
    MeantLastEventId = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written lastEventId.";
    /// The same of `format`.
    MeantFormat = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written format, exactly so.";
    /// The same of `names`.
    MeantNames = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written names, exactly so.";
    /// The same of `open`.
    MeantOpen = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written open, exactly so.";
    /// The same of `wait`.
    MeantWait = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written wait, exactly so.";
    /// The same of `max`.
    MeantMax = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written max, exactly so.";
    /// The same of `event`, where something is published.
    MeantEvent = BadRequest, "misspelled_parameter",
        "A parameter is nearly one of ours: it is written event, exactly so.";
    /// A known parameter is given twice, or its escapes are malformed.
    BadParameter = BadRequest, "bad_parameter",
        "A query parameter is given twice or is not percent-encoded UTF-8.";
    /// A body that should be a JSON object and is none.
    BadJson = BadRequest, "bad_json",
        "The body is not one JSON object with channels (a list), since, format and the like.";
    /// `channels` of a JSON body is no list of strings.
    ChannelsNoList = BadRequest, "bad_channels",
        "channels is a list of names, each a string; channel is one name.";
    /// An empty message (CVE-2022-21667 taught to name the case).
    EmptyBody = BadRequest, "empty_body",
        "A message is at least one byte; send it as the body.";
    /// Several tokens or tickets that are not the same.
    TwoTokens = BadRequest, "two_tokens",
        "The request brings two different tokens or tickets; send one, in one place.";
    /// A token in the query where that is not switched on.
    QueryToken = BadRequest, "query_token",
        "A token in a URL ends up in logs and is not read here; send Authorization: Bearer, or use \
         a ticket. To read it all the same: query_token = true in [auth].";
    /// Nothing says who asks, and nobody in particular may do this.
    TokenNeeded = Unauthorized, "token_needed",
        "This needs a token; send it as Authorization: Bearer TOKEN, or as your server says.";
    /// A token that is not believed. Which rule refused it is in the log.
    BadToken = Unauthorized, "invalid_token",
        "The token is not valid here; get a new one. Why is in the log of this server.";
    /// A token that was good until now.
    TokenExpired = Unauthorized, "token_expired",
        "The token has expired; get a new one and come back.";
    /// A token that was taken back.
    TokenRevoked = Unauthorized, "token_revoked",
        "The token was revoked; sign in again.";
    /// A ticket that was used, has expired, or never was.
    BadTicket = Unauthorized, "invalid_ticket",
        "The ticket is unknown, used or too old; each is good once, for seconds; get a new one.";
    /// Who asks is known, and may not.
    Forbidden = Forbidden, "forbidden",
        "This token, or none, does not allow that. Which rule decided is in the log here.";
    /// A cookie alone, from a page that is not known to be allowed.
    CookieOrigin = Forbidden, "cookie_needs_origin",
        "A cookie is believed only from a page whose Origin is allowed, or of this very site.";
    /// As many tickets are out as may be.
    TooManyTickets = ServiceUnavailable, "too_many_tickets",
        "As many tickets wait to be used as may; ask again in some seconds.";
    /// The keys that could have signed the token cannot be had now.
    KeysUnavailable = ServiceUnavailable, "keys_unavailable",
        "The keys to check this token with cannot be had now; try again in a moment.";
    /// An event name that would break a stream, or one of ours.
    BadEvent = UnprocessableContent, "bad_event",
        "An event name has 1 to 255 bytes, no control character, no space or : at its ends, does \
         not begin with fanfare., and is not open or error: those fire the own handlers of \
         EventSource.";
    /// More than one Origin.
    TwoOrigins = Forbidden, "two_origins",
        "A request has at most one Origin.";
    /// An Origin that is not allowed.
    Origin = Forbidden, "origin_not_allowed",
        "Pages of this origin may not connect. To allow it, list it in the configuration: \
         origins = ['https://app.example'].";
    /// The origin of a page that has none.
    NullOrigin = Forbidden, "origin_not_allowed",
        "A page from a file or a sandboxed frame has no origin (Origin: null) and may not connect. \
         Serve it over http, or allow every page: origins = ['*'].";
    /// A Host under which this node does not answer.
    ForeignHost = Forbidden, "foreign_host",
        "This node does not answer under this name. List it: hosts = ['app.example']; a node in \
         development mode that others are to reach ends that first (--no-dev).";
    /// The playground publishes in development mode only.
    NotInDevelopment = Forbidden, "not_in_development",
        "This page publishes in development mode only, which --no-dev, an API key, or a proxy on \
         the way ends. Publish through the API.";
    /// No such path.
    NotFound = NotFound, "not_found",
        "There is nothing at this path; clients connect to /ws, /sse or /poll.";
    /// CONNECT, TRACE and others that no path takes.
    MethodNever = MethodNotAllowed, "method_not_allowed",
        "No path takes this method.";
    /// Another method than GET where a WebSocket begins.
    MethodNotGet = MethodNotAllowed, "method_not_allowed",
        "This path takes GET.";
    /// Another method than GET, HEAD, OPTIONS where something is read.
    MethodNotRead = MethodNotAllowed, "method_not_allowed",
        "This path takes GET, HEAD and OPTIONS.";
    /// Another method than those by which channels are followed.
    MethodNotFollow = MethodNotAllowed, "method_not_allowed",
        "This path takes GET, HEAD, POST, QUERY and OPTIONS.";
    /// Another method than those by which a client comes over many requests.
    MethodNotCarry = MethodNotAllowed, "method_not_allowed",
        "This path takes GET, POST and OPTIONS.";
    /// Another method than POST where something is written.
    MethodNotPost = MethodNotAllowed, "method_not_allowed",
        "This path takes POST.";
    /// `Accept` excludes what the path gives.
    NotAcceptable = NotAcceptable, "not_acceptable",
        "This path gives text/event-stream, which the Accept header excludes.";
    /// The head did not end in time.
    HeadDeadline = RequestTimeout, "head_deadline",
        "The request did not arrive in time.";
    /// A session that has ended, or never was.
    SessionGone = Gone, "session_gone",
        "This session has ended, or its id is wrong; begin a new one.";
    /// A session for which a WebSocket has come before.
    SessionTaken = Conflict, "session_taken",
        "A WebSocket has come for this session already; begin a new one.";
    /// A body without a length.
    LengthNeeded = LengthRequired, "length_required",
        "A body needs a Content-Length here.";
    /// A body over the limit.
    BodyTooLong = ContentTooLarge, "body_too_long",
        "The body is longer than this server takes.";
    /// A message that would leave in a longer frame than clients are promised.
    MessageTooLong = ContentTooLarge, "message_too_large",
        "Escaped for clients this message is longer than a frame may be; send less in one message.";
    /// A body in a content coding: the API undoes some, this listener none.
    ContentCoding = UnsupportedMediaType, "bad_encoding",
        "A body has no Content-Encoding here; send it as it is.";
    /// A body of another type than parameters come in.
    UnsupportedType = UnsupportedMediaType, "unsupported_type",
        "Parameters come as application/x-www-form-urlencoded or as application/json.";
    /// A target over the limit.
    TargetTooLong = UriTooLong, "target_too_long",
        "The request target is longer than this server takes; POST the parameters as a body.";
    /// An Expect that is not ours to meet.
    Expectation = ExpectationFailed, "expectation_failed",
        "Of Expect only 100-continue is known, and not on a WebSocket upgrade.";
    /// No `Connection: Upgrade` or no `Upgrade: websocket` where a WebSocket begins.
    NoUpgrade = UpgradeRequired, "upgrade_required",
        "This path is a WebSocket; a proxy in front must pass Connection and Upgrade on.";
    /// Another version of the WebSocket protocol than 13.
    WsVersion = UpgradeRequired, "websocket_version",
        "Version 13 of the WebSocket protocol (RFC 6455) is spoken here.";
    /// Too many connections or heads of one address.
    TooManyFromAddress = TooManyRequests, "too_many_from_address",
        "Too many connections from this address.";
    /// Connections of one address in too short a time.
    TooFastFromAddress = TooManyRequests, "too_fast_from_address",
        "This address connects more often than it may; wait a moment, and longer each time.";
    /// A head over the limit.
    HeadTooLong = FieldsTooLarge, "head_too_long",
        "The request head is longer than this server takes.";
    /// More fields than the limit.
    TooManyFields = FieldsTooLarge, "too_many_headers",
        "The request has more headers than this server takes.";
    /// A method that nobody here knows.
    UnknownMethod = NotImplemented, "unknown_method",
        "This method is not known here.";
    /// A transfer coding that nobody here knows.
    UnknownCoding = NotImplemented, "unknown_transfer_coding",
        "Of transfer codings only chunked is known here.";
    /// The server has all the connections that it may have.
    Full = ServiceUnavailable, "full",
        "The server has no room for another connection; try again in a moment.";
    /// As many channels are followed as may be.
    FollowedLimit = ServiceUnavailable, "followed_limit",
        "As many channels are followed as this server allows; follow fewer, or try again later.";
    /// As many channels are kept as may be: of a message for another one.
    ChannelLimit = ServiceUnavailable, "channel_limit",
        "The server keeps as many channels as it may, and each still keeps what its rule promises; \
         publish to one of them, wait, or raise limits.channels.";
    /// The bodies of others hold all that bodies may take.
    Busy = ServiceUnavailable, "busy",
        "What others hold takes all memory that there is for requests; try again in a second.";
    /// A session that has not taken what it was brought before.
    SessionFull = ServiceUnavailable, "session_full",
        "What this session is told waits for its client; hold a request for it, then try again.";
    /// The log has failed, so nothing can be published.
    LogFailed = ServiceUnavailable, "log_failed",
        "The server's log has failed: whether the message was published is unknown.";
    /// The server is going away.
    Draining = ServiceUnavailable, "draining",
        "The server is shutting down; try again in a moment.";
    /// Not HTTP/1; an HTTP/2 preface is told so.
    HttpVersion = VersionNotSupported, "http_version",
        "HTTP/1.1 is spoken here; HTTP/2 ends at the proxy in front of it.";
}

impl Violation {
    /// The reason phrase of the answer. Browsers keep the body of a refusal from a page of another
    /// origin, but show this in its console, so there it says what to do (RFC 9112, section 4: a
    /// textual phrase for people, which programs ignore).
    pub fn reason(self) -> &'static str {
        match self {
            Self::Origin => "Forbidden: list this origin in origins",
            Self::NullOrigin => "Forbidden: a page from a file has no origin, serve it over http",
            Self::ForeignHost => "Forbidden: list this host in hosts, or use --no-dev",
            _ => self.status().reason(),
        }
    }

    /// The fields that the answer must carry for this status (RFC 9110, 10.2.1, 10.2.3, 7.8).
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::MethodNever | Self::MethodNotRead => &[("Allow", "GET, HEAD, OPTIONS")],
            Self::MethodNotFollow => &[("Allow", "GET, HEAD, POST, QUERY, OPTIONS")],
            Self::MethodNotCarry => &[("Allow", "GET, POST, OPTIONS")],
            Self::UnsupportedType => {
                &[("Accept-Post", "application/x-www-form-urlencoded, application/json")]
            }
            Self::MethodNotGet => &[("Allow", "GET")],
            Self::MethodNotPost => &[("Allow", "POST")],
            Self::ContentCoding => &[("Accept-Encoding", "identity")],
            Self::TokenNeeded => &[("WWW-Authenticate", "Bearer realm=\"fanfare\"")],
            Self::BadToken | Self::TokenExpired | Self::TokenRevoked | Self::BadTicket => {
                const FIELD: &str = "Bearer realm=\"fanfare\", error=\"invalid_token\"";
                &[("WWW-Authenticate", FIELD)] // RFC 6750, section 3
            }
            Self::NoUpgrade => &[("Upgrade", "websocket")],
            Self::WsVersion => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            Self::TooManyFromAddress
            | Self::TooFastFromAddress
            | Self::Full
            | Self::FollowedLimit
            | Self::Busy
            | Self::SessionFull
            | Self::KeysUnavailable
            | Self::TooManyTickets
            | Self::LogFailed
            | Self::Draining => &[("Retry-After", "1")],
            Self::ChannelLimit => &[("Retry-After", "10")],
            _ => &[],
        }
    }

    /// Whether the connection must end after the answer, because where the next request begins
    /// is unknown or because the peer does not speak HTTP. The others may keep it, unless a body
    /// follows that nobody reads: see [`super::Request::ending`].
    pub fn must_close(self) -> bool {
        !matches!(
            self,
            Self::NoChannels
                | Self::EmptyChannel
                | Self::BadChannel
                | Self::BadJson
                | Self::ChannelsNoList
                | Self::TooManyChannels
                | Self::TooManyParameters
                | Self::BadSince
                | Self::BadLast
                | Self::SinceAndLast
                | Self::BadWait
                | Self::BadFormat
                | Self::BadOpen
                | Self::BadMax
                | Self::BadNames
                | Self::NamesNeedJson
                | Self::MeantChannels
                | Self::MeantChannel
                | Self::MeantSince
                | Self::MeantLast
                | Self::MeantLastEventId
                | Self::MeantFormat
                | Self::MeantNames
                | Self::MeantOpen
                | Self::MeantWait
                | Self::MeantMax
                | Self::MeantEvent
                | Self::BadParameter
                | Self::TwoTokens
                | Self::QueryToken
                | Self::TokenNeeded
                | Self::BadToken
                | Self::TokenExpired
                | Self::TokenRevoked
                | Self::BadTicket
                | Self::Forbidden
                | Self::NotFound
                | Self::NotAcceptable
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_in_json_as_they_are() {
        for violation in Violation::ALL {
            for text in [violation.code(), violation.message()] {
                assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'));
            }
            assert!(
                violation
                    .code()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(violation.message().ends_with('.'), "{violation:?} is no sentence");
        }
    }

    #[test]
    fn statuses_carry_the_fields_that_the_rfc_demands() {
        for violation in Violation::ALL {
            let needed: &[&str] = match violation.status().code() {
                401 => &["WWW-Authenticate"],
                405 => &["Allow"],
                415 if *violation == Violation::UnsupportedType => &["Accept-Post"],
                415 => &["Accept-Encoding"],
                426 => &["Upgrade"],
                429 | 503 => &["Retry-After"],
                _ => &[],
            };
            for name in needed {
                assert!(violation.fields().iter().any(|(n, _)| n == name), "{violation:?}");
            }
            assert!(violation.status().code() >= 400);
        }
    }
}
