//! What is counted.
//!
//! `Counters` are a shard's own cells: no atomic, no lock, read by nobody
//! else. A shard copies them into a [`ShardStats`] when the main shard asks
//! over the mesh, and the main shard joins those into [`Stats`]. `families`
//! makes metrics of these, which `openmetrics` writes.

mod counters;
mod families;
mod listener;
mod negotiated;
mod openmetrics;
mod query;
mod rings;
mod service;
mod stats;
mod times;
mod tunnel;

pub(crate) use counters::{Counter, Counters};
pub use families::expose;
pub use listener::ListenerUse;
pub(crate) use negotiated::Negotiated;
pub use negotiated::{NameCount, NegotiatedCounts};
pub use openmetrics::TextFormat;
pub(crate) use query::Rank;
pub use query::{TunnelFilter, TunnelOrder, TunnelQuery};
pub use rings::RingStats;
pub use service::{BackendState, BackendStats, CheckStats, ServiceStats};
pub use stats::{
    CauseCount, CertificateExpiry, CertificateStats, CloseCount, ListenerStats, ShardStats, State,
    Stats, TicketKeySource, TicketKeyStats, Totals,
};
pub(crate) use times::TimeCells;
pub use times::{TIME_BOUNDS_MICROS, TimeCounts};
pub(crate) use tunnel::TunnelView;
pub use tunnel::{TunnelId, TunnelList, TunnelState, TunnelStats};
