//! A lane: one thing after the other, until told to leave. What it does for
//! each part of a scenario; the steps of it are in [`step`](super::step).

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::ClientConfig;

use super::cause::{Phase, Trouble};
use super::link::{Fault, Link};
use super::options::{Bulk, Churn, Direction, Handshake, Idle, Part, RoundTrip};
use super::stage::{Seat, Stage};
use super::step::{Held, Start};
use super::worker::Worker;
use crate::limits;
use crate::timer::{Alarm, Tick};

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) worker: Rc<Worker>,
    /// What part of the scenario it belongs to, by its place.
    pub(super) part: usize,
    /// Which lane of that part it is, on this executor.
    number: usize,
    pub(super) seat: Seat,
    pub(super) alarm: Alarm,
    /// When the operation in flight has failed.
    pub(super) due: Cell<Tick>,
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
        let answered = held.begun.elapsed();
        let (ending, _) = self.close(held.link).await?;
        if counts {
            self.with_tally(|tally| {
                tally.closed(ending);
                if bytes > 0 {
                    tally.answer.record(answered);
                }
            });
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
