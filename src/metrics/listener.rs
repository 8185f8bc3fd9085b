//! The limits of one listener, and their use.

use serde::{Deserialize, Serialize};

use super::stats::sum;

/// The limits of one listener, and their use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerUse {
    /// Its name in the configuration.
    pub name: String,
    /// Connections accepted at it, since it was opened.
    #[serde(default)]
    pub accepted: u64,
    /// Its tunnels that are open now.
    pub tunnels_open: u64,
    /// How many may be (`max_connections`). `None`: there is no limit.
    pub tunnels_max: Option<u64>,
    /// How often accepting paused at that.
    pub limit_pauses: u64,
    /// How often accepting paused because connections came faster than they
    /// may (`connection_rate`).
    pub rate_pauses: u64,
}

impl ListenerUse {
    /// Adds another shard's figures to these, listener by listener.
    pub(super) fn add_all(ours: &mut Vec<Self>, theirs: &[Self]) {
        for more in theirs {
            match ours.iter_mut().find(|known| known.name == more.name) {
                Some(known) => known.add(more),
                None => ours.push(more.clone()),
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.tunnels_open += other.tunnels_open;
        self.tunnels_max = sum(self.tunnels_max, other.tunnels_max);
        self.limit_pauses += other.limit_pauses;
        self.rate_pauses += other.rate_pauses;
    }
}
