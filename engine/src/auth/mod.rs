//! Who may connect and from which page.

pub mod origin;
