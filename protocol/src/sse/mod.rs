//! Server-Sent Events: blocks of lines that become one event each (WHATWG HTML, section 9.2).
//!
//! [`mod@write`] makes them for clients; [`Reader`] reads them back, for the command line and for
//! tests that hold the writer to what a browser would see.

pub mod fuzz;
pub mod reader;
pub mod write;

pub use reader::{Event, Reader, TooLong};
pub use write::{comment, event, retry};
