//! Headers of the PROXY protocol: every cut gives the same, and none is longer than it may be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fanfare_protocol::proxy::fuzz::header(bytes));
