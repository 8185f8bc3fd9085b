//! What can be typed behind `adit top`.

use std::time::Duration;

use adit::metrics::{TunnelFilter, TunnelOrder};
use clap::Args as ClapArgs;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::view;
use crate::cli::args::{TargetArgs, parse_seconds};

#[derive(Debug, ClapArgs)]
#[command(after_help = view::KEYS_IN_HELP)]
pub(crate) struct TopArgs {
    /// Show only tunnels that fit, as "adit tunnels" has it
    #[arg(value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) filters: Vec<TunnelFilter>,
    /// Which tunnels come first: amounts begin with the greatest
    #[arg(short, long, value_name = "KEY", default_value = "rate", value_parser = orders())]
    pub(crate) sort: TunnelOrder,
    /// Ask every so many seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) of: TargetArgs,
}

fn orders() -> impl TypedValueParser<Value = TunnelOrder> {
    PossibleValuesParser::new(TunnelOrder::ALL.map(TunnelOrder::as_str))
        .try_map(|word| word.parse::<TunnelOrder>())
}

fn parse_filter(text: &str) -> Result<TunnelFilter, String> {
    text.parse()
}
