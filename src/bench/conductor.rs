//! Leads the executors of a measurement through its stages.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flume::RecvTimeoutError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bottleneck::Generator;
use super::dialect::Dialect;
use super::options::{Options, Scenario};
use super::process::{Processes, Reading};
use super::report::{Figures, Report, ServerFigures};
use super::stage::Stage;
use super::tally::{Latencies, Tally};
use super::worker::{self, Counted, Order, Setup, Shown};
use super::{Machine, bottleneck, preflight};
use crate::limits;
use crate::sys::socket::Peer;

/// Why nothing could be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BenchError {
    /// The options are at fault.
    Usage(String),
    /// The machine or the moment refused.
    System(String),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::System(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BenchError {}

/// What a measurement is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are opened.
    Preparing,
    /// It runs, and does not count.
    Warming,
    /// It counts.
    Measuring,
    /// Tunnels are held.
    Holding,
}

/// How far a measurement has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// How much of that is done, from 0 to 1; `None` if that is not known.
    pub done: Option<f64>,
    /// For how long it has been at it.
    pub elapsed: Duration,
    /// Operations since the phase began.
    pub operations: u64,
    /// Bytes since the phase began.
    pub bytes: u64,
    /// Failed operations since the phase began.
    pub errors: u64,
}

/// Measures. Once `stop` is set it comes to its end soon, and reports what it
/// has measured by then. `progress` is called every [`limits::BENCH_TICK`].
///
/// # Errors
///
/// Options that do not go together, a name that does not resolve, executors
/// that do not start, a server's process that is gone. Operations that fail are
/// none of these: they are in the report.
pub fn measure(
    options: Options,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report, BenchError> {
    preflight::check(&options)?;
    let processes = Processes::new(&options.pids).map_err(BenchError::Usage)?;
    if let Some(tls) = &options.tls {
        Dialect::new(tls).map_err(BenchError::Usage)?;
    }
    let descriptors = preflight::make_room(&options)?;
    let peer = preflight::resolve(&options.target)?;
    let options = Arc::new(options);
    let mut ensemble = Ensemble::start(&options, &peer, stop, progress)?;
    let played = ensemble.play(&processes)?;
    ensemble.leave()?;
    Ok(played.report(&options, descriptors))
}

/// The executors at work, and who listens to them.
struct Ensemble<'a> {
    options: Arc<Options>,
    stop: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
    orders: Vec<flume::Sender<Order>>,
    reports: flume::Receiver<worker::Report>,
    threads: Vec<JoinHandle<()>>,
    shown: Vec<Arc<Shown>>,
    /// How often the executors were told to turn to another stage.
    turns: u64,
    /// What is done now, since when, and what was shown when it began.
    phase: Phase,
    since: Instant,
    before: [u64; 3],
}

/// What came of it.
struct Played {
    started: OffsetDateTime,
    counted: Vec<Counted>,
    before: Option<Reading>,
    after: Option<Reading>,
    interrupted: bool,
    notes: Vec<String>,
}

impl<'a> Ensemble<'a> {
    fn start(
        options: &Arc<Options>,
        peer: &Peer,
        stop: &'a AtomicBool,
        progress: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self, BenchError> {
        let (sender, reports) = flume::unbounded();
        let mut ensemble = Self {
            options: options.clone(),
            stop,
            progress,
            orders: Vec::new(),
            reports,
            threads: Vec::new(),
            shown: Vec::new(),
            turns: 0,
            phase: Phase::Preparing,
            since: Instant::now(),
            before: [0; 3],
        };
        for number in 0..options.threads {
            let (order, orders) = flume::bounded(16);
            let shown = Arc::new(Shown::default());
            let setup = Setup {
                number,
                options: options.clone(),
                peer: peer.clone(),
                orders,
                reports: sender.clone(),
                shown: shown.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("adit-bench-{number}"))
                .spawn(move || worker::run(setup))
                .map_err(|error| BenchError::System(format!("no thread: {error}")))?;
            ensemble.orders.push(order);
            ensemble.threads.push(thread);
            ensemble.shown.push(shown);
        }
        drop(sender);
        let mut ready = 0;
        while ready < options.threads {
            match ensemble.receive()? {
                worker::Report::Ready => ready += 1,
                worker::Report::Failed(cause) => return Err(BenchError::System(cause)),
                // The lanes of one that is ready have nothing to do yet.
                worker::Report::Parked(_) | worker::Report::Counted(_) => {}
            }
        }
        Ok(ensemble)
    }

    /// From the first connection to the last figure.
    fn play(&mut self, processes: &Processes) -> Result<Played, BenchError> {
        self.enter(Phase::Preparing);
        self.turn(Stage::Prepare)?;
        self.await_parked(None, None)?;
        let warmup = self.options.warmup;
        if !warmup.is_zero() && !self.is_stopped() {
            self.enter(Phase::Warming);
            self.turn(Stage::Warm)?;
            self.sleep(warmup);
            self.turn(Stage::Hold)?;
            self.await_parked(None, None)?;
        }
        let mut played = Played {
            started: OffsetDateTime::now_utc(),
            counted: Vec::new(),
            before: read(processes)?,
            after: None,
            interrupted: false,
            notes: Vec::new(),
        };
        if !self.is_stopped() {
            self.enter(Phase::Measuring);
            self.run()?;
            if let Scenario::Idle(idle) = &self.options.scenario
                && !self.is_stopped()
            {
                let hold = idle.hold;
                self.enter(Phase::Holding);
                self.sleep(hold);
                self.turn(Stage::Inspect)?;
                self.await_parked(None, None)?;
            }
        }
        played.interrupted = self.is_stopped();
        match read(processes) {
            Ok(after) => played.after = after,
            Err(error) => played
                .notes
                .push(format!("the server has no figures: {error}")),
        }
        self.order(|_| Order::Collect)?;
        for _ in 0..self.orders.len() {
            let counted = loop {
                match self.receive()? {
                    worker::Report::Counted(counted) => break counted,
                    worker::Report::Parked(_) => {}
                    worker::Report::Ready | worker::Report::Failed(_) => return Err(fault()),
                }
            };
            played.counted.push(*counted);
        }
        Ok(played)
    }

    fn run(&mut self) -> Result<(), BenchError> {
        let by_bytes = match &self.options.scenario {
            Scenario::Bulk(bulk) => bulk.bytes.is_some(),
            Scenario::Idle(_) => true,
            _ => false,
        };
        let count = self.options.count;
        let duration = (count.is_none() && !by_bytes).then_some(self.options.duration);
        let workers = self.orders.len();
        self.turns += 1;
        self.order(|worker| Order::Run {
            budget: worker::budget(count, worker, workers),
            duration,
        })?;
        self.await_parked(duration, count)
    }

    fn turn(&mut self, stage: Stage) -> Result<(), BenchError> {
        self.turns += 1;
        self.order(|_| Order::Turn(stage))
    }

    fn order(&mut self, order: impl Fn(usize) -> Order) -> Result<(), BenchError> {
        for (worker, orders) in self.orders.iter().enumerate() {
            orders.send(order(worker)).map_err(|_| fault())?;
        }
        Ok(())
    }

    fn receive(&self) -> Result<worker::Report, BenchError> {
        let within = limits::SHARD_START_TIMEOUT;
        self.reports
            .recv_timeout(within)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    BenchError::System(format!("an executor did not answer within {within:?}"))
                }
                RecvTimeoutError::Disconnected => fault(),
            })
    }

    /// Waits until all lanes of all executors are parked.
    ///
    /// Told to stop, it has no more operations begun, and after a while those
    /// in flight given up.
    fn await_parked(
        &mut self,
        duration: Option<Duration>,
        count: Option<u64>,
    ) -> Result<(), BenchError> {
        let mut parked = 0;
        let mut stopped: Option<Instant> = None;
        let mut cut = false;
        while parked < self.orders.len() {
            match self.reports.recv_timeout(limits::BENCH_TICK) {
                // One may still be on its way from a stage before, in which all
                // had done their share.
                Ok(worker::Report::Parked(turn)) if turn == self.turns => parked += 1,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(fault()),
            }
            if self.is_stopped() {
                let now = Instant::now();
                if stopped.is_none() {
                    self.order(|_| Order::Stop)?;
                }
                let since = *stopped.get_or_insert(now);
                if !cut && now - since >= limits::BENCH_STOP_GRACE {
                    cut = true;
                    self.order(|_| Order::Cut)?;
                }
            }
            self.show(duration, count);
        }
        Ok(())
    }

    /// Lets time pass, until told to stop.
    fn sleep(&mut self, time: Duration) {
        let begun = Instant::now();
        while !self.is_stopped() {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(limits::BENCH_TICK));
            self.show(Some(time), None);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
        self.before = self.shown();
    }

    fn shown(&self) -> [u64; 3] {
        let sum = |counter: fn(&Shown) -> &AtomicU64| {
            let counters = self
                .shown
                .iter()
                .map(|s| counter(s).load(Ordering::Relaxed));
            counters.sum()
        };
        [
            sum(|s| &s.operations),
            sum(|s| &s.bytes),
            sum(|s| &s.errors),
        ]
    }

    fn show(&mut self, duration: Option<Duration>, count: Option<u64>) {
        let now = self.shown();
        let [operations, bytes, errors] = [0, 1, 2].map(|at| now[at] - self.before[at]);
        let elapsed = self.since.elapsed();
        let done = match (count, duration) {
            (Some(count), _) => Some((operations + errors) as f64 / count.max(1) as f64),
            (None, Some(duration)) => {
                Some(elapsed.as_secs_f64() / duration.as_secs_f64().max(1e-9))
            }
            (None, None) => None,
        };
        (self.progress)(&Progress {
            phase: self.phase,
            done: done.map(|done| done.min(1.0)),
            elapsed,
            operations,
            bytes,
            errors,
        });
    }

    fn leave(mut self) -> Result<(), BenchError> {
        self.turn(Stage::Leave)?;
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| fault())?;
        }
        Ok(())
    }
}

/// The server's figures, once it has had time to come to rest.
fn read(processes: &Processes) -> Result<Option<Reading>, BenchError> {
    if processes.is_empty() {
        return Ok(None);
    }
    std::thread::sleep(limits::BENCH_SETTLE);
    processes.read().map(Some).map_err(BenchError::System)
}

fn fault() -> BenchError {
    BenchError::System("a fault in the load generator; please report it".into())
}

/// To the second.
fn started(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

impl Played {
    fn report(mut self, options: &Options, descriptors: u64) -> Report {
        let begun = self.counted.iter().map(|counted| counted.begun).min();
        let ended = self.counted.iter().map(|counted| counted.ended).max();
        let window = match (begun, ended) {
            (Some(begun), Some(ended)) => ended.saturating_duration_since(begun),
            _ => Duration::ZERO,
        };
        let seconds = window.as_secs_f64();
        let names: Vec<&'static str> = options.scenario.parts().iter().map(|p| p.name()).collect();
        let mut tallies: Vec<Tally> = names.iter().map(|_| Tally::new()).collect();
        for counted in &self.counted {
            for (sum, one) in tallies.iter_mut().zip(&counted.tallies) {
                sum.add(one);
            }
        }
        let mut total = Tally::new();
        for tally in &tallies {
            total.add(tally);
        }
        let total_figures = Figures::new(&total, seconds);
        let parts = match names.as_slice() {
            [_] => BTreeMap::new(),
            names => names
                .iter()
                .zip(&tallies)
                .map(|(name, tally)| (*name, Figures::new(tally, seconds)))
                .collect(),
        };
        let held = matches!(options.scenario, Scenario::Idle(_)).then_some(total.operations);
        let server = self.before.as_ref().zip(self.after.as_ref());
        let server =
            server.map(|(before, after)| ServerFigures::new(before, after, &total_figures, held));
        self.note(options, &total, descriptors);
        Report {
            adit_bench: 1,
            scenario: options.scenario.name(),
            target: options.target.to_string(),
            started: started(self.started),
            options: options.json(),
            seconds,
            total: total_figures,
            parts,
            server,
            generator: self.generator(window, &total.lag),
            interrupted: self.interrupted,
            notes: self.notes,
            machine: Machine::here(),
        }
    }

    fn generator(&self, window: Duration, lag: &Latencies) -> Generator {
        let usages: Vec<bottleneck::Usage> =
            self.counted.iter().map(|counted| counted.usage).collect();
        Generator::new(&usages, window, lag)
    }

    /// What whoever reads the figures should know.
    fn note(&mut self, options: &Options, total: &Tally, descriptors: u64) {
        let notes = &mut self.notes;
        if self.interrupted {
            notes.push("it was told to stop before its time".into());
        }
        let resumes = match &options.scenario {
            Scenario::Handshake(handshake) => handshake.resume,
            _ => false,
        };
        if resumes && options.tls.is_some() && total.handshakes_full > 0 {
            notes.push(format!(
                "{} of {} handshakes were full, though a session was offered",
                total.handshakes_full,
                total.handshakes_full + total.handshakes_resumed
            ));
        }
        if total.unsent > 0 {
            notes.push(format!(
                "{} sends were due and never made, since every tunnel waited for the server; they \
                 are in the latencies with the time for which they had waited",
                total.unsent
            ));
        }
        if total.closes.reset > 0 {
            notes.push(format!(
                "the server reset {} connections that had been closed in order",
                total.closes.reset
            ));
        }
        if total.errors.contains_key("connect/no-local-port") {
            notes.push(
                "this machine ran out of local ports (net.ipv4.ip_local_port_range): each \
                 connection that was closed keeps its port for a minute"
                    .into(),
            );
        }
        if total.errors.contains_key("connect/no-descriptor") {
            notes.push(format!(
                "the generator ran out of descriptors, of which it may have {descriptors}"
            ));
        }
    }
}
