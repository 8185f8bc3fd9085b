//! The two queues of a ring, as the liburing inside glommio 0.9.0 has them, and
//! what lies in them.

use std::ffi::c_uint;
use std::sync::atomic::{AtomicU32, Ordering};

/// `struct io_uring_sq`.
#[repr(C)]
pub(super) struct SubmissionQueue {
    kernel_head: *mut c_uint,
    kernel_tail: *mut c_uint,
    ring_mask: *mut c_uint,
    pub(super) ring_entries: *mut c_uint,
    kernel_flags: *mut c_uint,
    kernel_dropped: *mut c_uint,
    array: *mut c_uint,
    pub(super) entries: *mut Submission,
    pub(super) sqe_head: c_uint,
    pub(super) sqe_tail: c_uint,
    pub(super) ring_sz: usize,
    pub(super) ring_ptr: *mut u8,
    pad: [c_uint; 4],
}

/// `struct io_uring_cq`. What is between does not matter here.
#[repr(C)]
pub(super) struct CompletionQueue {
    kernel_head: *mut c_uint,
    kernel_tail: *mut c_uint,
    pointers: [*mut u8; 5],
    pub(super) ring_sz: usize,
    pub(super) ring_ptr: *mut u8,
    pad: [c_uint; 4],
}

/// `struct io_uring_sqe` (io_uring_enter(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Submission {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    ioprio: u16,
    pub(super) fd: i32,
    /// Of a timeout: after how many completions.
    pub(super) offset: u64,
    /// Of a timeout: its [`Timespec`]. Of a cancellation: whose.
    pub(super) address: u64,
    len: u32,
    op_flags: u32,
    pub(super) user_data: u64,
    rest: [u64; 3],
}

const _: () = assert!(size_of::<Submission>() == 64, "fixed by the kernel");

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Timespec {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

// Operations (io_uring_enter(2)).
pub(super) const POLL_ADD: u8 = 6;
pub(super) const TIMEOUT: u8 = 11;
pub(super) const ASYNC_CANCEL: u8 = 14;
/// The next submission starts when this one completes.
pub(super) const LINK: u8 = 1 << 2;

/// `IORING_SETUP_SQPOLL`.
pub(super) const SQPOLL: c_uint = 1 << 1;

impl Submission {
    /// It polls, and nothing is linked to it.
    pub(super) fn is_plain_poll(&self) -> bool {
        self.opcode == POLL_ADD && self.flags == 0
    }
}

impl SubmissionQueue {
    fn slot(&self, number: c_uint) -> *mut Submission {
        // SAFETY: both pointers are into the ring's mapped memory, for as long
        // as the ring is; the mask keeps within the array.
        unsafe { self.entries.add((number & *self.ring_mask) as usize) }
    }

    pub(super) fn read(&self, number: c_uint) -> Submission {
        // SAFETY: the slot is ours, between the kernel's head and our tail.
        unsafe { *self.slot(number) }
    }

    pub(super) fn write(&mut self, number: c_uint, submission: Submission) {
        // SAFETY: as above, or the slot at our tail, where there is room.
        unsafe { *self.slot(number) = submission }
    }

    /// Where there is room.
    pub(super) fn push(&mut self, submission: Submission) {
        self.write(self.sqe_tail, submission);
        self.sqe_tail = self.sqe_tail.wrapping_add(1);
    }

    /// How far the kernel has come.
    pub(super) fn kernel_head(&self) -> c_uint {
        // SAFETY: in the ring's mapped memory, aligned, and written by the
        // kernel alone.
        unsafe { AtomicU32::from_ptr(self.kernel_head) }.load(Ordering::Acquire)
    }

    pub(super) fn has_room(&self) -> bool {
        (self.sqe_tail.wrapping_sub(self.kernel_head()) as usize) < self.places()
    }

    /// How many submissions there is room for in all.
    pub(super) fn places(&self) -> usize {
        // SAFETY: in the ring's mapped memory; it does not change.
        unsafe { *self.ring_entries as usize }
    }
}

impl CompletionQueue {
    /// The first of the completions was seen to.
    pub(super) fn advance(&self) {
        // SAFETY: in the ring's mapped memory, aligned, and written by this
        // thread alone.
        let head = unsafe { AtomicU32::from_ptr(self.kernel_head) };
        let seen = head.load(Ordering::Relaxed);
        head.store(seen.wrapping_add(1), Ordering::Release);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            head: self.kernel_head.cast(),
            tail: self.kernel_tail.cast(),
        }
    }
}

/// Where a ring's completions are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Those that glommio has seen to.
    head: *const AtomicU32,
    /// All that there were.
    tail: *const AtomicU32,
}

impl Counts {
    /// How many completions there were, and whether all of them were seen to.
    ///
    /// # Safety
    ///
    /// The ring that they are of is there, and used by this thread alone.
    pub(super) unsafe fn look(self) -> (u32, bool) {
        // SAFETY: by this function's contract they are into its memory.
        let (head, tail) = unsafe { (&*self.head, &*self.tail) };
        let tail = tail.load(Ordering::Acquire);
        (tail, tail == head.load(Ordering::Relaxed))
    }
}
