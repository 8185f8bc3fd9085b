//! How each kind of peer is told to do the same work: one listener, one
//! backend, one worker, TLS 1.3 with AES-128-GCM and X25519, session tickets,
//! keepalive and nodelay on both sides, and no log. Beyond that, what its
//! documentation recommends for throughput, as each file's notes say.

mod adit;
mod floor;
mod haproxy;
mod hitch;
mod nginx;
mod stunnel;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::certificate::Files;
use crate::peer::Kind;

/// Where a peer stands in one measurement.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) backend: SocketAddr,
    pub(crate) certificate: &'a Files,
    /// A folder for this measurement alone.
    pub(crate) folder: &'a Path,
    /// Workers; of adit, shards.
    pub(crate) workers: usize,
    /// A Unix socket for adit's statistics, if they are wanted.
    pub(crate) admin: Option<&'a Path>,
}

/// How a peer is started.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Its configuration; empty if all is said by the arguments.
    pub(crate) configuration: String,
    pub(crate) args: Vec<String>,
    /// The processes that a master starts, once it serves.
    pub(crate) workers: usize,
}

/// The settings of a peer of this kind; `build` is what it says of itself.
pub(crate) fn of(kind: Kind, build: &str, place: &Place<'_>) -> Settings {
    match kind {
        Kind::Adit => adit::settings(place),
        Kind::Haproxy => haproxy::settings(place),
        Kind::Hitch => hitch::settings(place),
        Kind::Nginx => nginx::settings(build, place),
        Kind::Stunnel => stunnel::settings(place),
        Kind::Floor => floor::settings(place),
    }
}

/// What is to be known about the settings of a kind.
pub(crate) fn notes(kind: Kind) -> &'static str {
    match kind {
        Kind::Adit => adit::NOTES,
        Kind::Haproxy => haproxy::NOTES,
        Kind::Hitch => hitch::NOTES,
        Kind::Nginx => nginx::NOTES,
        Kind::Stunnel => stunnel::NOTES,
        Kind::Floor => floor::NOTES,
    }
}

/// Where the configuration of a peer is written.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("peer.conf")
}

fn file_arg(place: &Place<'_>) -> String {
    file(place.folder).display().to_string()
}

/// A program that is started as root, and asks to become someone else, becomes
/// `nobody`.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
