//! What of an executor's submissions reaches the kernel, and when.
//!
//! glommio 0.9.0 enters the kernel some nine times for each turn of its loop in
//! which it sleeps, and four times where it does not. Little of that is for the
//! sockets. The linker sends every `io_uring_submit` here (`hooks`), and out of
//! what is submitted is taken:
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
//! hundred bytes until it sees that. So it is shown completions that no kernel
//! made, where it looks for those of the kernel.
//!
//! Before it sleeps, glommio submits, and enters the kernel again to wait. Both
//! are one call here, and polls of sockets may wait for that call (`held`).
//!
//! With all that a turn in which the executor sleeps enters the kernel once, as
//! it would with epoll. The state is the thread's own, as its rings are, and
//! takes them for those of one executor. Where these functions are not linked
//! in, all is submitted as ever; they are linked in together or not at all.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::IoUring;
use super::held::Held;
use super::queues::{
    ASYNC_CANCEL, Counts, LINK, POLL_ADD, SQPOLL, Submission, SubmissionQueue, TIMEOUT, Timespec,
};
use crate::limits;

/// What was left out of the submissions to the rings of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Submissions, since the thread's executor was made.
    pub submissions: u64,
    /// Those of them that the executor still counts on, and timers. It does not
    /// grow.
    pub pending: usize,
    /// Polls that were held for a while, since the executor was made.
    pub held: u64,
}

/// What is known of this thread's rings and their executor.
#[derive(Debug)]
pub(super) struct State {
    rings: Vec<Ring>,
    /// The one that the executor sleeps on, once it is known.
    main: Option<RawFd>,
    /// How many submissions were left out.
    count: u64,
    /// What was left out, and is not cancelled yet.
    left_out: Vec<u64>,
    /// What was left out and is over: completions that are owed.
    owed: Vec<u64>,
    /// What goes to the kernel with the next wait.
    held: Held,
    /// A timer that goes to the kernel with the next wait.
    timer: Option<Submission>,
    /// When the timers that the kernel has run out.
    due: Vec<Instant>,
    /// The one of them that glommio set last, and may cancel.
    set: Option<u64>,
    /// The poll of another ring that the kernel has.
    link: Option<Link>,
    /// Polls go to the kernel now, and it will be seen what they tell.
    polls: bool,
}

#[derive(Debug)]
struct Ring {
    fd: RawFd,
    /// A submission is to go out with the next wait.
    with_wait: bool,
    completions: Counts,
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

#[derive(Debug)]
pub(super) struct Sifted {
    /// How many submissions need nothing more.
    pub(super) taken: c_int,
    /// Whether there is anything to submit.
    pub(super) pending: bool,
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
    pub(super) const fn new() -> Self {
        Self {
            rings: Vec::new(),
            main: None,
            count: 0,
            left_out: Vec::new(),
            owed: Vec::new(),
            held: Held::new(),
            timer: None,
            due: Vec::new(),
            set: None,
            link: None,
            polls: false,
        }
    }

    pub(super) fn left_out(&self) -> LeftOut {
        LeftOut {
            submissions: self.count,
            pending: self.left_out.len() + self.owed.len() + self.held.len() + self.due.len(),
            held: self.held.total(),
        }
    }

    /// A ring is gone, and with the last one the executor.
    pub(super) fn forget(&mut self, fd: RawFd) {
        self.rings.retain(|ring| ring.fd != fd);
        if self.rings.is_empty() {
            *self = Self::new();
        }
    }

    /// Takes out of a ring's queue what need not be submitted now.
    pub(super) fn sift(&mut self, io_uring: &mut IoUring) -> Sifted {
        if io_uring.flags & SQPOLL != 0 {
            return Sifted {
                taken: 0,
                pending: true,
            };
        }
        let own = self.place_of(io_uring);
        let queue = &mut io_uring.sq;
        let (first, end) = (queue.sqe_head, queue.sqe_tail);
        // What the kernel did not take the last time is pending as well.
        let behind = first != queue.kernel_head();
        let alone = end.wrapping_sub(first) == 1 && !behind;
        let mut kept = first;
        let mut taken = 0;
        let mut chained = false;
        let mut only_polls = true;
        let mut with_wait = false;
        let mut number = first;
        while number != end {
            let submission = queue.read(number);
            let sleeps = alone && self.is_link(own, &submission);
            let verdict = if chained {
                Verdict::LeaveOutChain
            } else {
                self.judge(own, &submission, sleeps)
            };
            chained = verdict == Verdict::LeaveOutChain && submission.flags & LINK != 0;
            match verdict {
                Verdict::LeaveOut | Verdict::LeaveOutChain => {
                    self.count += 1;
                    taken += 1;
                }
                Verdict::WithWait | Verdict::Submit => {
                    with_wait |= verdict == Verdict::WithWait;
                    only_polls &= submission.is_plain_poll();
                    if kept != number {
                        queue.write(kept, submission);
                    }
                    kept = kept.wrapping_add(1);
                }
            }
            number = number.wrapping_add(1);
            if sleeps {
                queue.sqe_tail = kept;
                self.rings[own].with_wait = with_wait;
                return Sifted {
                    taken: 1,
                    pending: false,
                };
            }
        }
        queue.sqe_tail = kept;
        if self.main == Some(io_uring.ring_fd) && !behind {
            taken += self.hold_or_let_go(own, queue, only_polls);
        }
        Sifted {
            taken,
            pending: behind || queue.sqe_head != queue.sqe_tail,
        }
    }

    /// Has polls wait for the next sleep, if that is for the better, or else
    /// sends those along that do. Gives how many submissions it took care of,
    /// less those that were taken care of before.
    fn hold_or_let_go(
        &mut self,
        own: usize,
        queue: &mut SubmissionQueue,
        only_polls: bool,
    ) -> c_int {
        let (first, end) = (queue.sqe_head, queue.sqe_tail);
        let more = end.wrapping_sub(first);
        self.polls = more > 0 && only_polls;
        // With completions to see to, it will not sleep.
        if self.polls
            && self.rings[own].completed().1
            && self.held.admits(more as usize, queue.places() / 2)
        {
            let mut number = first;
            while number != end {
                self.held.keep(queue.read(number));
                number = number.wrapping_add(1);
            }
            queue.sqe_tail = first;
            return more as c_int;
        }
        if more > 0 || self.held.is_due() {
            return -self.let_go(queue);
        }
        0
    }

    /// Submits the polls that wait, and gives their number.
    fn let_go(&mut self, queue: &mut SubmissionQueue) -> c_int {
        let mut gone = 0;
        while queue.has_room()
            && let Some(poll) = self.held.take()
        {
            queue.push(poll);
            gone += 1;
        }
        gone
    }

    /// Something was submitted just now.
    pub(super) fn learn(&mut self, io_uring: &IoUring) {
        if std::mem::take(&mut self.polls) {
            let own = self.place_of(io_uring);
            self.held.learn(!self.rings[own].completed().1);
        }
    }

    /// The executor is to sleep on that ring. Whether there is something to
    /// submit with it.
    pub(super) fn sleep(&mut self, io_uring: &mut IoUring) -> bool {
        if self.main != Some(io_uring.ring_fd) {
            return false;
        }
        let own = self.place_of(io_uring);
        let queue = &mut io_uring.sq;
        let mut submits = std::mem::take(&mut self.rings[own].with_wait);
        submits |= self.let_go(queue) > 0;
        if queue.has_room()
            && let Some(timer) = self.timer.take()
        {
            queue.push(timer);
            submits = true;
        }
        submits
    }

    /// The next completion that is owed, by way of that ring.
    pub(super) fn pay(&mut self, io_uring: &IoUring) -> Option<u64> {
        if self.main == Some(io_uring.ring_fd) {
            self.owed.pop()
        } else {
            None
        }
    }

    fn place_of(&mut self, io_uring: &IoUring) -> usize {
        let known = |ring: &Ring| ring.fd == io_uring.ring_fd;
        self.rings.iter().position(known).unwrap_or_else(|| {
            self.rings.push(Ring::new(io_uring));
            self.rings.len() - 1
        })
    }

    /// `sleeps`: this is the link that the executor sets before it sleeps.
    fn judge(&mut self, own: usize, submission: &Submission, sleeps: bool) -> Verdict {
        match submission.opcode {
            TIMEOUT if submission.offset > 0 => {
                // The preemption by completions, of the ring that completes
                // most.
                self.main = Some(self.rings[own].fd);
                self.held.turn();
                self.left_out.push(submission.user_data);
                Verdict::LeaveOutChain
            }
            TIMEOUT if self.main.is_some() => self.judge_timer(submission),
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
        // There is one at a time: the last one has run out or is cancelled.
        self.set = None;
        // A time that never comes is that of the preemption by time.
        if after >= limits::PREEMPT_TIMER {
            self.left_out.push(submission.user_data);
            return Verdict::LeaveOut;
        }
        let now = Instant::now();
        self.due.retain(|due| *due > now);
        let last = now.checked_add(after + limits::SLEEP_SLACK);
        let ends_anyway = |last| self.due.iter().any(|due| *due <= last);
        if last.is_none_or(ends_anyway) {
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
        if self.main == Some(self.rings[own].fd) {
            if !self.held.cancel(whose) {
                return Verdict::Submit;
            }
            self.owed.push(whose);
            return Verdict::LeaveOut;
        }
        // Its number may be that of something else once it has run out, but not
        // on the ring that it was meant for, where there are only timers.
        if self.set == Some(whose) {
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
            && self.main == Some(self.rings[own].fd)
            && self.rings.iter().any(|ring| ring.fd == submission.fd)
    }
}

impl Ring {
    fn new(io_uring: &IoUring) -> Self {
        Self {
            fd: io_uring.ring_fd,
            with_wait: false,
            completions: io_uring.cq.counts(),
        }
    }

    /// How much it has completed, and whether all of it was seen to.
    fn completed(&self) -> (u32, bool) {
        // SAFETY: `State::forget` drops this before the ring's memory goes.
        unsafe { self.completions.look() }
    }
}
