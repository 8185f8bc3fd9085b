//! An executor sleeps and wakes as it should, though most of what glommio
//! submits to that end is left out (src/sys/ring/submit.rs).

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use adit::limits;
use adit::sys::ring::{self, LeftOut};
use futures_lite::AsyncWriteExt;
use glommio::net::UnixStream as Stream;
use glommio::timer::sleep;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

/// Far longer than anything here takes on the busiest machine, and far shorter
/// than what would end a sleep by chance.
const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(600);

fn executor() -> LocalExecutor {
    LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(limits::RING_DEPTH)
        .io_memory(limits::RING_IO_MEMORY)
        .preempt_timer(limits::PREEMPT_TIMER)
        .make()
        .unwrap()
}

/// A word from another thread for each word to it, while the only timer is one
/// that has not run out.
fn converse(words: usize) -> LeftOut {
    let (ask, asked) = flume::bounded::<usize>(1);
    let (answer, answered) = flume::bounded::<usize>(1);
    let other = thread::spawn(move || {
        while let Ok(word) = asked.recv() {
            // Long enough for the asker to sleep, every other time.
            if word % 2 == 0 {
                thread::yield_now();
            }
            let _ = answer.send(word);
        }
    });
    let left_out = executor().run(async move {
        let timer = glommio::spawn_local(sleep(NEVER));
        for word in 0..words {
            let began = Instant::now();
            ask.send_async(word).await.expect("somebody listens");
            assert_eq!(answered.recv_async().await, Ok(word));
            assert!(began.elapsed() < PATIENCE, "word {word}");
        }
        timer.cancel().await;
        ring::left_out()
    });
    other.join().expect("no panic");
    left_out
}

#[test]
fn another_thread_wakes_it() {
    let began = Instant::now();
    converse(3000);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn what_is_left_out_does_not_add_up() {
    for words in [3000, 9000] {
        let left_out = converse(words);
        assert!(left_out.submissions > words as u64, "{left_out:?}");
        // Three rings, and what came since the last time.
        let most = 3 * (limits::COMPLETIONS_OWED + 8);
        assert!(left_out.pending <= most, "{left_out:?}");
        // Rings of the next executor may bear the same numbers.
        assert_eq!(ring::left_out(), LeftOut::default());
    }
}

/// A timer that the kernel has from before must not stand in for a shorter one.
#[test]
fn timers_run_out_in_their_time() {
    executor().run(async {
        let long = glommio::spawn_local(sleep(NEVER));
        let ticks = Rc::new(Cell::new(0));
        let counter = ticks.clone();
        let ticking = glommio::spawn_local(async move {
            loop {
                sleep(Duration::from_millis(50)).await;
                counter.set(counter.get() + 1);
            }
        });
        for millis in [20, 1, 7, 120, 3, 60] {
            let asked = Duration::from_millis(millis);
            let began = Instant::now();
            sleep(asked).await;
            let slept = began.elapsed();
            assert!(slept >= asked, "{slept:?} instead of {asked:?}");
            assert!(slept < PATIENCE, "{slept:?} instead of {asked:?}");
        }
        assert!(ticks.get() >= 2, "{}", ticks.get());
        ticking.cancel().await;
        long.cancel().await;
    });
}

/// A slack that is too large would show as a wake-up that comes too late.
#[test]
fn the_slack_is_small() {
    assert!(limits::SLEEP_SLACK <= Duration::from_millis(1));
    executor().run(async {
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let began = Instant::now();
            sleep(Duration::from_millis(2)).await;
            best = best.min(began.elapsed());
        }
        assert!(best < Duration::from_millis(4), "{best:?}");
    });
}

/// Timers run out all the while that there is much to do, and now and then at
/// the very moment at which the executor is about to do it. That must not send
/// it to sleep: with the only timer among what was to be done, nothing would
/// wake it.
#[test]
fn work_and_timers_do_not_stop_each_other() {
    const BYTES: usize = 600 << 20;
    let (mut here, there) = UnixStream::pair().expect("a pair of sockets");
    here.set_read_timeout(Some(PATIENCE)).expect("set");
    let sender = thread::spawn(move || {
        executor().run(async move {
            let ticking = glommio::spawn_local(async {
                loop {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            // SAFETY: the descriptor is handed over by its owner.
            #[allow(unsafe_code)]
            let mut there = unsafe { Stream::from_raw_fd(there.into_raw_fd()) };
            let bytes = vec![0; 64 * 1024];
            for turn in 0..BYTES / bytes.len() {
                there.write_all(&bytes).await.expect("sent");
                if turn % 8 == 0 {
                    sleep(Duration::from_micros(1)).await;
                }
            }
            ticking.cancel().await;
        });
    });
    let mut bytes = vec![0; 256 * 1024];
    let mut received = 0;
    while received < BYTES {
        let n = here.read(&mut bytes).expect("bytes, and in time");
        assert_ne!(n, 0, "after {received} bytes");
        received += n;
    }
    sender.join().expect("no panic");
}
