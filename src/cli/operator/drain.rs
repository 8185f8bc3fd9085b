//! `adit drain`: has a server stop as SIGTERM does.

use std::time::Duration;

use adit::control::admin::{Drained, Draining};
use adit::limits;

use super::DrainArgs;
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{human, output};

pub(super) fn run(args: DrainArgs) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&args.of.into())?;
    let draining: Draining = endpoint.order("/drain")?;
    let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let timeout = time(draining.drain_timeout_seconds);
    let grace = time(draining.ready_grace_seconds);
    if !args.json {
        let connections = match grace {
            Duration::ZERO => "no more connections".to_owned(),
            grace => format!(
                "connections for another {}",
                humantime::format_duration(grace)
            ),
        };
        output::print(&format!(
            "draining: {connections}; open tunnels ({}) get {}\n",
            human::count(draining.tunnels_open),
            humantime::format_duration(timeout)
        ))?;
    } else if !args.wait {
        super::print_json(&draining)?;
    }
    if !args.wait {
        return Ok(Exit::Clean);
    }
    let in_all = timeout
        .saturating_add(grace)
        .saturating_add(limits::DRAIN_GRACE);
    let drained: Drained = endpoint.wait_for("/drain", in_all).map_err(|failure| {
        Failure::runtime(format!(
            "it is not known how the server stopped: {}",
            failure.message
        ))
    })?;
    if args.json {
        super::print_json(&drained)?;
    }
    Ok(match drained.tunnels_cut {
        0 => {
            say(args.json, "stopped; every tunnel had ended\n")?;
            Exit::Clean
        }
        cut => {
            let cut = human::tunnels_cut(cut);
            say(
                args.json,
                &format!("stopped; {cut} when the drain time had run out\n"),
            )?;
            Exit::Failure
        }
    })
}

fn say(json: bool, text: &str) -> Result<(), Failure> {
    match json {
        true => Ok(()),
        false => output::print(text),
    }
}
