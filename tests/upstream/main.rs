//! TLS towards backends: client mode, and TLS on both sides. One module per
//! matter.

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod ends;
mod foreign;
mod trust;
