//! Request heads: every cut gives the same, and a request keeps its promises.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fanfare_protocol::ws::fuzz::request_head(bytes));
