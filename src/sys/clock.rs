//! The time, for an executor that asks for it fifty times a message.
//!
//! glommio 0.9.0 takes the time whenever it looks into one of its queues, three
//! rings and two queues each, some fifty times between two sleeps, and makes
//! statistics of it. At 23 ns each that was a twentieth of a round trip on one
//! tunnel. So the linker sends `clock_gettime(2)` here (`build.rs`), and a
//! reading of the monotonic clock serves as long as the processor's time stamp
//! counter has gone on by no more than [`limits::CLOCK_TICKS`], about a
//! microsecond. The counter need be neither constant nor the same on all
//! processors for that: where it jumps, the clock is read.
//!
//! The time is never that of a later moment, and does not go back.

use std::arch::x86_64::_rdtsc;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::limits;

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

thread_local! {
    /// The last reading, and what the counter stood at before it.
    static READING: Cell<(u64, libc::timespec)> = const {
        Cell::new((
            0,
            libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        ))
    };
}

/// The C library's function.
static ORIGINAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Stands in for libc's `clock_gettime`.
///
/// # Safety
///
/// As for the original: `time` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> c_int {
    if clock != libc::CLOCK_MONOTONIC {
        // SAFETY: by this function's contract.
        return unsafe { original(clock, time) };
    }
    // SAFETY: it reads a register.
    let ticks = unsafe { _rdtsc() };
    let recent = READING.try_with(|reading| {
        let (then, reading) = reading.get();
        (ticks.wrapping_sub(then) <= limits::CLOCK_TICKS).then_some(reading)
    });
    if let Ok(Some(reading)) = recent {
        // SAFETY: by this function's contract.
        unsafe { *time = reading };
        return 0;
    }
    // SAFETY: by this function's contract.
    let outcome = unsafe { original(clock, time) };
    if outcome == 0 {
        // SAFETY: it was written just now.
        let reading = unsafe { *time };
        let _ = READING.try_with(|last| last.set((ticks, reading)));
    }
    outcome
}

/// # Safety
///
/// As for `clock_gettime`.
unsafe fn original(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let mut function = ORIGINAL.load(Ordering::Relaxed);
    if function.is_null() {
        // The linker sends the name here, so it is looked up when it runs.
        // SAFETY: a name that ends.
        function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"clock_gettime".as_ptr()) };
        ORIGINAL.store(function, Ordering::Relaxed);
    }
    if function.is_null() {
        // A program without the C library's own: the system call.
        // SAFETY: by this function's contract.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    }
    // SAFETY: the C library's function has this type.
    let function = unsafe { std::mem::transmute::<*mut c_void, ClockGettime>(function) };
    // SAFETY: by this function's contract.
    unsafe { function(clock, time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// As unit tests are linked, nothing else calls it.
    fn now(by: ClockGettime, clock: libc::clockid_t) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: it can be written.
        assert_eq!(unsafe { by(clock, &mut time) }, 0);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[test]
    fn it_is_the_same_time_and_a_microsecond_late_at_most() {
        let mut last = Duration::ZERO;
        let mut late = Duration::MAX;
        for _ in 0..10_000 {
            let ours = now(__wrap_clock_gettime, libc::CLOCK_MONOTONIC);
            let theirs = now(libc::clock_gettime, libc::CLOCK_MONOTONIC);
            assert!(
                ours >= last && ours <= theirs,
                "{last:?} {ours:?} {theirs:?}"
            );
            // The thread may lose its CPU between the two.
            late = late.min(theirs - ours);
            last = ours;
        }
        assert!(late < Duration::from_micros(5), "{late:?}");
        std::thread::sleep(Duration::from_millis(2));
        let slept = now(__wrap_clock_gettime, libc::CLOCK_MONOTONIC) - last;
        assert!(slept >= Duration::from_millis(2), "{slept:?}");
    }

    #[test]
    fn other_clocks_are_read_each_time() {
        let first = now(libc::clock_gettime, libc::CLOCK_REALTIME);
        let second = now(__wrap_clock_gettime, libc::CLOCK_REALTIME);
        let third = now(libc::clock_gettime, libc::CLOCK_REALTIME);
        assert!(first <= second && second <= third);
    }

    #[test]
    fn errors_are_those_of_the_original() {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: it can be written.
        assert_eq!(unsafe { __wrap_clock_gettime(12_345, &mut time) }, -1);
    }
}
