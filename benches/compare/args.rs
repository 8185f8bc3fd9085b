//! What can be typed.

use std::path::PathBuf;

use clap::Parser;

/// Compares adit with its peers on this machine
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", max_term_width = 100)]
pub(crate) struct Args {
    /// A build to measure: NAME=PATH, any number of times. A name that is taken
    /// (adit, haproxy, hitch, nginx, stunnel) replaces what the machine has, another
    /// one is added; the kind is known from the name's beginning or from the program
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_peer)]
    pub(crate) peer: Vec<(String, PathBuf)>,
    /// Only these peers, by name [default: all that are found]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Only these scenarios, by name; "list" shows them
    #[arg(long, value_name = "SCENARIOS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Rounds; in each, every peer runs every scenario once, in another order
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// The CPU that the proxies run on
    #[arg(long, default_value_t = 0, value_name = "CPU", value_parser = parse_cpu)]
    pub(crate) server_cpu: usize,
    /// The CPU that the generator and the backend run on
    #[arg(long, default_value_t = 1, value_name = "CPU", value_parser = parse_cpu)]
    pub(crate) load_cpu: usize,
    /// Requests per second, over all tunnels, where the load is an open loop
    #[arg(long, default_value_t = 8000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// The peer that ratios are taken to [default: in each row the best that is not adit]
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// The generator [default: the adit that was built along with this]
    #[arg(long, value_name = "PATH")]
    pub(crate) generator: Option<PathBuf>,
    /// What the run is called in its file's name [default: the CPU's model]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(crate) name: Option<String>,
    /// Where results are written
    #[arg(long, default_value = "benches/runs", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Put the plot and the short table into README.md
    #[arg(long)]
    pub(crate) readme: bool,
    /// Measure nothing; make table and plot of this results file again
    #[arg(long, value_name = "FILE")]
    pub(crate) render: Option<PathBuf>,
    /// Measure adit alone, over shards: scaling, and what idle shards and statistics cost
    #[arg(long)]
    pub(crate) scaling: bool,
    /// What cargo bench adds
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

fn parse_peer(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text
        .split_once('=')
        .filter(|(name, path)| !name.is_empty() && !path.is_empty())
        .ok_or("write NAME=PATH, such as haproxy-awslc=/opt/haproxy/sbin/haproxy")?;
    Ok((parse_name(name)?, path.into()))
}

fn parse_cpu(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|cpu| *cpu < rustix::thread::CpuSet::MAX_CPU)
        .ok_or_else(|| "write the number of a CPU, such as 0".into())
}

fn parse_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        return Err("names are letters, digits, and - _ . +".into());
    }
    Ok(text.into())
}
