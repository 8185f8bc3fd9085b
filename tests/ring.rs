//! The link-time wrap of src/sys/ring, seen from a program that glommio
//! runs in.

use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use adit::limits;
use adit::sys::ring::{self, RingSetup};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::UnixStream;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

/// One test, since what is counted belongs to the process.
#[test]
fn the_rings_of_an_executor_are_cooperative_and_carry_bytes() {
    assert_eq!(
        ring::setup(),
        RingSetup {
            cooperative: 0,
            plain: 0
        },
        "before any executor"
    );

    // The first executor of a process makes glommio probe the kernel, with one
    // more ring that is gone again; whether that one is wrapped is the
    // linker's choice. So what is compared is what the second one adds.
    let _first = executor();
    let (setup_before, open_before) = (ring::setup(), open_rings());
    assert!(open_before > 0);
    let executor = executor();
    let setup = ring::setup();
    assert_eq!(
        total(setup) - total(setup_before),
        // As the kernel shows them, so that a ring that went another way tells.
        open_rings() - open_before,
        "{setup:?}: a ring was set up without the wrapper"
    );
    if kernel_at_least(5, 19) {
        assert_eq!(setup.plain, 0, "{setup:?}");
    } else {
        assert_eq!(setup.cooperative, 0, "{setup:?}");
    }

    let (left, right) = StdUnixStream::pair().unwrap();
    executor.run(async move {
        let (mut left, mut right) = (stream(left), stream(right));
        // The reader waits first, so that its wake-up comes through the ring.
        let reader = glommio::spawn_local(async move {
            let mut bytes = [0; 5];
            right.read_exact(&mut bytes).await.unwrap();
            right.write_all(b"world").await.unwrap();
            bytes
        });
        glommio::yield_if_needed().await;
        left.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        left.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"world");
        assert_eq!(&reader.await, b"hello");
    });
}

fn executor() -> LocalExecutor {
    LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(limits::RING_DEPTH)
        .io_memory(limits::RING_IO_MEMORY)
        .make()
        .unwrap()
}

#[allow(unsafe_code)]
fn stream(std: StdUnixStream) -> UnixStream {
    // SAFETY: the descriptor is handed over by its owner.
    unsafe { UnixStream::from_raw_fd(std.into_raw_fd()) }
}

fn total(setup: RingSetup) -> u64 {
    setup.cooperative + setup.plain
}

fn open_rings() -> u64 {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().contains("io_uring"))
        .count() as u64
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().unwrap_or(0));
    let running = (numbers.next().unwrap(), numbers.next().unwrap());
    running >= (major, minor)
}
