//! The PROXY protocol's codec: what it reads and writes byte by byte
//! ([`vectors`]), under random damage and cut anywhere ([`mutations`]), beside
//! another author's codec ([`oracle`]), and against programs that speak it
//! ([`foreign`]).
//!
//! What is random is made from a seed, which a failure names.

mod foreign;
mod mutations;
mod oracle;
mod random;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
