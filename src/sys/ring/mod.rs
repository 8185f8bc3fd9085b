//! How every ring of this process is set up, and what goes over it.
//!
//! `submit` decides what of an executor's submissions reaches the kernel, and
//! `held` which of them wait; `hooks` are the functions of liburing that they
//! stand in for, and `queues` its structures. `barrier` is what an executor needs
//! before it sleeps. The set-up is here.
//!
//! glommio has no setting for `IORING_SETUP_COOP_TASKRUN` (kernel 5.19,
//! io_uring_setup(2)). Without it each completion interrupts the core that it
//! belongs to, though an executor looks at its completion queue anyway; with it
//! a round trip through the relay costs half. So the linker is told, by
//! `build.rs`, to send every call of liburing's `io_uring_queue_init_params` to
//! [`__wrap_io_uring_queue_init_params`] below (`--wrap`, ld(1)), which does
//! what the original does, with that flag.
//!
//! The link argument reaches this package's binaries and integration tests, and
//! nothing else: in a crate that depends on adit, and in adit's unit tests,
//! rings are set up by liburing as ever, and the function here is merely
//! unused. That is why it makes the system call itself, rather than call
//! `__real_io_uring_queue_init_params`, which would be undefined there.
//!
//! `IORING_SETUP_DEFER_TASKRUN` must stay unset: glommio decides whether to
//! yield by watching the completion queue, to which the kernel would then add
//! nothing until asked.

#[cfg(target_arch = "x86_64")]
mod barrier;
mod held;
mod hooks;
mod queues;
mod submit;

pub use hooks::left_out;
pub use submit::LeftOut;

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

// Links liburing, which is inside glommio, wherever this module is linked.
use glommio as _;

use queues::{CompletionQueue, SubmissionQueue};

/// Completions wait until the application enters the kernel, rather than
/// interrupt it (io_uring_setup(2)).
pub(super) const COOP_TASKRUN: u32 = 1 << 8;

/// How many rings this process set up through the wrapper, since it started.
///
/// An executor has three. One more is set up, and closed again, when glommio
/// first asks the kernel what it can do; since that call does not leave
/// liburing, it depends on the linker whether it is wrapped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSetup {
    /// With `IORING_SETUP_COOP_TASKRUN`.
    pub cooperative: u64,
    /// Without it, because the kernel is older than 5.19 or the ring's other
    /// flags exclude it.
    pub plain: u64,
}

/// What was set up so far. Both figures stay 0 in a program that was linked
/// without the wrap.
pub fn setup() -> RingSetup {
    RingSetup {
        cooperative: COOPERATIVE.load(Ordering::Relaxed),
        plain: PLAIN.load(Ordering::Relaxed),
    }
}

// Written three times per shard, at its start, and never on the data path.
static COOPERATIVE: AtomicU64 = AtomicU64::new(0);
static PLAIN: AtomicU64 = AtomicU64::new(0);

/// `struct io_uring_params` of the kernel's interface (io_uring_setup(2)).
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoUringParams {
    pub(super) sq_entries: u32,
    pub(super) cq_entries: u32,
    pub(super) flags: u32,
    pub(super) sq_thread_cpu: u32,
    pub(super) sq_thread_idle: u32,
    pub(super) features: u32,
    pub(super) wq_fd: u32,
    pub(super) resv: [u32; 3],
    pub(super) sq_off: SubmissionOffsets,
    pub(super) cq_off: CompletionOffsets,
}

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SubmissionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    resv1: u32,
    resv2: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CompletionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    resv1: u32,
    resv2: u64,
}

const _: () = assert!(size_of::<IoUringParams>() == 120, "fixed by the kernel");

/// `struct io_uring` of the liburing inside glommio 0.9.0.
#[repr(C)]
pub struct IoUring {
    sq: SubmissionQueue,
    cq: CompletionQueue,
    flags: c_uint,
    ring_fd: c_int,
    features: c_uint,
    pad: [c_uint; 3],
}

unsafe extern "C" {
    /// Maps a ring's memory. On success clears `ring`, and fills all of it but
    /// `features`; returns -errno otherwise.
    fn io_uring_queue_mmap(fd: c_int, params: *mut IoUringParams, ring: *mut IoUring) -> c_int;
}

/// Stands in for liburing's `io_uring_queue_init_params`: sets up a ring of at
/// least `entries` submissions as `params` asks, and maps it. Returns 0, or
/// -errno with nothing left open.
///
/// # Safety
///
/// As for the original: `params` is a filled-in `struct io_uring_params`, and
/// `ring` has room for a `struct io_uring`; both are ours for this call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_io_uring_queue_init_params(
    entries: c_uint,
    ring: *mut IoUring,
    params: *mut IoUringParams,
) -> c_int {
    // SAFETY: by this function's contract `params` is valid, and nobody else
    // touches it during the call.
    let params = unsafe { &mut *params };
    let fd = match set_up_cooperative(entries, params) {
        Ok(fd) => fd,
        Err(error) => return negated(&error),
    };
    // SAFETY: the descriptor is a ring that the kernel just set up with these
    // params; `ring` is valid by this function's contract.
    let outcome = unsafe { io_uring_queue_mmap(fd.as_raw_fd(), params, ring) };
    if outcome != 0 {
        return outcome; // Dropping `fd` closes it.
    }
    // SAFETY: as above; only the one field that the mapping leaves out is
    // written, as the original does.
    unsafe { (*ring).features = params.features };
    // It belongs to `ring` now, and io_uring_queue_exit closes it.
    let _ = fd.into_raw_fd();
    let counter = if params.flags & COOP_TASKRUN != 0 {
        &COOPERATIVE
    } else {
        &PLAIN
    };
    counter.fetch_add(1, Ordering::Relaxed);
    0
}

/// [`set_up`] with COOP_TASKRUN if kernel and flags allow it, and else without.
/// `params.flags` tells which.
pub(super) fn set_up_cooperative(
    entries: c_uint,
    params: &mut IoUringParams,
) -> io::Result<OwnedFd> {
    let asked = params.clone();
    params.flags |= COOP_TASKRUN;
    match set_up(entries, params) {
        // A kernel before 5.19 does not know the flag, and none takes it along
        // with SQPOLL. If EINVAL had another cause it comes again.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            *params = asked;
            set_up(entries, params)
        }
        outcome => outcome,
    }
}

/// io_uring_setup(2). The kernel fills in `params`.
fn set_up(entries: c_uint, params: &mut IoUringParams) -> io::Result<OwnedFd> {
    // SAFETY: `params` is a `struct io_uring_params` for the kernel to read and
    // write; it keeps no pointer to it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_io_uring_setup,
            entries,
            std::ptr::from_mut(params),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor. It fits in a c_int, as
    // all descriptors do.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// The answer to IORING_REGISTER_PROBE (io_uring_register(2)): which of the
/// first 256 operations this kernel has, by their number.
pub(super) fn supported_operations(ring: BorrowedFd<'_>) -> io::Result<Vec<bool>> {
    const REGISTER_PROBE: c_uint = 8;
    const SUPPORTED: u16 = 1;
    const OPERATIONS: usize = 256;

    /// `struct io_uring_probe_op`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Operation {
        op: u8,
        resv: u8,
        flags: u16,
        resv2: u32,
    }
    /// `struct io_uring_probe`, with its array.
    #[repr(C)]
    struct Probe {
        last_op: u8,
        ops_len: u8,
        resv: u16,
        resv2: [u32; 3],
        ops: [Operation; OPERATIONS],
    }

    // The kernel demands zeros.
    let mut probe = Probe {
        last_op: 0,
        ops_len: 0,
        resv: 0,
        resv2: [0; 3],
        ops: [Operation::default(); OPERATIONS],
    };
    // SAFETY: `probe` has room for the number of operations given, and the
    // kernel keeps no pointer to it.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_PROBE,
            &raw mut probe,
            OPERATIONS as c_uint,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    let known = usize::from(probe.ops_len).min(OPERATIONS);
    Ok(probe.ops[..known]
        .iter()
        .map(|op| op.flags & SUPPORTED != 0)
        .collect())
}

/// io_uring_enter(2) that submits nothing and waits for nothing: whether the
/// call is let through.
pub(super) fn enter(ring: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            0 as c_uint,
            0 as c_uint,
            0 as c_uint,
            std::ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn negated(error: &io::Error) -> c_int {
    // Every error here comes from errno.
    -error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;
    use std::os::fd::RawFd;

    unsafe extern "C" {
        /// The original: unit tests are linked without the wrap.
        fn io_uring_queue_init_params(
            entries: c_uint,
            ring: *mut IoUring,
            params: *mut IoUringParams,
        ) -> c_int;
        fn io_uring_queue_exit(ring: *mut IoUring);
    }

    type Init = unsafe extern "C" fn(c_uint, *mut IoUring, *mut IoUringParams) -> c_int;

    /// Words behind `struct io_uring`, to see a write past its end.
    #[repr(C)]
    struct Room {
        ring: MaybeUninit<IoUring>,
        canary: [u64; 8],
    }

    const CANARY: [u64; 8] = [0x5a5a_5a5a_5a5a_5a5a; 8];

    /// The params and the features, flags and sizes of the ring afterwards.
    fn init(by: Init, flags: u32) -> Result<(IoUringParams, [c_uint; 2], [usize; 2]), c_int> {
        let mut params = IoUringParams {
            flags,
            ..Default::default()
        };
        let mut room = Room {
            // As if the memory held something before.
            ring: MaybeUninit::uninit(),
            canary: CANARY,
        };
        // SAFETY: both are valid; the ring is torn down below, before `room`
        // goes.
        let outcome = unsafe { by(8, room.ring.as_mut_ptr(), &mut params) };
        assert_eq!(room.canary, CANARY, "wrote past struct io_uring");
        if outcome != 0 {
            return Err(outcome);
        }
        // SAFETY: set up, since the outcome was 0.
        unsafe {
            let ring = room.ring.assume_init_mut();
            let seen = (
                [ring.features, ring.flags],
                [ring.sq.ring_sz, ring.cq.ring_sz],
            );
            assert!(is_ring(ring.ring_fd), "{}", ring.ring_fd);
            io_uring_queue_exit(ring);
            Ok((params, seen.0, seen.1))
        }
    }

    fn is_ring(fd: RawFd) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|target| target.to_string_lossy().contains("io_uring"))
    }

    #[test]
    fn does_what_the_original_does_but_for_the_one_flag() {
        let (theirs, their_words, their_sizes) = init(io_uring_queue_init_params, 0).unwrap();
        let before = setup();
        let (ours, our_words, our_sizes) = init(__wrap_io_uring_queue_init_params, 0).unwrap();
        let after = setup();

        let flag = ours.flags;
        assert!(flag == 0 || flag == COOP_TASKRUN, "{flag:#x}");
        assert_eq!(IoUringParams { flags: 0, ..ours }, theirs);
        assert_eq!(our_words, [their_words[0], flag]);
        assert_ne!(our_words[0], 0, "features");
        assert_eq!(our_sizes, their_sizes);
        assert!(after.cooperative + after.plain > before.cooperative + before.plain);
    }

    #[test]
    fn a_ring_whose_flags_exclude_the_flag_goes_without() {
        const SQPOLL: u32 = 1 << 1;
        let (params, words, _) = init(__wrap_io_uring_queue_init_params, SQPOLL).unwrap();
        assert_eq!(params.flags, SQPOLL);
        assert_eq!(words[1], SQPOLL);
    }

    #[test]
    fn errors_are_those_of_the_original() {
        const NO_SUCH_FLAG: u32 = 1 << 30;
        assert_eq!(
            init(__wrap_io_uring_queue_init_params, NO_SUCH_FLAG).unwrap_err(),
            -libc::EINVAL
        );
        assert_eq!(
            init(io_uring_queue_init_params, NO_SUCH_FLAG).unwrap_err(),
            -libc::EINVAL
        );
    }
}
