//! The C ABI: what `include/fanfare.h` declares.
//!
//! Every call goes through one gate (`calls`): not from inside of a callback, the handle looked
//! up (`table`), every pointer checked (`borrow`) before anything is done, and no panic passes.
//!
//! This is the only part of the library with `unsafe`, and all of it is about pointers that a C
//! program gave us, and the mask of signals.
#![allow(unsafe_code)]

mod borrow;
pub mod calls;
mod extensible;
mod process;
mod signals;
mod table;
pub mod types;

#[cfg(test)]
mod tests;
