//! What a peer did that RFC 6455 or our limits forbid, and what it is told: one table.

use std::fmt;

use super::close_code::CloseCode;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $reason:literal;)+) => {
        /// Why a connection must be closed. Small, so that it travels in a `Result` for nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation { $($(#[$doc])* $name,)+ }

        impl Violation {
            /// All of them, for tests and tables.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The close code that the peer is told. The only place that decides it.
            pub fn close_code(self) -> CloseCode {
                match self { $(Self::$name => CloseCode::$code,)+ }
            }

            /// What happened, for the reason of a close frame: ASCII, at most 123 bytes, no echo
            /// of input.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }
        }
    };
}

violations! {
    /// A client's frame without a mask (RFC 6455, section 5.1).
    Unmasked = PROTOCOL_ERROR, "a client must mask its frames";
    /// A server's frame with a mask (section 5.1).
    Masked = PROTOCOL_ERROR, "a server must not mask its frames";
    /// A reserved bit that no extension gave a meaning (section 5.2).
    ReservedBit = PROTOCOL_ERROR, "a reserved bit is set and no extension was agreed";
    /// One of the opcodes 3 to 7 and 11 to 15 (section 5.2).
    ReservedOpcode = PROTOCOL_ERROR, "this opcode is reserved";
    /// A length with its most significant bit set (section 5.2; CVE-2026-27889).
    LengthTopBit = PROTOCOL_ERROR, "the length has its most significant bit set";
    /// A length that a shorter form could say (section 5.2).
    LengthNotMinimal = PROTOCOL_ERROR, "the length is not in its shortest form";
    /// A continuation where no message is open (section 5.4).
    NothingToContinue = PROTOCOL_ERROR, "a continuation without a message to continue";
    /// A new message where one is open (section 5.4).
    MessageInsideMessage = PROTOCOL_ERROR, "a new message before the last one ended";
    /// A control frame without FIN (section 5.5).
    ControlFragmented = PROTOCOL_ERROR, "a control frame must not be fragmented";
    /// A control frame that declares more than 125 bytes (section 5.5).
    ControlTooLong = PROTOCOL_ERROR, "a control frame holds at most 125 bytes";
    /// A close frame with one byte of payload (section 5.5.1).
    CloseTooShort = PROTOCOL_ERROR, "a close frame holds no byte or at least two";
    /// A close code that no endpoint may send (section 7.4).
    CloseCodeForbidden = PROTOCOL_ERROR, "this close code must not be sent";
    /// A close reason that is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8 = INVALID_PAYLOAD, "the close reason is not UTF-8";
    /// A text message that is not UTF-8 (section 8.1).
    TextNotUtf8 = INVALID_PAYLOAD, "the text is not UTF-8";
    /// A message over the limit, as declared or summed over its fragments.
    MessageTooLong = TOO_BIG, "the message is too long";
    /// A message in more fragments than the limit, empty ones counted (CVE-2026-48779).
    TooManyFragments = POLICY, "the message has too many fragments";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
