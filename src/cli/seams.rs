//! Where the command line meets parts of the library that are being written
//! beside it. Each function is one call; its body is what is to be replaced.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::SystemTime;

use adit::Config;
use adit::config::{self, ServerTls};
use serde::Serialize;

use super::args::{CpusArg, ProgramArg};
use super::exit::Failure;

/// The log target of lines that an operator must see though they are no fault.
pub(crate) const NOTICE: &str = "notice";

/// What [`install_logging`] gives: the writer, until it is dropped.
#[derive(Debug)]
pub(crate) struct LogGuard;

/// A certificate as `adit check` reports it.
#[derive(Debug, Serialize)]
pub(crate) struct IdentityFacts {
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) key_type: String,
    #[serde(skip)]
    pub(crate) not_after: SystemTime,
    pub(crate) warnings: Vec<String>,
}

/// One thing about the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) what: String,
    pub(crate) fix: String,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    #[allow(dead_code)]
    Info,
    #[allow(dead_code)]
    Warning,
    Error,
}

/// Another program's configuration as RON, and what is to be said about it.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) ron: String,
    pub(crate) notes: Vec<String>,
}

/// Seam: `Config::from_file(path)`, its error to [`Failure::usage`].
pub(crate) fn read_config(path: &Path) -> Result<Config, Failure> {
    match std::fs::read_to_string(path) {
        Ok(_) => Err(Failure::usage(format!("{}: not read", path.display()))),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// Seam: `config::convert::{detect, convert}`.
pub(crate) fn convert(
    _text: &str,
    file_name: &str,
    _from: Option<ProgramArg>,
) -> Result<Converted, Failure> {
    Err(Failure::usage(format!("{file_name}: not converted")))
}

/// Seam: `logging::install(log)`.
pub(crate) fn install_logging(log: &config::Log) -> Result<LogGuard, Failure> {
    log::set_max_level(log.level);
    Ok(LogGuard)
}

impl LogGuard {
    /// Seam: `Guard::reconfigure(log)`.
    pub(crate) fn reconfigure(&self, log: &config::Log) {
        log::set_max_level(log.level);
    }
}

/// Seam: `sys::cpu::parse_list(text)`.
pub(crate) fn parse_cpus(text: &str) -> Result<CpusArg, String> {
    let wrong = || "write CPU numbers and ranges, such as 0-3,8".to_owned();
    let number = |text: &str| text.parse::<u16>().map(usize::from).map_err(|_| wrong());
    let mut cpus = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
            None => cpus.push(number(part)?),
        }
    }
    if cpus.is_empty() {
        return Err(wrong());
    }
    Ok(CpusArg(cpus))
}

/// Seam: `sys::cpu::allowed().len()`.
pub(crate) fn allowed_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Seam: `tls::Identity::load(tls, now)`.
pub(crate) fn identity(tls: &ServerTls, _now: SystemTime) -> Result<IdentityFacts, String> {
    let cert = tls.cert.display();
    std::fs::read(&tls.cert).map_err(|error| format!("{cert}: {error}"))?;
    Err(format!("{cert}: not examined"))
}

/// Seam: `sys::preflight::check(&Needs)`.
pub(crate) fn preflight(_config: &Config, _shards: usize) -> Vec<Finding> {
    Vec::new()
}
