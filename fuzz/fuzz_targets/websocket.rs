//! Client and server frames under every split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fanfare_protocol::ws::fuzz::every_split(data));
