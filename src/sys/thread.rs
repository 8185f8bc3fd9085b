//! What the kernel knows of the calling thread.

/// The id by which tools such as `top -H`, `perf` and `taskset` know it
/// (gettid(2)).
pub(crate) fn id() -> u32 {
    // SAFETY: the call takes nothing, and cannot fail.
    let id = unsafe { libc::gettid() };
    u32::try_from(id).unwrap_or(0)
}

/// The CPU that it runs on at this moment (sched_getcpu(3)).
pub(crate) fn running_on() -> Option<usize> {
    // SAFETY: the call takes nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_not_its_process_and_runs_somewhere() {
        let other = std::thread::spawn(id).join().expect("no panic");
        assert_ne!(other, std::process::id());
        assert!(running_on().is_some());
    }
}
