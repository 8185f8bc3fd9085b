//! The timer wheel, as tunnels use it.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use adit::bench_parts::{Alarm, Timers};
use adit::limits;

use super::{Part, again, part};

/// Tunnels of a shard that are idle meanwhile.
const TUNNELS: usize = 1000;

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

fn task() -> Waker {
    Waker::from(Arc::new(Task))
}

fn idle_tunnels(timers: &Timers) -> Vec<Alarm> {
    let waker = task();
    let set = |_| {
        let alarm = timers.alarm();
        alarm.set(&Context::from_waker(&waker), limits::IDLE_TIMEOUT);
        alarm
    };
    (0..TUNNELS).map(set).collect()
}

pub(super) fn parts() -> [Part; 3] {
    [
        part("timers: a poll that puts its deadline off", || {
            let timers = Timers::new(Instant::now());
            let alarm = timers.alarm();
            let waker = task();
            again(move || {
                let cx = Context::from_waker(black_box(&waker));
                alarm.set(&cx, limits::IDLE_TIMEOUT);
            })
        }),
        part("timers: a tunnel that comes, waits and goes", || {
            let timers = Timers::new(Instant::now());
            let idle = idle_tunnels(&timers);
            let waker = task();
            again(move || {
                black_box(&idle);
                let alarm = timers.alarm();
                let cx = Context::from_waker(black_box(&waker));
                alarm.set(&cx, limits::HANDSHAKE_TIMEOUT);
                alarm.set(&cx, limits::IDLE_TIMEOUT);
            })
        }),
        // One turn of the wheel passes each of them once.
        part("timers: a turn of the wheel with 1000 idle tunnels", || {
            let mut now = Instant::now();
            let timers = Timers::new(now);
            let idle = idle_tunnels(&timers);
            let waker = task();
            again(move || {
                for _ in 0..limits::WHEEL_SLOTS {
                    now += limits::TICK;
                    timers.advance(now);
                }
                // Woken, each sets its alarm again.
                for alarm in &idle {
                    alarm.set(&Context::from_waker(&waker), limits::IDLE_TIMEOUT);
                }
            })
        }),
    ]
}
