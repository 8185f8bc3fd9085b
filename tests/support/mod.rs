//! What the tests of the whole program share: the program itself ([`adit`]),
//! what stands behind it ([`backend`]), who comes to it ([`client`]), and bytes
//! that can be told from any others ([`pattern`]). Servers of the test's own process,
//! with configurations made by hand, are [`place`]'s.
//!
//! Nothing here waits for a fixed time: a wait is for a condition, and fails
//! at [`PATIENCE`].
//!
//! A test binary takes it in by
//!
//! ```ignore
//! #[path = "../support/mod.rs"]
//! mod support;
//! ```
#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

pub mod adit;
pub mod backend;
pub mod certificate;
pub mod client;
pub mod forge;
pub mod pattern;
pub mod place;
pub mod tools;
pub mod turn;

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

/// What a server is started with that keeps the rights of the test: root stays
/// root on purpose, and another user's server can be looked into by its user.
pub fn same_rights() -> &'static [&'static str] {
    if is_root() {
        &["--user", "root"]
    } else {
        &["--core-dumps"]
    }
}

/// Whether this test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Takes the lock, though a test may have failed while it had it: what is
/// dropped then must not panic as well, which would end the process, with every
/// other test in it and no server stopped.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Descriptors that a process of tests may open, if its hard limit lets it: the
/// usual soft limit of 1024 is too few for a crowd, whose clients and backends
/// are both here. It is no higher, since other people's programs are started
/// from here, some of which make tables as large as the limit.
const DESCRIPTORS: u64 = 16_384;

/// Raises the soft limit of descriptors as far as that, once.
pub fn raise_descriptors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
        // None is no limit.
        let wanted = maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
        if current.is_some_and(|now| now < wanted) {
            let raised = Rlimit {
                current: Some(wanted),
                maximum,
            };
            rustix::process::setrlimit(Resource::Nofile, raised).expect("below the hard limit");
        }
    });
}

/// How long a condition is waited for. Reached only when a test fails, so it
/// is long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; fails at [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let due = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < due, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
