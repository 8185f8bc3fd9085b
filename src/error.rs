//! What can go wrong with a server as a whole.

use std::fmt;

use crate::config::ConfigError;

/// Why a server could not start, or ended otherwise than by being told to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration, or a file that it names, cannot be used: the
    /// operator's to mend. Exit code 2.
    Config(ConfigError),
    /// A certificate or a key cannot be used: the operator's to mend. The text
    /// names the file and the remedy. Exit code 2.
    Identity(String),
    /// The configuration asks for what cannot be had: more shards than CPUs, a
    /// limit that does not go round, a log file in no folder. The text says
    /// what to write instead. Exit code 2.
    Demand(String),
    /// The machine refuses what is needed: a port in use, too few descriptors,
    /// no io_uring. The text says what to change. Exit code 1.
    System(String),
    /// There is nothing of the name that was given. The text says what there is.
    /// Exit code 1.
    Unknown(String),
    /// The server is not running, or no longer.
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Identity(text)
            | Self::Demand(text)
            | Self::System(text)
            | Self::Unknown(text) => f.write_str(text),
            Self::Stopped => f.write_str("the server is not running"),
        }
    }
}

impl std::error::Error for Error {}
