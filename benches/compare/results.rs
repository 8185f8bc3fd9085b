//! What a run found, as it is kept in a file: each figure of each round, and
//! on what it was measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::crypto::Crypto;
use crate::machine::Machine;
use crate::peer::Peer;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The format, 1.
    pub(crate) adit_compare: u32,
    pub(crate) name: String,
    /// RFC 3339, UTC.
    pub(crate) started: String,
    pub(crate) minutes: f64,
    pub(crate) rounds: u32,
    pub(crate) server_cpu: usize,
    pub(crate) load_cpu: usize,
    /// Requests per second where the load is an open loop.
    pub(crate) rate: u32,
    #[serde(default)]
    pub(crate) baseline: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) peers: Vec<Peer>,
    /// What the generator was told, by scenario; the address left out.
    pub(crate) scenarios: BTreeMap<String, String>,
    /// One for each round.
    pub(crate) crypto: Vec<Crypto>,
    pub(crate) samples: Vec<Sample>,
}

/// One peer in one scenario of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) scenario: String,
    pub(crate) peer: String,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) measured: Option<Measured>,
}

/// What was measured, in the counted window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) operations: u64,
    /// Plaintext, both ways.
    pub(crate) bytes: u64,
    pub(crate) handshakes_full: u64,
    pub(crate) handshakes_resumed: u64,
    /// The proxy's, all of its processes together.
    pub(crate) cpu_seconds: f64,
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    /// For how long the proxy waited for its CPU while something else ran
    /// there.
    pub(crate) waiting_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) memory_before_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) memory_bytes_per_tunnel: Option<f64>,
    /// By histogram.
    pub(crate) latency: BTreeMap<String, Quantiles>,
    pub(crate) generator_cpu_seconds: f64,
    pub(crate) generator_share: f64,
    pub(crate) generator_bottleneck: bool,
}

/// What is kept of a histogram, in µs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) min_us: f64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Measured {
    /// Whether the proxy did not have its CPU to itself, but waited for it for
    /// more than a fiftieth of the time. (stunnel's threads wait for each
    /// other.)
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting_seconds > 0.02 * self.seconds
    }
}

impl Results {
    /// Reads a file that [`save`](Self::save) wrote.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
        let found: Self =
            serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        match found.adit_compare {
            1 => Ok(found),
            other => Err(format!("{shown}: of format {other}; this program knows 1")),
        }
    }

    /// Writes it, a sample to a line, and gives the file.
    pub(crate) fn save(&self, folder: &Path) -> Result<PathBuf, String> {
        let file = free_file(folder, &format!("{}-{}", &self.started[..10], self.name))?;
        let text = self.text().map_err(|error| error.to_string())?;
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    fn text(&self) -> serde_json::Result<String> {
        let mut rest = self.clone();
        rest.samples.clear();
        let mut text = serde_json::to_string_pretty(&rest)?;
        let lines: Result<Vec<_>, _> = self.samples.iter().map(serde_json::to_string).collect();
        // The list is the last field, and empty.
        text.truncate(text.len() - "[]\n}".len());
        let _ = writeln!(text, "[\n    {}\n  ]\n}}", lines?.join(",\n    "));
        Ok(text)
    }

    /// The samples of a peer in a scenario.
    pub(crate) fn of<'a>(
        &'a self,
        scenario: &'a str,
        peer: &'a str,
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.scenario == scenario && sample.peer == peer)
    }
}

/// A file in the folder that is not there yet: `STEM.json`, or `STEM-2.json`
/// and so on. The folder is made.
pub(crate) fn free_file(folder: &Path, stem: &str) -> Result<PathBuf, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let first = folder.join(format!("{stem}.json"));
    let more = (2..).map(|n| folder.join(format!("{stem}-{n}.json")));
    std::iter::once(first)
        .chain(more)
        .find(|file| !file.exists())
        .ok_or_else(|| "no free name".into())
}
