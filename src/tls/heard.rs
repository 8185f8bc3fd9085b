//! What a client asks for, for those who carry its connection.
//!
//! rustls shows the ClientHello of an unbuffered connection to nobody but the
//! choice of a certificate, which it asks in the middle of a step of the
//! handshake and on the thread that takes the step. So the choice leaves here
//! what others have to know, and whoever takes the step picks it up after it.

use std::cell::Cell;

thread_local! {
    static NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
    static FALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Leaves a name for whoever takes this step.
pub(super) fn leave(name: &str) {
    NAME.set(Some(name.into()));
}

/// Leaves word that there is no certificate for the client of this step because
/// it has fallen back.
pub(super) fn leave_fallback() {
    FALLBACK.set(true);
}

/// Whether the step that has just failed did so for a client that has fallen
/// back.
pub(crate) fn fell_back() -> bool {
    FALLBACK.take()
}

/// Takes a step of a handshake, and gives the name that was heard in it.
pub(crate) fn during<T>(step: impl FnOnce() -> T) -> (T, Option<Box<str>>) {
    // A step that ended in a panic may have left its own.
    NAME.set(None);
    let taken = step();
    (taken, NAME.take())
}
