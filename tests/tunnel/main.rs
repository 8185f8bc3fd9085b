//! The data path from outside: real connections through the real program.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod backends;
mod bodies;
mod foreign;
mod greetings;
mod half_close;
mod loss;
mod pressure;
mod records;
mod timeouts;
mod versions;
