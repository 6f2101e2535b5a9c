//! Positions as text: one spelling each.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fanfare_protocol::id::fuzz::position(bytes));
