//! The command line.
//!
//! What was typed ([`args`]) becomes what is meant ([`plan`]), and each plan
//! has a module that carries it out and says how it ended ([`exit`]).

mod args;
mod bench;
mod check;
mod convert;
mod demo;
mod endpoint;
mod exit;
mod generate;
mod human;
mod operator;
mod output;
mod places;
mod plan;
mod privileges;
mod reload;
mod run;
mod service;
mod signals;
mod source;
mod stats;
mod ticket_keys;
mod top;
mod upgrade;
mod watch;

use std::ffi::OsString;

use clap::Parser as _;

pub(crate) use exit::Exit;
use exit::Failure;
use plan::Plan;

/// Carries out what was typed. Everything that goes wrong has been said on
/// standard error when this returns.
pub(crate) fn main(typed: impl IntoIterator<Item = OsString>) -> Exit {
    let plan = args::Args::try_parse_from(typed).and_then(Plan::new);
    let done = match plan {
        Ok(plan) => carry_out(plan),
        Err(error) => {
            // Standard error may be closed; the exit code remains.
            let _ = error.print();
            // --help and --version are "errors" that end well.
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Clean
            };
        }
    };
    done.unwrap_or_else(|failure| {
        output::complain(&failure.message);
        failure.exit
    })
}

fn carry_out(plan: Plan) -> Result<Exit, Failure> {
    match plan {
        Plan::Demo(overrides) => demo::run(&overrides),
        Plan::Run(plan) => run::run(plan),
        Plan::Check(plan, format) => check::run(&plan, format),
        Plan::Test(plan) => check::test(&plan),
        Plan::Stats(plan) => stats::run(&plan),
        Plan::Reload(of, format) => reload::run(&of, format),
        Plan::Upgrade(of) => upgrade::run(&of),
        Plan::Top(args) => top::run(args),
        Plan::Operate(work) => operator::run(work),
        Plan::TicketKeys(command) => ticket_keys::run(command),
        Plan::Bench(plan) => bench::run(plan),
        Plan::Convert(plan) => convert::run(&plan),
        Plan::Completions(shell) => generate::completions(shell),
        Plan::Man => generate::man(),
    }
}
