//! What of an executor's submissions reaches the kernel.
//!
//! glommio 0.9.0 enters the kernel some nine times for each turn of its loop in
//! which it sleeps, and four times where it does not. Most of that is for two
//! preemption timers, one by time and one by completions, which it sets before
//! it runs its tasks and cancels after. Ours are never to run out
//! ([`limits::PREEMPT_TIMER`]): so the linker sends every `io_uring_submit` to
//! [`__wrap_io_uring_submit`] below, which takes them, and their cancellations,
//! out of what is submitted. With one busy tunnel that is a fifth of the CPU
//! time of a round trip.
//!
//! What is left out would have completed as cancelled, and glommio keeps some
//! hundred bytes until it sees that. The completions are owed, then: from time
//! to time, as part of a submission behind which glommio collects completions
//! anyway, as many no-operations go to the kernel with the numbers of what was
//! left out.
//!
//! Before it sleeps, glommio submits a poll of its second ring, and enters the
//! kernel again to wait. [`__wrap_io_uring_wait_cqes`] does both in one call.
//!
//! All state is the thread's own, as its rings are. Where these functions are
//! not linked in, all is submitted as ever.

use std::cell::RefCell;
use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use super::IoUring;
use crate::limits;

/// `struct io_uring_sqe` (io_uring_enter(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Submission {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    /// Of a timeout: after how many completions.
    offset: u64,
    /// Of a timeout: its [`Timespec`]. Of a cancellation: whose.
    address: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

const _: () = assert!(size_of::<Submission>() == 64, "fixed by the kernel");

/// `struct __kernel_timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

// Operations (io_uring_enter(2)).
const NOP: u8 = 0;
const POLL_ADD: u8 = 6;
const TIMEOUT: u8 = 11;
const ASYNC_CANCEL: u8 = 14;
/// The next submission starts when this one completes.
const LINK: u8 = 1 << 2;

/// `IORING_SETUP_SQPOLL`.
const SQPOLL: c_uint = 1 << 1;

unsafe extern "C" {
    /// `io_uring_submit` is this with 0.
    fn io_uring_submit_and_wait(ring: *mut IoUring, wait: c_uint) -> c_int;
    /// `io_uring_wait_cqes` is this, as long as no time is set.
    fn __io_uring_get_cqe(
        ring: *mut IoUring,
        completion: *mut *mut c_void,
        submit: c_uint,
        wait: c_uint,
        signals: *mut c_void,
    ) -> c_int;
}

/// What was left out of one ring.
struct Left {
    ring: RawFd,
    /// Timers that glommio has not cancelled yet.
    timers: Vec<u64>,
    /// Those that it has, whose completions are owed.
    owed: Vec<u64>,
    /// A poll of another ring that is to go out with the wait.
    link: bool,
}

thread_local! {
    static LEFT: RefCell<Vec<Left>> = const { RefCell::new(Vec::new()) };
}

/// A ring of this thread was set up: whatever bore its number is gone.
pub(super) fn opened(ring: RawFd) {
    // During the end of a thread nothing is left out.
    let _ = LEFT.try_with(|left| {
        let mut left = left.borrow_mut();
        left.retain(|left| left.ring != ring);
        left.push(Left {
            ring,
            timers: Vec::new(),
            owed: Vec::new(),
            link: false,
        });
    });
}

/// Stands in for liburing's `io_uring_submit`. Returns how many submissions
/// were taken care of, or -errno.
///
/// # Safety
///
/// As for the original: `ring` is set up, and nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_io_uring_submit(ring: *mut IoUring) -> c_int {
    // SAFETY: by this function's contract.
    let left_out = LEFT.try_with(|left| sift(&mut left.borrow_mut(), unsafe { &mut *ring }));
    let Sifted { taken, pending } = left_out.unwrap_or(Sifted {
        taken: 0,
        pending: true,
    });
    if !pending {
        return taken;
    }
    // SAFETY: by this function's contract.
    let submitted = unsafe { io_uring_submit_and_wait(ring, 0) };
    if submitted < 0 { submitted } else { submitted + taken }
}

/// Stands in for liburing's `io_uring_wait_cqes`, which glommio calls without a
/// time.
///
/// # Safety
///
/// As for the original.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_io_uring_wait_cqes(
    ring: *mut IoUring,
    completion: *mut *mut c_void,
    wait: c_uint,
    time: *mut c_void,
    signals: *mut c_void,
) -> c_int {
    debug_assert!(time.is_null(), "glommio sets none");
    // SAFETY: by this function's contract.
    let fd = unsafe { (*ring).ring_fd };
    let link = LEFT.try_with(|left| {
        let mut left = left.borrow_mut();
        let left = left.iter_mut().find(|left| left.ring == fd);
        left.is_some_and(|left| std::mem::take(&mut left.link))
    });
    if link.unwrap_or(false) {
        // SAFETY: as above.
        let submitted = unsafe { io_uring_submit_and_wait(ring, wait) };
        if submitted < 0 {
            return submitted;
        }
    }
    // SAFETY: as above.
    unsafe { __io_uring_get_cqe(ring, completion, 0, wait, signals) }
}

struct Sifted {
    /// How many submissions need nothing more.
    taken: c_int,
    /// Whether there is anything to submit.
    pending: bool,
}

/// Takes out of a ring's queue what need not be submitted.
fn sift(all: &mut [Left], ring: &mut IoUring) -> Sifted {
    let submit = Sifted {
        taken: 0,
        pending: true,
    };
    let Some(own) = all.iter().position(|left| left.ring == ring.ring_fd) else {
        return submit;
    };
    if ring.flags & SQPOLL != 0 {
        return submit;
    }
    let queue = &mut ring.sq;
    let (first, end) = (queue.sqe_head, queue.sqe_tail);
    let mut kept = first;
    let mut taken = 0;
    let mut cancelled = false;
    let mut linked = false;
    let mut number = first;
    while number != end {
        let submission = queue.read(number);
        number = number.wrapping_add(1);
        let left = &mut all[own];
        let out = if std::mem::take(&mut linked) {
            // It would start when the timer before it runs out.
            linked = submission.flags & LINK != 0;
            true
        } else {
            match submission.opcode {
                TIMEOUT if is_preemption(&submission) => {
                    left.timers.push(submission.user_data);
                    linked = submission.flags & LINK != 0;
                    true
                }
                ASYNC_CANCEL => {
                    cancelled = true;
                    let timer = left
                        .timers
                        .iter()
                        .position(|timer| *timer == submission.address);
                    if let Some(timer) = timer {
                        left.timers.swap_remove(timer);
                        left.owed.push(submission.address);
                    }
                    timer.is_some()
                }
                _ => false,
            }
        };
        if out {
            taken += 1;
        } else {
            if kept != number.wrapping_sub(1) {
                queue.write(kept, submission);
            }
            kept = kept.wrapping_add(1);
        }
    }
    let waiting = kept.wrapping_sub(first);
    queue.sqe_tail = kept;
    // What the kernel did not take the last time is waiting as well.
    let behind = queue.sqe_head != queue.kernel_head();
    if waiting == 1 && end.wrapping_sub(first) == 1 && !behind {
        let only = queue.read(first);
        if only.opcode == POLL_ADD && all.iter().any(|left| left.ring == only.fd) {
            all[own].link = true;
            return Sifted {
                taken: 1,
                pending: false,
            };
        }
    }
    let owed = &mut all[own].owed;
    // Right behind a cancellation glommio collects completions. At any other
    // time one in the ring of its timers would have it stop before it begins.
    if cancelled && (waiting > 0 || owed.len() >= limits::COMPLETIONS_OWED) {
        while queue.has_room()
            && let Some(user_data) = owed.pop()
        {
            queue.write(
                queue.sqe_tail,
                Submission {
                    opcode: NOP,
                    flags: 0,
                    ioprio: 0,
                    fd: -1,
                    offset: 0,
                    address: 0,
                    len: 0,
                    op_flags: 0,
                    user_data,
                    rest: [0; 3],
                },
            );
            queue.sqe_tail = queue.sqe_tail.wrapping_add(1);
            // It was counted when it was left out.
            taken -= 1;
        }
    }
    Sifted {
        taken,
        pending: behind || queue.sqe_head != queue.sqe_tail,
    }
}

/// Whether a timeout is one of the executor's own: the one by completions, or
/// the one by time.
fn is_preemption(submission: &Submission) -> bool {
    if submission.offset > 0 {
        return true;
    }
    let time = submission.address as *const Timespec;
    // SAFETY: whoever asked for the timeout keeps its time until it is
    // submitted.
    let seconds = unsafe { (*time).seconds };
    u64::try_from(seconds).is_ok_and(|seconds| seconds >= limits::PREEMPT_TIMER.as_secs())
}

impl super::SubmissionQueue {
    fn slot(&self, number: c_uint) -> *mut Submission {
        // SAFETY: both pointers are into the ring's mapped memory, for as long
        // as the ring is; the mask keeps within the array.
        unsafe { self.entries.add((number & *self.ring_mask) as usize) }
    }

    fn read(&self, number: c_uint) -> Submission {
        // SAFETY: the slot is ours, between the kernel's head and our tail.
        unsafe { *self.slot(number) }
    }

    fn write(&mut self, number: c_uint, submission: Submission) {
        // SAFETY: as above, or the slot at our tail, where there is room.
        unsafe { *self.slot(number) = submission }
    }

    /// How far the kernel has come.
    fn kernel_head(&self) -> c_uint {
        // SAFETY: in the ring's mapped memory; aligned, and written by the
        // kernel only.
        unsafe { AtomicU32::from_ptr(self.kernel_head) }.load(Ordering::Acquire)
    }

    fn has_room(&self) -> bool {
        // SAFETY: in the ring's mapped memory; it does not change.
        let entries = unsafe { *self.ring_entries };
        self.sqe_tail.wrapping_sub(self.kernel_head()) < entries
    }
}
