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
//!   sleep is left out, too;
//! - the poll by which one ring is woken when another one completes something,
//!   set before each sleep, if one from before is still there.
//!
//! A timer that does go to the kernel goes by way of the ring that the executor
//! sleeps on, and not of the one that it was meant for: what that one completes
//! is taken for a preemption, and one that comes at the wrong moment sends the
//! executor to sleep on tasks that could run (`runtime::heartbeat`). The numbers
//! of what is submitted are the executor's, not the ring's, so it is all one to
//! glommio where a completion comes from.
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
//! state is the thread's own, as its rings are, and takes them for those of one
//! executor; [`__wrap_io_uring_queue_exit`] ends what is known of one. Where these functions are not linked in, all is
//! submitted as ever; they are linked in together or not at all.

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
    /// Submissions, since the thread's executor was made.
    pub submissions: u64,
    /// Those of them that the executor still counts on, and timers. It does not
    /// grow: no more than [`limits::COMPLETIONS_OWED`] are owed for long.
    pub pending: usize,
}

/// What was left out so far, on the calling thread.
pub fn left_out() -> LeftOut {
    let look = |state: &RefCell<State>| {
        let state = state.borrow();
        LeftOut {
            submissions: state.count,
            pending: state.left_out.len() + state.owed.len() + state.due.len(),
        }
    };
    STATE.try_with(look).unwrap_or_default()
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::new()) };
}

/// What is known of this thread's rings and their executor.
#[derive(Debug)]
struct State {
    rings: Vec<Ring>,
    /// How many submissions were left out.
    count: u64,
    /// What was left out, and is not cancelled yet.
    left_out: Vec<u64>,
    /// What was left out and is over: completions that are owed.
    owed: Vec<u64>,
    /// A timer that goes to the kernel with the next wait.
    timer: Option<Submission>,
    /// When the timers that the kernel has run out.
    due: Vec<Instant>,
    /// The one of them that glommio set last, and may cancel.
    set: Option<u64>,
    /// The poll of another ring that the kernel has.
    link: Option<Link>,
}

#[derive(Debug)]
struct Ring {
    fd: RawFd,
    /// The executor sleeps on it.
    is_main: bool,
    /// A submission is to go out with the next wait.
    with_wait: bool,
    completions: Completions,
}

/// Where a ring's completions are counted.
#[derive(Clone, Copy, Debug)]
struct Completions {
    /// Those that glommio has seen to.
    head: *const AtomicU32,
    /// All that there were.
    tail: *const AtomicU32,
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

/// Stands in for liburing's `io_uring_submit`. Returns how many submissions
/// were taken care of, or -errno.
///
/// # Safety
///
/// As for the original: `ring` is set up, and nobody else uses it.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn __wrap_io_uring_submit(ring: *mut IoUring) -> c_int {
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
    if !time.is_null() {
        return -libc::EINVAL;
    }
    // SAFETY: by this function's contract.
    let fd = unsafe { (*ring).ring_fd };
    let with_wait = STATE.try_with(|state| {
        let rings = &mut state.borrow_mut().rings;
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

/// Stands in for liburing's `io_uring_queue_exit`: the ring is forgotten before
/// its memory goes and its number is another's.
///
/// # Safety
///
/// As for the original: `ring` is set up, and not used again.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn __wrap_io_uring_queue_exit(ring: *mut IoUring) {
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

impl State {
    const fn new() -> Self {
        Self {
            rings: Vec::new(),
            count: 0,
            left_out: Vec::new(),
            owed: Vec::new(),
            timer: None,
            due: Vec::new(),
            set: None,
            link: None,
        }
    }

    /// A ring is gone, and with the last one the executor.
    fn forget(&mut self, fd: RawFd) {
        self.rings.retain(|ring| ring.fd != fd);
        if self.rings.is_empty() {
            *self = Self::new();
        }
    }

    /// Takes out of a ring's queue what need not be submitted.
    fn sift(&mut self, io_uring: &mut IoUring) -> Sifted {
        if io_uring.flags & SQPOLL != 0 {
            return Sifted {
                taken: 0,
                pending: true,
            };
        }
        let known = |ring: &Ring| ring.fd == io_uring.ring_fd;
        let own = self.rings.iter().position(known).unwrap_or_else(|| {
            self.rings.push(Ring::new(io_uring));
            self.rings.len() - 1
        });
        let queue = &mut io_uring.sq;
        let (first, end) = (queue.sqe_head, queue.sqe_tail);
        // What the kernel did not take the last time is pending as well.
        let behind = first != queue.kernel_head();
        let alone = end.wrapping_sub(first) == 1 && !behind;
        let mut kept = first;
        let mut taken = 0;
        let mut cancelled = false;
        let mut chained = false;
        let mut with_wait = false;
        let mut sleeps = false;
        let mut number = first;
        while number != end {
            let submission = queue.read(number);
            sleeps = alone && self.is_link(own, &submission);
            let verdict = if chained {
                Verdict::LeaveOutChain
            } else {
                self.judge(own, &submission, sleeps)
            };
            cancelled |= submission.opcode == ASYNC_CANCEL;
            chained = verdict == Verdict::LeaveOutChain && submission.flags & LINK != 0;
            match verdict {
                Verdict::LeaveOut | Verdict::LeaveOutChain => {
                    self.count += 1;
                    taken += 1;
                }
                Verdict::WithWait | Verdict::Submit => {
                    with_wait |= verdict == Verdict::WithWait;
                    if kept != number {
                        queue.write(kept, submission);
                    }
                    kept = kept.wrapping_add(1);
                }
            }
            number = number.wrapping_add(1);
        }
        queue.sqe_tail = kept;
        if sleeps {
            // This is when it needs a timer.
            if queue.has_room()
                && let Some(timer) = self.timer.take()
            {
                queue.push(timer);
                with_wait = true;
            }
            self.rings[own].with_wait = with_wait;
            return Sifted {
                taken: 1,
                pending: false,
            };
        }
        // Right behind a cancellation glommio collects completions.
        let flush = kept != first || self.owed.len() >= limits::COMPLETIONS_OWED;
        if cancelled && self.rings[own].is_main && flush {
            while queue.has_room()
                && let Some(user_data) = self.owed.pop()
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

    /// `sleeps`: this is the link that the executor sets before it sleeps.
    fn judge(&mut self, own: usize, submission: &Submission, sleeps: bool) -> Verdict {
        match submission.opcode {
            TIMEOUT if submission.offset > 0 => {
                // The preemption by completions, of the ring that completes
                // most.
                self.rings[own].is_main = true;
                self.left_out.push(submission.user_data);
                Verdict::LeaveOutChain
            }
            TIMEOUT if self.rings.iter().any(|ring| ring.is_main) => self.judge_timer(submission),
            ASYNC_CANCEL => self.judge_cancellation(own, submission.address),
            POLL_ADD if sleeps => self.judge_link(submission),
            _ => Verdict::Submit,
        }
    }

    fn judge_timer(&mut self, submission: &Submission) -> Verdict {
        // SAFETY: whoever asks for a timeout keeps its time until it is
        // submitted.
        let time = unsafe { *(submission.address as *const Timespec) };
        let after = Duration::new(
            u64::try_from(time.seconds).unwrap_or(0),
            u32::try_from(time.nanoseconds).unwrap_or(0),
        );
        let now = Instant::now();
        self.due.retain(|due| *due > now);
        // There is one at a time: the last one has run out or is cancelled.
        self.set = None;
        // A time that never comes is that of the preemption by time.
        let last = now.checked_add(after + limits::SLEEP_SLACK);
        let ends_anyway = |last| self.due.iter().any(|due| *due <= last);
        if after >= limits::PREEMPT_TIMER || last.is_none_or(ends_anyway) {
            self.left_out.push(submission.user_data);
        } else {
            self.due.push(now + after);
            self.set = Some(submission.user_data);
            self.timer = Some(*submission);
        }
        Verdict::LeaveOut
    }

    fn judge_cancellation(&mut self, own: usize, whose: u64) -> Verdict {
        if let Some(place) = self.left_out.iter().position(|left| *left == whose) {
            self.left_out.swap_remove(place);
            self.owed.push(whose);
            return Verdict::LeaveOut;
        }
        // Its number may be that of something else once it has run out, but not
        // on the ring that it was meant for, where there are only timers.
        if !self.rings[own].is_main && self.set == Some(whose) {
            self.set = None;
            if self.timer.take().is_some() {
                // The executor did not sleep after all.
                self.due.pop();
                self.owed.push(whose);
            }
            // Else it may serve for the next sleep. Should it have run out,
            // there is nothing to cancel.
            return Verdict::LeaveOut;
        }
        Verdict::Submit
    }

    /// Such a poll is never cancelled: glommio lets it stay until it has
    /// something to tell.
    fn judge_link(&mut self, submission: &Submission) -> Verdict {
        let Some(polled) = self.rings.iter().find(|ring| ring.fd == submission.fd) else {
            return Verdict::Submit;
        };
        let (completed, all_seen) = polled.completed();
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

    /// Whether it has the main ring woken by another one.
    fn is_link(&self, own: usize, submission: &Submission) -> bool {
        submission.opcode == POLL_ADD
            && self.rings[own].is_main
            && self.rings.iter().any(|ring| ring.fd == submission.fd)
    }
}

impl Ring {
    fn new(io_uring: &IoUring) -> Self {
        Self {
            fd: io_uring.ring_fd,
            is_main: false,
            with_wait: false,
            completions: Completions {
                head: io_uring.cq.kernel_head.cast(),
                tail: io_uring.cq.kernel_tail.cast(),
            },
        }
    }

    /// How much it has completed, and whether all of it was seen to.
    fn completed(&self) -> (u32, bool) {
        let Completions { head, tail } = self.completions;
        // SAFETY: they are into the memory of a ring that this thread uses, and
        // `__wrap_io_uring_queue_exit` forgets it before that goes.
        let (head, tail) = unsafe { (&*head, &*tail) };
        let tail = tail.load(Ordering::Acquire);
        (tail, tail == head.load(Ordering::Relaxed))
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
