//! The plain TCP proxy of this program.

use super::{Place, Settings};
use crate::role;

pub(super) const NOTES: &str = "No TLS: benches/compare/floor.rs, one thread with epoll.";

pub(super) fn settings(place: &Place<'_>) -> Settings {
    Settings {
        configuration: String::new(),
        args: vec![
            role::FLOOR.into(),
            place.listen.to_string(),
            place.backend.to_string(),
        ],
        workers: 0,
    }
}
