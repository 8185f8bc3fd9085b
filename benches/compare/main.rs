//! adit beside its peers: what each costs the machine, for the same work.
//!
//! One command, `cargo bench --bench compare`, starts adit and every peer that
//! the machine has, one after another, each with one worker on one CPU, and
//! `adit bench` as generator and backend on another. `benches/README.md` says
//! how to run it and how to read what it prints.
//!
//! A [`Peer`](peer::Peer) is started with the [`settings`] of its kind, runs
//! every [`Scenario`](scenario::Scenario) through the
//! [`Generator`](generator::Generator), and each run is one
//! [`Sample`](results::Sample) of the [`Results`](results::Results), from which
//! [`row`] makes figures, and [`table`], [`plot`] and [`readme`] what is read.
//! [`floor`] is the plain TCP proxy and [`crypto`] the cryptography alone, which
//! no TLS proxy can undercut. [`scaling`] measures adit alone, over its shards.
//!
//! The program calls itself for some of its children, see [`role`].

mod args;
mod certificate;
mod child;
mod crypto;
mod floor;
mod generator;
mod machine;
mod peer;
mod plot;
mod procfs;
mod readme;
mod results;
mod role;
mod round;
mod row;
mod scaling;
mod scenario;
mod settings;
mod spread;
mod table;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;

fn main() -> ExitCode {
    if let Some(outcome) = role::play() {
        return finish(outcome);
    }
    let args = Args::parse();
    finish(run(&args))
}

fn run(args: &Args) -> Result<(), String> {
    if let Some(file) = &args.render {
        return table::publish(&results::Results::load(file)?, args, file);
    }
    if args.only == ["list"] {
        println!("{}", scenario::Scenario::list());
        return Ok(());
    }
    child::stop_on_signals()?;
    if args.scaling {
        scaling::run(args)
    } else {
        round::run(args)
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
