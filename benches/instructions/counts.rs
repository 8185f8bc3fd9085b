//! The counts that are expected, and how far others may be from them.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Where they are written down, from the root of the source.
pub(crate) const FILE: &str = "benches/instructions/counts.json";

/// The most that a count may grow, in percent, with the tools that the expected
/// one was made with.
const GROWTH_SAME_TOOLS_PERCENT: f64 = 0.5;

/// The same with any other tools, of which each may choose other instructions.
const GROWTH_OTHER_TOOLS_PERCENT: f64 = 5.0;

/// Instructions of one run of each part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    architecture: String,
    /// What has a say in the instructions, each with its version.
    tools: BTreeMap<String, String>,
    instructions: BTreeMap<String, f64>,
}

/// What any part may differ by: in a small one a single instruction is half a
/// percent, and comes and goes with code that is not its own.
const SLACK_INSTRUCTIONS: f64 = 2.0;

/// What there is to say of one part.
pub(crate) enum Verdict {
    Same {
        seen: f64,
        growth: f64,
    },
    Grown {
        expected: f64,
        seen: f64,
        growth: f64,
    },
    Shrunk {
        expected: f64,
        seen: f64,
        growth: f64,
    },
    /// Nothing is expected of it yet.
    New {
        seen: f64,
    },
    /// It is expected, but is no more.
    Gone,
}

impl Counts {
    /// None yet, with the tools of this machine.
    pub(crate) fn of_this_machine() -> Self {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let tools = [
            ("rustc", [rustc.as_str(), "-V"]),
            ("cc", ["cc", "--version"]),
            ("libc", ["ldd", "--version"]),
            ("valgrind", ["valgrind", "--version"]),
        ];
        Self {
            architecture: std::env::consts::ARCH.into(),
            tools: tools
                .map(|(name, command)| (name.into(), version(command)))
                .into(),
            instructions: BTreeMap::new(),
        }
    }

    pub(crate) fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(FILE, text + "\n").map_err(|error| format!("{FILE}: {error}"))
    }

    pub(crate) fn len(&self) -> usize {
        self.instructions.len()
    }

    pub(crate) fn insert(&mut self, part: &str, count: f64) {
        self.instructions.insert(part.into(), count);
    }

    /// The tools, and what follows from them.
    pub(crate) fn tools_beside(&self, seen: &Self) -> String {
        let mut text = String::new();
        for (tool, version) in &seen.tools {
            text += &match self.tools.get(tool) {
                Some(expected) if expected == version => format!("{tool}: {version}\n"),
                Some(expected) => format!("{tool}: {version}; expected: {expected}\n"),
                None => format!("{tool}: {version}; none expected\n"),
            };
        }
        let percent = self.growth_max_percent(seen);
        text + &format!("instructions of one run, which may grow by {percent} %:")
    }

    pub(crate) fn is_comparable(&self, seen: &Self) -> bool {
        self.architecture == seen.architecture
    }

    /// Every part that is expected or was seen.
    pub(crate) fn compare(&self, seen: &Self) -> Vec<(String, Verdict)> {
        let max = self.growth_max_percent(seen);
        let all = self.instructions.keys().chain(
            seen.instructions
                .keys()
                .filter(|name| !self.instructions.contains_key(*name)),
        );
        all.map(|name| {
            let counts = (self.instructions.get(name), seen.instructions.get(name));
            (name.clone(), Verdict::of(counts, max))
        })
        .collect()
    }

    fn growth_max_percent(&self, seen: &Self) -> f64 {
        if self.tools == seen.tools {
            GROWTH_SAME_TOOLS_PERCENT
        } else {
            GROWTH_OTHER_TOOLS_PERCENT
        }
    }
}

/// The first line that it says of its version.
fn version(command: [&str; 2]) -> String {
    let output = Command::new(command[0]).arg(command[1]).output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines().next().unwrap_or("unknown").trim().to_owned()
}

impl Verdict {
    fn of(counts: (Option<&f64>, Option<&f64>), max_percent: f64) -> Self {
        let (expected, seen) = match counts {
            (Some(expected), Some(seen)) => (*expected, *seen),
            (None, Some(seen)) => return Self::New { seen: *seen },
            (_, None) => return Self::Gone,
        };
        let growth = (seen / expected - 1.0) * 100.0;
        let max_percent = max_percent.max(SLACK_INSTRUCTIONS / expected * 100.0);
        if growth > max_percent {
            Self::Grown {
                expected,
                seen,
                growth,
            }
        } else if growth < -max_percent {
            Self::Shrunk {
                expected,
                seen,
                growth,
            }
        } else {
            Self::Same { seen, growth }
        }
    }

    pub(crate) fn fails(&self) -> bool {
        match self {
            Self::Same { .. } | Self::Shrunk { .. } => false,
            Self::Grown { .. } | Self::New { .. } | Self::Gone => true,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Same { seen, growth } => format!("{seen:>10.1}  {growth:+.2} %"),
            Self::Grown {
                expected,
                seen,
                growth,
            } => format!("{seen:>10.1}  {growth:+.2} %  GROWN from {expected:.1}"),
            Self::Shrunk {
                expected,
                seen,
                growth,
            } => format!("{seen:>10.1}  {growth:+.2} %  fewer than {expected:.1}"),
            Self::New { seen } => format!("{seen:>10.1}  NOT EXPECTED: bless it"),
            Self::Gone => "         -  EXPECTED, but there is no such part".into(),
        };
        f.pad(&text)
    }
}
