//! A TLS front door for Linux.

mod backend;
pub mod config;
pub mod control;
mod error;
pub mod http;
pub mod limits;
pub mod logging;
mod mesh;
pub mod metrics;
mod plan;
mod runtime;
mod server;
mod shard;
pub mod sys;
mod timer;
pub mod tls;
pub mod tunnel;

pub use config::Config;
pub use error::Error;
pub use server::{Handle, Outcome, Running, Server};
