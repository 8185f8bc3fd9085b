//! The load: `adit bench`, and `adit bench backend` behind the proxies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::args::Args;
use crate::child::{Call, Child};
use crate::peer::free_address;
use crate::results::{Measured, Quantiles};
use crate::scenario::{Behind, Scenario};

/// How long the backend may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one run may take. The longest takes some seconds.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// A generator, and the backend that it runs while it lives.
#[derive(Debug)]
pub(crate) struct Generator {
    program: PathBuf,
    cpus: Vec<usize>,
    folder: PathBuf,
    echo: SocketAddr,
    sink: SocketAddr,
    source: SocketAddr,
    /// Ends with the generator.
    _backend: Child,
}

/// Whom the load is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Without TLS.
    pub(crate) plain: bool,
}

impl Generator {
    /// Starts the backend; it and the load share these CPUs.
    pub(crate) fn start(args: &Args, cpus: &[usize], folder: &Path) -> Result<Self, String> {
        let program = match &args.generator {
            Some(path) => path
                .canonicalize()
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => env!("CARGO_BIN_EXE_adit").into(),
        };
        let (echo, sink, source) = (free_address()?, free_address()?, free_address()?);
        let mut backend = Call::new(&program, cpus)
            .args(["bench", "backend"])
            .args(["--echo".into(), echo.to_string()])
            .args(["--sink".into(), sink.to_string()])
            .args(["--source".into(), source.to_string()])
            .start(folder, "backend")?;
        backend
            .wait_until(START_TIMEOUT, |child| child.printed().contains("ready"))
            .map_err(|error| format!("the backend {error}"))?;
        Ok(Self {
            program,
            cpus: cpus.to_vec(),
            folder: folder.to_owned(),
            echo,
            sink,
            source,
            _backend: backend,
        })
    }

    /// Where the backend does this.
    pub(crate) fn behind(&self, behind: Behind) -> SocketAddr {
        match behind {
            Behind::Echo => self.echo,
            Behind::Sink => self.sink,
            Behind::Source => self.source,
        }
    }

    /// What the generator is told for this.
    pub(crate) fn call(&self, scenario: &Scenario, rate: u32, target: Target) -> Call {
        let call = Call::new(&self.program, &self.cpus)
            .arg("bench")
            .args(scenario.arguments(rate));
        let call = match target.plain {
            true => call.arg("--plain"),
            false => call
                .args(["--insecure", "--tls", "1.3", "--group", "x25519"])
                .args(["--cipher", "TLS13_AES_128_GCM_SHA256"])
                .args(["--signature", scenario.key.word()]),
        };
        call.args(["--threads".into(), self.cpus.len().to_string()])
            .args(["--quiet", "--json", "-", "--pid"])
            .arg(target.pid.to_string())
            .arg(target.address.to_string())
    }

    /// Runs it. An error says why there is no figure, in a line.
    pub(crate) fn run(
        &self,
        scenario: &Scenario,
        rate: u32,
        target: Target,
    ) -> Result<Measured, String> {
        let call = self.call(scenario, rate, target);
        let ended = call.run(&self.folder, "load", RUN_TIMEOUT)?;
        let report: Report = serde_json::from_str(ended.out.trim())
            .map_err(|error| format!("no report ({error}): {}", ended.why()))?;
        if !report.errors.is_empty() {
            let list: Vec<_> = report
                .errors
                .iter()
                .map(|(cause, count)| format!("{count} × {cause}"))
                .collect();
            return Err(list.join(", "));
        }
        if !ended.status.success() {
            return Err(ended.why());
        }
        report.measured()
    }
}

/// What is read of the generator's report.
#[derive(Debug, Deserialize)]
struct Report {
    seconds: f64,
    operations: u64,
    #[serde(default)]
    bytes_up: u64,
    #[serde(default)]
    bytes_down: u64,
    #[serde(default)]
    handshakes_full: u64,
    #[serde(default)]
    handshakes_resumed: u64,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    #[serde(default)]
    latency: BTreeMap<String, Option<Quantiles>>,
    server: Option<Server>,
    generator: Load,
}

#[derive(Debug, Deserialize)]
struct Server {
    cpu_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    waiting_seconds: f64,
    memory_before_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    memory_bytes_per_tunnel: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Load {
    cpu_seconds: f64,
    cpu_share: f64,
    bottleneck: bool,
}

impl Report {
    fn measured(self) -> Result<Measured, String> {
        let server = self.server.ok_or("the report has nothing of the server")?;
        if self.operations == 0 && self.bytes_up + self.bytes_down == 0 {
            return Err("nothing was done".into());
        }
        Ok(Measured {
            seconds: self.seconds,
            operations: self.operations,
            bytes: self.bytes_up + self.bytes_down,
            handshakes_full: self.handshakes_full,
            handshakes_resumed: self.handshakes_resumed,
            cpu_seconds: server.cpu_seconds,
            user_seconds: server.user_seconds,
            system_seconds: server.system_seconds,
            waiting_seconds: server.waiting_seconds,
            memory_before_bytes: server.memory_before_bytes,
            memory_bytes: server.memory_bytes,
            memory_bytes_per_tunnel: server.memory_bytes_per_tunnel,
            latency: self
                .latency
                .into_iter()
                .filter_map(|(name, found)| Some((name, found?)))
                .collect(),
            generator_cpu_seconds: self.generator.cpu_seconds,
            generator_share: self.generator.cpu_share,
            generator_bottleneck: self.generator.bottleneck,
        })
    }
}
