//! Which backends come into question for a tunnel.

use std::time::Instant;

use super::Service;
use super::place::Place;

/// What can be done for a tunnel now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Try the backend with that number.
    Take(usize),
    /// Wait for room.
    Full,
    /// It has tried all that are not out.
    Exhausted,
    /// All are out.
    Down,
}

/// The backends that a tunnel has tried. Nothing is allocated until one has
/// failed.
#[derive(Debug, Default)]
pub(super) struct Tried(Vec<u64>);

impl Tried {
    pub(super) fn add(&mut self, index: usize) {
        if self.0.len() <= index / 64 {
            self.0.resize(index / 64 + 1, 0);
        }
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(super) fn has(&self, index: usize) -> bool {
        let word = self.0.get(index / 64);
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Service {
    /// Chooses a backend for a tunnel that has tried these.
    ///
    /// First come those that are up, then the backup ones that are up. One that
    /// was ejected is tried when nothing else is left, since that costs no more
    /// than a connect that fails, and the client would get nothing at all; one
    /// that the checks say is down is not, nor is one that an operator has
    /// disabled. Only in the first group that has
    /// anybody in it room is waited for: a backup does not help out.
    pub(super) fn choose(&self, tried: &Tried, key: Option<u64>) -> Choice {
        let now = self.settle();
        for (ejected, backup) in [(false, false), (false, true), (true, false), (true, true)] {
            let group = self.places.iter().enumerate().filter(|(index, place)| {
                place.backup == backup
                    && place.standing.is_ejected() == ejected
                    && !place.is_out()
                    && !tried.has(*index)
            });
            if group.clone().next().is_none() {
                continue;
            }
            let part = |place: &Place| now.map(|now| place.standing.part(now, self.slow_start));
            let roomy = group
                .filter(|(_, place)| place.has_room())
                .map(|(index, place)| place.candidate(index, part(place)));
            return match self.balancer.pick(roomy, key) {
                Some(index) => Choice::Take(index),
                None => Choice::Full,
            };
        }
        if self.places.iter().all(Place::is_out) {
            Choice::Down
        } else {
            Choice::Exhausted
        }
    }

    /// Ends ejections and slow starts that are over. Gives the time if it
    /// matters to any backend.
    pub(super) fn settle(&self) -> Option<Instant> {
        let timed = |place: &&Place| place.standing.is_timed();
        self.places.iter().find(timed)?;
        let now = Instant::now();
        let mut news = false;
        for place in self.places.iter().filter(timed) {
            news |= place.standing.settle(now, self.slow_start);
        }
        if news {
            self.changed();
        }
        Some(now)
    }

    /// When the first of those comes back that are left alone and that a tunnel
    /// which has tried these could still try.
    pub(super) fn next_return(&self, tried: &Tried) -> Option<Instant> {
        let places = self.places.iter().enumerate();
        places
            .filter(|(index, place)| !place.is_out() && !tried.has(*index))
            .filter_map(|(_, place)| place.standing.ejected_until())
            .min()
    }

    /// Whether another backend than this one can take its place.
    pub(super) fn has_spare(&self, index: usize) -> bool {
        let mut others = self.places.iter().enumerate();
        others.any(|(other, place)| other != index && place.is_usable())
    }

    /// Backends that a tunnel which has tried these can still try, beside this
    /// one.
    pub(super) fn left(&self, tried: &Tried, index: usize) -> usize {
        let left = |(other, place): &(usize, &Place)| {
            *other != index && !tried.has(*other) && !place.is_out()
        };
        self.places.iter().enumerate().filter(left).count()
    }
}
