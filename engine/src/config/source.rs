//! Where a value comes from, and what is wrong with it: every complaint names its place.

use std::fmt;
use std::sync::Arc;

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it is built in.
    Default,
    /// A flag, by its name with the dashes.
    Flag(Arc<str>),
    /// A variable of the environment, by its name.
    Environment(Arc<str>),
    /// The configuration file.
    File {
        /// Its path as it was given.
        name: Arc<str>,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
        }
    }
}

/// A value with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// What was said.
    pub value: T,
    /// By whom.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// A value that nobody said.
    pub fn default(value: T) -> Self {
        Self { value, source: Source::Default }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// What, why, and what to do: a sentence.
    pub what: String,
}

impl Problem {
    /// `what` is wrong at `source`.
    pub fn new(source: Source, what: impl Into<String>) -> Self {
        Self { source, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Default => f.write_str(&self.what),
            ref source => write!(f, "{source}: {}", self.what),
        }
    }
}
