//! The figures of one service and its backends.

use serde::{Deserialize, Serialize};

use super::TimeCounts;

/// One service, over all shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Its name in the configuration.
    pub name: String,
    /// Tunnels that wait now for a backend with room.
    pub waiting: u64,
    /// Clients that are held now until a backend comes up.
    pub held: u64,
    /// Tunnels that had to wait for room, since start.
    pub queued_total: u64,
    /// Tunnels refused since the queue was full, or there was no room in time.
    pub queue_refused: u64,
    /// Connects to another backend since one had failed.
    pub retries: u64,
    /// Tunnels that may wait for room.
    #[serde(default)]
    pub queue_length: u64,
    /// How long tunnels took from the end of their handshake to a backend that
    /// was connected and ready, queue and other attempts included.
    #[serde(default)]
    pub connect_times: TimeCounts,
    /// Its backends, in the order of the configuration.
    pub backends: Vec<BackendStats>,
}

/// One backend, over all shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStats {
    /// The address as it was configured.
    pub address: String,
    /// Whether it gets tunnels.
    pub state: BackendState,
    /// Whether it gets them only while none of the others is up.
    pub backup: bool,
    /// The shards that leave it alone for a time, each by its own experience.
    pub ejected_on_shards: usize,
    /// Tunnels that it has now, those being connected included.
    pub tunnels_open: u64,
    /// Tunnels that were connected to it since start.
    pub tunnels_total: u64,
    /// Connects to it that failed.
    pub connect_failures: u64,
    /// Tunnels that it may have. `None`: any number.
    #[serde(default)]
    pub max_connections: Option<u64>,
    /// Its last health check, if there was one.
    pub last_check: Option<CheckStats>,
}

/// Whether a backend gets tunnels. Where shards see it differently, the last of
/// these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// It does.
    Up,
    /// Its connects fail, so that some shard leaves it alone for a time.
    Ejected,
    /// The health checks say that it is down.
    Down,
    /// An operator wants it to get none (`adit backend disable`), whatever the
    /// health checks say.
    Disabled,
}

/// A health check that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStats {
    /// Whether it was good.
    pub passed: bool,
    /// What was wrong; empty if it was good.
    pub detail: String,
    /// How long ago it ended.
    pub seconds_ago: f64,
    /// How often the checks have changed their mind about the backend.
    pub transitions: u64,
}

impl ServiceStats {
    /// Adds another shard's figures to these.
    pub fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.held += other.held;
        self.queued_total += other.queued_total;
        self.queue_refused += other.queue_refused;
        self.retries += other.retries;
        self.queue_length += other.queue_length;
        self.connect_times.add(&other.connect_times);
        for (index, theirs) in other.backends.iter().enumerate() {
            // While a reload is under way shards may have different ones.
            match self.backends.get_mut(index) {
                Some(ours) if ours.address == theirs.address => ours.add(theirs),
                _ => {}
            }
        }
    }
}

impl BackendStats {
    fn add(&mut self, other: &Self) {
        self.state = self.state.max(other.state);
        self.ejected_on_shards += other.ejected_on_shards;
        self.tunnels_open += other.tunnels_open;
        self.tunnels_total += other.tunnels_total;
        self.connect_failures += other.connect_failures;
        self.max_connections = match (self.max_connections, other.max_connections) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            _ => None,
        };
    }
}
