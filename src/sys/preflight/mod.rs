//! What the machine refuses, before anything is started.
//!
//! [`Facts::gather`] looks at the machine: it sets up one small ring and closes
//! it, reads a few files of /proc, and binds no port. [`judge()`] compares the
//! facts with what is needed, and is pure. Each [`Finding`] says what is wrong
//! and what to do about it, with the numbers to write.

mod facts;
mod judge;

pub use facts::{Facts, Kernel, Trial};
pub use judge::{judge, memlock_needed};

use std::fmt;

use serde::Serialize;

use crate::config::Config;
use crate::limits;

/// What a server is going to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How many shards.
    pub shards: usize,
    /// How many addresses each shard listens on.
    pub listeners: usize,
    /// The greatest backlog of them.
    pub backlog: u32,
    /// How many tunnels ought to fit at once. Too few descriptors for them are
    /// only warned of.
    pub tunnels: usize,
}

/// What was found, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each matter; none if all is well.
    pub findings: Vec<Finding>,
}

/// One matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The server cannot start.
    Error,
    /// It works, but worse than it could.
    Warning,
    /// Worth knowing.
    Info,
}

impl Needs {
    /// What this configuration needs with that many shards.
    pub fn of(config: &Config, shards: usize) -> Self {
        Self {
            shards,
            listeners: config.listeners.len(),
            backlog: config
                .listeners
                .iter()
                .map(|l| l.backlog)
                .max()
                .unwrap_or(0),
            tunnels: limits::TUNNELS_EXPECTED,
        }
    }
}

impl Report {
    /// The findings that keep the server from starting.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
    }

    /// Whether the server can start.
    pub fn can_start(&self) -> bool {
        self.errors().next().is_none()
    }
}

/// One finding after the other, each on two lines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  fix: {}", self.severity, self.what, self.fix)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Looks at the machine and judges it.
///
/// The soft limits of descriptors and locked memory are taken as raised to the
/// hard ones, which a server does at its start
/// ([`rlimit`](crate::sys::rlimit)).
pub fn check(needs: &Needs) -> Report {
    judge(&Facts::gather(), needs)
}
