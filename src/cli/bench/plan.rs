//! What is meant by what was typed after `adit bench`.

use std::path::PathBuf;

use adit::bench::backend::Role;
use adit::bench::{Bulk, Churn, Handshake, Idle, Options, RoundTrip, Scenario, TlsOptions};
use adit::config::Address;
use adit::limits;
use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::args::{
    BackendArgs, BenchArgs, BenchCommand, CommonArgs, ExtentArgs, MixedArgs, PlaceArgs,
};
use crate::cli::args::{Args, CpusArg};

/// One thing to do.
#[derive(Debug)]
pub(crate) enum BenchPlan {
    Measure(Box<MeasurePlan>),
    Backend(BackendPlan),
}

/// A measurement, and where its figures go.
#[derive(Debug)]
pub(crate) struct MeasurePlan {
    pub(crate) options: Options,
    /// To be told that certificates are not verified.
    pub(crate) unverified: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) quiet: bool,
}

#[derive(Debug)]
pub(crate) struct BackendPlan {
    pub(crate) listeners: Vec<(Role, Address)>,
    pub(crate) threads: usize,
    pub(crate) cpus: Option<Vec<usize>>,
}

impl BenchArgs {
    /// The meaning of what was typed, or what does not go together in it.
    pub(crate) fn plan(self) -> Result<BenchPlan, clap::Error> {
        let measure = |scenario, common: CommonArgs, extent: ExtentArgs| {
            common
                .plan(scenario, &extent)
                .map(|plan| BenchPlan::Measure(Box::new(plan)))
        };
        match self.command {
            BenchCommand::Handshake(args) => {
                let scenario = Scenario::Handshake(Handshake {
                    lanes: args.lanes,
                    resume: args.resume,
                    echo: !args.no_echo,
                    rate: args.rate,
                });
                measure(scenario, args.common, args.extent)
            }
            BenchCommand::Bulk(args) => {
                if args.extent.count.is_some() && args.bytes.is_none() {
                    return Err(usage(
                        "--count needs --bytes SIZE: it counts transfers of that length",
                    ));
                }
                let scenario = Scenario::Bulk(Bulk {
                    direction: args.direction.into(),
                    streams: args.streams,
                    bytes: args.bytes,
                });
                measure(scenario, args.common, args.extent)
            }
            BenchCommand::Rr(args) => {
                let scenario = Scenario::RoundTrip(RoundTrip {
                    bytes: args.bytes,
                    tunnels: args.tunnels,
                    rate: args.rate,
                });
                measure(scenario, args.common, args.extent)
            }
            BenchCommand::Idle(args) => {
                let scenario = Scenario::Idle(Idle {
                    tunnels: args.tunnels,
                    hold: args.hold.into(),
                    echo: !args.no_echo,
                });
                measure(scenario, args.common, ExtentArgs::default())
            }
            BenchCommand::Churn(args) => {
                let scenario = Scenario::Churn(Churn {
                    lanes: args.lanes,
                    bytes: args.bytes,
                    resumed: args.resumed,
                    rate: args.rate,
                });
                measure(scenario, args.common, args.extent)
            }
            BenchCommand::Mixed(args) => {
                let extent = ExtentArgs {
                    count: None,
                    duration: args.duration,
                };
                measure(args.scenario(), args.common, extent)
            }
            BenchCommand::Backend(args) => args.plan().map(BenchPlan::Backend),
        }
    }
}

impl MixedArgs {
    fn scenario(&self) -> Scenario {
        let churn = Churn {
            lanes: self.lanes,
            bytes: self.bytes,
            resumed: self.resumed,
            rate: self.churn_rate,
        };
        let trip = RoundTrip {
            bytes: self.bytes,
            tunnels: self.tunnels,
            rate: self.rate,
        };
        let bulk = Bulk {
            direction: self.direction.into(),
            streams: self.streams,
            bytes: None,
        };
        Scenario::Mixed(churn, trip, bulk)
    }
}

impl CommonArgs {
    fn plan(self, scenario: Scenario, extent: &ExtentArgs) -> Result<MeasurePlan, clap::Error> {
        let lanes = scenario.lanes();
        let (threads, cpus) = self.place.plan()?;
        if threads > lanes {
            return Err(usage(&format!(
                "{threads} threads are more than the connections at a time, {lanes}; give more of \
                 these, or fewer --threads"
            )));
        }
        let tls = (!self.plain).then_some(TlsOptions {
            server_name: self.server_name,
            ca: self.ca,
            version: self.tls,
            cipher: self.cipher,
            group: self.group,
            signature: self.signature,
        });
        let unverified = !self.insecure && tls.as_ref().is_some_and(|tls| tls.ca.is_none());
        Ok(MeasurePlan {
            options: Options {
                scenario,
                target: self.target,
                tls,
                count: extent.count,
                duration: extent.duration.unwrap_or(limits::BENCH_DURATION),
                warmup: self.warmup.into(),
                timeout: self.timeout.into(),
                threads,
                cpus,
                pids: self.pid,
            },
            unverified,
            json: self.json,
            html: self.html,
            quiet: self.quiet,
        })
    }
}

impl BackendArgs {
    fn plan(self) -> Result<BackendPlan, clap::Error> {
        let of = |role, addresses: Vec<Address>| {
            addresses.into_iter().map(move |address| (role, address))
        };
        let listeners: Vec<_> = of(Role::Echo, self.echo)
            .chain(of(Role::Sink, self.sink))
            .chain(of(Role::Source, self.source))
            .collect();
        if listeners.is_empty() {
            return Err(usage("give at least one of --echo, --sink and --source"));
        }
        let (threads, cpus) = self.place.plan()?;
        Ok(BackendPlan {
            listeners,
            threads,
            cpus,
        })
    }
}

impl PlaceArgs {
    fn plan(&self) -> Result<(usize, Option<Vec<usize>>), clap::Error> {
        let cpus = self.cpus.as_ref().map(|CpusArg(cpus)| cpus.clone());
        let named = cpus.as_ref().map_or(1, Vec::len);
        let threads = self.threads.unwrap_or(named);
        if cpus.is_some() && threads > named {
            return Err(usage(&format!(
                "{threads} threads need as many CPUs, and --cpus names {named}"
            )));
        }
        Ok((threads, cpus))
    }
}

/// What does not go together, said as clap says the rest.
fn usage(message: &str) -> clap::Error {
    let mut command = Args::command();
    // It is there, since this is it.
    let bench = command.find_subcommand_mut("bench");
    match bench {
        Some(bench) => bench
            .clone()
            .bin_name("adit bench")
            .error(ErrorKind::ArgumentConflict, message),
        None => command.error(ErrorKind::ArgumentConflict, message),
    }
}
