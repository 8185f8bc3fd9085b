//! What an operator has a running server do, one command at a time: `adit
//! tunnels`, `close`, `drain`, `backend` and `shards`.

mod args;
mod backend;
mod close;
mod drain;
mod shards;
mod tunnels;

pub(crate) use args::{BackendCommand, CloseArgs, DrainArgs, ShardsArgs, TunnelsArgs};
pub(crate) use backend::{check, state};

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output;

/// One of these commands.
#[derive(Debug)]
pub(crate) enum Work {
    Tunnels(TunnelsArgs),
    Close(CloseArgs),
    Drain(DrainArgs),
    Backend(BackendCommand),
    Shards(ShardsArgs),
}

pub(crate) fn run(work: Work) -> Result<Exit, Failure> {
    match work {
        Work::Tunnels(args) => tunnels::run(args),
        Work::Close(args) => close::run(args),
        Work::Drain(args) => drain::run(args),
        Work::Backend(command) => backend::run(command),
        Work::Shards(args) => shards::run(args),
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let pretty =
        serde_json::to_string_pretty(value).map_err(|error| Failure::runtime(error.to_string()))?;
    output::print(&format!("{pretty}\n"))
}

/// Says on standard error that an answer is not whole.
fn note_silent(silent: &[usize]) {
    if !silent.is_empty() {
        let numbers: Vec<String> = silent.iter().map(usize::to_string).collect();
        output::note(&format!(
            "without shards that did not answer in time: {}",
            numbers.join(", ")
        ));
    }
}
