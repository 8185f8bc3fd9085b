//! TLS as an operator sets it up: certificates by name, client certificates,
//! protocol policy. One module per matter; [`authority`] makes what [`place`]
//! serves, and [`visitor`] looks at it. [`foreign`] lets other people's
//! programs look.

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod chains;
mod clients;
mod foreign;
mod many;
mod names;
mod place;
mod policy;
mod stapling;
mod visitor;
