//! What happens to the two peers, and when.

use fastrand::Rng;

use crate::peer::{Event, Kernel};

/// What happens, in the order of its time. A turn of the relay takes one unit
/// of time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) events: Vec<(u64, usize, Event)>,
    /// The length of the relay's scratch space.
    pub(crate) plain: usize,
    /// Whether calls say Pending, or do a part, though they need not.
    pub(crate) whims: bool,
}

impl Schedule {
    /// Events one right after the other; at None the relay gets all the turns
    /// that it wants.
    pub(crate) fn in_order(path: &[(usize, Option<Event>)]) -> Self {
        let mut now = 0;
        let mut events = Vec::with_capacity(path.len());
        for (who, event) in path {
            match event {
                Some(event) => events.push((now, *who, *event)),
                None => now += 1000,
            }
        }
        Self {
            events,
            plain: 2,
            whims: false,
        }
    }

    /// The schedule of a seed, and what the two connections are at first.
    pub(crate) fn random(seed: u64) -> (Self, [Kernel; 2]) {
        let mut rng = Rng::with_seed(seed);
        let mut kernels: [Kernel; 2] = Default::default();
        kernels[0].speaks_tls = rng.bool();
        let mut events = Vec::new();
        for (who, kernel) in kernels.iter_mut().enumerate() {
            sending(&mut rng, who, &mut events);
            reading(&mut rng, who, kernel, &mut events);
        }
        events.sort_by_key(|(at, ..)| *at);
        let schedule = Self {
            events,
            plain: rng.usize(1..=48),
            whims: rng.u8(..) < 200,
        };
        (schedule, kernels)
    }
}

type Events = Vec<(u64, usize, Event)>;

/// A time until the next event: mostly short, now and then none, or a stall.
fn pause(rng: &mut Rng) -> u64 {
    match rng.u8(..) {
        0..80 => 0,
        80..240 => rng.u64(1..12),
        _ => rng.u64(100..5000),
    }
}

/// A peer's own stream: some bytes, and how it ends.
fn sending(rng: &mut Rng, who: usize, events: &mut Events) {
    let mut at = pause(rng);
    let mut left = match rng.u8(..) {
        0..50 => 0,
        50..90 => 1,
        _ => rng.usize(1..400),
    };
    let largest = [1, 8, 100][rng.usize(..3)];
    while left > 0 {
        let n = rng.usize(1..=left.min(largest));
        events.push((at, who, Event::Arrive(n)));
        left -= n;
        at += pause(rng);
    }
    match rng.u8(..) {
        0..150 => events.push((at, who, Event::Fin)),
        // It closes both ways: bytes that come after that meet with a reset.
        150..190 => {
            events.push((at, who, Event::Fin));
            events.push((at + pause(rng), who, Event::Reset));
        }
        190..230 => events.push((at, who, Event::Reset)),
        // It falls silent.
        _ => {}
    }
    if rng.u8(..) < 20 {
        events.push((rng.u64(0..300), who, Event::Reset));
    }
}

/// How a peer takes what the other one sends.
fn reading(rng: &mut Rng, who: usize, kernel: &mut Kernel, events: &mut Events) {
    match rng.u8(..) {
        // At once.
        0..100 => kernel.room = 100_000,
        // Bit by bit, and all of it in the end.
        100..200 => {
            kernel.room = rng.usize(0..50);
            let mut at = pause(rng);
            for _ in 0..rng.usize(1..40) {
                events.push((at, who, Event::Room(rng.usize(1..20))));
                at += pause(rng);
            }
            events.push((at, who, Event::Room(100_000)));
        }
        // No more after a while.
        200..240 => kernel.room = rng.usize(0..200),
        _ => {
            kernel.room = rng.usize(0..200);
            events.push((pause(rng), who, Event::StopReading));
        }
    }
}
