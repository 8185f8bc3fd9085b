//! How the rings of a process were set up.

use serde::{Deserialize, Serialize};

/// The rings of the process, as they were set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStats {
    /// Those that do not interrupt a CPU at each completion
    /// (IORING_SETUP_COOP_TASKRUN).
    pub cooperative: u64,
    /// Those that do: the kernel is older than 5.19.
    pub plain: u64,
}
