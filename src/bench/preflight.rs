//! What is looked at before a measurement begins.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use super::conductor::BenchError;
use super::options::{Options, Scenario};
use crate::config::{Address, Host, format_cpu_list};
use crate::limits;
use crate::sys::socket::Peer;
use crate::sys::{cpu, rlimit};

/// What does not go together.
pub(super) fn check(options: &Options) -> Result<(), BenchError> {
    let usage = |text: String| Err(BenchError::Usage(text));
    let lanes = options.scenario.lanes();
    if lanes == 0 || lanes > limits::BENCH_LANES_MAX {
        return usage(format!(
            "{lanes} lanes are not from 1 to {}",
            limits::BENCH_LANES_MAX
        ));
    }
    if options.threads == 0 || options.threads > limits::BENCH_THREADS_MAX {
        return usage(format!(
            "{} threads are not from 1 to {}",
            options.threads,
            limits::BENCH_THREADS_MAX
        ));
    }
    if options.threads > lanes {
        return usage(format!(
            "{} threads are more than the {lanes} lanes that there are for them",
            options.threads
        ));
    }
    if let Address::Tcp {
        host: Host::Any, ..
    }
    | Address::Tcp { port: 0, .. }
    | Address::Systemd(_) = options.target
    {
        return usage(format!("{} is nothing to connect to", options.target));
    }
    if let Scenario::Bulk(bulk) = &options.scenario
        && options.count.is_some()
        && bulk.bytes.is_none()
    {
        return usage("a number of transfers needs their length in bytes".into());
    }
    let Some(cpus) = &options.cpus else {
        return Ok(());
    };
    if cpus.len() < options.threads {
        return usage(format!(
            "{} threads need as many CPUs, and {} names {}",
            options.threads,
            format_cpu_list(cpus),
            cpus.len()
        ));
    }
    let allowed = cpu::allowed()
        .map_err(|error| BenchError::System(format!("the CPUs cannot be listed: {error}")))?;
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(outside) => usage(format!(
            "CPU {outside} is not among those that this process may use, {}",
            format_cpu_list(&allowed)
        )),
        None => Ok(()),
    }
}

/// Raises the limits that may be raised, and looks whether the tunnels have
/// room. Gives the limit of descriptors.
pub(super) fn make_room(options: &Options) -> Result<u64, BenchError> {
    let _ = rlimit::raise_memlock();
    let limit = rlimit::raise_nofile()
        .or_else(|_| rlimit::nofile())
        .map_err(|error| BenchError::System(format!("RLIMIT_NOFILE: {error}")))?;
    let needed = options.scenario.lanes() as u64
        + options.threads as u64 * limits::SHARD_DESCRIPTORS
        + limits::DESCRIPTORS_RESERVE;
    if limit.soft < needed {
        return Err(BenchError::System(format!(
            "{} connections need {needed} descriptors, and this process may have {}; raise the \
             hard limit (ulimit -Hn, LimitNOFILE=), or ask for fewer",
            options.scenario.lanes(),
            limit.soft
        )));
    }
    Ok(limit.soft)
}

/// The address that is used from here on: of several, the first that somebody
/// listens on.
pub(super) fn resolve(target: &Address) -> Result<Peer, BenchError> {
    let (name, port) = match target {
        Address::Unix(path) => return Ok(Peer::Unix(path.clone())),
        Address::Tcp {
            host: Host::Ip(ip),
            port,
        } => return Ok(Peer::Tcp((*ip, *port).into())),
        Address::Tcp {
            host: Host::Name(name),
            port,
        } => (name.as_str(), *port),
        Address::Systemd(_)
        | Address::Tcp {
            host: Host::Any, ..
        } => {
            return Err(BenchError::Usage(format!(
                "{target} is nothing to connect to"
            )));
        }
    };
    let addresses: Vec<SocketAddr> = (name, port)
        .to_socket_addrs()
        .map_err(|error| BenchError::System(format!("{name} does not resolve: {error}")))?
        .collect();
    let answers = |address: &&SocketAddr| {
        TcpStream::connect_timeout(address, limits::CONNECT_TIMEOUT).is_ok()
    };
    let chosen = match addresses.as_slice() {
        [] => return Err(BenchError::System(format!("{name} has no address"))),
        [only] => only,
        several => several.iter().find(answers).unwrap_or(&several[0]),
    };
    Ok(Peer::Tcp(*chosen))
}
