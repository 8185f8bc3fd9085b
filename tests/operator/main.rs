//! What an operator does to a running server by its admin socket, with adit's
//! own commands and with other programs.

#[path = "../support/mod.rs"]
mod support;

#[path = "../lifecycle/program.rs"]
#[allow(dead_code, reason = "more of it is used elsewhere")]
mod program;

mod place;

mod access;
mod backends;
mod close;
mod drain;
mod shards;
mod top;
mod tunnels;
