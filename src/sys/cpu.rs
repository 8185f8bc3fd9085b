//! The CPUs that this process may run on, and does.

use std::io;

/// The CPUs in this thread's affinity mask, ascending
/// (sched_getaffinity(2)). A container's or `taskset`'s restriction is in it;
/// a CPU quota is not.
pub fn allowed() -> io::Result<Vec<usize>> {
    const WORD_BITS: usize = u64::BITS as usize;
    // A mask smaller than the kernel's own gets EINVAL: then a larger one is
    // tried, up to far more than any kernel is built for.
    const WORDS_MAX: usize = 1 << 14;

    let mut words = vec![0u64; 1024 / WORD_BITS];
    loop {
        // SAFETY: the kernel writes at most as many bytes as the vector holds.
        let outcome = unsafe {
            libc::sched_getaffinity(
                0,
                words.len() * size_of::<u64>(),
                words.as_mut_ptr().cast::<libc::cpu_set_t>(),
            )
        };
        if outcome == 0 {
            let is_set = |cpu: &usize| words[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1 == 1;
            return Ok((0..words.len() * WORD_BITS).filter(is_set).collect());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) || words.len() >= WORDS_MAX {
            return Err(error);
        }
        words = vec![0; words.len() * 2];
    }
}

/// Lets the calling thread run on that CPU alone, and with it the threads that
/// it starts (sched_setaffinity(2)).
///
/// # Errors
///
/// EINVAL if the CPU is not there, is offline, or the process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    const WORD_BITS: usize = u64::BITS as usize;
    let mut words = vec![0u64; cpu / WORD_BITS + 1];
    words[cpu / WORD_BITS] = 1 << (cpu % WORD_BITS);
    // SAFETY: the kernel reads as many bytes as the vector holds; what its own
    // mask has beyond is taken for zero.
    let outcome = unsafe {
        libc::sched_setaffinity(
            0,
            words.len() * size_of::<u64>(),
            words.as_ptr().cast::<libc::cpu_set_t>(),
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The CPU that the calling thread runs on at this moment (sched_getcpu(3)).
pub(crate) fn running_on() -> Option<usize> {
    // SAFETY: the call takes nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_cpu_list;

    #[test]
    fn the_mask_is_the_one_that_proc_shows() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let shown = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap();
        assert_eq!(allowed().unwrap(), parse_cpu_list(shown.trim()).unwrap());
    }

    #[test]
    fn a_thread_is_pinned_and_no_other() {
        let before = allowed().unwrap();
        let last = *before.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin(last).unwrap();
            allowed().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [last]);
        assert_eq!(allowed().unwrap(), before);
        assert!(pin(1 << 20).is_err());
    }
}
