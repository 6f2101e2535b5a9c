//! Tokens against the rows J of the threat model: `docs/THREATS.md` says each row's answer, and a
//! test's name says which rows it is about.

mod claims;
mod endpoints;
mod envelope;
mod keys;
mod mutations;
mod support;
