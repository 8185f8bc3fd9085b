//! One descriptor that is kept for when there is no other.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

/// A descriptor that stands for nothing, so that there is one to be had when
/// the process has no other: it is closed, used for something short, and taken
/// back.
#[derive(Debug)]
pub(super) struct Reserve(RefCell<Option<OwnedFd>>);

impl Reserve {
    pub(super) fn new() -> Self {
        Self(RefCell::new(spare()))
    }

    /// Does something that needs a descriptor for as long as it takes. `None`:
    /// it could not, since there is no reserve; somebody else took it.
    pub(super) fn lend<T>(&self, need: impl FnOnce() -> T) -> Option<T> {
        let mut reserve = self.0.borrow_mut();
        let lent = reserve.take().or_else(spare)?;
        drop(lent);
        let done = need();
        *reserve = spare();
        Some(done)
    }
}

/// A socket that leads nowhere: no file has to be opened for it, which a
/// process that has given its rights up may not be able to do.
fn spare() -> Option<OwnedFd> {
    UnixDatagram::unbound().ok().map(OwnedFd::from)
}
