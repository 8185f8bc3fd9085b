//! The steps that the operations of a lane consist of.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::cause::{Phase, Trouble};
use super::lane::Lane;
use super::link::{Ending, Fault, Link, Scratch};
use super::stage::Stage;
use super::tally::Tally;
use super::worker::Shown;
use crate::limits;
use crate::runtime;

/// A connection that is open, with what is to be counted of its making.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: Link,
    /// When connecting began.
    pub(super) begun: Instant,
    shaken: Duration,
    counted: bool,
}

/// When an operation was to begin, and did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) due: Option<Instant>,
    pub(super) begun: Instant,
}

impl Lane {
    /// Waits for something to do.
    pub(super) async fn leave(&mut self) -> Stage {
        let (worker, seat) = (&self.worker, &mut self.seat);
        poll_fn(|cx| worker.stages.poll_leave(cx, seat, || worker.parked())).await
    }

    pub(super) fn config(&self, resuming: bool) -> Option<Arc<ClientConfig>> {
        self.worker.dialect.as_ref().map(|dialect| {
            if resuming {
                dialect.resuming()
            } else {
                dialect.forgetful()
            }
        })
    }

    /// From here on the operation has its time.
    pub(super) fn begin(&self) {
        let due = self.alarm.now().after(self.worker.timeout);
        self.due.set(due);
    }

    /// Waits until an operation is due: at once in a closed loop. `None`: there
    /// is none any more.
    pub(super) async fn pace(&mut self, stage: Stage) -> Option<Start> {
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
    pub(super) async fn open_in_turn(
        &self,
        config: Option<&Arc<ClientConfig>>,
    ) -> Result<Held, Trouble> {
        let _inside = self.worker.opening.enter().await;
        self.begin();
        let opened = self.open(config).await;
        if opened.is_err() {
            // It is seen, and counts once it is tried again.
            Shown::add(&self.worker.shown.errors, 1);
        }
        opened
    }

    pub(super) async fn open(&self, config: Option<&Arc<ClientConfig>>) -> Result<Held, Trouble> {
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
            begun,
            shaken: begun.elapsed(),
            counted: false,
        })
    }

    /// Counts a connection, once.
    pub(super) fn adopt(&self, held: &mut Held) {
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
    pub(super) async fn exchange(&self, link: &mut Link, bytes: u64) -> Result<(), Trouble> {
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
    pub(super) async fn close(&self, mut link: Link) -> Result<(Ending, u64), Trouble> {
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
    pub(super) async fn part(&self, link: Link) {
        self.begin();
        let _ = self.close(link).await;
    }

    pub(super) async fn wait<T>(
        &self,
        phase: Phase,
        poll: impl FnMut(&mut Context<'_>, &mut Scratch) -> Poll<Result<T, Fault>>,
    ) -> Result<T, Trouble> {
        self.wait_in(|| phase, poll).await
    }

    /// Waits for a step of an operation, for no longer than that may take.
    pub(super) async fn wait_in<T>(
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

    pub(super) fn with_tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.worker.tallies.borrow_mut()[self.part]);
    }

    /// Counts bytes of a transfer that goes on.
    pub(super) fn moved(&self, up: u64, down: u64) {
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
    pub(super) fn record(&self, start: Start, up: u64, down: u64) {
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
    pub(super) async fn fail(&self, counts: bool, trouble: Trouble) {
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
