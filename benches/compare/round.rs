//! The comparison: rounds in which every peer runs every scenario once.
//!
//! Within a round the peers of one scenario follow each other at once, so that
//! what the machine does meanwhile meets all of them alike, and begin with
//! another one in each round. Every run has a proxy of its own, freshly
//! started.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::certificate::{Certificate, Files, Key};
use crate::child::{Call, go_on};
use crate::crypto::Crypto;
use crate::generator::{Generator, Target};
use crate::machine::Machine;
use crate::peer::{self, Kind, Peer};
use crate::results::{Measured, Results, Sample};
use crate::role;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::settings::Place;
use crate::table;
use crate::text::figure;

/// How long the cryptography alone may take.
const CRYPTO_TIMEOUT: Duration = Duration::from_secs(60);

/// Measures, prints, and writes what was found.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let scenarios = Scenario::chosen(args)?;
    let folder = tempfile::Builder::new()
        .prefix("adit-compare-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let peers = Peer::find_all(args, folder.path())?;
    if let Some(name) = &args.baseline
        && !peers.iter().any(|peer| peer.name == *name)
    {
        return Err(format!("--baseline {name}: there is no such peer here"));
    }
    let field = Field::prepare(args, folder.path())?;
    let begin = Instant::now();
    let mut results = blank(args, peers);
    for scenario in &scenarios {
        let any = Target {
            address: ([127, 0, 0, 1], 0).into(),
            pid: 0,
            plain: false,
        };
        let line = field.generator.call(scenario, args.rate, any).line();
        let line = line.split(" --quiet").next().unwrap_or(&line).to_owned();
        results.scenarios.insert(scenario.name.into(), line);
    }
    for round in 1..=args.rounds {
        results.crypto.push(field.crypto(args)?);
        for (at, scenario) in scenarios.iter().enumerate() {
            let count = results.peers.len();
            for turn in 0..count {
                // Another one first in each scenario of each round.
                let peer = (turn + at + round as usize) % count;
                field.measure(args, round, scenario, peer, &mut results)?;
            }
        }
    }
    results.minutes = (begin.elapsed().as_secs_f64() / 6.0).round() / 10.0;
    let file = results.save(&args.out)?;
    table::publish(&results, args, &file)
}

/// Results without any.
fn blank(args: &Args, peers: Vec<Peer>) -> Results {
    let machine = Machine::here();
    Results {
        adit_compare: 1,
        name: args.name.clone().unwrap_or_else(|| machine.slug()),
        started: now(),
        minutes: 0.0,
        rounds: args.rounds,
        server_cpu: args.server_cpu,
        load_cpu: args.load_cpu,
        rate: args.rate,
        baseline: args.baseline.clone(),
        machine,
        peers,
        scenarios: BTreeMap::new(),
        crypto: Vec::new(),
        samples: Vec::new(),
    }
}

/// What stands ready before the first round.
struct Field<'a> {
    folder: &'a Path,
    generator: Generator,
    p256: Files,
    rsa: Files,
}

impl<'a> Field<'a> {
    fn prepare(args: &Args, folder: &'a Path) -> Result<Self, String> {
        if args.server_cpu == args.load_cpu {
            eprintln!(
                "proxy and load share CPU {}: figures will be worse",
                args.load_cpu
            );
        }
        Ok(Self {
            folder,
            generator: Generator::start(args, &[args.load_cpu], folder)?,
            p256: Certificate::make(Key::P256)?.write(folder, Key::P256.word())?,
            rsa: Certificate::make(Key::Rsa2048)?.write(folder, Key::Rsa2048.word())?,
        })
    }

    fn crypto(&self, args: &Args) -> Result<Crypto, String> {
        let call = Call::new(role::program()?, &[args.server_cpu]).arg(role::CRYPTO);
        let ended = call.run(self.folder, "crypto", CRYPTO_TIMEOUT)?;
        serde_json::from_str(&ended.out)
            .map_err(|error| format!("the cryptography alone: {error}: {}", ended.why()))
    }

    /// Runs one scenario against one peer and keeps the sample.
    fn measure(
        &self,
        args: &Args,
        round: u32,
        scenario: &Scenario,
        at: usize,
        results: &mut Results,
    ) -> Result<(), String> {
        let peer = &mut results.peers[at];
        if peer.kind == Kind::Floor && !scenario.plain {
            return Ok(());
        }
        let outcome = self.run_one(args, scenario, peer);
        go_on()?;
        let told = match &outcome {
            Ok(measured) => summary(scenario, measured),
            Err(error) => format!("FAILED: {error}"),
        };
        println!(
            "{round}/{} {:<13} {:<16} {told}",
            args.rounds, scenario.name, peer.name
        );
        let (measured, error) = match outcome {
            Ok(measured) => (Some(measured), None),
            Err(error) => (None, Some(error)),
        };
        results.samples.push(Sample {
            round,
            scenario: scenario.name.into(),
            peer: peer.name.clone(),
            error,
            measured,
        });
        Ok(())
    }

    fn run_one(
        &self,
        args: &Args,
        scenario: &Scenario,
        peer: &mut Peer,
    ) -> Result<Measured, String> {
        let folder = tempfile::tempdir_in(self.folder).map_err(|error| error.to_string())?;
        let place = Place {
            listen: peer::free_address()?,
            backend: self.generator.behind(scenario.behind),
            certificate: match scenario.key {
                Key::P256 => &self.p256,
                Key::Rsa2048 => &self.rsa,
            },
            folder: folder.path(),
            workers: 1,
            admin: None,
        };
        if peer.configuration.is_empty() {
            peer.configuration = peer.configuration(&place);
        }
        let child = peer
            .start(&place, &[args.server_cpu])
            .map_err(|error| format!("did not start: {error}"))?;
        let target = Target {
            address: place.listen,
            pid: child.pid(),
            plain: peer.kind == Kind::Floor,
        };
        self.generator.run(scenario, args.rate, target)
    }
}

/// The main figure of a sample, for whoever watches.
fn summary(scenario: &Scenario, measured: &Measured) -> String {
    let mut rows = Row::all()
        .iter()
        .filter(|row| row.scenario == scenario.name);
    let figures: Vec<_> = rows
        .by_ref()
        .filter_map(|row| Some((row, row.figure.of(measured)?)))
        .take(2)
        .map(|(row, value)| format!("{} {} {}", figure(value), row.unit, row.short))
        .collect();
    let rate = measured.operations as f64 / measured.seconds;
    let load = match measured.generator_bottleneck {
        true => "; the generator was at its limit",
        false => "",
    };
    let crowd = match measured.is_crowded() {
        true => "; it waited for its CPU",
        false => "",
    };
    format!("{} ({}/s{load}{crowd})", figures.join(", "), figure(rate))
}

/// This moment, in UTC (RFC 3339).
pub(crate) fn now() -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let text = time::OffsetDateTime::now_utc().format(&format);
    // The format has nothing in it that could fail for a date of ours.
    text.unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
}
