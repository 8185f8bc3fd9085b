//! How tunnels come to backends, with real sockets: balancing, limits and
//! queues, retries and ejection, TLS handshakes that fail, health checks, and
//! clients that are held. One module per matter.

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod fleet;
mod handshake;
mod health;
mod hold;
mod ports;
mod queue;
mod retry;
mod share;
