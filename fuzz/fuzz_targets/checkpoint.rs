//! Checkpoints of the order, in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fanfare_protocol::record::fuzz::checkpoint(data));
