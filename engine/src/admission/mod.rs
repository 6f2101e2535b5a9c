//! Which strangers may connect: from which address, by which name, from which page. Nobody is known
//! here yet; who somebody is and what they may do is decided elsewhere.

pub mod address;
pub mod host;
pub mod origin;
pub mod proxy;
