//! Where shards run, and whether the machine allows it.

use std::num::NonZeroUsize;

use crate::config::{Config, Service, Source, format_cpu_list};
use crate::error::Error;
use crate::limits;
use crate::shard;
use crate::sys::preflight::{self, Needs, Severity};
use crate::sys::{cpu, rlimit, socket};

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

/// Looks for limits that cannot be dealt out to so many shards.
pub(super) fn check_limits(config: &Config, shards: usize) -> Result<(), Error> {
    let listeners = config.listeners.iter();
    let limits = listeners.map(|l| (format!("{}: ", l.name), l.max_connections));
    for (whose, limit) in limits.chain([(String::new(), config.max_connections)]) {
        if let Some(limit) = limit
            && limit.get() < shards
        {
            return Err(Error::System(format!(
                "{whose}max_connections is {limit}, which is not one for each of {shards} shards; \
                 write {shards} at least, or have fewer shards"
            )));
        }
    }
    Ok(())
}

/// Looks for what services and listeners ask of sockets and the system refuses.
pub(super) fn check_sockets(config: &Config) -> Result<(), Error> {
    let transparent = |service: &&Service| service.source == Source::Transparent;
    if let Some(service) = config.services.iter().find(transparent)
        && let Err(error) = socket::may_be_transparent()
    {
        return Err(Error::System(format!(
            "{}: connections cannot be made from the clients' addresses ({error}); give adit the \
             capability CAP_NET_ADMIN (AmbientCapabilities= in the systemd unit), or choose \
             another source",
            service.name
        )));
    }
    let services = config.services.iter().map(|s| (&s.name, &s.tcp));
    let listeners = config.listeners.iter().map(|l| (&l.name, &l.tcp));
    for (whose, tcp) in listeners.chain(services) {
        if let Some(name) = &tcp.congestion
            && let Err(error) = socket::has_congestion(name)
        {
            let available =
                std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
                    .unwrap_or_default();
            return Err(Error::System(format!(
                "{whose}: the congestion control \"{name}\" cannot be used ({error}); \
                 net.ipv4.tcp_available_congestion_control has: {}",
                available.trim()
            )));
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
