//! What a configuration asks for that cannot be had here, found before anything
//! is bound.

use crate::config::{Accept, CheckKind, Config, Service, Source};
use crate::error::Error;
use crate::limits;
use crate::sys::socket;

/// Looks through a configuration for shards on these CPUs.
pub(super) fn check(config: &Config, shards: &[Option<usize>]) -> Result<(), Error> {
    check_limits(config, shards.len())?;
    check_memory(config, shards.len())?;
    check_steering(config, shards)?;
    check_health(config)?;
    check_sockets(config)
}

/// Looks for limits that cannot be dealt out to so many shards.
fn check_limits(config: &Config, shards: usize) -> Result<(), Error> {
    let process = config
        .max_connections
        .map(|most| (String::new(), most.get()));
    let listeners = config.listeners.iter().filter_map(|listener| {
        let most = listener.max_connections?;
        Some((format!("{}: ", listener.name), most.get()))
    });
    let backends = config.services.iter().flat_map(|service| {
        service.backends.iter().filter_map(|backend| {
            let most = backend.max_connections?.get() as usize;
            Some((format!("{}: {}: ", service.name, backend.address), most))
        })
    });
    for (whose, most) in process.into_iter().chain(listeners).chain(backends) {
        if most < shards {
            return Err(Error::Demand(format!(
                "{whose}max_connections is {most}, which is not one for each of {shards} shards; \
                 write {shards} at least, or have fewer shards"
            )));
        }
    }
    Ok(())
}

/// Looks for a budget that would leave some shard without room for a tunnel.
fn check_memory(config: &Config, shards: usize) -> Result<(), Error> {
    let least = shards * limits::MEMORY_PART_MIN;
    match config.memory_budget {
        Some(bytes) if bytes < least => Err(Error::Demand(format!(
            "memory_budget is {bytes} bytes, which is not {} KiB for each of {shards} shards; \
             write \"{}KiB\" at least, or have fewer shards",
            limits::MEMORY_PART_MIN / 1024,
            least / 1024
        ))),
        _ => Ok(()),
    }
}

/// Looks for listeners that are to steer to shards which are nowhere.
fn check_steering(config: &Config, shards: &[Option<usize>]) -> Result<(), Error> {
    let steered = config
        .listeners
        .iter()
        .find(|l| l.accept == Accept::SameCpu);
    match steered {
        Some(listener) if shards.iter().any(Option::is_none) => Err(Error::Demand(format!(
            "{}: accept: SameCpu needs each shard pinned to a CPU, and with shards: {} they are \
             not; leave shards to Auto, write placement: PerCpu, or name their CPUs (cpus)",
            listener.name,
            shards.len()
        ))),
        _ => Ok(()),
    }
}

/// Looks for checks that cannot be made.
fn check_health(config: &Config) -> Result<(), Error> {
    let blind = config.services.iter().find(|service| {
        let health = service.health.as_ref();
        health.is_some_and(|health| health.kind == CheckKind::Tls) && service.tls.is_none()
    });
    blind.map_or(Ok(()), |service| {
        Err(Error::Demand(format!(
            "{}: its check shakes hands in TLS, but its backends are spoken to in plaintext; \
             give the service tls, or check by Tcp or Http",
            service.name
        )))
    })
}

/// Looks for what services and listeners ask of sockets and the system refuses.
fn check_sockets(config: &Config) -> Result<(), Error> {
    let transparent = |service: &&Service| service.source == Source::Transparent;
    if let Some(service) = config.services.iter().find(transparent)
        && let Err(error) = socket::may_be_transparent()
    {
        return Err(Error::Demand(format!(
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
            return Err(Error::Demand(format!(
                "{whose}: the congestion control \"{name}\" cannot be used ({error}); \
                 net.ipv4.tcp_available_congestion_control has: {}",
                available.trim()
            )));
        }
    }
    Ok(())
}
