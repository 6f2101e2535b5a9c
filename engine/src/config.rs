//! One TOML file, flags and environment: the whole configuration.
