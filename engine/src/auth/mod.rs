//! Who may connect and from which page.

pub mod address;
pub mod host;
pub mod origin;
pub mod proxy;
