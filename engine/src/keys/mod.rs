//! Key sets that identity providers publish: fetched, kept while their endpoints fail, renewed.
//!
//! One thread asks every endpoint, each by a task of its own, so nobody asks one twice at a time.
//! It owns the sources of keys; after each answer it tells whoever serves clients the keys as they
//! are then, and whoever meets a token of an unknown key says so without waiting ([`KeyAsks`]).

mod address;
mod asks;
mod authorities;
mod fetch;
mod freshness;
mod plan;
mod renewal;

pub use address::KeyAddress;
pub use asks::{ENDPOINTS_MAX, KeyAsks};
pub use authorities::Authorities;
pub use plan::{KeyEndpoint, KeyPlan};
pub use renewal::{KeyPlans, KeyRenewal, THREAD};
