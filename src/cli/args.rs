//! What can be typed. Each value is checked on its own here; what they mean
//! together is [`Plan`](super::plan::Plan)'s to say.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use adit::config::{Address, AddressError, Placement, parse_cpu_list, parse_number_list};
use adit::limits;
use adit::tls::KeySize;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use log::LevelFilter;
use rustls::pki_types::ServerName;

use super::Exit;
use super::bench::BenchArgs;
use super::operator::{BackendCommand, CloseArgs, DrainArgs, ShardsArgs, TunnelsArgs};
use super::top::TopArgs;

/// What the program does when it is told nothing.
pub(crate) const DEMONSTRATION: &str = "\
Without a word on what to serve (--config, or --listen and --backend) adit runs a demonstration: \
a certificate for localhost made on the spot, a listener on 127.0.0.1:8443, and behind it a page \
that shows the tunnel's own figures.";

static AFTER_HELP: LazyLock<String> =
    LazyLock::new(|| format!("{DEMONSTRATION}\n\n{}", *AFTER_HELP_OF_RUN));

static AFTER_HELP_OF_RUN: LazyLock<String> = LazyLock::new(|| {
    let mut text = "\
The options from --shards to --no-watch win over the configuration file.

Without a configuration file:
  adit --listen '*:443' --backend 127.0.0.1:8080 --cert site.pem --key site.key
  adit --client --listen 127.0.0.1:8080 --backend example.org:443

Exit codes:
"
    .to_owned();
    for exit in Exit::ALL {
        text += &format!("  {}  {}\n", exit as u8, exit.meaning());
    }
    text
});

/// A TLS front door: accepts TLS on every core, carries the plaintext to a backend
#[derive(Debug, Parser)]
#[command(
    name = "adit",
    version,
    after_help = AFTER_HELP.as_str(),
    override_usage = "adit [run] [OPTIONS]\n       adit <COMMAND>",
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Commands",
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, until told to stop (the default command)
    #[command(after_help = AFTER_HELP_OF_RUN.as_str())]
    Run(RunArgs),
    /// Check the configuration, the certificates and the machine; binds nothing
    Check(CheckArgs),
    /// Show a running server's figures
    Stats(StatsArgs),
    /// Watch a running server, live
    Top(TopArgs),
    /// List a running server's open tunnels
    Tunnels(TunnelsArgs),
    /// Show how a running server's shards are doing
    Shards(ShardsArgs),
    /// Show backends, and take them out of service and back
    #[command(arg_required_else_help = true)]
    Backend {
        #[command(subcommand)]
        command: BackendCommand,
    },
    /// End open tunnels, one by one
    Close(CloseArgs),
    /// Have a running server read its configuration, certificates and keys again
    Reload(ReloadArgs),
    /// Have a running server leave its work to a new process of its program, without closing a
    /// listener
    Upgrade(TargetArgs),
    /// Have a running server stop as SIGTERM does: open tunnels may end
    Drain(DrainArgs),
    /// Make and rotate files of session ticket keys
    #[command(arg_required_else_help = true)]
    TicketKeys {
        #[command(subcommand)]
        command: TicketKeysCommand,
    },
    /// Load a server, any that speaks TLS or TCP, and measure it
    Bench(BenchArgs),
    /// Print another program's configuration as one for adit
    Convert(ConvertArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// Check as "adit check" does, and exit
    #[arg(long)]
    pub(crate) test: bool,
}

/// Where the configuration comes from.
#[derive(Debug, ClapArgs)]
pub(crate) struct SourceArgs {
    /// Read the configuration from this file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Accept TLS here, or plaintext with --client: HOST:PORT, [v6]:PORT, *:PORT, unix:/path, or
    /// systemd:NAME for the sockets of a socket unit
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) listen: Option<Address>,
    /// Carry the bytes there, in plaintext, or in TLS with --client: HOST:PORT, [v6]:PORT or
    /// unix:/path
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) backend: Option<Address>,
    /// The certificate chain in PEM, leaf first; or a directory of such files. It can be given
    /// several times: clients get the one that is for the name they ask for. With --client, the
    /// certificate that is shown to the backend
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) cert: Vec<PathBuf>,
    /// The private key in PEM; may be left out if it is in the --cert file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// The other way round: accept plaintext, and speak TLS to the backend
    #[arg(long)]
    pub(crate) client: bool,
    /// With --client: the authorities that the backend is verified by, in PEM [default: those that
    /// the system trusts]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// With --client: the name that the backend's certificate must be for [default: the host of
    /// --backend]
    #[arg(long, value_name = "NAME", value_parser = parse_server_name)]
    pub(crate) server_name: Option<String>,
    /// Application protocols, the most wanted first, such as h2,http/1.1 [default: none]
    #[arg(long, value_name = "LIST", value_parser = parse_alpn)]
    pub(crate) alpn: Option<AlpnArg>,
    /// Append the secrets of every session to this file, for debugging: whoever reads it can read
    /// all traffic. Without a value, the file that SSLKEYLOGFILE names
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = parse_key_log,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) key_log: Option<KeyLogArg>,
}

/// What wins over the configuration file.
#[derive(Debug, Default, Clone, ClapArgs)]
pub(crate) struct OverrideArgs {
    /// How many shards: a number, or auto for one on each CPU [default: auto]
    #[arg(long, value_name = "N|auto", value_parser = parse_shards)]
    pub(crate) shards: Option<ShardsArg>,
    /// The CPUs to run on, such as 0-3,8 [default: all that adit may use]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(crate) cpus: Option<CpusArg>,
    /// Only CPUs of these NUMA nodes, such as 0 or 0-1 [default: of any]
    #[arg(long, value_name = "LIST", value_parser = parse_nodes)]
    pub(crate) nodes: Option<NumbersArg>,
    /// Only CPUs of these cache domains, as "adit check" counts them [default: of any]
    #[arg(long, value_name = "LIST", value_parser = parse_caches)]
    pub(crate) caches: Option<NumbersArg>,
    /// What each shard gets [default: auto]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) placement: Option<PlacementArg>,
    /// The least severe log lines to write [default: info]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) log_level: Option<LevelArg>,
    /// Log to the system's syslog daemon, wherever the file has it log
    #[arg(long)]
    pub(crate) syslog: bool,
    /// The Unix socket for "adit stats" and its like: a path, auto, or off [default: auto]
    #[arg(long, value_name = "PATH|off", value_parser = parse_admin, value_hint = ValueHint::FilePath)]
    pub(crate) admin: Option<AdminArg>,
    /// Serve metrics and probes here, by HTTP: HOST:PORT, [v6]:PORT, *:PORT, unix:/path,
    /// systemd:NAME, or off [default: off]
    #[arg(long, value_name = "ADDR|off", value_parser = parse_metrics)]
    pub(crate) metrics: Option<MetricsArg>,
    /// How long open tunnels may go on after the order to stop [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_drain)]
    pub(crate) drain_timeout: Option<Duration>,
    /// The user to become once ports are bound and keys are read: a name or a number. root stays
    /// root, which a configuration file alone does not allow
    #[arg(long, value_name = "USER", value_parser = parse_account)]
    pub(crate) user: Option<String>,
    /// The group to act for [default: the user's own]
    #[arg(long, value_name = "GROUP", requires = "user", value_parser = parse_account)]
    pub(crate) group: Option<String>,
    /// The directory that becomes the root of every path, once all is read
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) chroot: Option<PathBuf>,
    /// Let a core be written, and others of the same user look into the process, which holds
    /// private keys
    #[arg(long)]
    pub(crate) core_dumps: bool,
    /// Reload when told to, but not when a file changes
    #[arg(long)]
    pub(crate) no_watch: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which of the servers that run here.
#[derive(Debug, ClapArgs)]
pub(crate) struct TargetArgs {
    /// Ask the server with this process id
    #[arg(long, value_name = "PID", conflicts_with = "admin")]
    pub(crate) pid: Option<u32>,
    /// Ask the server with this admin socket
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) admin: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TicketKeysCommand {
    /// Make a file of fresh keys, readable by its owner only
    New {
        /// The file, which must not be there yet
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// How many keys
        #[arg(long, value_name = "N", default_value_t = limits::TICKET_KEYS_KEPT)]
        keys: usize,
        /// How long each is: 48 or 80
        #[arg(long, value_name = "N", default_value = "80", value_parser = parse_key_size)]
        bytes: KeySize,
        /// Write bytes instead of lines of base64
        #[arg(long)]
        binary: bool,
    },
    /// Append a fresh key and retire the oldest; running servers see it by themselves
    Rotate {
        /// The file
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// How many keys to keep [default: as many as there are, at least 3]
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// Put the fresh key first and retire the last, for seal_with: First
        #[arg(long)]
        first: bool,
    },
    /// Show what keys there are, but nothing secret
    Show {
        /// The file
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
    /// Ask again and again, every so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = parse_seconds
    )]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConvertArgs {
    /// The file to convert
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The program that the file is for; found out from the file if left out
    #[arg(long, value_name = "PROGRAM", value_enum)]
    pub(crate) from: Option<ProgramArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardsArg {
    Auto,
    Count(NonZeroUsize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpusArg(pub(crate) Vec<usize>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumbersArg(pub(crate) Vec<usize>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlacementArg {
    /// A CPU, if there are as many shards as CPUs, or if CPUs are named
    Auto,
    /// A CPU; with SMT, one thread of a core
    PerCpu,
    /// A physical core, of which it uses one thread
    PerCore,
    /// What shares a third-level cache, of which it uses one CPU
    PerCache,
    /// A NUMA node, of which it uses one CPU
    PerNode,
}

impl From<PlacementArg> for Placement {
    fn from(placement: PlacementArg) -> Self {
        match placement {
            PlacementArg::Auto => Self::Auto,
            PlacementArg::PerCpu => Self::PerCpu,
            PlacementArg::PerCore => Self::PerCore,
            PlacementArg::PerCache => Self::PerCache,
            PlacementArg::PerNode => Self::PerNode,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminArg {
    Auto,
    Off,
    Path(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetricsArg {
    Off,
    At(Address),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlpnArg(pub(crate) Vec<String>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyLogArg {
    /// The file that SSLKEYLOGFILE names.
    Environment,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArg {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LevelArg> for LevelFilter {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Off => Self::Off,
            LevelArg::Error => Self::Error,
            LevelArg::Warn => Self::Warn,
            LevelArg::Info => Self::Info,
            LevelArg::Debug => Self::Debug,
            LevelArg::Trace => Self::Trace,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgramArg {
    /// Tunnel, the C program of 2014 (tunnel.ini)
    Tunnel,
    /// hitch (hitch.conf)
    Hitch,
}

fn parse_cpus(text: &str) -> Result<CpusArg, String> {
    parse_cpu_list(text).map(CpusArg)
}

fn parse_nodes(text: &str) -> Result<NumbersArg, String> {
    parse_number_list(text, "NUMA node").map(NumbersArg)
}

fn parse_caches(text: &str) -> Result<NumbersArg, String> {
    parse_number_list(text, "cache domain").map(NumbersArg)
}

fn parse_shards(text: &str) -> Result<ShardsArg, String> {
    if text == "auto" {
        return Ok(ShardsArg::Auto);
    }
    text.parse()
        .ok()
        .filter(|count: &NonZeroUsize| count.get() <= limits::SHARDS_MAX)
        .map(ShardsArg::Count)
        .ok_or_else(|| format!("write a number from 1 to {}, or auto", limits::SHARDS_MAX))
}

fn parse_key_size(text: &str) -> Result<KeySize, String> {
    let size = text.parse().ok().and_then(KeySize::of);
    size.ok_or_else(|| "write 48 or 80".into())
}

fn parse_admin(text: &str) -> Result<AdminArg, String> {
    match text {
        "off" => Ok(AdminArg::Off),
        "auto" => Ok(AdminArg::Auto),
        "" => Err("write a path, auto, or off".into()),
        path => Ok(AdminArg::Path(path.into())),
    }
}

fn parse_metrics(text: &str) -> Result<MetricsArg, String> {
    match text {
        "off" => Ok(MetricsArg::Off),
        text => text
            .parse()
            .map(MetricsArg::At)
            .map_err(|error: AddressError| error.to_string()),
    }
}

fn parse_account(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("write a name or a number".into());
    }
    Ok(text.to_owned())
}

fn parse_server_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write a DNS name or an IP address, without a port".into()),
    }
}

fn parse_alpn(text: &str) -> Result<AlpnArg, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > limits::ALPN_MAX {
        return Err(format!("write at most {} protocols", limits::ALPN_MAX));
    }
    for (index, name) in names.iter().enumerate() {
        if !(1..=limits::ALPN_NAME_MAX).contains(&name.len()) {
            return Err("write protocols with commas between them, such as h2,http/1.1".into());
        }
        if names[..index].contains(name) {
            return Err(format!("{name} is named twice; write it once"));
        }
    }
    Ok(AlpnArg(names))
}

fn parse_key_log(text: &str) -> Result<KeyLogArg, String> {
    Ok(match text {
        "" => KeyLogArg::Environment,
        path => KeyLogArg::File(path.into()),
    })
}

fn parse_drain(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= limits::TIMEOUT_MAX => Ok(duration),
        Ok(_) => Err(format!(
            "the longest is {}",
            humantime::format_duration(limits::TIMEOUT_MAX)
        )),
        Err(_) => Err("write a number with its unit, such as 500ms, 30s or 5min".into()),
    }
}

/// A number of seconds, or a number with its unit as everywhere else.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.or_else(|| Some(humantime::parse_duration(text).ok()?.as_secs_f64()));
    seconds
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write seconds from 0.1 to 86400, or a time such as 500ms".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn intervals_are_seconds_or_have_a_unit() {
        for (text, millis) in [("2", 2000), ("0.5", 500), ("500ms", 500), ("1min", 60_000)] {
            assert_eq!(parse_seconds(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["0", "99ms", "25h", "-1", "nan", "inf", "soon", ""] {
            let error = parse_seconds(text).unwrap_err();
            assert!(error.contains("500ms"), "{text}: {error}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_states_the_defaults_that_are_in_force() {
        // Wherever the lines are broken.
        let help = Args::command().render_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let drain = humantime::format_duration(limits::DRAIN_TIMEOUT);
        assert!(help.contains(&format!("[default: {drain}]")), "{help}");
    }
}
