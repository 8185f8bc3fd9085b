//! The machine's local time.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use time::{OffsetDateTime, UtcOffset};

/// How far local time is from UTC at this moment, by the C library's rules:
/// `TZ`, or else `/etc/localtime`. UTC when it cannot tell.
pub(crate) fn local_offset(at: OffsetDateTime) -> UtcOffset {
    let seconds = at.unix_timestamp() as libc::time_t;
    let mut broken_down = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live values of this frame, and nothing else
    // is written. The C library reads `TZ` under its own lock; a program that
    // changes the environment while other threads run breaks the contract of
    // `std::env::set_var`, and adit never does.
    let done = unsafe { libc::localtime_r(&seconds, broken_down.as_mut_ptr()) };
    if done.is_null() {
        return UtcOffset::UTC;
    }
    // SAFETY: localtime_r fills the structure whenever it does not return null.
    let broken_down = unsafe { broken_down.assume_init() };
    i32::try_from(broken_down.tm_gmtoff)
        .ok()
        .and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok())
        .unwrap_or(UtcOffset::UTC)
}
