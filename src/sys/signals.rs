//! The signals that this thread blocks (sigprocmask(2)).

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Lets these signals come to the calling thread, and to those that it starts
/// from now on. A process inherits what its parent had blocked, and handlers
/// alone do not change that: the signals would wait for ever.
///
/// # Errors
///
/// One of the numbers is no signal's.
pub fn unblock(signals: &[i32]) -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: it makes the set that we point to an empty one.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: that was made just now.
    let mut set: libc::sigset_t = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is whole; a number that is no signal's is refused.
        if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the set is read, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
