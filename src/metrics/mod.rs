//! What is counted.
//!
//! `Counters` are a shard's own cells: no atomic, no lock, read by nobody
//! else. A shard copies them into a [`ShardStats`] when the main shard asks
//! over the mesh, and the main shard joins those into [`Stats`].

mod counters;
mod listener;
mod negotiated;
mod service;
mod stats;

pub(crate) use counters::{Counter, Counters};
pub use listener::ListenerUse;
pub(crate) use negotiated::Negotiated;
pub use negotiated::{NameCount, NegotiatedCounts};
pub use service::{BackendState, BackendStats, CheckStats, ServiceStats};
pub use stats::{CloseCount, ListenerStats, ShardStats, State, Stats, Totals};
