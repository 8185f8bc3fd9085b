//! Memory that the allocator keeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::limits;

/// Has the allocator give back to the system what it keeps for nobody, soon,
/// and on a thread of its own: it takes milliseconds, and whoever allocates
/// waits meanwhile. Where it cannot be done, memory stays as it is.
pub(crate) fn give_back() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if ASKED.swap(true, Ordering::SeqCst) {
        return;
    }
    let started = thread::Builder::new().name("adit-memory".into()).spawn(|| {
        // What is being freed now is given back as well.
        thread::sleep(limits::GIVE_BACK_DELAY);
        ASKED.store(false, Ordering::SeqCst);
        trim();
    });
    if started.is_err() {
        ASKED.store(false, Ordering::SeqCst);
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it may be called at any time, from any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back what they will.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
