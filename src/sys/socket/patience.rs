//! Patience with a socket that is about to go.

use std::thread;
use std::time::Instant;

use super::bind_error::BindError;
use crate::config::Address;
use crate::limits;

/// Binds by `bind`, and where another socket has the place tries again for
/// [`limits::BIND_PATIENCE`]: it may be that of a process which was killed a
/// moment ago. What this server has itself, at one of the addresses in `held`,
/// is not waited for. It blocks its thread.
///
/// # Errors
///
/// The last of `bind`, told apart as [`BindError::among`] does.
pub fn bind_patiently<T>(
    held: &[Address],
    mut bind: impl FnMut() -> Result<T, BindError>,
) -> Result<T, BindError> {
    patiently(
        || bind().map_err(|error| error.among(held)),
        |error| matches!(error, BindError::InUse(_)),
    )
}

/// Tries again for [`limits::BIND_PATIENCE`] while `is_in_use` says so of the
/// error: at first after [`limits::BIND_RETRY`], then after twice as long each
/// time, since whoever listens there for good sees every try.
///
/// # Errors
///
/// The last of `attempt`.
pub fn patiently<T, E: std::fmt::Display>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + limits::BIND_PATIENCE;
    let mut pause = limits::BIND_RETRY;
    loop {
        let error = match attempt() {
            Err(error) if is_in_use(&error) => error,
            outcome => return outcome,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(error);
        }
        if pause == limits::BIND_RETRY {
            log::info!("{error}; it is tried for {:?} more", limits::BIND_PATIENCE);
        }
        thread::sleep(pause.min(left));
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn address() -> Address {
        "127.0.0.1:443".parse().unwrap()
    }

    #[test]
    fn what_another_has_is_waited_for_and_nothing_else_is() {
        let tries = Cell::new(0);
        let outcome = |held: &[Address], good_at| {
            tries.set(0);
            bind_patiently(held, || {
                tries.set(tries.get() + 1);
                if tries.get() == good_at {
                    Ok(())
                } else {
                    Err(BindError::InUse(address()))
                }
            })
        };
        outcome(&[], 3).unwrap();
        let begun = Instant::now();
        assert!(matches!(outcome(&[], 0), Err(BindError::InUse(_))));
        assert!(begun.elapsed() >= limits::BIND_PATIENCE);
        assert!((4..10).contains(&tries.get()), "{tries:?}");
        let ours = outcome(&[address()], 2);
        assert!(matches!(ours, Err(BindError::Ours { .. })), "{ours:?}");
        assert_eq!(tries.get(), 1);
        let denied = bind_patiently::<()>(&[], || Err(BindError::Denied(address())));
        assert!(matches!(denied, Err(BindError::Denied(_))), "{denied:?}");
    }
}
