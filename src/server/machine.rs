//! Whether the machine allows what is to be run on it.

use crate::config::Config;
use crate::error::Error;
use crate::limits;
use crate::shard;
use crate::sys::preflight::{self, Finding, Needs, Severity};
use crate::sys::rlimit;

/// Raises what may be raised, and looks for what the machine would refuse.
pub(super) fn check(config: &Config, shards: usize) -> Result<(), Error> {
    // Where they cannot be raised, the check says whether that matters.
    let _ = rlimit::raise_nofile();
    let _ = rlimit::raise_memlock();
    let report = preflight::check(&Needs::of(config, shards));
    if !report.can_start() {
        let errors: Vec<String> = report
            .errors()
            .map(|finding| format!("{}\n  fix: {}", finding.what, finding.fix))
            .collect();
        return Err(Error::System(errors.join("\n")));
    }
    tell(&report.findings);
    Ok(())
}

/// Logs what was found, and does not keep the server from starting.
pub(super) fn tell(findings: &[Finding]) {
    for finding in findings {
        match finding.severity {
            Severity::Error | Severity::Warning => log::warn!("{}; {}", finding.what, finding.fix),
            Severity::Info => log::debug!("{}; {}", finding.what, finding.fix),
        }
    }
}

/// How many tunnels there are descriptors for, now that all is bound.
pub(super) fn tunnels_possible(shards: usize) -> usize {
    // Where the system does not tell, it refuses in time.
    let (Ok(limit), Ok(open)) = (rlimit::nofile(), rlimit::open_descriptors()) else {
        return usize::MAX;
    };
    let taken = open as u64 + shards as u64 * limits::SHARD_DESCRIPTORS;
    shard::descriptors_suffice_for(limit.soft.saturating_sub(taken))
}
