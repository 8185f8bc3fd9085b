//! What can be typed behind these commands.

use adit::limits;
use adit::metrics::{TunnelFilter, TunnelId, TunnelOrder, TunnelQuery};
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args as ClapArgs, Subcommand};

use crate::cli::args::TargetArgs;

/// What filters are like, for `--help`.
const FILTERS: &str = "\
Filters:
  WORD                any of the tunnel's texts contains it
  KEY=VALUE[,VALUE…]  one of the values fits; KEY!=VALUE: none does
  sni, listener, service, backend, cipher, group
                      the whole text, * stands for anything: sni=*.example.org
  client              an address, a network (192.0.2.0/24), or unix
  state               handshake, connect, relay, closing
  tls                 1.2, 1.3 or none
  id                  as it is shown
  age, up, down, bytes, rate
                      at least so much, or a range: age=5m, bytes=1MiB..1GiB, age=..30s

Examples:
  adit tunnels --sort rate --limit 10        the busiest ten at this moment
  adit tunnels sni=*.example.org age=1h      open for an hour or more, under these names
  adit tunnels client=192.0.2.0/24 state!=relay";

#[derive(Debug, ClapArgs)]
#[command(after_help = FILTERS)]
pub(crate) struct TunnelsArgs {
    /// Show only tunnels that fit; all of them, where several filters are given
    #[arg(value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) words: Vec<TunnelFilter>,
    /// The same, with a name
    #[arg(short, long = "filter", value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) filters: Vec<TunnelFilter>,
    /// What comes first: amounts begin with the greatest
    #[arg(short, long, value_name = "KEY", default_value = "age", value_parser = orders())]
    pub(crate) sort: TunnelOrder,
    /// The other way round
    #[arg(short, long)]
    pub(crate) reverse: bool,
    /// Show no more than so many
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = limits::TUNNELS_LISTED_DEFAULT,
        value_parser = parse_limit
    )]
    pub(crate) limit: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloseArgs {
    /// The tunnels, such as 3-1842, as "adit tunnels" shows them
    #[arg(value_name = "ID", required = true, value_parser = parse_id)]
    pub(crate) ids: Vec<TunnelId>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DrainArgs {
    /// Wait until the server has stopped
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Show every service's backends, and whether they get tunnels
    List {
        /// Show only this service's
        #[arg(value_name = "SERVICE")]
        service: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: TargetArgs,
    },
    /// Give a backend no more tunnels; those that are open go on
    Disable(SwitchArgs),
    /// Give a backend tunnels again, as soon as its health checks allow it
    Enable(SwitchArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SwitchArgs {
    /// The service's name
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// The backend's address, as in the configuration
    #[arg(value_name = "BACKEND")]
    pub(crate) backend: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShardsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

impl TunnelsArgs {
    pub(super) fn query(&self) -> TunnelQuery {
        let filters = self.words.iter().chain(&self.filters);
        filters
            .fold(TunnelQuery::default(), |query, filter| {
                query.filter(filter.clone())
            })
            .order(self.sort)
            .reversed(self.reverse)
            .limit(self.limit)
    }
}

fn orders() -> impl clap::builder::TypedValueParser<Value = TunnelOrder> {
    PossibleValuesParser::new(TunnelOrder::ALL.map(TunnelOrder::as_str))
        .try_map(|word| word.parse::<TunnelOrder>())
}

fn parse_filter(text: &str) -> Result<TunnelFilter, String> {
    text.parse()
}

fn parse_id(text: &str) -> Result<TunnelId, String> {
    text.parse()
}

fn parse_limit(text: &str) -> Result<usize, String> {
    let most = limits::TUNNELS_LISTED_MAX;
    text.parse()
        .ok()
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| format!("write a number from 1 to {most}"))
}
