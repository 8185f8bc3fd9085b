//! How tunnels come to backends, with real sockets: balancing, limits and
//! queues, retries and ejection, health checks, and clients that are held. One
//! module per matter.

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod fleet;
mod health;
mod hold;
mod queue;
mod retry;
mod share;
