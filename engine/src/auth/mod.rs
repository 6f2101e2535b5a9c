//! Who may connect and from which page.

pub mod address;
pub mod origin;
