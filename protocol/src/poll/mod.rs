//! Long-poll answers.
