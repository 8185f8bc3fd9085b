//! A TLS front door for Linux.

pub mod config;
pub mod control;
mod error;
pub mod http;
pub mod limits;
pub mod logging;
pub mod metrics;
mod server;
pub mod sys;
pub mod tunnel;

pub use config::Config;
pub use error::Error;
pub use server::{Handle, Outcome, Server};
