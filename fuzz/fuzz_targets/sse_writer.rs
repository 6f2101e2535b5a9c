//! Events written, cut anywhere, and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fanfare_protocol::sse::fuzz::round_trip(bytes));
