//! Processor time, as the kernel's own clocks have it (clock_gettime(2)).

use std::io;
use std::time::Duration;

/// The greatest id that the kernel gives to any process (PID_MAX_LIMIT,
/// proc_sys_kernel(5)).
const PID_MAX: libc::pid_t = 1 << 22;

/// What a process has used so far, all of its threads together, those that have
/// ended too. Exact to the nanosecond, unlike the ticks of `/proc/PID/stat`.
///
/// # Errors
///
/// There is no such process, or this kernel does not tell of others.
pub fn of_process(pid: u32) -> io::Result<Duration> {
    // A clock's id has no room for greater ones, and would be another clock's;
    // 0 would be this process.
    let pid = libc::pid_t::try_from(pid)
        .ok()
        .filter(|pid| (1..=PID_MAX).contains(pid))
        .ok_or(io::ErrorKind::NotFound)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the function writes one clock id, to where we point.
    let outcome = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if outcome != 0 {
        return Err(io::Error::from_raw_os_error(outcome));
    }
    read(clock)
}

/// What the calling thread has used so far.
pub fn of_this_thread() -> io::Result<Duration> {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The number of the calling thread, as `/proc/self/task` has it (gettid(2)).
pub fn this_thread() -> u32 {
    // SAFETY: it takes nothing and always succeeds.
    let thread = unsafe { libc::gettid() };
    // The kernel's numbers are positive.
    thread.unsigned_abs()
}

fn read(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec, to where we point.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Neither is negative, and there are less than 10^9 nanoseconds.
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(time: Duration) {
        let begun = of_this_thread().unwrap();
        while of_this_thread().unwrap() - begun < time {}
    }

    #[test]
    fn a_process_has_used_what_its_ended_threads_have_too() {
        const EACH: Duration = Duration::from_millis(30);
        let own = std::process::id();
        let (process, thread) = (of_process(own).unwrap(), of_this_thread().unwrap());
        for _ in 0..2 {
            std::thread::spawn(|| burn(EACH)).join().unwrap();
        }
        assert!(of_process(own).unwrap() - process >= 2 * EACH);
        assert!(of_this_thread().unwrap() - thread < EACH);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        for pid in [0, PID_MAX as u32 + 1, libc::pid_t::MAX as u32, u32::MAX] {
            assert!(of_process(pid).is_err(), "{pid}");
        }
    }
}
