//! `adit close`: ends tunnels, one by one.

use adit::metrics::{TunnelId, TunnelStats};
use serde::Serialize;

use super::{CloseArgs, tunnels};
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

#[derive(Serialize)]
struct Closed {
    closed: Vec<TunnelStats>,
    /// There are no such tunnels, or no longer.
    missing: Vec<TunnelId>,
}

pub(super) fn run(args: CloseArgs) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&args.of.into())?;
    let mut outcome = Closed {
        closed: Vec::new(),
        missing: Vec::new(),
    };
    for id in args.ids {
        match endpoint.try_order::<TunnelStats>(&format!("/close?id={id}"))? {
            Ok(tunnel) => {
                if !args.json {
                    output::print(&format!("closed {id}: {}\n", tunnels::describe(&tunnel)))?;
                }
                outcome.closed.push(tunnel);
            }
            Err(refusal) if refusal.status == 404 => {
                output::complain(&refusal.why);
                outcome.missing.push(id);
            }
            Err(refusal) => return Err(Failure::runtime(refusal.why)),
        }
    }
    if args.json {
        super::print_json(&outcome)?;
    }
    Ok(match outcome.missing.as_slice() {
        [] => Exit::Clean,
        _ => Exit::Failure,
    })
}
