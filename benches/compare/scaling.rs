//! adit alone, over its shards: what is lost when there are more of them, what
//! they cost while nothing happens, and what a picture of their figures costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use adit::config::Address;
use adit::http::client;
use serde::Serialize;

use crate::args::Args;
use crate::certificate::{Certificate, Files, Key};
use crate::child::{Child, go_on};
use crate::generator::{Generator, Target};
use crate::machine::Machine;
use crate::peer::{self, Kind, Peer};
use crate::procfs;
use crate::results::{Measured, free_file};
use crate::round::now;
use crate::row::Row;
use crate::scenario::{Behind, Scenario};
use crate::settings::Place;
use crate::spread::Spread;
use crate::text::{figure, ratio};

/// The scenarios that are run with each number of shards.
const SCENARIOS: [&str; 6] = [
    "handshake",
    "resumed",
    "up-64",
    "down-64",
    "trip-1k",
    "trip-16k",
];
/// Shards of idle servers.
const IDLE: [usize; 5] = [1, 2, 16, 64, 128];
/// How long an idle server is watched, after it has settled.
const WATCH: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(1);
/// Pictures that are asked for, one after another.
const PICTURES: usize = 300;
const PICTURE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is kept in the results file.
#[derive(Debug, Serialize)]
struct Results {
    /// The format, 1.
    adit_scaling: u32,
    name: String,
    started: String,
    rounds: u32,
    machine: Machine,
    /// Whether load and shards had CPUs of their own.
    apart: bool,
    load_cpus: Vec<usize>,
    loaded: Vec<Loaded>,
    idle: Vec<Idle>,
}

/// One run under load.
#[derive(Debug, Serialize)]
struct Loaded {
    round: u32,
    scenario: &'static str,
    shards: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
}

/// One idle server.
#[derive(Debug, Serialize)]
struct Idle {
    round: u32,
    shards: usize,
    /// CPU time in a second, in ms.
    cpu_ms_per_s: f64,
    memory_bytes: u64,
    /// CPU time of the server for one picture of its figures, beyond the idle.
    picture_cpu_us: f64,
    /// How long the answer takes, from connecting to the last byte.
    picture_p50_us: f64,
    picture_p99_us: f64,
    picture_max_us: f64,
    picture_bytes: usize,
}

/// Measures, prints, and writes what was found.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("adit-compare-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let only = Args {
        peers: vec!["adit".into()],
        ..args.clone()
    };
    let found = Peer::find_all(&only, folder.path())?;
    let adit = found.iter().find(|peer| peer.kind == Kind::Adit);
    let adit = adit.ok_or("--scaling measures adit, which is not among the peers")?;

    let machine = Machine::here();
    let cpus = machine.cpus;
    // Half of the CPUs for the shards, if that leaves any for the load.
    let apart = cpus > 2;
    let most = if apart { cpus / 2 } else { cpus };
    let counts: Vec<_> = (0..).map(|n| 1 << n).take_while(|n| *n <= most).collect();
    let load_cpus: Vec<_> = if apart {
        (most..cpus).collect()
    } else {
        (0..cpus).collect()
    };
    let field = Field {
        folder: folder.path(),
        adit,
        generator: Generator::start(args, &load_cpus, folder.path())?,
        certificate: Certificate::make(Key::P256)?.write(folder.path(), "site")?,
    };
    let mut results = Results {
        adit_scaling: 1,
        name: args.name.clone().unwrap_or_else(|| machine.slug()),
        started: now(),
        rounds: args.rounds,
        machine,
        apart,
        load_cpus,
        loaded: Vec::new(),
        idle: Vec::new(),
    };
    for round in 1..=args.rounds {
        for name in SCENARIOS {
            for turn in 0..counts.len() {
                let shards = counts[(turn + round as usize) % counts.len()];
                results.loaded.push(field.load(args, round, name, shards)?);
            }
        }
        for shards in IDLE {
            results.idle.push(field.idle(round, shards)?);
        }
    }
    publish(&results, &args.out)
}

/// What stands ready before the first round.
struct Field<'a> {
    folder: &'a Path,
    adit: &'a Peer,
    generator: Generator,
    certificate: Files,
}

impl Field<'_> {
    fn load(
        &self,
        args: &Args,
        round: u32,
        name: &'static str,
        shards: usize,
    ) -> Result<Loaded, String> {
        let scenario = Scenario::named(name).ok_or("no such scenario")?;
        let cpus: Vec<_> = (0..shards).collect();
        let outcome = self.start(shards, &cpus, scenario.behind, |child, place| {
            let target = Target {
                address: place.listen,
                pid: child.pid(),
                plain: false,
            };
            self.generator.run(scenario, args.rate, target)
        });
        go_on()?;
        let told = match &outcome {
            Ok(measured) => format!(
                "{} ms of CPU, {} operations/s",
                figure(measured.cpu_seconds * 1e3),
                figure(measured.operations as f64 / measured.seconds)
            ),
            Err(error) => format!("FAILED: {error}"),
        };
        println!("{round} {name:<10} {shards:>3} shards  {told}");
        let (measured, error) = match outcome {
            Ok(measured) => (Some(measured), None),
            Err(error) => (None, Some(error)),
        };
        Ok(Loaded {
            round,
            scenario: scenario.name,
            shards,
            error,
            measured,
        })
    }

    fn idle(&self, round: u32, shards: usize) -> Result<Idle, String> {
        let found = self.start(shards, &peer::all_cpus(), Behind::Echo, |child, place| {
            let pid = child.pid();
            thread::sleep(SETTLE);
            let (cpu, begin) = (procfs::cpu(pid), Instant::now());
            thread::sleep(WATCH);
            let idle = (procfs::cpu(pid) - cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
            let memory = procfs::memory(pid).ok_or("has ended")?;
            let pictures = Pictures::take(pid, place, idle)?;
            Ok(Idle {
                round,
                shards,
                cpu_ms_per_s: idle * 1e3,
                memory_bytes: memory,
                picture_cpu_us: pictures.cpu * 1e6 / PICTURES as f64,
                picture_p50_us: pictures.at(0.5),
                picture_p99_us: pictures.at(0.99),
                picture_max_us: pictures.at(1.0),
                picture_bytes: pictures.bytes,
            })
        })?;
        go_on()?;
        println!(
            "{round} idle       {shards:>3} shards  {} ms of CPU a second; a picture: {} µs of \
             CPU, answered in {} µs",
            figure(found.cpu_ms_per_s),
            figure(found.picture_cpu_us),
            figure(found.picture_p50_us)
        );
        Ok(found)
    }

    /// Starts adit with so many shards, and ends it after the work.
    fn start<T>(
        &self,
        shards: usize,
        cpus: &[usize],
        behind: Behind,
        work: impl FnOnce(&Child, &Place<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let folder = tempfile::tempdir_in(self.folder).map_err(|error| error.to_string())?;
        let admin = folder.path().join("admin.sock");
        let place = Place {
            listen: peer::free_address()?,
            backend: self.generator.behind(behind),
            certificate: &self.certificate,
            folder: folder.path(),
            workers: shards,
            admin: Some(&admin),
        };
        let child = self.adit.start(&place, cpus)?;
        work(&child, &place)
    }
}

/// Pictures of a server's figures, as `adit stats` asks for them.
struct Pictures {
    /// Seconds of the server's CPU time that its idling does not account for.
    cpu: f64,
    /// µs, in order.
    took: Vec<f64>,
    bytes: usize,
}

impl Pictures {
    fn take(pid: u32, place: &Place<'_>, idle: f64) -> Result<Self, String> {
        let socket = place.admin.ok_or("has no admin socket")?;
        let address = Address::Unix(socket.to_owned());
        let mut took = Vec::with_capacity(PICTURES);
        let mut bytes = 0;
        let (cpu, begin) = (procfs::cpu(pid), Instant::now());
        for _ in 0..PICTURES {
            let asked = Instant::now();
            let answer = client::get(&address, "/stats", PICTURE_TIMEOUT)
                .map_err(|error| format!("no figures: {error}"))?;
            took.push(asked.elapsed().as_secs_f64() * 1e6);
            if answer.status != 200 {
                return Err(format!("no figures: status {}", answer.status));
            }
            bytes = answer.body.len();
        }
        let spent = (procfs::cpu(pid) - cpu).as_secs_f64();
        took.sort_by(f64::total_cmp);
        Ok(Self {
            cpu: (spent - idle * begin.elapsed().as_secs_f64()).max(0.0),
            took,
            bytes,
        })
    }

    fn at(&self, quantile: f64) -> f64 {
        self.took[(quantile * (self.took.len() - 1) as f64) as usize]
    }
}

fn publish(results: &Results, folder: &Path) -> Result<(), String> {
    let stem = format!("{}-{}-scaling", &results.started[..10], results.name);
    let file = free_file(folder, &stem)?;
    let json = serde_json::to_string_pretty(results).map_err(|error| error.to_string())?;
    let text = markdown(results);
    for (file, text) in [(&file, &json), (&file.with_extension("md"), &text)] {
        fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    println!("\n{text}\n{}, and beside it .md", file.display());
    Ok(())
}

fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "# {}, {}: over shards\n\n{}, {} CPUs, Linux {}; adit at {}. {} rounds; each figure is \
         their median (least to greatest).\n\n## Under load\n\n",
        results.name,
        &results.started[..10],
        machine.cpu,
        machine.cpus,
        machine.kernel,
        machine.commit,
        results.rounds
    );
    text += if results.apart {
        "Each shard has a CPU of its own, the generator and the backend have others. Throughput \
         is what the server gave only where the generator was not at its limit.\n"
    } else {
        "There are only as many CPUs as shards, so that the generator and the backend share them \
         with the server: **throughput on this machine tells nothing of scaling**. What can be told \
         is the server's CPU time for the same work: what more of it is used with more shards is \
         lost inside, in contention, in caches that are shared, or, and this cannot be told apart \
         here, in the generator's displacing what the server had in them.\n"
    };
    text += "\n| | shards | the server's CPU | per operation, to one shard | efficiency | operations/s, all |\n|---|---:|---:|---:|---:|---:|\n";
    for name in SCENARIOS {
        load_lines(results, name, &mut text);
    }
    text += "\n## Idle, and asked for figures\n\nUnpinned beyond as many shards as CPUs; no \
             connection. A picture is one `GET /stats` over the admin socket, by a new connection, \
             which asks every shard.\n\n| shards | CPU, ms a second | memory, MB | picture: CPU µs | \
             p50 µs | p99 µs | greatest µs | bytes |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for shards in IDLE {
        let of = |get: fn(&Idle) -> f64| {
            let idle = results.idle.iter().filter(|idle| idle.shards == shards);
            Spread::of(idle.map(get)).map_or_else(|| "–".into(), |spread| with_spread(&spread))
        };
        let _ = writeln!(
            text,
            "| {shards} | {} | {} | {} | {} | {} | {} | {} |",
            of(|idle| idle.cpu_ms_per_s),
            of(|idle| idle.memory_bytes as f64 / 1e6),
            of(|idle| idle.picture_cpu_us),
            of(|idle| idle.picture_p50_us),
            of(|idle| idle.picture_p99_us),
            of(|idle| idle.picture_max_us),
            results
                .idle
                .iter()
                .find(|idle| idle.shards == shards)
                .map_or(0, |idle| idle.picture_bytes),
        );
    }
    text
}

/// The lines of one scenario, one for each number of shards.
fn load_lines(results: &Results, name: &str, text: &mut String) {
    let Some(row) = Row::all().iter().find(|row| row.scenario == name) else {
        return;
    };
    let mut by_shards: BTreeMap<usize, Vec<(u32, f64, f64)>> = BTreeMap::new();
    for loaded in results
        .loaded
        .iter()
        .filter(|loaded| loaded.scenario == name)
    {
        let found = by_shards.entry(loaded.shards).or_default();
        if let Some(measured) = &loaded.measured {
            let rate = match measured.bytes {
                0 => measured.operations as f64,
                bytes if row.unit == "ns/KiB" => bytes as f64 / 1024.0,
                _ => measured.operations as f64,
            } / measured.seconds;
            if let Some(cost) = row.figure.of(measured) {
                found.push((loaded.round, cost, rate));
            }
        }
    }
    let one = by_shards.get(&1).cloned().unwrap_or_default();
    for (shards, found) in &by_shards {
        let Some(cost) = Spread::of(found.iter().map(|(_, cost, _)| *cost)) else {
            let _ = writeln!(text, "| {} | {shards} | failed | – | – | – |", row.title);
            continue;
        };
        let to_one = Spread::of(found.iter().filter_map(|(round, cost, _)| {
            let (_, single, _) = one.iter().find(|(other, ..)| other == round)?;
            Some(cost / single)
        }));
        let rate = Spread::of(found.iter().map(|(_, _, rate)| *rate));
        let _ = writeln!(
            text,
            "| {} | {shards} | {} {} | {} | {} | {}{} |",
            row.title,
            with_spread(&cost),
            row.unit,
            to_one.map_or_else(|| "–".into(), |spread| ratio(spread.median)),
            to_one.map_or_else(|| "–".into(), |spread| ratio(1.0 / spread.median)),
            rate.map_or_else(|| "–".into(), |spread| figure(spread.median)),
            if row.unit == "ns/KiB" { " KiB" } else { "" },
        );
    }
}

fn with_spread(spread: &Spread) -> String {
    format!(
        "{} ({}–{})",
        figure(spread.median),
        figure(spread.min),
        figure(spread.max)
    )
}
