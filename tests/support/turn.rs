//! Locked memory, of which a user has a bound amount (RLIMIT_MEMLOCK), and all
//! tests together no more: the usual 8 MiB are enough for 32 shards, and a
//! machine with many CPUs runs many tests at a time. So each has a part of it
//! from its first server on until its thread ends, and waits for that part
//! before it has any.
//!
//! A test takes its part once and never more, so that none waits for another
//! that waits for it.

use std::cell::RefCell;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use adit::limits;
use adit::sys::preflight::Facts;

use super::lock;

/// Shards that most tests are content with, those of a second process and those
/// that the kernel has not cleared away yet included.
const USUAL: usize = 8;

/// Shards that there is memory for; none: any number.
static ROOM: LazyLock<Option<Room>> = LazyLock::new(|| {
    let facts = Facts::gather();
    let shards = usize::try_from(facts.memlock.hard / limits::SHARD_MEMLOCK).unwrap_or(usize::MAX);
    (!facts.may_lock_any).then(|| Room {
        all: shards,
        left: Mutex::new(shards),
        given_back: Condvar::new(),
    })
});

struct Room {
    all: usize,
    left: Mutex<usize>,
    given_back: Condvar,
}

/// A test's part.
struct Part {
    room: &'static Room,
    shards: usize,
}

impl Drop for Part {
    fn drop(&mut self) {
        *lock(&self.room.left) += self.shards;
        self.room.given_back.notify_all();
    }
}

thread_local! {
    static PART: RefCell<Option<Part>> = const { RefCell::new(None) };
}

/// Waits until this test may have servers, if it has none yet.
pub fn take() {
    take_for(USUAL);
}

/// The same for so many shards at a time: what a test with more than a few says
/// before all else.
pub fn take_for(shards: usize) {
    // A thread that a test has made has no name, and the test its part.
    if std::thread::current().name().is_none() {
        return;
    }
    let Some(room) = ROOM.as_ref() else {
        return;
    };
    PART.with_borrow_mut(|part| {
        part.get_or_insert_with(|| {
            let shards = shards.min(room.all);
            let left = lock(&room.left);
            let enough = room.given_back.wait_while(left, |left| *left < shards);
            *enough.unwrap_or_else(PoisonError::into_inner) -= shards;
            Part { room, shards }
        });
    });
}
