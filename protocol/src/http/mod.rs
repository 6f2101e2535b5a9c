//! HTTP/1.1 requests and answers of the public listener.
//!
//! [`HeadReader`] takes bytes as they arrive and says when a head is whole; [`Request`] is the
//! checked view of it; [`response`] writes answers into a buffer of the caller's. Everything a
//! peer may do wrong is one [`Violation`], and [`Violation::status`] is the one place that says
//! what the peer is told. Strict where parsers have disagreed in the past (RFC 9112, section 11):
//! what is ambiguous is refused and never guessed.

pub mod accept;
pub mod chunk;
pub mod date;
pub mod fields;
mod framing;
pub mod fuzz;
pub mod head;
mod host;
mod method;
pub mod parameters;
pub mod percent;
pub mod query;
pub mod request;
pub mod response;
pub mod spelling;
pub mod status;
mod target;
pub mod violation;

pub use accept::MediaType;
pub use date::HttpDate;
pub use fields::Fields;
pub use framing::Body;
pub use head::{Fed, HeadReader};
pub use method::Method;
pub use parameters::Parameters;
pub use query::Query;
pub use request::Request;
pub use response::{Answer, ContentType, Ending};
pub use status::Status;
pub use violation::Violation;
