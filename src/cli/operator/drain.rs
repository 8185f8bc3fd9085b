//! `adit drain`: has a server stop as SIGTERM does.

use std::thread;
use std::time::Duration;

use adit::control::admin::Draining;
use adit::limits;
use adit::metrics::{State, Stats};
use adit::tunnel::Cause;
use serde::Serialize;

use super::DrainArgs;
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{human, output};

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
    /// Tunnels that were cut when the drain time had run out.
    tunnels_cut: u64,
}

pub(super) fn run(args: DrainArgs) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&args.of.into())?;
    let draining: Draining = endpoint.order("/drain")?;
    if !args.wait {
        if args.json {
            super::print_json(&draining)?;
        } else {
            output::print(&told(&draining))?;
        }
        return Ok(Exit::Clean);
    }
    if !args.json {
        output::print(&told(&draining))?;
    }
    let tunnels_cut = wait(&endpoint, !args.json)?;
    if args.json {
        super::print_json(&Stopped {
            stopped: true,
            tunnels_cut,
        })?;
    }
    if tunnels_cut > 0 {
        if !args.json {
            output::print(&format!(
                "stopped; {} tunnels were cut when the drain time had run out\n",
                human::count(tunnels_cut)
            ))?;
        }
        return Ok(Exit::Failure);
    }
    if !args.json {
        output::print("stopped\n")?;
    }
    Ok(Exit::Clean)
}

fn told(draining: &Draining) -> String {
    let timeout = Duration::try_from_secs_f64(draining.drain_timeout_seconds).unwrap_or_default();
    format!(
        "draining: no more connections; open tunnels ({}) get {}\n",
        human::count(draining.tunnels_open),
        humantime::format_duration(timeout)
    )
}

/// Waits until nobody answers any more. Gives how many tunnels were cut, as far
/// as the server could still tell.
fn wait(endpoint: &Endpoint, tell: bool) -> Result<u64, Failure> {
    let mut cut = 0;
    let mut open = None;
    loop {
        match endpoint.get::<Stats>("/stats") {
            Ok((_, stats)) if stats.state == State::Serving => {
                // Another server has come to the same socket.
                return Ok(cut);
            }
            Ok((_, stats)) => {
                let drained = stats.total.closed.iter();
                let drained = drained.filter(|close| close.reason.cause == Cause::Drained);
                cut = drained.map(|close| close.count).sum();
                let left = stats.total.tunnels_open;
                if tell && left > 0 && open != Some(left) {
                    output::print(&format!("{} tunnels are open\n", human::count(left)))?;
                }
                open = Some(left);
            }
            Err(_) if !endpoint.is_there() => return Ok(cut),
            Err(_) => {}
        }
        thread::sleep(limits::DRAIN_LOOK);
    }
}
