//! Where shards run, and whether the machine allows it.

use std::num::NonZeroUsize;

use crate::config::{Config, format_cpu_list};
use crate::error::Error;
use crate::limits;
use crate::shard;
use crate::sys::preflight::{self, Needs, Severity};
use crate::sys::{cpu, rlimit};

/// Raises what may be raised, and looks for what the machine would refuse.
pub(super) fn check_machine(config: &Config, shards: usize) -> Result<(), Error> {
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
    for finding in &report.findings {
        match finding.severity {
            Severity::Error | Severity::Warning => log::warn!("{}; {}", finding.what, finding.fix),
            Severity::Info => log::debug!("{}; {}", finding.what, finding.fix),
        }
    }
    Ok(())
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

/// The CPU of each shard, if it is pinned to one.
pub(super) fn placement(config: &Config) -> Result<Vec<Option<usize>>, Error> {
    let allowed = cpu::allowed()
        .map_err(|error| Error::System(format!("the CPUs cannot be listed: {error}")))?;
    let named = config.shards.cpus.as_deref();
    if let Some(outside) = named
        .into_iter()
        .flatten()
        .find(|cpu| !allowed.contains(cpu))
    {
        return Err(Error::System(format!(
            "CPU {outside} is not among those that this process may use, {}; name others, or \
             change its affinity (taskset, systemd's CPUAffinity=, a container's cpuset)",
            format_cpu_list(&allowed)
        )));
    }
    let cpus = named.unwrap_or(&allowed);
    let count = config.shards.count.map_or(cpus.len(), NonZeroUsize::get);
    // Shards that do not fill the CPUs they may use are left to the kernel,
    // which knows what else runs there; unless the operator has named the CPUs.
    let pinned = count == cpus.len() || (named.is_some() && count <= cpus.len());
    Ok((0..count)
        .map(|shard| pinned.then(|| cpus[shard]))
        .collect())
}
