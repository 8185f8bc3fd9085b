//! The two directions of a tunnel. Pure: no socket, no clock, no executor.
//!
//! An [`End`] is one peer, seen from the tunnel: bytes can be pulled from it
//! and pushed to it, and neither ever waits. Each direction is a `Half` that
//! pulls from one end and pushes to the other, one turn at a time:
//!
//! ```text
//!   Open ──source ended──▶ Ending ──all bytes passed on──▶ Ended
//!    │ └──source broke───▶ Breaking ──all bytes passed on──▶ (the tunnel breaks)
//!    └────sink broke─────▶ Discarding ──source ended──▶ Useless
//! ```
//!
//! A half pulls only when its sink holds nothing back, so that a peer that
//! does not read stops the other from being read: that is the back-pressure,
//! and the bound on memory. An end of stream is an event in the order of the
//! bytes: it is passed on once, after every byte before it. So is a reset,
//! which is never turned into an orderly end: the peer would take a cut stream
//! for a whole one.
//!
//! When a peer can no longer be *written* to, what it had sent before is still
//! read to its end. A server that answers early and closes with our bytes
//! unread resets the connection behind its answer; the answer must arrive.

use std::task::Poll;

/// One peer, seen from the tunnel. No method waits: what would wait says so,
/// and whoever drives the relay is woken when it is worth trying again.
pub trait End {
    /// What can break it.
    type Error;

    /// Takes bytes from the peer into the front of `plain`.
    fn pull(&mut self, plain: &mut [u8]) -> Poll<Result<Pulled, Self::Error>>;

    /// Hands bytes to the peer. All are taken; what the peer cannot take now
    /// is kept back, and the next [`flush`](Self::flush) goes on with it. Only
    /// called when nothing is kept back.
    fn push(&mut self, plain: &[u8]) -> Result<(), Self::Error>;

    /// Goes on with what is kept back. Ready when nothing is.
    fn flush(&mut self) -> Poll<Result<(), Self::Error>>;

    /// Tells the peer that nothing more will come, after all that was pushed.
    /// Called at most once, and polled again after Pending.
    fn finish(&mut self) -> Poll<Result<(), Self::Error>>;
}

/// What a pull gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// That many bytes, never 0.
    Bytes(usize),
    /// The end of the peer's stream.
    Eof,
}

/// Which of a tunnel's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one that connected to us.
    Client,
    /// The one that we connected to.
    Backend,
}

/// How the relay of a tunnel came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<E> {
    /// Both streams ended in order, and both ends were told. The named end was
    /// the last to end its stream.
    Ended {
        /// The end whose stream ended last.
        last: Who,
    },
    /// An end broke in the middle of its stream. All that it had sent before
    /// was passed on as far as the other end took it. The other end must not
    /// see an orderly close.
    Broke {
        /// The end that broke.
        who: Who,
        /// How.
        error: E,
    },
    /// An end stopped taking bytes after its own stream had ended in order and
    /// had been passed on. The other end lost nothing that it was to receive,
    /// but what it sent last found no reader.
    Unheard {
        /// The end that stopped taking bytes.
        who: Who,
        /// How.
        error: E,
    },
}

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes from the client to the backend.
    pub up: usize,
    /// Bytes from the backend to the client.
    pub down: usize,
    /// Whether anything at all changed, so that another turn may do more.
    pub any: bool,
    /// Whether more was done than to throw bytes away, so that the tunnel is
    /// not idle.
    pub live: bool,
}

/// Both directions of one tunnel.
#[derive(Debug)]
pub struct Relay<E> {
    up: Half<E>,
    down: Half<E>,
    last: Who,
    /// Which ends have ended their streams in order.
    ended: Ended,
    /// The end that was the first to stop taking bytes.
    deaf: Option<Who>,
}

/// Which ends have ended their streams in order.
#[derive(Debug, Default)]
struct Ended {
    client: bool,
    backend: bool,
}

/// One direction.
#[derive(Debug)]
enum Half<E> {
    /// Bytes flow.
    Open,
    /// The source has ended; the sink is still to be told.
    Ending,
    /// The sink was told.
    Ended,
    /// The source broke; what it sent before is still to be passed on.
    Breaking(E),
    /// The source had stopped taking bytes before its stream ended: what looks
    /// like an end is the rest of a break. The other half knows the error.
    Severed,
    /// The sink broke; what the source still sends is thrown away, so that a
    /// source which sends before it reads gets to reading.
    Discarding(E),
    /// The sink broke, and the source has nothing more to say.
    Useless(E),
}

impl<E> Default for Relay<E> {
    fn default() -> Self {
        Self {
            up: Half::Open,
            down: Half::Open,
            last: Who::Client,
            ended: Ended::default(),
            deaf: None,
        }
    }
}

impl<E> Relay<E> {
    /// Lets each direction do one step of work.
    ///
    /// `plain` is scratch space that holds nothing between turns. Ready means
    /// that the tunnel is over.
    pub fn turn<C, B>(
        &mut self,
        client: &mut C,
        backend: &mut B,
        plain: &mut [u8],
    ) -> (Progress, Poll<Outcome<E>>)
    where
        C: End<Error = E>,
        B: End<Error = E>,
    {
        let up = self.up.step(client, backend, plain, self.down.opposite());
        if up.ended {
            self.last = Who::Client;
            self.ended.client = true;
        }
        if self.up.sink_is_broken() {
            self.deaf.get_or_insert(Who::Backend);
        }
        let down = self.down.step(backend, client, plain, self.up.opposite());
        if down.ended {
            self.last = Who::Backend;
            self.ended.backend = true;
        }
        if self.down.sink_is_broken() {
            self.deaf.get_or_insert(Who::Client);
        }
        let progress = Progress {
            up: up.bytes,
            down: down.bytes,
            any: up.any || down.any,
            live: up.is_live() || down.is_live(),
        };
        (progress, self.outcome(up.drained, down.drained))
    }

    /// Whether one direction has ended, so that the shorter half-close timeout
    /// applies.
    pub fn is_half_closed(&self) -> bool {
        !matches!((&self.up, &self.down), (Half::Open, Half::Open))
    }

    /// Whether that end's stream has ended in order, and the other end was told.
    /// It is not pulled from any more.
    pub fn has_ended(&self, who: Who) -> bool {
        let half = match who {
            Who::Client => &self.up,
            Who::Backend => &self.down,
        };
        matches!(half, Half::Ended)
    }

    fn outcome(&mut self, up_drained: bool, down_drained: bool) -> Poll<Outcome<E>> {
        // A source that broke ends the tunnel as soon as its last bytes are
        // with the other side, whatever the other direction is doing: its sink
        // is that same broken end.
        if up_drained && let Some(error) = self.up.take_break() {
            return broke(Who::Client, error);
        }
        if down_drained && let Some(error) = self.down.take_break() {
            return broke(Who::Backend, error);
        }
        if up_drained && matches!(self.up, Half::Severed) {
            return severed(Who::Client, self.down.take());
        }
        if down_drained && matches!(self.down, Half::Severed) {
            return severed(Who::Backend, self.up.take());
        }
        match (&mut self.up, &mut self.down) {
            (Half::Ended, Half::Ended) => Poll::Ready(Outcome::Ended { last: self.last }),
            // The sink of `up` is the backend, whose own stream has ended.
            (up, Half::Ended) if up.sink_is_broken() => unheard(Who::Backend, up.take()),
            (Half::Ended, down) if down.sink_is_broken() => unheard(Who::Client, down.take()),
            // Neither end takes bytes any more. The one whose stream was cut is
            // the cause, or else the one that began.
            (up, down) if up.sink_is_broken() && down.sink_is_broken() => {
                let cause = match (self.ended.client, self.ended.backend) {
                    (true, false) => Who::Backend,
                    (false, true) => Who::Client,
                    _ => self.deaf.unwrap_or(Who::Backend),
                };
                match cause {
                    Who::Client => severed(cause, down.take()),
                    Who::Backend => severed(cause, up.take()),
                }
            }
            _ => Poll::Pending,
        }
    }
}

fn broke<E>(who: Who, error: E) -> Poll<Outcome<E>> {
    Poll::Ready(Outcome::Broke { who, error })
}

/// `who` broke, and it was `half`, of which it is the sink, that found out.
fn severed<E>(who: Who, half: Half<E>) -> Poll<Outcome<E>> {
    match half {
        Half::Discarding(error) | Half::Useless(error) => broke(who, error),
        _ => Poll::Pending,
    }
}

fn unheard<E>(who: Who, half: Half<E>) -> Poll<Outcome<E>> {
    match half {
        Half::Discarding(error) | Half::Useless(error) => {
            Poll::Ready(Outcome::Unheard { who, error })
        }
        _ => Poll::Pending,
    }
}

/// What one direction has to know of the other one.
#[derive(Clone, Copy)]
struct Opposite {
    /// Our source, which is its sink, takes no more bytes.
    source_is_broken: bool,
    /// Our sink, which is its source, has ended its stream in order.
    sink_has_ended: bool,
}

/// What one step of one direction did.
#[derive(Default)]
struct Step {
    bytes: usize,
    any: bool,
    /// The source's end was seen in this step.
    ended: bool,
    /// Nothing is kept back for the sink.
    drained: bool,
    /// Bytes were thrown away, and that was all.
    discarded: bool,
}

impl Step {
    fn is_live(&self) -> bool {
        self.any && !self.discarded
    }
}

impl<E> Half<E> {
    /// Moves the state out, for a tunnel that is over.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Ended)
    }

    /// How its source broke, if it did.
    fn take_break(&mut self) -> Option<E> {
        match self {
            Self::Breaking(_) => match self.take() {
                Self::Breaking(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// This direction, as seen from the other one.
    fn opposite(&self) -> Opposite {
        Opposite {
            source_is_broken: self.sink_is_broken(),
            sink_has_ended: matches!(self, Self::Ending | Self::Ended),
        }
    }

    fn sink_is_broken(&self) -> bool {
        matches!(self, Self::Discarding(_) | Self::Useless(_))
    }

    fn step<S, T>(
        &mut self,
        source: &mut S,
        sink: &mut T,
        plain: &mut [u8],
        opposite: Opposite,
    ) -> Step
    where
        S: End<Error = E>,
        T: End<Error = E>,
    {
        let mut step = Step::default();
        if !matches!(self, Self::Discarding(_) | Self::Useless(_) | Self::Ended) {
            match sink.flush() {
                Poll::Pending => return step,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.sink_broke(error, &mut step);
                    return step;
                }
            }
        }
        step.drained = true;
        match self {
            Self::Open => match source.pull(plain) {
                Poll::Pending => {}
                Poll::Ready(Ok(Pulled::Bytes(n))) => {
                    debug_assert!(n > 0 && n <= plain.len());
                    step.bytes = n;
                    step.any = true;
                    if let Err(error) = sink.push(&plain[..n]) {
                        self.sink_broke(error, &mut step);
                    }
                }
                // The kernel tells of a reset once only. When it told a write,
                // the next read just ends.
                Poll::Ready(Ok(Pulled::Eof)) if opposite.source_is_broken => {
                    step.any = true;
                    *self = Self::Severed;
                }
                Poll::Ready(Ok(Pulled::Eof)) => {
                    step.any = true;
                    step.ended = true;
                    *self = Self::Ending;
                    self.end(sink, opposite, &mut step);
                }
                Poll::Ready(Err(error)) => {
                    step.any = true;
                    *self = Self::Breaking(error);
                }
            },
            Self::Ending => self.end(sink, opposite, &mut step),
            Self::Discarding(_) => match source.pull(plain) {
                Poll::Pending => {}
                Poll::Ready(Ok(Pulled::Bytes(_))) => {
                    step.any = true;
                    step.discarded = true;
                }
                Poll::Ready(Ok(Pulled::Eof) | Err(_)) => {
                    if let Self::Discarding(error) = self.take() {
                        *self = Self::Useless(error);
                    }
                }
            },
            Self::Ended | Self::Breaking(_) | Self::Severed | Self::Useless(_) => {}
        }
        step
    }

    fn end<T: End<Error = E>>(&mut self, sink: &mut T, opposite: Opposite, step: &mut Step) {
        match sink.finish() {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                step.any = true;
                *self = Self::Ended;
            }
            // It had said all that it had to say, took all that was sent, and
            // did not stay to be told that this was all. Many clients do so.
            Poll::Ready(Err(_)) if opposite.sink_has_ended => {
                step.any = true;
                *self = Self::Ended;
            }
            Poll::Ready(Err(error)) => self.sink_broke(error, step),
        }
    }

    fn sink_broke(&mut self, error: E, step: &mut Step) {
        step.any = true;
        // A source that broke first is the cause; the sink only followed. With
        // nobody to take the last bytes there is nothing left to wait for.
        if matches!(self, Self::Breaking(_) | Self::Severed) {
            step.drained = true;
        } else {
            *self = Self::Discarding(error);
        }
    }
}
