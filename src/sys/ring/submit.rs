//! What of an executor's submissions reaches the kernel.
//!
//! glommio 0.9.0 enters the kernel some nine times for each turn of its loop in
//! which it sleeps, and four times where it does not. Little of that is for the
//! sockets. The linker sends every `io_uring_submit` to
//! [`__wrap_io_uring_submit`] below, which takes out of what is submitted:
//!
//! - two preemption timers, one by time and one by completions, which glommio
//!   sets before it runs its tasks and cancels after. Ours are never to run out
//!   ([`limits::PREEMPT_TIMER`]);
//! - the timer that ends a sleep, if one that the kernel still has from an
//!   earlier sleep ends it as well. The cancellation that comes after each
//!   sleep is therefore left out, too;
//! - the poll by which one ring is woken when another one completes something,
//!   set before each sleep, if one from before is still there.
//!
//! What is left out would have completed as cancelled, and glommio keeps some
//! hundred bytes until it sees that. The completions are owed, then: from time
//! to time, as part of a submission behind which glommio collects completions
//! anyway, as many no-operations go to the kernel with the numbers of what was
//! left out.
//!
//! Before it sleeps, glommio submits, and enters the kernel again to wait.
//! [`__wrap_io_uring_wait_cqes`] does both in one call.
//!
//! With all that a turn enters the kernel once, and twice if it sleeps. The
//! state is the thread's own, as its rings are. Where these functions are not
//! linked in, all is submitted as ever.

use std::cell::RefCell;
use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{IoUring, SubmissionQueue};
use crate::limits;

/// `struct io_uring_sqe` (io_uring_enter(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
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
#[derive(Clone, Copy)]
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

/// What was left out of the submissions to the rings of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Submissions, since the rings were set up.
    pub submissions: u64,
    /// Those of them that the executor still counts on. It does not grow: more
    /// than [`limits::COMPLETIONS_OWED`] a ring are never owed for long.
    pub pending: usize,
}

/// What was left out so far, on the calling thread.
pub fn left_out() -> LeftOut {
    let sum = |rings: &RefCell<Vec<Ring>>| {
        rings
            .borrow()
            .iter()
            .fold(LeftOut::default(), |sum, ring| LeftOut {
                submissions: sum.submissions + ring.count,
                pending: sum.pending + ring.left_out.len() + ring.owed.len(),
            })
    };
    RINGS.try_with(sum).unwrap_or_default()
}

thread_local! {
    static RINGS: RefCell<Vec<Ring>> = const { RefCell::new(Vec::new()) };
}

/// What is known of one ring of this thread.
#[derive(Debug)]
struct Ring {
    fd: RawFd,
    /// How many submissions were left out.
    count: u64,
    /// What was left out, and is not cancelled yet.
    left_out: Vec<u64>,
    /// What was left out and is cancelled: completions that are owed.
    owed: Vec<u64>,
    /// The timer that the kernel has.
    timer: Option<Timer>,
    /// The poll of another ring that the kernel has.
    link: Option<Link>,
    /// A submission is to go out with the next wait.
    with_wait: bool,
    completions: Completions,
}

/// Where a ring's completions are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completions {
    /// Those that glommio has seen to.
    pub(super) head: *const AtomicU32,
    /// All that there were.
    pub(super) tail: *const AtomicU32,
}

/// A timer that ends a sleep.
#[derive(Clone, Copy, Debug)]
struct Timer {
    user_data: u64,
    due: Instant,
}

/// A poll of another ring, which ends a sleep when that one completes
/// something.
#[derive(Clone, Copy, Debug)]
struct Link {
    fd: RawFd,
    /// How much that ring had completed by then, all of it seen to. While it is
    /// the same, the poll has nothing to tell, and is still there.
    completed: u32,
}

/// A ring of this thread was set up: whatever bore its number is gone.
///
/// # Safety
///
/// The pointers are into the ring's memory, and stay good for as long as
/// submissions to rings of this thread are made.
pub(super) unsafe fn opened(fd: RawFd, completions: Completions) {
    // At the end of a thread nothing is known, and all is submitted.
    let _ = RINGS.try_with(|rings| {
        let mut rings = rings.borrow_mut();
        rings.retain(|ring| ring.fd != fd);
        rings.push(Ring {
            fd,
            count: 0,
            left_out: Vec::new(),
            owed: Vec::new(),
            timer: None,
            link: None,
            with_wait: false,
            completions,
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
pub(super) unsafe extern "C" fn __wrap_io_uring_submit(ring: *mut IoUring) -> c_int {
    let sifted = RINGS.try_with(|rings| {
        // SAFETY: by this function's contract.
        sift(&mut rings.borrow_mut(), unsafe { &mut *ring })
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
pub(super) unsafe extern "C" fn __wrap_io_uring_wait_cqes(
    ring: *mut IoUring,
    completion: *mut *mut c_void,
    wait: c_uint,
    time: *mut c_void,
    signals: *mut c_void,
) -> c_int {
    debug_assert!(time.is_null(), "glommio sets none");
    // SAFETY: by this function's contract.
    let fd = unsafe { (*ring).ring_fd };
    let with_wait = RINGS.try_with(|rings| {
        let mut rings = rings.borrow_mut();
        let ring = rings.iter_mut().find(|ring| ring.fd == fd);
        ring.is_some_and(|ring| std::mem::take(&mut ring.with_wait))
    });
    if with_wait.unwrap_or(false) {
        // SAFETY: as above.
        let submitted = unsafe { io_uring_submit_and_wait(ring, wait) };
        if submitted < 0 {
            return submitted;
        }
    }
    // SAFETY: as above.
    unsafe { __io_uring_get_cqe(ring, completion, 0, wait, signals) }
}

#[derive(Debug)]
struct Sifted {
    /// How many submissions need nothing more.
    taken: c_int,
    /// Whether there is anything to submit.
    pending: bool,
}

/// What becomes of one submission.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Submit,
    LeaveOut,
    /// Also what is linked to it, which would start when it completes.
    LeaveOutChain,
    /// It goes to the kernel together with the wait that follows.
    WithWait,
}

/// Takes out of a ring's queue what need not be submitted.
fn sift(rings: &mut [Ring], io_uring: &mut IoUring) -> Sifted {
    let known = rings.iter().position(|ring| ring.fd == io_uring.ring_fd);
    let queue = &mut io_uring.sq;
    let (Some(own), 0) = (known, io_uring.flags & SQPOLL) else {
        return Sifted {
            taken: 0,
            pending: true,
        };
    };
    let (first, end) = (queue.sqe_head, queue.sqe_tail);
    // What the kernel did not take the last time is pending as well.
    let behind = first != queue.kernel_head();
    let alone = end.wrapping_sub(first) == 1 && !behind;
    let mut kept = first;
    let mut taken = 0;
    let mut cancelled = false;
    let mut chained = false;
    let mut number = first;
    while number != end {
        let submission = queue.read(number);
        let verdict = if chained {
            Verdict::LeaveOutChain
        } else {
            judge(rings, own, &submission, alone)
        };
        cancelled |= submission.opcode == ASYNC_CANCEL;
        chained = verdict == Verdict::LeaveOutChain && submission.flags & LINK != 0;
        match verdict {
            Verdict::LeaveOut | Verdict::LeaveOutChain => {
                rings[own].count += 1;
                taken += 1;
            }
            Verdict::WithWait => {
                rings[own].with_wait = true;
                return Sifted {
                    taken: 1,
                    pending: false,
                };
            }
            Verdict::Submit => {
                if kept != number {
                    queue.write(kept, submission);
                }
                kept = kept.wrapping_add(1);
            }
        }
        number = number.wrapping_add(1);
    }
    queue.sqe_tail = kept;
    let owed = &mut rings[own].owed;
    // Right behind a cancellation glommio collects completions. At any other
    // time one in the ring of its timers would have it stop before it begins.
    if cancelled && (kept != first || owed.len() >= limits::COMPLETIONS_OWED) {
        while queue.has_room()
            && let Some(user_data) = owed.pop()
        {
            queue.push(Submission {
                opcode: NOP,
                fd: -1,
                user_data,
                ..Submission::default()
            });
            // It was counted when it was left out.
            taken -= 1;
        }
    }
    Sifted {
        taken,
        pending: behind || queue.sqe_head != queue.sqe_tail,
    }
}

fn judge(rings: &mut [Ring], own: usize, submission: &Submission, alone: bool) -> Verdict {
    match submission.opcode {
        TIMEOUT => rings[own].judge_timer(submission),
        ASYNC_CANCEL => rings[own].judge_cancellation(submission.address),
        POLL_ADD if alone => {
            let completed = completed(rings, submission.fd);
            rings[own].judge_link(submission, completed)
        }
        _ => Verdict::Submit,
    }
}

/// How much the ring with that number has completed, if it is one of this
/// thread's, and whether all of it was seen to.
fn completed(rings: &[Ring], fd: RawFd) -> Option<(u32, bool)> {
    let ring = rings.iter().find(|ring| ring.fd == fd)?;
    let Completions { head, tail } = ring.completions;
    // SAFETY: by the contract of `opened`.
    let (head, tail) = unsafe { (&*head, &*tail) };
    let tail = tail.load(Ordering::Acquire);
    Some((tail, tail == head.load(Ordering::Relaxed)))
}

impl Ring {
    fn judge_timer(&mut self, submission: &Submission) -> Verdict {
        // By completions.
        if submission.offset > 0 {
            self.left_out.push(submission.user_data);
            return Verdict::LeaveOutChain;
        }
        // SAFETY: whoever asks for a timeout keeps its time until it is
        // submitted.
        let time = unsafe { *(submission.address as *const Timespec) };
        let after = Duration::new(
            u64::try_from(time.seconds).unwrap_or(0),
            u32::try_from(time.nanoseconds).unwrap_or(0),
        );
        if after >= limits::PREEMPT_TIMER {
            self.left_out.push(submission.user_data);
            return Verdict::LeaveOut;
        }
        let now = Instant::now();
        let due = now + after;
        if let Some(timer) = self.timer
            && timer.due > now
            && timer.due <= due + limits::SLEEP_SLACK
        {
            self.left_out.push(submission.user_data);
            return Verdict::LeaveOut;
        }
        // One from before runs out at its time, and does no harm.
        self.timer = Some(Timer {
            user_data: submission.user_data,
            due,
        });
        Verdict::Submit
    }

    fn judge_cancellation(&mut self, whose: u64) -> Verdict {
        if let Some(place) = self.left_out.iter().position(|left| *left == whose) {
            self.left_out.swap_remove(place);
            self.owed.push(whose);
            return Verdict::LeaveOut;
        }
        if self.timer.is_some_and(|timer| timer.user_data == whose) {
            // Should it have run out, there is nothing to cancel.
            return Verdict::LeaveOut;
        }
        Verdict::Submit
    }

    /// `completed` is that of the ring that is polled, if it is one. Such a poll
    /// is never cancelled: glommio lets it stay until it has something to tell.
    fn judge_link(&mut self, submission: &Submission, completed: Option<(u32, bool)>) -> Verdict {
        let Some((completed, all_seen)) = completed else {
            return Verdict::Submit;
        };
        if let Some(link) = self.link
            && link.fd == submission.fd
            && link.completed == completed
        {
            self.owed.push(submission.user_data);
            return Verdict::LeaveOut;
        }
        // With something to tell already it is gone as soon as it is there.
        self.link = all_seen.then_some(Link {
            fd: submission.fd,
            completed,
        });
        Verdict::WithWait
    }
}

impl SubmissionQueue {
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

    /// Where there is room.
    fn push(&mut self, submission: Submission) {
        self.write(self.sqe_tail, submission);
        self.sqe_tail = self.sqe_tail.wrapping_add(1);
    }

    /// How far the kernel has come.
    fn kernel_head(&self) -> c_uint {
        // SAFETY: in the ring's mapped memory, aligned, and written by the
        // kernel alone.
        unsafe { AtomicU32::from_ptr(self.kernel_head) }.load(Ordering::Acquire)
    }

    fn has_room(&self) -> bool {
        // SAFETY: in the ring's mapped memory; it does not change.
        let entries = unsafe { *self.ring_entries };
        self.sqe_tail.wrapping_sub(self.kernel_head()) < entries
    }
}
