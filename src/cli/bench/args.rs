//! What can be typed after `adit bench`, and what it means.

use std::path::PathBuf;
use std::time::Duration;

use adit::bench::backend::Role;
use adit::bench::{
    Bulk, Churn, Cipher, Direction, Group, Handshake, Idle, Options, RoundTrip, Scenario,
    Signature, TlsOptions, Version,
};
use adit::config::{Address, parse_cpu_list};
use adit::limits;
use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Subcommand, ValueEnum, ValueHint};

use crate::cli::args::CpusArg;

/// `adit bench`
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum BenchPlan {
    Measure(MeasurePlan),
    Backend(BackendPlan),
}

/// A measurement, and where its figures go.
#[derive(Debug)]
pub(crate) struct MeasurePlan {
    pub(crate) options: Options,
    /// To be told that certificates are not verified.
    pub(crate) unverified: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) quiet: bool,
}

#[derive(Debug)]
pub(crate) struct BackendPlan {
    pub(crate) listeners: Vec<(Role, Address)>,
    pub(crate) threads: usize,
    pub(crate) cpus: Option<Vec<usize>>,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Connect, shake hands, send a byte and await it back, close; again and again
    Handshake(HandshakeArgs),
    /// Send or receive bytes, as many as will go
    Bulk(BulkArgs),
    /// Send some bytes and await them back, again and again on the same tunnels
    Rr(RrArgs),
    /// Open tunnels and hold them
    Idle(IdleArgs),
    /// As handshake, with more bytes, and full and resumed handshakes mixed
    Churn(ChurnArgs),
    /// Churn, rr and bulk beside each other
    Mixed(MixedArgs),
    /// Serve plaintext behind the server that is measured
    Backend(BackendArgs),
}

#[derive(Debug, Args)]
struct HandshakeArgs {
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    lanes: usize,
    /// Keep sessions and resume them; the first handshakes do not count
    #[arg(long, conflicts_with = "plain")]
    resume: bool,
    /// Leave the byte out
    #[arg(long)]
    no_echo: bool,
    /// So many operations a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    extent: ExtentArgs,
}

#[derive(Debug, Args)]
struct BulkArgs {
    /// Up: to a server that reads. Down: from one that sends of itself
    #[arg(long, value_enum, default_value = "up")]
    direction: DirectionArg,
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    streams: usize,
    /// End each transfer after so many bytes, one for each stream unless there is a --count
    #[arg(long, value_name = "SIZE", value_parser = parse_transfer, conflicts_with = "duration")]
    bytes: Option<u64>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    extent: ExtentArgs,
}

#[derive(Debug, Args)]
struct RrArgs {
    /// Bytes in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    bytes: u64,
    /// Tunnels at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    tunnels: usize,
    /// So many round trips a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    extent: ExtentArgs,
}

#[derive(Debug, Args)]
struct IdleArgs {
    /// How many tunnels
    #[arg(short, long, value_name = "N", default_value = "1000", value_parser = parse_lanes)]
    tunnels: usize,
    /// For how long, once all are open
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_HOLD), value_parser = parse_duration)]
    hold: humantime::Duration,
    /// Send no byte over them
    #[arg(long)]
    no_echo: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ChurnArgs {
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "16", value_parser = parse_lanes)]
    lanes: usize,
    /// Bytes in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    bytes: u64,
    /// The part of the connections that offer a session to resume
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = parse_part)]
    resumed: f64,
    /// So many connections a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    extent: ExtentArgs,
}

#[derive(Debug, Args)]
struct MixedArgs {
    /// Connections of churn at a time
    #[arg(short, long, value_name = "N", default_value = "4", value_parser = parse_lanes_or_none)]
    lanes: usize,
    /// The part of them that offer a session to resume
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = parse_part)]
    resumed: f64,
    /// Tunnels of rr at a time
    #[arg(short, long, value_name = "N", default_value = "16", value_parser = parse_lanes_or_none)]
    tunnels: usize,
    /// Bytes of churn and of rr, in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    bytes: u64,
    /// Streams of bulk at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes_or_none)]
    streams: usize,
    /// Which way bulk goes. Up: what an echo sends back is read and thrown away
    #[arg(long, value_enum, default_value = "up")]
    direction: DirectionArg,
    /// So many connections of churn a second
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    churn_rate: Option<f64>,
    /// So many round trips a second
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How long to measure [default: 10s]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_extent)]
    duration: Option<Duration>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct BackendArgs {
    /// Here, send everything back
    #[arg(long, value_name = "ADDR")]
    echo: Vec<Address>,
    /// Here, read to the end, then close
    #[arg(long, value_name = "ADDR")]
    sink: Vec<Address>,
    /// Here, send until the connection is closed
    #[arg(long, value_name = "ADDR")]
    source: Vec<Address>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the generator runs.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// Executors, each on a thread of its own [default: 1, or one on each of --cpus]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// The CPUs to run on, such as 0-3,8 [default: as the kernel likes]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cpus: Option<CpusArg>,
}

/// When a measurement ends.
#[derive(Debug, Args)]
struct ExtentArgs {
    /// End after so many operations, failed ones included
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to measure [default: 10s]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_extent)]
    duration: Option<Duration>,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// The server: HOST:PORT, [v6]:PORT or unix:/path
    #[arg(value_name = "TARGET")]
    target: Address,
    /// Speak TCP without TLS
    #[arg(long, conflicts_with_all = ["server_name", "ca", "insecure", "tls", "cipher", "group", "signature"])]
    plain: bool,
    /// The name to ask for
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    server_name: String,
    /// Verify the server's certificate against those in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Take any certificate, and do not mention it
    #[arg(long)]
    insecure: bool,
    /// Offer this version alone: 1.2 or 1.3
    #[arg(long, value_name = "VERSION")]
    tls: Option<Version>,
    /// Offer this cipher suite alone, such as TLS_AES_128_GCM_SHA256
    #[arg(long, value_name = "NAME")]
    cipher: Option<Cipher>,
    /// Offer this key exchange group alone, such as x25519
    #[arg(long, value_name = "NAME")]
    group: Option<Group>,
    /// Offer this kind of signature alone: ecdsa, rsa or ed25519
    #[arg(long, value_name = "KIND")]
    signature: Option<Signature>,
    /// How long to do the same before it counts
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_WARMUP), value_parser = parse_duration)]
    warmup: humantime::Duration,
    /// After how long an operation has failed
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_TIMEOUT), value_parser = parse_timeout)]
    timeout: humantime::Duration,
    #[command(flatten)]
    place: PlaceArgs,
    /// Read what this process of the server uses, with its children; may be repeated
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Write the figures as JSON to this file; - is standard output, with nothing else on it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Show nothing on the terminal but errors
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DirectionArg {
    Up,
    Down,
}

impl From<DirectionArg> for Direction {
    fn from(direction: DirectionArg) -> Self {
        match direction {
            DirectionArg::Up => Self::Up,
            DirectionArg::Down => Self::Down,
        }
    }
}

impl BenchArgs {
    /// The meaning of what was typed, or what does not go together in it.
    pub(crate) fn plan(self) -> Result<BenchPlan, clap::Error> {
        let measure = |scenario, common: CommonArgs, extent: ExtentArgs| {
            common.plan(scenario, &extent).map(BenchPlan::Measure)
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

impl Default for ExtentArgs {
    fn default() -> Self {
        Self {
            count: None,
            duration: None,
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
        let tls = (!self.plain).then(|| TlsOptions {
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
    let mut command = crate::cli::args::Args::command();
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

fn duration(duration: Duration) -> humantime::Duration {
    duration.into()
}

fn parse_duration(text: &str) -> Result<humantime::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= limits::TIMEOUT_MAX => Ok(duration.into()),
        Ok(_) => Err(format!(
            "the longest is {}",
            humantime::format_duration(limits::TIMEOUT_MAX)
        )),
        Err(_) => Err("write a number with its unit, such as 500ms, 10s or 5min".into()),
    }
}

fn parse_timeout(text: &str) -> Result<humantime::Duration, String> {
    parse_duration(text).and_then(|duration| match duration.is_zero() {
        true => Err("write more than nothing, such as 10s".into()),
        false => Ok(duration),
    })
}

fn parse_extent(text: &str) -> Result<Duration, String> {
    parse_timeout(text).map(Into::into)
}

fn parse_lanes(text: &str) -> Result<usize, String> {
    match parse_lanes_or_none(text) {
        Ok(0) | Err(_) => Err(format!(
            "write a number from 1 to {}",
            limits::BENCH_LANES_MAX
        )),
        lanes => lanes,
    }
}

fn parse_lanes_or_none(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|lanes| *lanes <= limits::BENCH_LANES_MAX)
        .ok_or_else(|| format!("write a number from 0 to {}", limits::BENCH_LANES_MAX))
}

fn parse_threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=limits::BENCH_THREADS_MAX).contains(threads))
        .ok_or_else(|| format!("write a number from 1 to {}", limits::BENCH_THREADS_MAX))
}

fn parse_cpus(text: &str) -> Result<CpusArg, String> {
    parse_cpu_list(text).map(CpusArg)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| *rate > 0.0 && *rate <= limits::BENCH_RATE_MAX)
        .ok_or_else(|| {
            format!(
                "write a number, more than 0 and up to {}",
                limits::BENCH_RATE_MAX
            )
        })
}

fn parse_part(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|part: &f64| (0.0..=1.0).contains(part))
        .ok_or_else(|| "write a number from 0 to 1".into())
}

fn size(text: &str) -> Option<u64> {
    text.parse().ok().map(|ByteSize(bytes)| bytes)
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    size(text)
        .filter(|bytes| (1..=limits::BENCH_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            format!(
                "write a size from 1 to {}, such as 100 or 16KiB",
                limits::BENCH_BYTES_MAX
            )
        })
}

fn parse_transfer(text: &str) -> Result<u64, String> {
    size(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a size, such as 100MiB or 2GiB".into())
}
