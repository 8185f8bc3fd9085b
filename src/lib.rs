//! A TLS front door for Linux: it accepts TLS on every CPU, decrypts, and
//! carries the plaintext to a backend.
//!
//! The program `adit` is this library and a command line; what the program is
//! and how it is used stands in the README. Whoever wants the same inside
//! another program makes a [`Config`], from a file or by hand, gives it to
//! [`Server::new`], which checks everything and binds the ports, and then to
//! [`Server::serve_forever`], which returns once the server was told to stop
//! and has drained. A [`Handle`] tells it to, from any thread, and asks for its
//! figures. [`Server::start`] serves in the background instead; dropping the
//! [`Running`] that it gives stops every shard and joins its threads.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::thread;
//!
//! use adit::config::ServerTls;
//! use adit::{Config, Outcome, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A certificate for this example alone.
//! let folder = tempfile::tempdir()?;
//! let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! let cert = folder.path().join("site.pem");
//! std::fs::write(&cert, made.cert.pem() + &made.signing_key.serialize_pem())?;
//!
//! // Port 0: the kernel chooses one. The file holds the key as well.
//! let mut config = Config::single(
//!     "127.0.0.1:0".parse()?,
//!     ServerTls::new(&cert, &cert),
//!     "127.0.0.1:8080".parse()?,
//! );
//! config.shards.count = NonZeroUsize::new(2);
//!
//! let server = Server::new(config)?;
//! println!("listening on {}", server.listeners()[0].address);
//! let handle = server.handle();
//! let serving = thread::spawn(move || server.serve_forever());
//!
//! let stats = handle.stats()?;
//! assert_eq!(stats.shards.len(), 2);
//! assert_eq!(stats.total.accepted, 0);
//!
//! handle.shutdown();
//! let outcome = serving.join().expect("the server's thread does not panic")?;
//! assert_eq!(outcome, Outcome::Drained);
//! # Ok(())
//! # }
//! ```
//!
//! # What lives where
//!
//! - [`config`]: what a server is told, its file, and the files of other
//!   programs; [`limits`]: every default and bound.
//! - [`metrics`]: what a server counts; [`close::CloseReason`]: why a tunnel
//!   ended.
//! - [`logging`]: where lines go that are written by the `log` crate's macros.
//!   A program may install any other logger instead.
//! - [`mod@bench`]: a load generator, for this server and any other.
//! - [`control::admin`]: the endpoint that `adit stats` asks, and
//!   [`control::exporter`], the one that Prometheus and load balancers ask; both
//!   on the small HTTP of [`http`].
//! - [`proxy_protocol`]: the header that proxies put before a connection's
//!   bytes, read and written.
//! - [`sys`]: what is asked of the system, the only module with unsafe code;
//!   [`sys::preflight`] finds what a machine will refuse.
//! - [`tls`]: certificates; [`tunnel::relay`]: the two directions of a tunnel,
//!   without sockets or clock.
//! - [`upgrade`]: how a process takes over from another, without closing a
//!   listener.
//!
//! The rings of a program that uses this library are set up without
//! `IORING_SETUP_COOP_TASKRUN` unless its build script passes the link argument
//! that [`sys::ring`] explains. Everything works without; a short message takes
//! about twice the time.

mod backend;
pub mod bench;
#[cfg(feature = "bench-parts")]
#[doc(hidden)]
pub mod bench_parts;
pub mod close;
pub mod config;
pub mod control;
mod error;
pub mod http;
mod later;
pub mod limits;
pub mod logging;
mod mesh;
pub mod metrics;
mod plan;
pub mod proxy_protocol;
mod rate;
mod runtime;
mod server;
mod shard;
pub mod sys;
mod timer;
pub mod tls;
pub mod tunnel;
pub mod upgrade;

pub use config::Config;
pub use control::Outcome;
pub use error::Error;
pub use server::{Handle, Inheritance, Layout, Running, Server};
