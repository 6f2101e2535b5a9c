//! Records of the log, alone and in sequences, and every prefix of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fanfare_protocol::record::fuzz::record(data));
