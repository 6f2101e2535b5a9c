//! The publish protocol, both ends, under every split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fanfare_protocol::ingest::fuzz::frames(data));
