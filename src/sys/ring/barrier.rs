//! A barrier that a shard needs before it sleeps, without interrupting every
//! other one.
//!
//! Before an executor sleeps it says so (a flag), and then looks once more
//! whether another thread has left it something; who leaves it something looks
//! at the flag afterwards. Neither may do the second thing before the first is
//! seen. glommio 0.9.0 pays for both with membarrier(2) on the side that
//! sleeps, which sends an interrupt to every CPU on which a thread of the same
//! process runs: with N busy shards, N - 1 interrupts for each sleep of each,
//! at several microseconds.
//!
//! But the other side is no plain load: the flag is read by a compare-exchange
//! (`SleepNotifier::notify`), for which x86-64 has but a locked instruction,
//! and that is a full barrier of its own (Intel 64 and IA-32 Architectures
//! Software Developer's Manual, volume 3, section 9.2). So a fence is enough
//! here. Other architectures keep the system call.
//!
//! It is asked for by `syscall(2)`, so the linker sends all calls of that here
//! (`build.rs`); those of the standard library among them. Nothing else in this
//! program uses such barriers.

use std::arch::asm;
use std::ffi::c_long;
use std::sync::atomic::{Ordering, fence};

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED` (membarrier(2)).
const PRIVATE_EXPEDITED: c_long = 1 << 3;

/// Stands in for libc's `syscall`, which takes as many arguments as the call
/// has. Those that are not given are whatever the registers hold, as ever.
/// Returns what the call does, or -1 with `errno` set.
///
/// # Safety
///
/// As for the system call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_membarrier && a as i32 == PRIVATE_EXPEDITED as i32 {
        fence(Ordering::SeqCst);
        return 0;
    }
    let outcome: c_long;
    // SAFETY: the kernel's calling convention (syscall(2)); what the call does
    // with memory is the caller's to answer for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => outcome,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // The last page of the address space is nobody's: these are errors.
    if (-4095..0).contains(&outcome) {
        // SAFETY: it points to this thread's errno.
        unsafe { *libc::__errno_location() = -outcome as i32 };
        return -1;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// As unit tests are linked, nothing else calls it.
    fn call(number: c_long, a: c_long) -> io::Result<c_long> {
        // SAFETY: the calls below take no pointers.
        let outcome = unsafe { __wrap_syscall(number, a, 0, 0, 0, 0, 0) };
        if outcome == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(outcome)
        }
    }

    #[test]
    fn it_calls_the_kernel_as_the_original_does() {
        // SAFETY: it takes no pointers.
        let theirs = unsafe { libc::syscall(libc::SYS_getpid) };
        assert_eq!(call(libc::SYS_getpid, 0).unwrap(), theirs);
        let error = call(libc::SYS_close, -1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_barrier_is_answered_here_and_other_commands_by_the_kernel() {
        // This process has not registered for it, so the kernel would refuse.
        assert_eq!(call(libc::SYS_membarrier, PRIVATE_EXPEDITED).unwrap(), 0);
        let error = call(libc::SYS_membarrier, 1 << 30).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
