//! Tokens, claims, headers and key sets.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fanfare_identity::token::fuzz::token(data));
