//! A small, strict HTTP/1.1 for the control plane (RFC 9110, RFC 9112).
//!
//! It carries statistics and orders between an operator and a process, a few
//! requests at a time; the data path never comes near it. [`message`] turns
//! bytes into a [`Request`] and a [`Response`] into bytes and knows no socket;
//! [`server`] serves a listener with blocking threads; [`client`] asks one
//! question; [`negotiate`] finds the media type that a client likes best. Every
//! size and every wait is bounded, and nothing that arrives from outside can
//! make it panic.

pub mod client;
pub mod message;
pub mod negotiate;
pub mod server;
mod stream;

pub use message::{Body, Method, Request, Response, encode};
pub use server::{Listener, Running, serve};
