//! One shard's counters.

use std::cell::Cell;

use super::negotiated::Handshakes;
use super::times::TimeCells;
use super::{CauseCount, CloseCount, Negotiated, Totals};
use crate::close::{Cause, CloseReason};

/// A number that only its shard touches.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub(crate) fn sub(&self, n: u64) {
        debug_assert!(self.0.get() >= n);
        self.0.set(self.0.get().wrapping_sub(n));
    }

    /// One more, for as long as the answer lives.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// One that is counted while it lives, even if it ends in a panic.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Counter);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// One shard's counters.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) tunnels_open: Counter,
    /// Of these, those that do not carry yet.
    pub(crate) tunnels_opening: Counter,
    pub(crate) handshakes_in_progress: Counter,
    handshakes: Handshakes,
    backend_handshakes: Handshakes,
    backend_handshakes_failed: Box<[Counter]>,
    /// From the accept of those that succeeded with clients to their end.
    pub(crate) handshake_times: TimeCells,
    pub(crate) bytes_up: Counter,
    pub(crate) bytes_down: Counter,
    pub(crate) accept_pauses: Counter,
    pub(crate) accept_shed: Counter,
    pub(crate) limit_pauses: Counter,
    pub(crate) rate_pauses: Counter,
    pub(crate) memory_pauses: Counter,
    pub(crate) access_lines: Counter,
    pub(crate) access_lines_left_out: Counter,
    pub(crate) access_lines_dropped: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) adopted: Counter,
    pub(crate) panics: Counter,
    closes: Box<[Counter]>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            accepted: Counter::default(),
            tunnels_open: Counter::default(),
            tunnels_opening: Counter::default(),
            handshakes_in_progress: Counter::default(),
            handshakes: Handshakes::new(),
            backend_handshakes: Handshakes::new(),
            backend_handshakes_failed: Cause::ALL.iter().map(|_| Counter::default()).collect(),
            handshake_times: TimeCells::default(),
            bytes_up: Counter::default(),
            bytes_down: Counter::default(),
            accept_pauses: Counter::default(),
            accept_shed: Counter::default(),
            limit_pauses: Counter::default(),
            rate_pauses: Counter::default(),
            memory_pauses: Counter::default(),
            access_lines: Counter::default(),
            access_lines_left_out: Counter::default(),
            access_lines_dropped: Counter::default(),
            handed_over: Counter::default(),
            adopted: Counter::default(),
            panics: Counter::default(),
            closes: (0..CloseReason::COUNT)
                .map(|_| Counter::default())
                .collect(),
        }
    }

    /// A handshake with a client is done.
    pub(crate) fn handshake(&self, negotiated: Negotiated) {
        self.handshakes.count(negotiated);
    }

    /// A handshake with a backend is done.
    pub(crate) fn backend_handshake(&self, negotiated: Negotiated) {
        self.backend_handshakes.count(negotiated);
    }

    /// A handshake with a backend has failed; the tunnel may get another.
    pub(crate) fn backend_handshake_failed(&self, cause: Cause) {
        self.backend_handshakes_failed[cause as usize].add(1);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.closes[reason.index()].add(1);
    }

    /// Tunnels that were ended because the drain time ran out.
    pub(crate) fn cut(&self) -> u64 {
        let drained = |reason: &CloseReason| reason.cause == Cause::Drained;
        (0..CloseReason::COUNT)
            .filter(|index| {
                CloseReason::from_index(*index)
                    .as_ref()
                    .is_some_and(drained)
            })
            .map(|index| self.closes[index].get())
            .sum()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            accepted: self.accepted.get(),
            tunnels_open: self.tunnels_open.get(),
            handshakes_in_progress: self.handshakes_in_progress.get(),
            handshakes: self.handshakes.done(),
            handshakes_resumed: self.handshakes.resumed(),
            backend_handshakes: self.backend_handshakes.done(),
            backend_handshakes_resumed: self.backend_handshakes.resumed(),
            negotiated: self.handshakes.negotiated(),
            backend_negotiated: self.backend_handshakes.negotiated(),
            backend_handshakes_failed: Cause::ALL
                .iter()
                .zip(&self.backend_handshakes_failed)
                .filter(|(_, counter)| counter.get() > 0)
                .map(|(cause, counter)| CauseCount {
                    cause: *cause,
                    count: counter.get(),
                })
                .collect(),
            handshake_times: self.handshake_times.counts(),
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            accept_pauses: self.accept_pauses.get(),
            accept_shed: self.accept_shed.get(),
            limit_pauses: self.limit_pauses.get(),
            rate_pauses: self.rate_pauses.get(),
            memory_pauses: self.memory_pauses.get(),
            access_lines: self.access_lines.get(),
            access_lines_left_out: self.access_lines_left_out.get(),
            access_lines_dropped: self.access_lines_dropped.get(),
            handed_over: self.handed_over.get(),
            adopted: self.adopted.get(),
            panics: self.panics.get(),
            closed: self
                .closes
                .iter()
                .enumerate()
                .filter(|(_, counter)| counter.get() > 0)
                .filter_map(|(index, counter)| {
                    Some(CloseCount {
                        reason: CloseReason::from_index(index)?,
                        count: counter.get(),
                    })
                })
                .collect(),
            // Limits and their use are the shard's to tell.
            ..Totals::default()
        }
    }
}
