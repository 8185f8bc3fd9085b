//! A TLS front door for Linux.

pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod sys;
pub mod tunnel;
