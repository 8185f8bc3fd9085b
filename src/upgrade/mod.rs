//! Another process takes over from this one, and no listener closes.
//!
//! The running process starts the program anew, with one end of a socket pair
//! for its standard input (`giving`). Over that it sends every listening
//! descriptor of every shard, and the ticket keys that it has made; the new one
//! reads its configuration, starts its shards, and says that it serves
//! (`taking`). From then on both accept at the same sockets, until the old one
//! gives the word, leaves the doors and drains. The kernel keeps one queue for
//! each socket, whoever holds it, and closes it when nobody does: so nobody who
//! waits in one is ever reset. If the new process comes to nothing, none of this
//! has changed anything for the old one.
//!
//! ```text
//!   old                                       new
//!    | hello: version, who                     |
//!    | sockets: configured, bound, + descriptors, as often as need be
//!    | keys                                    |
//!    | that is all ------------------------->  | reads the configuration, binds what
//!    |                                         | is new, starts its shards
//!    |  <------------------------ ready: taken | (or: failed, and why)
//!    | go ---------------------------------->  | is the one from now on
//!    | leaves what was taken, closes what was  |
//!    | not, drains                             |
//! ```
//!
//! `message` is what goes over the pair, byte by byte.

mod giving;
mod message;
mod taking;

pub use giving::{Program, Successor, start};
pub use taking::Predecessor;

/// Which process a new one takes over from: its id. Set for that process alone.
const VARIABLE: &str = "ADIT_UPGRADE_FROM";
