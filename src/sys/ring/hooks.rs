//! The functions of liburing that the linker sends here (`build.rs`), as far as
//! they are about what is submitted and what completes.
//!
//! They call what the originals call, and not the originals, whose names
//! (`__real_…`) are undefined where nothing is wrapped.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_uint, c_void};

use super::IoUring;
use super::queues::Submission;
use super::submit::{LeftOut, Sifted, State};

unsafe extern "C" {
    /// `io_uring_submit` is this with 0.
    fn io_uring_submit_and_wait(ring: *mut IoUring, wait: c_uint) -> c_int;
    /// `io_uring_wait_cqes` is this, as long as no time is set, and so is
    /// `io_uring_peek_cqe`, with nothing to wait for.
    fn __io_uring_get_cqe(
        ring: *mut IoUring,
        completion: *mut *mut Completion,
        submit: c_uint,
        wait: c_uint,
        signals: *mut c_void,
    ) -> c_int;
}

/// `struct io_uring_cqe` (io_uring_enter(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::new()) };
    /// What was handed out last of what no kernel completed.
    static OWED: Cell<Completion> = const {
        Cell::new(Completion {
            user_data: 0,
            result: -libc::ECANCELED,
            flags: 0,
        })
    };
}

/// What was left out so far, on the calling thread.
pub fn left_out() -> LeftOut {
    STATE
        .try_with(|state| state.borrow().left_out())
        .unwrap_or_default()
}

/// Stands in for liburing's `io_uring_submit`. Returns how many submissions
/// were taken care of, or -errno.
///
/// # Safety
///
/// As for the original: `ring` is set up, and nobody else uses it.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_submit(ring: *mut IoUring) -> c_int {
    // At the end of a thread nothing is known, and all is submitted.
    let sifted = STATE.try_with(|state| {
        // SAFETY: by this function's contract.
        state.borrow_mut().sift(unsafe { &mut *ring })
    });
    let Sifted { taken, pending } = sifted.unwrap_or(Sifted {
        taken: 0,
        pending: true,
    });
    if !pending {
        return taken;
    }
    // SAFETY: by this function's contract.
    let submitted = unsafe { io_uring_submit_and_wait(ring, 0) };
    let _ = STATE.try_with(|state| {
        // SAFETY: by this function's contract.
        state.borrow_mut().learn(unsafe { &*ring });
    });
    if submitted < 0 {
        submitted
    } else {
        submitted + taken
    }
}

/// Stands in for liburing's `io_uring_wait_cqes`, which glommio calls without a
/// time.
///
/// # Safety
///
/// As for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_wait_cqes(
    ring: *mut IoUring,
    completion: *mut *mut Completion,
    wait: c_uint,
    time: *mut c_void,
    signals: *mut c_void,
) -> c_int {
    if !time.is_null() {
        return -libc::EINVAL;
    }
    let submits = STATE.try_with(|state| {
        // SAFETY: by this function's contract.
        state.borrow_mut().sleep(unsafe { &mut *ring })
    });
    if submits.unwrap_or(false) {
        // SAFETY: as above.
        let submitted = unsafe { io_uring_submit_and_wait(ring, wait) };
        if submitted < 0 {
            return submitted;
        }
    }
    // SAFETY: as above.
    unsafe { __io_uring_get_cqe(ring, completion, 0, wait, signals) }
}

/// Stands in for glommio's shim of liburing's `io_uring_peek_cqe`: sets
/// `completion` to one that is there, or to null and returns -EAGAIN.
///
/// # Safety
///
/// As for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rust_io_uring_peek_cqe(
    ring: *mut IoUring,
    completion: *mut *mut Completion,
) -> c_int {
    let owed = STATE.try_with(|state| {
        // SAFETY: by this function's contract.
        state.borrow_mut().pay(unsafe { &*ring })
    });
    if let Ok(Some(user_data)) = owed {
        return OWED.with(|owed| {
            let paid = Completion {
                user_data,
                ..owed.get()
            };
            owed.set(paid);
            // SAFETY: by this function's contract it can be written. The cell
            // stays where it is, and is not written again before the one that
            // is in it was seen to.
            unsafe { *completion = owed.as_ptr() };
            0
        });
    }
    // SAFETY: by this function's contract.
    unsafe { __io_uring_get_cqe(ring, completion, 0, 0, std::ptr::null_mut()) }
}

/// Stands in for glommio's shim of liburing's `io_uring_cqe_seen`: the place of
/// `completion` in the ring is the kernel's again.
///
/// # Safety
///
/// As for the original: `completion` is the one that was had last from `ring`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rust_io_uring_cqe_seen(
    ring: *mut IoUring,
    completion: *mut Completion,
) {
    let is_owed = OWED.try_with(|owed| std::ptr::eq(owed.as_ptr(), completion));
    if completion.is_null() || is_owed.unwrap_or(false) {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe { &*ring }.cq.advance();
}

/// Stands in for liburing's `io_uring_queue_exit`: the ring is forgotten before
/// its memory goes and its number is another's.
///
/// # Safety
///
/// As for the original: `ring` is set up, and not used again.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_queue_exit(ring: *mut IoUring) {
    // SAFETY: by this function's contract.
    let ring = unsafe { &*ring };
    let _ = STATE.try_with(|state| state.borrow_mut().forget(ring.ring_fd));
    let (sq, cq) = (&ring.sq, &ring.cq);
    // SAFETY: these are the mappings that the set-up made, of these lengths,
    // and the descriptor is the ring's.
    unsafe {
        let entries = *sq.ring_entries as usize;
        libc::munmap(sq.entries.cast(), entries * size_of::<Submission>());
        libc::munmap(sq.ring_ptr.cast(), sq.ring_sz);
        if !cq.ring_ptr.is_null() && cq.ring_ptr != sq.ring_ptr {
            libc::munmap(cq.ring_ptr.cast(), cq.ring_sz);
        }
        libc::close(ring.ring_fd);
    }
}
