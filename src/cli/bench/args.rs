//! What can be typed after `adit bench`. Each value is checked on its own here;
//! what they mean together is [`BenchPlan`](super::plan::BenchPlan)'s to say.

use std::path::PathBuf;
use std::time::Duration;

use adit::bench::{Cipher, Direction, Group, Signature, Version};
use adit::config::{Address, parse_cpu_list};
use adit::limits;
use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum, ValueHint};

use crate::cli::args::CpusArg;

/// `adit bench`
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(super) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
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
pub(super) struct HandshakeArgs {
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    pub(super) lanes: usize,
    /// Keep sessions and resume them; the first handshakes do not count
    #[arg(long, conflicts_with = "plain")]
    pub(super) resume: bool,
    /// Leave the byte out
    #[arg(long)]
    pub(super) no_echo: bool,
    /// So many operations a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    #[command(flatten)]
    pub(super) extent: ExtentArgs,
}

#[derive(Debug, Args)]
pub(super) struct BulkArgs {
    /// Up: to a server that reads. Down: from one that sends of itself
    #[arg(long, value_enum, default_value = "up")]
    pub(super) direction: DirectionArg,
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    pub(super) streams: usize,
    /// End each transfer after so many bytes, one for each stream unless there is a --count
    #[arg(long, value_name = "SIZE", value_parser = parse_transfer, conflicts_with = "duration")]
    pub(super) bytes: Option<u64>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    #[command(flatten)]
    pub(super) extent: ExtentArgs,
}

#[derive(Debug, Args)]
pub(super) struct RrArgs {
    /// Bytes in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    pub(super) bytes: u64,
    /// Tunnels at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes)]
    pub(super) tunnels: usize,
    /// So many round trips a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    #[command(flatten)]
    pub(super) extent: ExtentArgs,
}

#[derive(Debug, Args)]
pub(super) struct IdleArgs {
    /// How many tunnels
    #[arg(short, long, value_name = "N", default_value = "1000", value_parser = parse_lanes)]
    pub(super) tunnels: usize,
    /// For how long, once all are open
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_HOLD), value_parser = parse_duration)]
    pub(super) hold: humantime::Duration,
    /// Send no byte over them
    #[arg(long)]
    pub(super) no_echo: bool,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ChurnArgs {
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "16", value_parser = parse_lanes)]
    pub(super) lanes: usize,
    /// Bytes in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    pub(super) bytes: u64,
    /// The part of the connections that offer a session to resume
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = parse_part)]
    pub(super) resumed: f64,
    /// So many connections a second, whatever becomes of those before
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    #[command(flatten)]
    pub(super) extent: ExtentArgs,
}

#[derive(Debug, Args)]
pub(super) struct MixedArgs {
    /// Connections of churn at a time
    #[arg(short, long, value_name = "N", default_value = "4", value_parser = parse_lanes_or_none)]
    pub(super) lanes: usize,
    /// The part of them that offer a session to resume
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = parse_part)]
    pub(super) resumed: f64,
    /// Tunnels of rr at a time
    #[arg(short, long, value_name = "N", default_value = "16", value_parser = parse_lanes_or_none)]
    pub(super) tunnels: usize,
    /// Bytes of churn and of rr, in each direction
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    pub(super) bytes: u64,
    /// Streams of bulk at a time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = parse_lanes_or_none)]
    pub(super) streams: usize,
    /// Which way bulk goes. Up: what an echo sends back is read and thrown away
    #[arg(long, value_enum, default_value = "up")]
    pub(super) direction: DirectionArg,
    /// So many connections of churn a second
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(super) churn_rate: Option<f64>,
    /// So many round trips a second
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,
    /// How long to measure [default: 10s]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_extent)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct BackendArgs {
    /// Here, send everything back
    #[arg(long, value_name = "ADDR")]
    pub(super) echo: Vec<Address>,
    /// Here, read to the end, then close
    #[arg(long, value_name = "ADDR")]
    pub(super) sink: Vec<Address>,
    /// Here, send until the connection is closed
    #[arg(long, value_name = "ADDR")]
    pub(super) source: Vec<Address>,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// Where the generator runs.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Executors, each on a thread of its own [default: 1, or one on each of --cpus]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(super) threads: Option<usize>,
    /// The CPUs to run on, such as 0-3,8 [default: as the kernel likes]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(super) cpus: Option<CpusArg>,
}

/// When a measurement ends.
#[derive(Debug, Default, Args)]
pub(super) struct ExtentArgs {
    /// End after so many operations, failed ones included
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// How long to measure [default: 10s]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_extent)]
    pub(super) duration: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// The server: HOST:PORT, [v6]:PORT or unix:/path
    #[arg(value_name = "TARGET")]
    pub(super) target: Address,
    /// Speak TCP without TLS
    #[arg(help_heading = "TLS", long, conflicts_with_all = ["server_name", "ca", "insecure", "tls", "cipher", "group", "signature"])]
    pub(super) plain: bool,
    /// The name to ask for
    #[arg(
        help_heading = "TLS",
        long,
        value_name = "NAME",
        default_value = "localhost"
    )]
    pub(super) server_name: String,
    /// Verify the server's certificate against those in this file
    #[arg(help_heading = "TLS", long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,
    /// Take any certificate, and do not mention it
    #[arg(help_heading = "TLS", long)]
    pub(super) insecure: bool,
    /// Offer this version alone: 1.2 or 1.3
    #[arg(help_heading = "TLS", long, value_name = "VERSION")]
    pub(super) tls: Option<Version>,
    /// Offer this cipher suite alone, such as TLS_AES_128_GCM_SHA256
    #[arg(help_heading = "TLS", long, value_name = "NAME")]
    pub(super) cipher: Option<Cipher>,
    /// Offer this key exchange group alone, such as x25519
    #[arg(help_heading = "TLS", long, value_name = "NAME")]
    pub(super) group: Option<Group>,
    /// Offer this kind of signature alone: ecdsa, rsa or ed25519
    #[arg(help_heading = "TLS", long, value_name = "KIND")]
    pub(super) signature: Option<Signature>,
    /// How long to do the same before it counts
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_WARMUP), value_parser = parse_duration)]
    pub(super) warmup: humantime::Duration,
    /// After how long an operation has failed
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits::BENCH_TIMEOUT), value_parser = parse_timeout)]
    pub(super) timeout: humantime::Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Read what this process of the server uses, with its children; may be repeated
    #[arg(help_heading = "Figures", long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pid: Vec<u32>,
    /// Write the figures as JSON to this file; - is standard output, with nothing else on it
    #[arg(help_heading = "Figures", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) json: Option<PathBuf>,
    /// Write a page with plots to this file
    #[arg(help_heading = "Figures", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) html: Option<PathBuf>,
    /// Show nothing on the terminal but errors
    #[arg(help_heading = "Figures", short, long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DirectionArg {
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
