//! Which strangers may connect: from which address, by which name, from which page, and how often.
//! Nobody is known here yet; who somebody is and what they may do is decided elsewhere.

pub mod address;
pub mod forwarded;
pub mod host;
pub mod network;
pub mod origin;
pub mod peers;
pub mod proxy;
pub mod rate;
