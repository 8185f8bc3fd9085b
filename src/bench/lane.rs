//! A lane: one thing after the other, until told to leave.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::cause::{Phase, Trouble};
use super::link::{Ending, Fault, Link, Scratch};
use super::options::{Bulk, Churn, Direction, Handshake, Idle, Part, RoundTrip};
use super::stage::{Seat, Stage};
use super::tally::Tally;
use super::worker::{Shown, Worker};
use crate::limits;
use crate::runtime;
use crate::timer::{Alarm, Tick};

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    worker: Rc<Worker>,
    /// What part of the scenario it belongs to, by its place.
    part: usize,
    /// Which lane of that part it is, on this executor.
    number: usize,
    seat: Seat,
    alarm: Alarm,
    /// When the operation in flight has failed.
    due: Cell<Tick>,
}

/// A connection that is open, with what is to be counted of its making.
#[derive(Debug)]
struct Held {
    link: Link,
    shaken: Duration,
    counted: bool,
}

/// When an operation was to begin, and did.
#[derive(Clone, Copy, Debug)]
struct Start {
    due: Option<Instant>,
    begun: Instant,
}

impl Lane {
    pub(super) fn new(worker: &Rc<Worker>, part: usize, number: usize) -> Self {
        Self {
            worker: worker.clone(),
            part,
            number,
            seat: Seat::default(),
            alarm: worker.timers.alarm(),
            due: Cell::new(Tick::NEVER),
        }
    }

    /// Does what this part of the scenario asks for, until told to leave.
    /// `counted`: the measurement ends after a number of operations.
    pub(super) async fn run(mut self, part: &Part, counted: bool) {
        match part {
            Part::Handshake(handshake) => self.handshake(handshake).await,
            Part::Churn(churn) => self.churn(churn).await,
            Part::RoundTrip(trip) => self.round_trip(trip).await,
            Part::Bulk(bulk) => self.bulk(bulk, counted).await,
            Part::Idle(idle) => self.idle(idle).await,
        }
    }

    async fn handshake(&mut self, handshake: &Handshake) {
        let config = self.config(handshake.resume);
        let bytes = u64::from(handshake.echo);
        loop {
            let stage = self.leave().await;
            match stage {
                Stage::Leave => return,
                // The first one has nothing to resume.
                Stage::Prepare if handshake.resume => {
                    let _ = self.visit(config.as_ref(), bytes, false).await;
                }
                Stage::Warm | Stage::Run => {
                    self.visit_once(stage, config.as_ref(), bytes).await;
                }
                _ => {}
            }
        }
    }

    async fn churn(&mut self, churn: &Churn) {
        let (full, resumed) = (self.config(false), self.config(true));
        // Lanes begin at different places, so that they do not all do the same
        // at the same time.
        let mut owed = churn.resumed * self.number as f64 % 1.0;
        loop {
            let stage = self.leave().await;
            match stage {
                Stage::Leave => return,
                // So that there is something to resume.
                Stage::Prepare if churn.resumed > 0.0 => {
                    let _ = self.visit(resumed.as_ref(), churn.bytes, false).await;
                }
                Stage::Warm | Stage::Run => {
                    owed += churn.resumed;
                    let config = if owed >= 1.0 { &resumed } else { &full };
                    owed -= owed.floor();
                    self.visit_once(stage, config.as_ref(), churn.bytes).await;
                }
                _ => {}
            }
        }
    }

    /// One whole connection, at the time that is due for it.
    async fn visit_once(&mut self, stage: Stage, config: Option<&Arc<ClientConfig>>, bytes: u64) {
        let counts = stage == Stage::Run;
        let Some(start) = self.pace(stage).await else {
            return;
        };
        match self.visit(config, bytes, counts).await {
            Ok(()) if counts => self.record(start, bytes, bytes),
            Ok(()) => {}
            Err(trouble) => self.fail(counts, trouble).await,
        }
    }

    /// Connects, shakes hands, sends so many bytes and awaits them back,
    /// closes.
    async fn visit(
        &self,
        config: Option<&Arc<ClientConfig>>,
        bytes: u64,
        counts: bool,
    ) -> Result<(), Trouble> {
        self.begin();
        let mut held = self.open(config).await?;
        if counts {
            self.adopt(&mut held);
        }
        self.exchange(&mut held.link, bytes).await?;
        let (ending, _) = self.close(held.link).await?;
        if counts {
            self.with_tally(|tally| tally.closed(ending));
        }
        Ok(())
    }

    async fn round_trip(&mut self, trip: &RoundTrip) {
        let config = self.config(false);
        let mut held = None;
        loop {
            let stage = self.leave().await;
            match stage {
                Stage::Leave => {
                    if let Some(Held { link, .. }) = held {
                        self.part(link).await;
                    }
                    return;
                }
                // Should it fail, it is tried again when it counts.
                Stage::Prepare => held = self.open_in_turn(config.as_ref()).await.ok(),
                Stage::Warm | Stage::Run => {
                    let counts = stage == Stage::Run;
                    let Some(start) = self.pace(stage).await else {
                        continue;
                    };
                    match self
                        .trip(&mut held, config.as_ref(), trip.bytes, counts)
                        .await
                    {
                        Ok(()) if counts => self.record(start, trip.bytes, trip.bytes),
                        Ok(()) => {}
                        Err(trouble) => {
                            held = None;
                            self.fail(counts, trouble).await;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    async fn trip(
        &self,
        held: &mut Option<Held>,
        config: Option<&Arc<ClientConfig>>,
        bytes: u64,
        counts: bool,
    ) -> Result<(), Trouble> {
        self.begin();
        let held = match held {
            Some(held) => held,
            None => held.insert(self.open(config).await?),
        };
        if counts {
            self.adopt(held);
        }
        self.exchange(&mut held.link, bytes).await
    }

    async fn idle(&mut self, idle: &Idle) {
        let config = self.config(false);
        let bytes = u64::from(idle.echo);
        let mut held: Option<Held> = None;
        loop {
            let stage = self.leave().await;
            match stage {
                Stage::Leave => {
                    if let Some(Held { link, .. }) = held {
                        self.part(link).await;
                    }
                    return;
                }
                Stage::Warm => {
                    self.worker.stages.rest(&mut self.seat);
                    if self.number < limits::BENCH_IDLE_WARMUP {
                        let _ = self.visit(config.as_ref(), bytes, false).await;
                    }
                }
                Stage::Run => {
                    self.worker.stages.rest(&mut self.seat);
                    match self.settle_in(config.as_ref(), bytes).await {
                        Ok(opened) => held = Some(opened),
                        Err(trouble) => self.fail(true, trouble).await,
                    }
                }
                Stage::Inspect => {
                    if let Some(Held { link, .. }) = &mut held
                        && let Err(trouble) = self.inspect(link).await
                    {
                        held = None;
                        self.fail(true, trouble).await;
                    }
                }
                Stage::Prepare | Stage::Hold => {}
            }
        }
    }

    async fn settle_in(
        &self,
        config: Option<&Arc<ClientConfig>>,
        bytes: u64,
    ) -> Result<Held, Trouble> {
        let _inside = self.worker.opening.enter().await;
        let begun = Instant::now();
        self.begin();
        let mut held = self.open(config).await?;
        self.adopt(&mut held);
        self.exchange(&mut held.link, bytes).await?;
        self.record(Start { due: None, begun }, bytes, bytes);
        Ok(held)
    }

    /// Whether a connection that is held is still open.
    async fn inspect(&self, link: &mut Link) -> Result<(), Trouble> {
        poll_fn(|cx| {
            let scratch = &mut self.worker.scratch.borrow_mut();
            Poll::Ready(match link.poll_recv(cx, scratch) {
                Poll::Ready(Ok(0)) => Err(Trouble::new(Phase::Io, &Fault::Eof)),
                Poll::Ready(Err(fault)) => Err(Trouble::new(Phase::Io, &fault)),
                Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
            })
        })
        .await
    }

    async fn bulk(&mut self, bulk: &Bulk, counted: bool) {
        let config = self.config(false);
        let mut held: Option<Held> = None;
        loop {
            let stage = self.leave().await;
            match stage {
                Stage::Leave => {
                    if let Some(Held { link, .. }) = held {
                        // A source would go on for ever.
                        link.reset();
                    }
                    return;
                }
                Stage::Prepare => held = self.open_in_turn(config.as_ref()).await.ok(),
                Stage::Warm | Stage::Run => {
                    let counts = stage == Stage::Run;
                    let begun = Instant::now();
                    let bytes = if counts { bulk.bytes } else { None };
                    if bytes.is_some() && !counted {
                        self.worker.stages.rest(&mut self.seat);
                    }
                    let config = config.as_ref();
                    let moved = self.transfer(&mut held, config, bulk.direction, bytes, counts);
                    match moved.await {
                        Ok(()) if counts => self.record(Start { due: None, begun }, 0, 0),
                        Ok(()) => {
                            // The measurement is not to begin with a handshake.
                            if held.is_none() {
                                held = self.open_in_turn(config).await.ok();
                            }
                        }
                        Err(trouble) => {
                            held = None;
                            self.fail(counts, trouble).await;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Moves so many bytes, or until the stage is over. What is still held
    /// after it can be used again.
    async fn transfer(
        &self,
        held: &mut Option<Held>,
        config: Option<&Arc<ClientConfig>>,
        direction: Direction,
        bytes: Option<u64>,
        counts: bool,
    ) -> Result<(), Trouble> {
        let generation = self.worker.stages.generation();
        self.begin();
        let mut open = match held.take() {
            Some(held) => held,
            None => self.open(config).await?,
        };
        if counts {
            self.adopt(&mut open);
        }
        let mut left = bytes.unwrap_or(u64::MAX);
        match direction {
            Direction::Up => {
                let link = &mut open.link;
                self.wait(Phase::Io, |cx, scratch| {
                    self.stream(cx, generation, &mut left, |cx, left| {
                        // An echo stops reading if nobody reads what it sends.
                        match link.poll_recv(cx, scratch)? {
                            Poll::Ready(0) => return Poll::Ready(Err(Fault::Eof)),
                            Poll::Ready(n) if counts => self.moved(0, n as u64),
                            _ => {}
                        }
                        let moved = link.poll_push(cx, scratch, left);
                        if counts && let Poll::Ready(Ok(n)) = moved {
                            self.moved(n as u64, 0);
                        }
                        moved
                    })
                })
                .await?;
                self.begin();
                let (ending, still) = self.close(open.link).await?;
                if counts {
                    self.moved(0, still);
                    self.with_tally(|tally| tally.closed(ending));
                }
            }
            Direction::Down => {
                let link = &mut open.link;
                let (mut some, mut ended) = (false, false);
                let outcome = self.wait(Phase::Io, |cx, scratch| {
                    self.stream(cx, generation, &mut left, |cx, _| {
                        let moved = link.poll_recv(cx, scratch);
                        match moved {
                            Poll::Ready(Ok(0)) => {
                                ended = some && bytes.is_none();
                                return Poll::Ready(Err(Fault::Eof));
                            }
                            Poll::Ready(Ok(n)) => {
                                some = true;
                                if counts {
                                    self.moved(0, n as u64);
                                }
                            }
                            _ => {}
                        }
                        moved
                    })
                });
                match outcome.await {
                    Ok(()) => *held = Some(open),
                    // Not every source goes on for ever: this was all it had.
                    Err(_) if ended => {
                        let (ending, _) = self.close(open.link).await?;
                        if counts {
                            self.with_tally(|tally| tally.closed(ending));
                        }
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        Ok(())
    }

    /// Moves bytes for a turn. Ready when nothing is left, or the stage is
    /// over.
    fn stream(
        &self,
        cx: &mut Context<'_>,
        generation: u64,
        left: &mut u64,
        mut step: impl FnMut(&mut Context<'_>, u64) -> Poll<Result<usize, Fault>>,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..limits::BENCH_TURNS {
            if *left == 0 || self.worker.stages.is_over(generation) {
                return Poll::Ready(Ok(()));
            }
            match step(cx, *left) {
                Poll::Ready(Ok(n)) => {
                    *left = left.saturating_sub(n as u64);
                    // It gets on, which is all that can be asked of it.
                    self.begin();
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.worker.later.give_way(cx);
        Poll::Pending
    }
}

/// The steps that operations consist of.
impl Lane {
    /// Waits for something to do.
    async fn leave(&mut self) -> Stage {
        let (worker, seat) = (&self.worker, &mut self.seat);
        poll_fn(|cx| worker.stages.poll_leave(cx, seat, || worker.parked())).await
    }

    fn config(&self, resuming: bool) -> Option<Arc<ClientConfig>> {
        self.worker.dialect.as_ref().map(|dialect| {
            if resuming {
                dialect.resuming()
            } else {
                dialect.forgetful()
            }
        })
    }

    /// From here on the operation has its time.
    fn begin(&self) {
        let due = self.alarm.now().after(self.worker.timeout);
        self.due.set(due);
    }

    /// Waits until an operation is due: at once in a closed loop. `None`: there
    /// is none any more.
    async fn pace(&mut self, stage: Stage) -> Option<Start> {
        let worker = &self.worker;
        let Some(pacing) = &worker.pacings[self.part] else {
            let begun = Instant::now();
            return Some(Start { due: None, begun });
        };
        let generation = worker.stages.generation();
        let end = if stage == Stage::Run {
            worker.stages.end()
        } else {
            None
        };
        let Some(due) = pacing.take(end) else {
            worker.stages.rest(&mut self.seat);
            return None;
        };
        let mut waited = false;
        loop {
            let now = Instant::now();
            if now >= due {
                if waited && stage == Stage::Run {
                    self.with_tally(|tally| tally.lag.record(now - due));
                }
                return Some(Start {
                    due: Some(due),
                    begun: now,
                });
            }
            // Only an order can end it before its time.
            let over = worker.stages.generation() != generation
                || worker.cut.get()
                || (stage == Stage::Run && worker.stages.end().is_some_and(|end| end <= due));
            if over {
                return None;
            }
            waited = true;
            runtime::sleep((due - now).min(limits::BENCH_TICK)).await;
        }
    }

    /// Opens a connection when it is its turn.
    async fn open_in_turn(&self, config: Option<&Arc<ClientConfig>>) -> Result<Held, Trouble> {
        let _inside = self.worker.opening.enter().await;
        self.begin();
        self.open(config).await
    }

    async fn open(&self, config: Option<&Arc<ClientConfig>>) -> Result<Held, Trouble> {
        let worker = &self.worker;
        let begun = Instant::now();
        let tls = config.zip(worker.dialect.as_ref().map(|dialect| &dialect.name));
        let mut link =
            Link::dial(&worker.peer, tls).map_err(|fault| Trouble::new(Phase::Connect, &fault))?;
        let connected = Cell::new(false);
        let phase = || match connected.get() {
            true => Phase::Handshake,
            false => Phase::Connect,
        };
        self.wait_in(phase, |cx, scratch| {
            let opened = link.poll_open(cx, scratch);
            connected.set(link.is_connected());
            opened
        })
        .await?;
        Ok(Held {
            link,
            shaken: begun.elapsed(),
            counted: false,
        })
    }

    /// Counts a connection, once.
    fn adopt(&self, held: &mut Held) {
        if std::mem::replace(&mut held.counted, true) {
            return;
        }
        let tls = self.worker.dialect.is_some();
        self.with_tally(|tally| {
            tally.connections += 1;
            if tls {
                tally.handshake.record(held.shaken);
                if held.link.is_resumed() {
                    tally.handshakes_resumed += 1;
                } else {
                    tally.handshakes_full += 1;
                }
                if tally.negotiated.is_none() {
                    tally.negotiated = held.link.negotiated();
                }
            }
        });
    }

    /// Sends so many bytes and awaits as many.
    async fn exchange(&self, link: &mut Link, bytes: u64) -> Result<(), Trouble> {
        if bytes == 0 {
            return Ok(());
        }
        let (mut to_send, mut to_come) = (bytes, bytes);
        self.wait(Phase::Io, |cx, scratch| {
            for _ in 0..limits::BENCH_TURNS {
                let mut moved = false;
                if to_send > 0 {
                    if let Poll::Ready(sent) = link.poll_push(cx, scratch, to_send) {
                        to_send -= sent? as u64;
                        moved = true;
                    }
                } else if let Poll::Ready(Err(fault)) = link.poll_flush(cx) {
                    return Poll::Ready(Err(fault));
                }
                match link.poll_recv(cx, scratch)? {
                    Poll::Ready(0) => return Poll::Ready(Err(Fault::Eof)),
                    Poll::Ready(n) => match to_come.checked_sub(n as u64) {
                        Some(0) => return Poll::Ready(Ok(())),
                        Some(left) => {
                            to_come = left;
                            moved = true;
                        }
                        None => return Poll::Ready(Err(Fault::Surplus)),
                    },
                    Poll::Pending => {}
                }
                if !moved {
                    return Poll::Pending;
                }
            }
            self.worker.later.give_way(cx);
            Poll::Pending
        })
        .await
    }

    /// Closes a connection in order, and awaits its end. Gives how the server
    /// ended it, and how many bytes still came.
    async fn close(&self, mut link: Link) -> Result<(Ending, u64), Trouble> {
        let mut bytes = 0;
        let mut finished = false;
        let ending = self
            .wait(Phase::Close, |cx, scratch| {
                if !finished {
                    match link.poll_finish(cx, scratch) {
                        Poll::Ready(Ok(())) => finished = true,
                        // It may have been the first to go.
                        Poll::Ready(Err(Fault::Io(error))) if super::link::is_gone(&error) => {
                            return Poll::Ready(Ok(Ending::Reset));
                        }
                        Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                        Poll::Pending => {}
                    }
                }
                link.poll_end(cx, scratch, &mut bytes)
            })
            .await?;
        Ok((ending, bytes))
    }

    /// Closes a connection that is not needed any more.
    async fn part(&self, link: Link) {
        self.begin();
        let _ = self.close(link).await;
    }

    async fn wait<T>(
        &self,
        phase: Phase,
        poll: impl FnMut(&mut Context<'_>, &mut Scratch) -> Poll<Result<T, Fault>>,
    ) -> Result<T, Trouble> {
        self.wait_in(|| phase, poll).await
    }

    /// Waits for a step of an operation, for no longer than that may take.
    async fn wait_in<T>(
        &self,
        phase: impl Fn() -> Phase,
        mut poll: impl FnMut(&mut Context<'_>, &mut Scratch) -> Poll<Result<T, Fault>>,
    ) -> Result<T, Trouble> {
        let worker = &self.worker;
        poll_fn(|cx| {
            if worker.cut.get() {
                return Poll::Ready(Err(Trouble::Cut));
            }
            match poll(cx, &mut worker.scratch.borrow_mut()) {
                Poll::Ready(Ok(done)) => Poll::Ready(Ok(done)),
                Poll::Ready(Err(fault)) => Poll::Ready(Err(Trouble::new(phase(), &fault))),
                Poll::Pending if self.alarm.now() >= self.due.get() => {
                    Poll::Ready(Err(Trouble::timeout(phase())))
                }
                Poll::Pending => {
                    self.alarm.set(cx, self.due.get());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn with_tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.worker.tallies.borrow_mut()[self.part]);
    }

    /// Counts bytes of a transfer that goes on.
    fn moved(&self, up: u64, down: u64) {
        let now = Instant::now();
        let begun = self.worker.begun.get();
        self.with_tally(|tally| {
            tally.bytes_up += up;
            tally.bytes_down += down;
            tally.course.record(begun, now, 0, up + down);
        });
        Shown::add(&self.worker.shown.bytes, up + down);
    }

    /// Counts an operation that has come to its end just now.
    fn record(&self, start: Start, up: u64, down: u64) {
        let now = Instant::now();
        let begun = self.worker.begun.get();
        self.worker.ended.set(now);
        self.with_tally(|tally| {
            tally.operations += 1;
            tally.bytes_up += up;
            tally.bytes_down += down;
            match start.due {
                None => tally.operation.record(now - start.begun),
                Some(due) => {
                    tally.operation.record(now - due);
                    tally.service.record(now - start.begun);
                }
            }
            tally.course.record(begun, now, 1, up + down);
        });
        let shown = &self.worker.shown;
        Shown::add(&shown.operations, 1);
        Shown::add(&shown.bytes, up + down);
    }

    /// Counts an operation that has failed, and rests.
    async fn fail(&self, counts: bool, trouble: Trouble) {
        let Trouble::Failed(cause) = trouble else {
            if counts {
                self.with_tally(|tally| tally.abandoned += 1);
            }
            return;
        };
        if counts {
            self.worker.ended.set(Instant::now());
            self.with_tally(|tally| tally.failed(cause));
        }
        Shown::add(&self.worker.shown.errors, 1);
        runtime::sleep(limits::BENCH_RETRY).await;
    }
}
