//! The main shard's side of the house: what an operator orders and asks.

pub mod admin;
