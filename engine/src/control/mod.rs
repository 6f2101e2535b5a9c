//! The control thread: publish API, metrics, health.

pub mod metrics_page;
