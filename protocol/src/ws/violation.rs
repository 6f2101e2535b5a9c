//! What a peer did that RFC 6455 or our limits forbid, and the one place that says which close code
//! it is told.

use std::fmt;

use super::close::CloseCode;

/// Why a connection must be closed. Small, so that it travels in a `Result` for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A client's frame without a mask (RFC 6455, section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A reserved bit that no extension gave a meaning (section 5.2).
    ReservedBit,
    /// One of the opcodes 3 to 7 and 11 to 15 (section 5.2).
    ReservedOpcode,
    /// A length with its most significant bit set (section 5.2; CVE-2026-27889).
    LengthTopBit,
    /// A length that a shorter form could say (section 5.2).
    LengthNotMinimal,
    /// A continuation where no message is open (section 5.4).
    NothingToContinue,
    /// A new message where one is open (section 5.4).
    MessageInsideMessage,
    /// A control frame without FIN (section 5.5).
    ControlFragmented,
    /// A control frame that declares more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A close frame with one byte of payload (section 5.5.1).
    CloseTooShort,
    /// A close code that no endpoint may send (section 7.4).
    CloseCodeForbidden,
    /// A close reason that is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (section 8.1).
    TextNotUtf8,
    /// A message over the limit, as declared or summed over its fragments.
    MessageTooLong,
    /// A message in more fragments than the limit, empty ones counted (CVE-2026-48779).
    TooManyFragments,
}

impl Violation {
    /// The close code that the peer is told.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Unmasked
            | Self::Masked
            | Self::ReservedBit
            | Self::ReservedOpcode
            | Self::LengthTopBit
            | Self::LengthNotMinimal
            | Self::NothingToContinue
            | Self::MessageInsideMessage
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::CloseTooShort
            | Self::CloseCodeForbidden => CloseCode::PROTOCOL_ERROR,
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooLong => CloseCode::TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY,
        }
    }

    /// What happened, for the reason of a close frame: ASCII, at most 123 bytes, no echo of input.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unmasked => "a client must mask its frames",
            Self::Masked => "a server must not mask its frames",
            Self::ReservedBit => "a reserved bit is set and no extension was agreed",
            Self::ReservedOpcode => "this opcode is reserved",
            Self::LengthTopBit => "the length has its most significant bit set",
            Self::LengthNotMinimal => "the length is not in its shortest form",
            Self::NothingToContinue => "a continuation without a message to continue",
            Self::MessageInsideMessage => "a new message before the last one ended",
            Self::ControlFragmented => "a control frame must not be fragmented",
            Self::ControlTooLong => "a control frame holds at most 125 bytes",
            Self::CloseTooShort => "a close frame holds no byte or at least two",
            Self::CloseCodeForbidden => "this close code must not be sent",
            Self::CloseReasonNotUtf8 => "the close reason is not UTF-8",
            Self::TextNotUtf8 => "the text is not UTF-8",
            Self::MessageTooLong => "the message is too long",
            Self::TooManyFragments => "the message has too many fragments",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
