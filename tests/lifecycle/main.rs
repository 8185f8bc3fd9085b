//! The process's life from outside: start, reload, drain, end, and what it
//! costs meanwhile. One module per behaviour.

#[path = "../support/mod.rs"]
mod support;

mod program;

mod churn;
mod container;
mod demo;
mod descriptors;
mod drain;
mod idle;
mod library;
mod names;
mod placement;
mod privileges;
mod reload;
mod service;
mod spread;
mod startup;
mod statistics;
mod syslog;
mod upgrade;
mod watch;
