//! A simulated peer: what the kernel knows of it, and what the relay is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use adit::tunnel::relay::{End, Pulled};

/// Something that happens to a peer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// That many bytes of its stream arrive.
    Arrive(usize),
    /// Its stream ends in order.
    Fin,
    /// Its connection is reset. What arrived before can still be read.
    Reset,
    /// That many bytes more can be sent to it.
    Room(usize),
    /// It ends its reading side: what is sent to it fails, what it sends goes
    /// on. Only a Unix socket can.
    StopReading,
}

/// A peer's connection, as the kernel sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    /// Bytes of its stream that have arrived, read or not.
    pub(crate) arrived: usize,
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    /// A reset that no call was told of: the kernel tells it once.
    pub(crate) untold: bool,
    pub(crate) deaf: bool,
    /// Bytes that would be taken now.
    pub(crate) room: usize,
    /// Telling it the end takes a byte, as close_notify does.
    pub(crate) speaks_tls: bool,
}

impl Kernel {
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    pub(crate) fn writes_fail(&self) -> bool {
        self.reset || self.deaf
    }
}

/// How a call failed. No two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) who: usize,
    pub(crate) number: usize,
}

/// How far telling a peer the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    NotYet,
    Begun,
    Done,
    Failed,
}

/// What one end was asked and what it told.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kernel: Kernel,
    pub(crate) pulled: usize,
    pub(crate) pushed: usize,
    /// Pushed, and with the kernel.
    pub(crate) received: usize,
    /// Pushed, or close_notify, and kept back.
    pub(crate) kept: usize,
    pub(crate) told_eof: bool,
    /// Its stream ended in order, as far as the relay can know: the end came
    /// before any failure, behind which a reset looks like an end.
    pub(crate) in_order: bool,
    pub(crate) read_failure: Option<Failure>,
    pub(crate) write_failure: Option<Failure>,
    pub(crate) finish: Finish,
    /// It had told its end in order when it failed to be told the other's.
    pub(crate) left_early: bool,
    /// Somebody waits for something to read, or for room.
    pub(crate) waits_to_read: bool,
    pub(crate) waits_to_write: bool,
}

/// Both ends, and what is to be known of the run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ends: [Facts; 2],
    /// The relay is to be called.
    pub(crate) woken: bool,
    /// Goes up with everything that really changes.
    pub(crate) changes: u64,
    /// The end that told its end of stream last.
    pub(crate) last_eof: Option<usize>,
    /// What must not be, the first time that it was.
    pub(crate) fault: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) tracing: bool,
    /// Calls say Pending, or do a part, though they need not.
    pub(crate) whims: Option<fastrand::Rng>,
    failures: usize,
}

impl World {
    pub(crate) fn new(kernels: [Kernel; 2], whims: Option<fastrand::Rng>) -> Self {
        Self {
            ends: kernels.map(|kernel| Facts {
                kernel,
                pulled: 0,
                pushed: 0,
                received: 0,
                kept: 0,
                told_eof: false,
                in_order: false,
                read_failure: None,
                write_failure: None,
                finish: Finish::NotYet,
                left_early: false,
                waits_to_read: false,
                waits_to_write: false,
            }),
            woken: true,
            changes: 0,
            last_eof: None,
            fault: None,
            trace: Vec::new(),
            tracing: false,
            whims,
            failures: 0,
        }
    }

    pub(crate) fn happen(&mut self, who: usize, event: Event) {
        self.note(|| format!("{}: {event:?}", name(who)));
        let end = &mut self.ends[who];
        let kernel = &mut end.kernel;
        if kernel.reset {
            return;
        }
        let (readable, writable) = match event {
            Event::Arrive(n) if !kernel.fin => {
                kernel.arrived += n;
                (true, false)
            }
            Event::Arrive(_) => (false, false),
            Event::Fin => {
                kernel.fin = true;
                (true, false)
            }
            Event::Reset => {
                kernel.reset = true;
                kernel.untold = true;
                (true, true)
            }
            Event::Room(n) => {
                kernel.room += n;
                (false, true)
            }
            Event::StopReading => {
                kernel.deaf = true;
                (false, true)
            }
        };
        if readable && std::mem::take(&mut end.waits_to_read) {
            self.woken = true;
        }
        if writable && std::mem::take(&mut end.waits_to_write) {
            self.woken = true;
        }
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(what());
        }
    }

    pub(crate) fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.fault.is_none() {
            self.fault = Some(what());
        }
    }

    fn fail(&mut self, who: usize) -> Failure {
        self.failures += 1;
        Failure {
            who,
            number: self.failures,
        }
    }

    /// True now and then, with the promise of another call.
    fn hesitates(&mut self) -> bool {
        let hesitates = self.whims.as_mut().is_some_and(|rng| rng.u8(..) < 24);
        self.woken |= hesitates;
        hesitates
    }

    /// As much of `n` as is done at once.
    fn part(&mut self, n: usize) -> usize {
        match &mut self.whims {
            Some(rng) if n > 1 => {
                if rng.bool() {
                    rng.usize(1..=n)
                } else {
                    n
                }
            }
            _ => n,
        }
    }

    /// Hands up to `n` bytes to the kernel.
    fn write(&mut self, who: usize, n: usize) -> Result<usize, Failure> {
        let kernel = &mut self.ends[who].kernel;
        if kernel.writes_fail() {
            kernel.untold = false;
            return Err(self.fail(who));
        }
        let n = n.min(kernel.room);
        let n = self.part(n);
        self.ends[who].kernel.room -= n;
        if n > 0 {
            self.changes += 1;
        }
        Ok(n)
    }

    /// Goes on with what is kept back.
    fn flush(&mut self, who: usize) -> Poll<Result<(), Failure>> {
        while self.ends[who].kept > 0 {
            if self.hesitates() {
                return Poll::Pending;
            }
            let sent = self.write(who, self.ends[who].kept)?;
            if sent == 0 {
                self.ends[who].waits_to_write = true;
                return Poll::Pending;
            }
            let end = &mut self.ends[who];
            end.kept -= sent;
            end.received = (end.received + sent).min(end.pushed);
        }
        Poll::Ready(Ok(()))
    }
}

/// One simulated end, as the relay has it.
pub(crate) struct Peer {
    pub(crate) who: usize,
    pub(crate) world: Rc<RefCell<World>>,
}

pub(crate) fn name(who: usize) -> &'static str {
    ["client", "backend"][who]
}

/// The byte at a place in a peer's stream.
fn byte(who: usize, at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 7) as u8 ^ (who as u8 * 0x55) ^ at as u8
}

impl End for Peer {
    type Error = Failure;

    fn pull(&mut self, plain: &mut [u8]) -> Poll<Result<Pulled, Failure>> {
        let who = self.who;
        let world = &mut *self.world.borrow_mut();
        let sink = &world.ends[1 - who];
        let (kept, heard) = (sink.kept, sink.write_failure.is_none());
        let failed = world.ends[who].read_failure.is_some();
        world.must(kept == 0 || !heard, || {
            format!("{} is pulled while the other end keeps {kept}", name(who))
        });
        world.must(!failed, || {
            format!("{} is pulled though it broke", name(who))
        });
        if world.hesitates() {
            return Poll::Pending;
        }
        let end = &world.ends[who];
        let there = end.kernel.arrived - end.pulled;
        let (pulled, kernel) = (end.pulled, &end.kernel);
        let result = if there > 0 {
            let n = world.part(there.min(plain.len()));
            for (at, byte_of) in (pulled..pulled + n).zip(plain.iter_mut()) {
                *byte_of = byte(who, at);
            }
            world.ends[who].pulled += n;
            world.changes += 1;
            Ok(Pulled::Bytes(n))
        } else if kernel.fin || (kernel.reset && !kernel.untold) {
            let end = &mut world.ends[who];
            if !end.told_eof {
                end.told_eof = true;
                end.in_order = end.kernel.fin && end.write_failure.is_none();
                world.last_eof = Some(who);
                world.changes += 1;
            }
            Ok(Pulled::Eof)
        } else if kernel.reset {
            let failure = world.fail(who);
            let end = &mut world.ends[who];
            end.kernel.untold = false;
            end.read_failure = Some(failure);
            world.changes += 1;
            Err(failure)
        } else {
            world.ends[who].waits_to_read = true;
            return Poll::Pending;
        };
        world.note(|| format!("  {}.pull: {result:?}", name(who)));
        Poll::Ready(result)
    }

    fn push(&mut self, plain: &[u8]) -> Result<(), Failure> {
        let who = self.who;
        let world = &mut *self.world.borrow_mut();
        let end = world.ends[who].clone();
        let right = plain
            .iter()
            .enumerate()
            .all(|(at, given)| *given == byte(1 - who, end.pushed + at));
        world.must(right, || format!("{} is pushed wrong bytes", name(who)));
        world.must(!plain.is_empty() && end.kept == 0, || {
            format!("{} is pushed while it keeps {}", name(who), end.kept)
        });
        world.must(
            end.finish == Finish::NotYet && end.write_failure.is_none(),
            || format!("{} is pushed behind its end", name(who)),
        );
        world.changes += 1;
        world.ends[who].pushed += plain.len();
        let sent = world.write(who, plain.len());
        world.note(|| format!("  {}.push {}: {sent:?}", name(who), plain.len()));
        match sent {
            Ok(sent) => {
                world.ends[who].received += sent;
                world.ends[who].kept = plain.len() - sent;
                Ok(())
            }
            Err(failure) => {
                world.ends[who].write_failure = Some(failure);
                Err(failure)
            }
        }
    }

    fn flush(&mut self) -> Poll<Result<(), Failure>> {
        let who = self.who;
        let world = &mut *self.world.borrow_mut();
        let failed = world.ends[who].write_failure.is_some();
        world.must(!failed, || {
            format!("{} is flushed though it broke", name(who))
        });
        let kept = world.ends[who].kept;
        let result = world.flush(who);
        if kept > 0 {
            world.note(|| format!("  {}.flush of {kept}: {result:?}", name(who)));
        }
        if let Poll::Ready(Err(failure)) = result {
            world.ends[who].write_failure = Some(failure);
            world.changes += 1;
        }
        result
    }

    fn finish(&mut self) -> Poll<Result<(), Failure>> {
        let who = self.who;
        let world = &mut *self.world.borrow_mut();
        let (end, source) = (world.ends[who].clone(), world.ends[1 - who].clone());
        world.must(
            matches!(end.finish, Finish::NotYet | Finish::Begun) && end.write_failure.is_none(),
            || format!("{} is told its end twice", name(who)),
        );
        world.must(source.told_eof && end.pushed == source.pulled, || {
            format!("{} is told an end that is not there yet", name(who))
        });
        world.must(
            end.received == end.pushed || end.finish == Finish::Begun,
            || format!("{} is told the end before {} bytes", name(who), end.kept),
        );
        if end.finish == Finish::NotYet {
            world.ends[who].finish = Finish::Begun;
            world.ends[who].kept += usize::from(end.kernel.speaks_tls);
            world.changes += 1;
        }
        let mut result = world.flush(who);
        if result == Poll::Ready(Ok(())) && world.ends[who].kernel.reset {
            // shutdown(2) fails on a connection that is gone, and leaves the
            // reset to be told.
            result = Poll::Ready(Err(world.fail(who)));
        }
        world.note(|| format!("  {}.finish: {result:?}", name(who)));
        match result {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                world.ends[who].finish = Finish::Done;
                world.changes += 1;
            }
            Poll::Ready(Err(failure)) => {
                let end = &mut world.ends[who];
                end.finish = Finish::Failed;
                end.left_early = end.in_order;
                end.write_failure = Some(failure);
                world.changes += 1;
            }
        }
        result
    }
}
