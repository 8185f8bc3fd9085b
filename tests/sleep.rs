//! An executor sleeps and wakes as it should, though most of what glommio
//! submits to that end is left out (src/sys/ring/submit.rs).

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use adit::limits;
use adit::sys::ring::{self, LeftOut};
use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
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
        // Timers and a link of the present turn, and no more.
        assert!(left_out.pending <= 8, "{left_out:?}");
        // Rings of the next executor may bear the same numbers.
        assert_eq!(ring::left_out(), LeftOut::default());
    }
}

/// Words to another thread and back over a socket, each a sleep for either, and
/// most times a poll goes to the kernel together with it. Beside them streams
/// are polled and dropped at once, so that such a poll has to be taken back: the
/// next stream has the number of its descriptor, and glommio that of the poll.
#[test]
fn sockets_are_polled_as_it_sleeps() {
    const WORDS: usize = 500;
    let (mut here, there) = UnixStream::pair().expect("a pair of sockets");
    here.set_read_timeout(Some(PATIENCE)).expect("set");
    let other = thread::spawn(move || {
        let mut word = [0; 8];
        for _ in 0..WORDS {
            here.read_exact(&mut word).expect("a word, and in time");
            // Long enough for the other side to sleep.
            thread::sleep(Duration::from_micros(200));
            here.write_all(&word).expect("sent");
        }
    });
    let left_out = executor().run(async move {
        let mut there = stream(there);
        for word in 0..WORDS {
            let (silent, _said) = UnixStream::pair().expect("a pair of sockets");
            let mut silent = stream(silent);
            let heard = poll_once(silent.read(&mut [0])).await;
            assert!(heard.is_none(), "nothing was said: {heard:?}");
            // As long as it takes to give way, but not to sleep.
            sleep(Duration::from_nanos(1)).await;
            drop(silent);
            let word = word.to_be_bytes();
            there.write_all(&word).await.expect("sent");
            let mut answer = [0; 8];
            there.read_exact(&mut answer).await.expect("received");
            assert_eq!(answer, word);
        }
        ring::left_out()
    });
    other.join().expect("no panic");
    assert!(left_out.held > WORDS as u64 / 4, "{left_out:?}");
    assert!(left_out.pending <= 8, "{left_out:?}");
}

#[allow(unsafe_code)]
fn stream(std: UnixStream) -> Stream {
    // SAFETY: the descriptor is handed over by its owner.
    unsafe { Stream::from_raw_fd(std.into_raw_fd()) }
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
            let mut there = stream(there);
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
