//! Dialects: what clients speak.
