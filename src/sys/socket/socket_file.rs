//! The file that stands for a listening Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::bind_error::BindError;
use super::connect::{Peer, connect_nonblocking};
use crate::config::Address;

/// The file that stands for a listening Unix socket, removed when this is
/// dropped: unless another socket has taken its place meanwhile.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which it is known again.
    identity: (u64, u64),
}

impl SocketFile {
    /// Takes charge of the file of a socket that is bound there.
    pub(crate) fn own(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is, for another process that holds the same
    /// socket.
    pub fn leave(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It may be gone, or the directory read-only: nobody can be told
            // any more, and the next one to bind finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Clears the way for a socket at `path`: removes the file of one that nobody
/// listens on any more. A live socket is refused, and so is anything that is
/// no socket.
///
/// A live one sees a connection that ends at once.
pub(super) fn remove_stale(path: &Path) -> Result<(), BindError> {
    let address = Address::Unix(path.to_owned());
    let failed = |error| BindError::new(&address, 1, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect_nonblocking(&Peer::Unix(path.to_owned())) {
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => match fs::remove_file(path) {
                // Somebody else cleared it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                outcome => outcome.map_err(failed),
            },
            Some(libc::ENOENT) => Ok(()),
            // Its backlog is full, or it is bound as another type.
            Some(libc::EAGAIN | libc::EPROTOTYPE) => Err(BindError::InUse(address)),
            _ => Err(failed(error)),
        },
        Ok(_) => Err(BindError::InUse(address)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
