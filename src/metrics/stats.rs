//! A picture of the whole process, as `adit stats` shows it.

use serde::{Deserialize, Serialize};

use super::{ListenerUse, NegotiatedCounts, RingStats, ServiceStats, TimeCounts};
use crate::close::{Cause, CloseReason};

/// The process at one moment: every shard's figures and their sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The program's version.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// When the server began to serve, in seconds of Unix time.
    pub started_unix_seconds: u64,
    /// Seconds since it began to serve.
    pub uptime_seconds: f64,
    /// Serving, stopping or draining.
    pub state: State,
    /// How often a new configuration was taken up.
    pub reloads: u64,
    /// How often a new configuration was refused.
    pub reloads_failed: u64,
    /// When a configuration was last taken up, that of the start included, in
    /// seconds of Unix time.
    #[serde(default)]
    pub configured_unix_seconds: u64,
    /// Whether the last reload was refused, so that what is in use is not what
    /// an operator has written.
    #[serde(default)]
    pub reload_refused: bool,
    /// Log lines given up because the writer could not keep pace.
    pub log_lines_dropped: u64,
    /// The rings that the shards' executors have set up.
    #[serde(default)]
    pub rings: RingStats,
    /// Access lines that were to be written and that no sink took: the disk was
    /// full, the daemon away or not reading.
    #[serde(default)]
    pub access_lines_lost: u64,
    /// Descriptors that the process has open; `None`: the kernel is too old to
    /// say so without counting (before 6.2).
    #[serde(default)]
    pub descriptors_open: Option<u64>,
    /// Descriptors that it may have open (RLIMIT_NOFILE).
    #[serde(default)]
    pub descriptors_max: Option<u64>,
    /// Where clients come in.
    pub listeners: Vec<ListenerStats>,
    /// What they lead to.
    #[serde(default)]
    pub services: Vec<ServiceStats>,
    /// The sum over all shards; those that are silent as they last answered.
    pub total: Totals,
    /// Each shard that answered, in order.
    pub shards: Vec<ShardStats>,
    /// The shards that did not answer in time.
    pub silent_shards: Vec<usize>,
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It accepts connections.
    #[default]
    Serving,
    /// It was told to stop, and still accepts connections while load balancers
    /// hear that it is not ready any more (`ready_grace`).
    Stopping,
    /// It accepts no more connections and waits for open tunnels to end.
    Draining,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStats {
    /// Its name in the configuration.
    pub name: String,
    /// What it is bound to, with the port that the kernel chose if it was 0.
    pub address: String,
    /// The name of the service it leads to.
    pub service: String,
    /// What is shown to its clients. `None`: it speaks no TLS.
    #[serde(default)]
    pub certificates: Option<CertificateStats>,
    /// What its session tickets are sealed with. `None`: it sends none.
    #[serde(default)]
    pub ticket_key: Option<TicketKeyStats>,
}

/// The certificates of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStats {
    /// How many there are to be shown.
    pub count: usize,
    /// How many of a directory are passed over, since they have expired.
    pub left_out: usize,
    /// Those that expire first, [`CERTIFICATES_WATCHED_MAX`] at most.
    ///
    /// [`CERTIFICATES_WATCHED_MAX`]: crate::limits::CERTIFICATES_WATCHED_MAX
    pub soonest: Vec<CertificateExpiry>,
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateExpiry {
    /// The file it is from.
    pub file: String,
    /// The first name it is for; empty if it has none.
    pub name: String,
    /// The moment, in seconds of Unix time.
    pub expires_unix_seconds: u64,
}

/// The key that seals a listener's session tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeyStats {
    /// Where it is from.
    pub source: TicketKeySource,
    /// Since when it has sealed, in seconds of Unix time: since the process
    /// made it, or since its file was last written.
    pub since_unix_seconds: u64,
}

/// Where a ticket key is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TicketKeySource {
    /// The process made it, and rotates it by itself.
    Process,
    /// A file, which somebody else rotates.
    File,
}

/// One shard's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardStats {
    /// Its number; 0 is the main shard.
    pub shard: usize,
    /// The CPU that it is pinned to, if it is.
    pub cpu: Option<usize>,
    /// Microseconds from the main shard's question to this answer.
    pub answer_micros: u64,
    /// The processor time that its thread has used since it began, in seconds.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// The number that the kernel gave to its thread, by which `/proc` knows
    /// it; 0: it does not say.
    #[serde(default)]
    pub thread: u32,
    /// The CPU on which it gave this answer, whether or not it is pinned.
    #[serde(default)]
    pub running_on: Option<usize>,
    /// Submissions to its rings that were left out as needless.
    #[serde(default)]
    pub submissions_left_out: u64,
    /// Its figures.
    #[serde(flatten)]
    pub totals: Totals,
}

/// The figures that are kept per shard and summed over the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections accepted since start.
    pub accepted: u64,
    /// Tunnels open now, in any phase.
    pub tunnels_open: u64,
    /// Of these, how many are still shaking hands.
    pub handshakes_in_progress: u64,
    /// TLS handshakes completed with clients.
    pub handshakes: u64,
    /// Of these, how many resumed a session.
    pub handshakes_resumed: u64,
    /// TLS handshakes completed with backends.
    pub backend_handshakes: u64,
    /// Of these, how many resumed a session.
    pub backend_handshakes_resumed: u64,
    /// What those with clients agreed on.
    #[serde(default)]
    pub negotiated: NegotiatedCounts,
    /// What those with backends agreed on.
    #[serde(default)]
    pub backend_negotiated: NegotiatedCounts,
    /// Handshakes with backends that failed, by cause; causes that never
    /// occurred are left out. The tunnel may have got another backend.
    #[serde(default)]
    pub backend_handshakes_failed: Vec<CauseCount>,
    /// How long clients took from being accepted to the end of their TLS
    /// handshake, those that came to it.
    #[serde(default)]
    pub handshake_times: TimeCounts,
    /// Plaintext bytes from clients to backends.
    pub bytes_up: u64,
    /// Plaintext bytes from backends to clients.
    pub bytes_down: u64,
    /// How often accepting paused because the kernel gave no descriptor, or no
    /// memory.
    pub accept_pauses: u64,
    /// Connections reset since there was no descriptor for them, for longer
    /// than a pause.
    #[serde(default)]
    pub accept_shed: u64,
    /// How often accepting paused because a limit on open tunnels was reached,
    /// that for which descriptors suffice included.
    #[serde(default)]
    pub limit_pauses: u64,
    /// How many tunnels may be open: the lesser of `max_connections` and what
    /// there are descriptors for. `None`: there is no limit.
    #[serde(default)]
    pub tunnels_max: Option<u64>,
    /// How often accepting paused because connections came faster than they
    /// may (`connection_rate`), of the process or of a listener.
    #[serde(default)]
    pub rate_pauses: u64,
    /// What tunnels hold in memory, in bytes, as `memory_budget` counts it.
    #[serde(default)]
    pub memory_held: u64,
    /// What they may hold. `None`: there is no limit.
    #[serde(default)]
    pub memory_max: Option<u64>,
    /// How often accepting paused because one more tunnel might have passed
    /// that.
    #[serde(default)]
    pub memory_pauses: u64,
    /// TLS handshakes with clients that may be in progress.
    #[serde(default)]
    pub handshakes_max: u64,
    /// Tunnels that wait now for their handshake to begin, as many being in
    /// progress as may be.
    #[serde(default)]
    pub handshakes_waiting: u64,
    /// Tunnels that had to wait so, since start.
    #[serde(default)]
    pub handshakes_queued: u64,
    /// Access lines handed to the writer.
    #[serde(default)]
    pub access_lines: u64,
    /// Access lines left out by `sample` or `per_second`.
    #[serde(default)]
    pub access_lines_left_out: u64,
    /// Access lines dropped because the writer's queue was full.
    #[serde(default)]
    pub access_lines_dropped: u64,
    /// The limits of each listener, and their use.
    #[serde(default)]
    pub listeners: Vec<ListenerUse>,
    /// Connections handed to a shard with fewer tunnels.
    #[serde(default)]
    pub handed_over: u64,
    /// Connections taken over from another shard.
    #[serde(default)]
    pub adopted: u64,
    /// Tunnels ended by a fault in adit itself.
    pub panics: u64,
    /// Tunnels ended, by reason; reasons that never occurred are left out.
    pub closed: Vec<CloseCount>,
}

/// How many tunnels ended for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseCount {
    /// The reason.
    #[serde(flatten)]
    pub reason: CloseReason,
    /// How many.
    pub count: u64,
}

/// How many of something failed for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCount {
    /// The cause.
    pub cause: Cause,
    /// How many.
    pub count: u64,
}

impl Totals {
    /// Adds another shard's figures to these.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.tunnels_open += other.tunnels_open;
        self.handshakes_in_progress += other.handshakes_in_progress;
        self.handshakes += other.handshakes;
        self.handshakes_resumed += other.handshakes_resumed;
        self.backend_handshakes += other.backend_handshakes;
        self.backend_handshakes_resumed += other.backend_handshakes_resumed;
        self.negotiated.add(&other.negotiated);
        self.backend_negotiated.add(&other.backend_negotiated);
        for theirs in &other.backend_handshakes_failed {
            let ours = &mut self.backend_handshakes_failed;
            match ours.iter_mut().find(|c| c.cause == theirs.cause) {
                Some(ours) => ours.count += theirs.count,
                None => ours.push(*theirs),
            }
        }
        self.backend_handshakes_failed.sort_by_key(|c| c.cause);
        self.handshake_times.add(&other.handshake_times);
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        self.accept_pauses += other.accept_pauses;
        self.accept_shed += other.accept_shed;
        self.limit_pauses += other.limit_pauses;
        self.rate_pauses += other.rate_pauses;
        self.memory_held += other.memory_held;
        self.memory_pauses += other.memory_pauses;
        self.handshakes_max += other.handshakes_max;
        self.handshakes_waiting += other.handshakes_waiting;
        self.handshakes_queued += other.handshakes_queued;
        self.access_lines += other.access_lines;
        self.access_lines_left_out += other.access_lines_left_out;
        self.access_lines_dropped += other.access_lines_dropped;
        // A shard has its part of a limit, or no shard has one.
        self.tunnels_max = sum(self.tunnels_max, other.tunnels_max);
        self.memory_max = sum(self.memory_max, other.memory_max);
        ListenerUse::add_all(&mut self.listeners, &other.listeners);
        self.handed_over += other.handed_over;
        self.adopted += other.adopted;
        self.panics += other.panics;
        for theirs in &other.closed {
            match self.closed.iter_mut().find(|c| c.reason == theirs.reason) {
                Some(ours) => ours.count += theirs.count,
                None => self.closed.push(*theirs),
            }
        }
        self.closed.sort_by_key(|c| c.reason.index());
    }

    /// How many tunnels ended for this reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed
            .iter()
            .find(|c| c.reason == reason)
            .map_or(0, |c| c.count)
    }
}

/// The sum of the parts of a limit.
pub(super) fn sum(ours: Option<u64>, theirs: Option<u64>) -> Option<u64> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours.saturating_add(theirs)),
        (one, other) => one.or(other),
    }
}
