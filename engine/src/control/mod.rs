//! The control thread: publish API, metrics, health.
