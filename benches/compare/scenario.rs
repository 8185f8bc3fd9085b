//! What the generator is told to do, and to measure of a peer while it does.

use crate::args::Args;
use crate::certificate::Key;

/// What stands behind the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Echo,
    Sink,
    Source,
}

/// One kind of load.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name, for `--only` and in results.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) behind: Behind,
    pub(crate) key: Key,
    /// Whether the plain TCP proxy can take part.
    pub(crate) plain: bool,
    /// What `adit bench` is told; `RATE` stands for `--rate`.
    arguments: &'static str,
}

/// All, in the order in which they run.
pub(crate) const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "handshake",
        about: "connect, full handshake, one byte there and back, close; 8 at once",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "handshake --lanes 8 --count 3000 --warmup 300ms",
    },
    Scenario {
        name: "handshake-1",
        about: "the same, one after another",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "handshake --lanes 1 --count 1000 --warmup 300ms",
    },
    Scenario {
        name: "resumed",
        about: "the same with resumed sessions, 8 at once",
        behind: Behind::Echo,
        key: Key::P256,
        plain: false,
        arguments: "handshake --resume --lanes 8 --count 3000 --warmup 300ms",
    },
    Scenario {
        name: "rsa",
        about: "full handshakes with an RSA-2048 certificate, 8 at once",
        behind: Behind::Echo,
        key: Key::Rsa2048,
        plain: false,
        arguments: "handshake --lanes 8 --count 1500 --warmup 300ms",
    },
    Scenario {
        name: "up",
        about: "one stream, client to backend",
        behind: Behind::Sink,
        key: Key::P256,
        plain: true,
        arguments: "bulk --direction up --streams 1 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "down",
        about: "one stream, backend to client",
        behind: Behind::Source,
        key: Key::P256,
        plain: true,
        arguments: "bulk --direction down --streams 1 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "up-64",
        about: "64 streams, client to backend",
        behind: Behind::Sink,
        key: Key::P256,
        plain: true,
        arguments: "bulk --direction up --streams 64 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "down-64",
        about: "64 streams, backend to client",
        behind: Behind::Source,
        key: Key::P256,
        plain: true,
        arguments: "bulk --direction down --streams 64 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "trip-1k",
        about: "1 KiB there and back on each of 64 tunnels, again and again",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "rr --bytes 1024 --tunnels 64 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "trip-16k",
        about: "the same with 16 KiB",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "rr --bytes 16384 --tunnels 64 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "trip-1k-1",
        about: "1 KiB there and back on one tunnel",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "rr --bytes 1024 --tunnels 1 --duration 2s --warmup 300ms",
    },
    Scenario {
        name: "trip-1k-rate",
        about: "1 KiB over 64 tunnels at a fixed rate, whatever the answers take",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "rr --bytes 1024 --tunnels 64 --rate RATE --duration 3s --warmup 500ms",
    },
    Scenario {
        name: "idle",
        about: "2000 tunnels, one byte there and back on each, then held",
        behind: Behind::Echo,
        key: Key::P256,
        plain: true,
        arguments: "idle --tunnels 2000 --hold 1s",
    },
];

impl Scenario {
    /// Those that the arguments ask for.
    pub(crate) fn chosen(args: &Args) -> Result<Vec<&'static Self>, String> {
        for name in &args.only {
            if !SCENARIOS.iter().any(|scenario| scenario.name == name) {
                return Err(format!(
                    "there is no scenario {name}; there are\n{}",
                    Self::list()
                ));
            }
        }
        let all = SCENARIOS.iter();
        let wanted = |name| args.only.is_empty() || args.only.iter().any(|only| only == name);
        Ok(all.filter(|scenario| wanted(scenario.name)).collect())
    }

    /// All, a line for each.
    pub(crate) fn list() -> String {
        let lines: Vec<_> = SCENARIOS
            .iter()
            .map(|scenario| format!("  {:<13} {}", scenario.name, scenario.about))
            .collect();
        lines.join("\n")
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// What `adit bench` is told.
    pub(crate) fn arguments(&self, rate: u32) -> Vec<String> {
        let words = self.arguments.split_whitespace();
        words
            .map(|word| word.replace("RATE", &rate.to_string()))
            .collect()
    }
}
