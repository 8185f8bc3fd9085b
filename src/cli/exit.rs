//! How the program ends.

use std::process::ExitCode;

use adit::Error;

/// Every exit code that the program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well; a server drained.
    Clean = 0,
    /// The machine or the moment refused.
    Failure = 1,
    /// The operator has something to mend.
    Usage = 2,
}

impl Exit {
    pub(crate) const ALL: [Self; 3] = [Self::Clean, Self::Failure, Self::Usage];

    /// What it means, for `--help` and the man page.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Clean => "success; a server was told to stop, and every tunnel ended of itself",
            Self::Failure => {
                "runtime failure: a port in use, tunnels cut at the drain deadline, no server that answers, a reload or an upgrade refused, no such tunnel or backend, operations of a bench that failed"
            }
            Self::Usage => "usage or configuration error, certificates included",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end that needs words.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    /// Exit code 1.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failure,
            message: message.into(),
        }
    }

    /// Exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Config(_) | Error::Identity(_) | Error::Demand(_) => Self::usage(message),
            _ => Self::runtime(message),
        }
    }
}
