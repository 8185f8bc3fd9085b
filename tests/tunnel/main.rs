//! The data path from outside: real connections through the real program.
//! One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod half_close;
mod loss;
mod records;
