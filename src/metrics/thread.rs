//! What a shard's thread is, and what it has used.

use serde::{Deserialize, Serialize};

/// One shard's thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadStats {
    /// Its id, as `top -H`, `perf` and `taskset` have it.
    pub id: u32,
    /// The CPU on which it gave this answer, whether or not it is pinned.
    pub running_on: Option<usize>,
    /// Processor time that it has used, in seconds.
    pub cpu_seconds: f64,
    /// Submissions to the kernel's rings that were left out as needless.
    pub submissions_left_out: u64,
}

/// The rings of the process, as they were set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStats {
    /// Those that do not interrupt a CPU at each completion
    /// (IORING_SETUP_COOP_TASKRUN).
    pub cooperative: u64,
    /// Those that do: the kernel is older than 5.19.
    pub plain: u64,
}
