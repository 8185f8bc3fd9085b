//! One executor of a load generator, with its share of the lanes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Options;
use super::bottleneck::Usage;
use super::dialect::Dialect;
use super::lane::Lane;
use super::link::Scratch;
use super::options::{Part, share};
use super::pacing::Pacing;
use super::pulse;
use super::stage::{Stage, Stages};
use super::tally::Tally;
use super::turnstile::Turnstile;
use crate::later::Later;
use crate::limits;
use crate::runtime::{self, Job, Queues};
use crate::sys::socket::Peer;
use crate::timer::Timers;

/// What the conductor tells an executor.
#[derive(Debug)]
pub(super) enum Order {
    /// Turn to this stage, which is not [`Stage::Run`].
    Turn(Stage),
    /// Measure: so many operations, or for so long.
    Run {
        budget: Option<u64>,
        duration: Option<Duration>,
    },
    /// Begin no operation any more.
    Stop,
    /// Give up what is in flight.
    Cut,
    /// Report what was counted.
    Collect,
}

/// What an executor tells the conductor.
#[derive(Debug)]
pub(super) enum Report {
    /// It waits for orders.
    Ready,
    /// It cannot work.
    Failed(String),
    /// All of its lanes are parked, in the stage that the so many-eth order to
    /// turn has led to.
    Parked(u64),
    /// What was counted.
    Counted(Box<Counted>),
}

/// What one executor has counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// One for each part of the scenario.
    pub(super) tallies: Vec<Tally>,
    /// From the begin of the measurement to the end of its last operation.
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    /// What it has used of its CPU in between.
    pub(super) usage: Usage,
}

/// What is shown while a measurement runs.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) operations: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl Shown {
    /// Only its own executor ever adds.
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        let sum = counter.load(Ordering::Relaxed) + n;
        counter.store(sum, Ordering::Relaxed);
    }
}

/// What an executor is made of.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) number: usize,
    pub(super) options: Arc<Options>,
    pub(super) peer: Peer,
    pub(super) orders: flume::Receiver<Order>,
    pub(super) reports: flume::Sender<Report>,
    pub(super) shown: Arc<Shown>,
}

/// What the lanes of an executor share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peer: Peer,
    pub(super) dialect: Option<Dialect>,
    pub(super) timeout: Duration,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) timers: Rc<Timers>,
    pub(super) later: Later,
    pub(super) stages: Stages,
    pub(super) tallies: RefCell<Vec<Tally>>,
    /// One for each part of the scenario that is an open loop.
    pub(super) pacings: Vec<Option<Pacing>>,
    pub(super) opening: Turnstile,
    /// Operations in flight are given up.
    pub(super) cut: Cell<bool>,
    pub(super) begun: Cell<Instant>,
    /// When the last operation ended.
    pub(super) ended: Cell<Instant>,
    pub(super) shown: Arc<Shown>,
    usage_begun: Cell<Usage>,
    usage: Cell<Usage>,
    left: Cell<usize>,
    reports: flume::Sender<Report>,
}

/// Makes the executor of the calling thread and works on it until told to
/// leave.
pub(super) fn run(setup: Setup) {
    let cpu = setup.options.cpus.as_ref();
    let cpu = cpu.and_then(|cpus| cpus.get(setup.number).copied());
    match runtime::executor(cpu) {
        Ok(executor) => executor.run(work(setup)),
        Err(cause) => {
            // Nobody to tell it to is nobody who waits for it.
            let _ = setup.reports.send(Report::Failed(cause));
        }
    }
}

async fn work(setup: Setup) {
    let Setup {
        number,
        options,
        peer,
        orders,
        reports,
        shown,
    } = setup;
    let dialect = match options.tls.as_ref().map(Dialect::new).transpose() {
        Ok(dialect) => dialect,
        Err(cause) => {
            let _ = reports.send(Report::Failed(cause));
            return;
        }
    };
    if let Some(dialect) = &dialect {
        dialect.warm();
    }
    let now = Instant::now();
    let parts = options.scenario.parts();
    let pacings = parts.iter().map(|part| {
        let rate = part.rate()?;
        let lanes = part.share(number, options.threads);
        let share = lanes as f64 / part.lanes() as f64;
        (lanes > 0).then(|| Pacing::new(rate, share, number, options.threads, now))
    });
    let worker = Rc::new(Worker {
        peer,
        dialect,
        timeout: options.timeout,
        scratch: RefCell::new(Scratch::new()),
        timers: Rc::new(Timers::new(now)),
        later: Later::default(),
        stages: Stages::new(),
        tallies: RefCell::new(parts.iter().map(|_| Tally::new()).collect()),
        pacings: pacings.collect(),
        opening: Turnstile::new(limits::BENCH_OPENING_MAX),
        cut: Cell::new(false),
        begun: Cell::new(now),
        ended: Cell::new(now),
        shown,
        usage_begun: Cell::new(Usage::default()),
        usage: Cell::new(Usage::default()),
        left: Cell::new(0),
        reports,
    });
    let queues = Queues::new();
    let jobs = worker.start_jobs(&queues);
    let lanes = worker.start_lanes(&queues, &parts, number, &options);
    worker.report(Report::Ready);
    worker.obey(&orders, &queues).await;
    worker.leave(lanes).await;
    for job in jobs {
        job.cancel().await;
    }
}

impl Worker {
    fn start_jobs(self: &Rc<Self>, queues: &Queues) -> Vec<Job> {
        let (attending, ticking) = (self.clone(), self.clone());
        let mut jobs = vec![
            queues.spawn_job(async move { attending.later.attend().await }),
            queues.spawn_job(async move {
                loop {
                    poll_fn(|cx| ticking.timers.poll_wanted(cx)).await;
                    runtime::sleep(limits::TICK).await;
                    ticking.timers.advance(Instant::now());
                }
            }),
        ];
        jobs.extend(pulse::start(queues));
        jobs
    }

    fn start_lanes(
        self: &Rc<Self>,
        queues: &Queues,
        parts: &[Part],
        number: usize,
        options: &Options,
    ) -> usize {
        let shares: Vec<usize> = parts
            .iter()
            .map(|part| part.share(number, options.threads))
            .collect();
        let lanes = shares.iter().sum();
        self.stages.set_lanes(lanes);
        for (at, (part, share)) in parts.iter().zip(shares).enumerate() {
            for of_part in 0..share {
                let lane = Lane::new(self, at, of_part);
                let (worker, part, counted) = (self.clone(), part.clone(), options.count.is_some());
                queues.spawn_data(async move {
                    lane.run(&part, counted).await;
                    worker.left.set(worker.left.get() + 1);
                });
            }
        }
        lanes
    }

    /// Carries out orders until the one to leave, or the conductor is gone.
    async fn obey(self: &Rc<Self>, orders: &flume::Receiver<Order>, queues: &Queues) {
        while let Ok(order) = orders.recv_async().await {
            match order {
                Order::Turn(stage) => {
                    let now = Instant::now();
                    for pacing in self.pacings.iter().flatten() {
                        pacing.begin(now);
                    }
                    self.turn(stage);
                    if stage == Stage::Leave {
                        return;
                    }
                }
                Order::Run { budget, duration } => self.begin(budget, duration, queues),
                Order::Stop => {
                    self.stages.stop(Instant::now());
                    self.timers.wake_all();
                }
                Order::Cut => {
                    self.cut.set(true);
                    self.timers.wake_all();
                }
                Order::Collect => {
                    let counted = self.counted();
                    self.report(Report::Counted(Box::new(counted)));
                }
            }
        }
        // The conductor has given up.
        self.turn(Stage::Leave);
    }

    fn turn(&self, stage: Stage) {
        self.stages.turn(stage);
        // Those that wait for something else see it as well.
        self.timers.wake_all();
    }

    fn begin(self: &Rc<Self>, budget: Option<u64>, duration: Option<Duration>, queues: &Queues) {
        self.usage_begun.set(Usage::of_this_thread());
        let now = Instant::now();
        self.begun.set(now);
        self.ended.set(now);
        for pacing in self.pacings.iter().flatten() {
            pacing.begin(now);
        }
        self.stages.run(budget, duration.map(|d| now + d));
        self.timers.wake_all();
        if let Some(duration) = duration {
            // Whoever waits for its server at the end is to see that it has
            // come.
            let worker = self.clone();
            let generation = self.stages.generation();
            queues.spawn_control(async move {
                let mut left = duration;
                while !left.is_zero() && worker.stages.generation() == generation {
                    let nap = left.min(limits::BENCH_TICK);
                    runtime::sleep(nap).await;
                    left = (now + duration).saturating_duration_since(Instant::now());
                }
                worker.timers.wake_all();
            });
        }
    }

    /// The last lane has parked.
    pub(super) fn parked(&self) {
        if self.stages.stage() == Stage::Run {
            // A window is as long as was asked for, though its last operation
            // ended before.
            let last = self.ended.get();
            self.ended
                .set(self.stages.end().map_or(last, |end| end.max(last)));
            self.usage
                .set(Usage::of_this_thread().since(self.usage_begun.get()));
            self.forgo();
        }
        self.report(Report::Parked(self.stages.generation()));
    }

    /// Counts the sends that were due and were not made, and what is known of
    /// their latency: that it is no less.
    fn forgo(&self) {
        let Some(end) = self.stages.end() else {
            return;
        };
        let seen = self.ended.get().max(end);
        let mut tallies = self.tallies.borrow_mut();
        for (tally, pacing) in tallies.iter_mut().zip(&self.pacings) {
            for due in pacing.iter().flat_map(|pacing| pacing.forgo(end)) {
                tally.unsent += 1;
                tally.operation.record(seen - due);
            }
        }
    }

    fn counted(&self) -> Counted {
        Counted {
            tallies: self.tallies.borrow().clone(),
            begun: self.begun.get(),
            ended: self.ended.get(),
            usage: self.usage.get(),
        }
    }

    /// Waits until the lanes have ended, which give up in the end.
    async fn leave(&self, lanes: usize) {
        let due = Instant::now() + limits::BENCH_LEAVE_TIMEOUT;
        let mut nap = Duration::from_millis(1);
        while self.left.get() < lanes {
            if Instant::now() >= due {
                self.cut.set(true);
                self.timers.wake_all();
            }
            runtime::sleep(nap).await;
            nap = (nap * 2).min(limits::BENCH_SETTLE);
        }
    }

    fn report(&self, report: Report) {
        // Its room is never filled; nobody to tell it to is nobody who waits.
        let _ = self.reports.try_send(report);
    }
}

/// The operations that fall to one executor.
pub(super) fn budget(count: Option<u64>, worker: usize, workers: usize) -> Option<u64> {
    count.map(|count| share(count, worker, workers))
}
