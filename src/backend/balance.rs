//! Choosing one of several backends. Nothing in it waits, and chance comes
//! from a seed: whole fleets of shards are simulated in its tests.
//!
//! Each shard chooses by what it knows itself. That they do not all choose the
//! same at the same time is seen to by chance, and where there is none, by
//! beginning at different points of the round.

#[cfg(test)]
mod tests;

use std::cell::Cell;

use super::chance::{Chance, mix};
use super::standing::WHOLE;
use crate::config::Balance;

/// A backend that can be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its number in the service.
    pub(super) index: usize,
    pub(super) weight: u32,
    /// The tunnels that this shard has to it.
    pub(super) tunnels: u32,
    /// What it is told from others by, whatever else is in the service.
    pub(super) identity: u64,
    /// What it is due of its share, of [`WHOLE`].
    pub(super) part: u32,
}

/// One shard's way of choosing among the backends of one service.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    chance: Chance,
    /// For each backend, what it is owed in the round.
    owed: Box<[Cell<i64>]>,
}

impl Balancer {
    /// For backends of these weights, on the shard with that number.
    pub(super) fn new(balance: Balance, weights: &[u32], shard: usize, chance: Chance) -> Self {
        let balancer = Self {
            balance,
            chance,
            owed: weights.iter().map(|_| Cell::new(0)).collect(),
        };
        if balance == Balance::RoundRobin && weights.len() > 1 {
            let all = weights.iter().enumerate().map(|(index, weight)| Candidate {
                index,
                weight: *weight,
                tunnels: 0,
                identity: 0,
                part: WHOLE,
            });
            for _ in 0..shard {
                balancer.next_in_round(all.clone());
            }
        }
        balancer
    }

    /// Whether [`pick`](Self::pick) is to be told of the client.
    pub(super) fn wants_key(&self) -> bool {
        self.balance == Balance::SourceHash
    }

    /// Chooses one, unless there is none. `key`: what the client is told from
    /// others by; where a hash is asked for and there is no key, chance
    /// decides.
    ///
    /// One that is coming back is passed over for all but the part of tunnels
    /// that it is due, as long as there are others.
    pub(super) fn pick(
        &self,
        candidates: impl Iterator<Item = Candidate> + Clone,
        key: Option<u64>,
    ) -> Option<usize> {
        let mut few = candidates.clone();
        let first = few.next()?;
        if few.next().is_none() {
            return Some(first.index);
        }
        if candidates.clone().all(|one| one.part >= WHOLE) {
            return self.pick_due(candidates, key);
        }
        // The same clients come back first each time.
        let lot = match key {
            Some(key) => (mix(!key) % u64::from(WHOLE)) as u32,
            None => self.chance.below(u64::from(WHOLE)) as u32,
        };
        let due = candidates.clone().filter(move |one| one.part > lot);
        self.pick_due(due, key)
            .or_else(|| self.pick_due(candidates, key))
    }

    fn pick_due(
        &self,
        candidates: impl Iterator<Item = Candidate> + Clone,
        key: Option<u64>,
    ) -> Option<usize> {
        match (self.balance, key) {
            (Balance::First, _) => candidates.map(|one| one.index).next(),
            (Balance::RoundRobin, _) => self.next_in_round(candidates),
            (Balance::LeastTunnels, _) => self.least_loaded(candidates),
            (Balance::SourceHash, Some(key)) => by_hash(candidates, key),
            (Balance::TwoChoices | Balance::SourceHash, _) => self.better_of_two(candidates),
        }
    }

    /// Smooth weighted round robin, as nginx has it: each is owed its weight a
    /// turn, and whoever is owed most pays for all.
    fn next_in_round(&self, candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
        let mut all = 0;
        let mut most: Option<(usize, i64)> = None;
        for one in candidates {
            let owed = self.owed[one.index].get() + i64::from(one.weight);
            self.owed[one.index].set(owed);
            all += i64::from(one.weight);
            if most.is_none_or(|(_, most)| owed > most) {
                most = Some((one.index, owed));
            }
        }
        let (index, owed) = most?;
        self.owed[index].set(owed - all);
        Some(index)
    }

    /// Of two drawn by weight, the one with fewer tunnels for its weight; of
    /// equals the one drawn first, so that weights count without load, too.
    /// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
    /// 2001.)
    fn better_of_two(&self, candidates: impl Iterator<Item = Candidate> + Clone) -> Option<usize> {
        let first = self.draw(candidates.clone())?;
        let others = candidates.filter(move |one| one.index != first.index);
        match self.draw(others) {
            Some(second) if is_less_loaded(&second, &first) => Some(second.index),
            _ => Some(first.index),
        }
    }

    /// Of equals, one drawn by weight: shards that know of no tunnels yet must
    /// not all begin with the same.
    fn least_loaded(&self, candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
        let mut least: Option<Candidate> = None;
        let mut drawn_from = 0;
        for one in candidates {
            match least {
                Some(best) if is_less_loaded(&best, &one) => {}
                Some(best) if !is_less_loaded(&one, &best) => {
                    drawn_from += u64::from(one.weight);
                    if self.chance.below(drawn_from) < u64::from(one.weight) {
                        least = Some(one);
                    }
                }
                _ => {
                    drawn_from = u64::from(one.weight);
                    least = Some(one);
                }
            }
        }
        least.map(|one| one.index)
    }

    /// One at random, by weight.
    fn draw(&self, candidates: impl Iterator<Item = Candidate> + Clone) -> Option<Candidate> {
        let all: u64 = candidates.clone().map(|one| u64::from(one.weight)).sum();
        if all == 0 {
            return None;
        }
        let mut lot = self.chance.below(all);
        candidates.into_iter().find(|one| {
            let weight = u64::from(one.weight);
            let hit = lot < weight;
            lot = lot.saturating_sub(weight);
            hit
        })
    }
}

/// Whether `a` has fewer tunnels than `b` for the weight that it is due.
fn is_less_loaded(a: &Candidate, b: &Candidate) -> bool {
    let due = |one: &Candidate| u128::from(one.weight) * u128::from(one.part.max(1));
    u128::from(a.tunnels) * due(b) < u128::from(b.tunnels) * due(a)
}

/// Weighted rendezvous hashing: each draws a number from the client's key and
/// its own identity, and the highest for its weight wins. One that comes or
/// goes moves only its own clients. (Thaler and Ravishankar, 1998; the weights
/// as in Schindelhauer and Schomaker, 2005.)
fn by_hash(candidates: impl Iterator<Item = Candidate>, key: u64) -> Option<usize> {
    let score = |one: &Candidate| {
        let drawn = mix(key ^ mix(one.identity)) >> 11;
        // In the open interval from 0 to 1: 53 bits are exact.
        let drawn = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
        f64::from(one.weight) / -drawn.ln()
    };
    candidates
        .map(|one| (score(&one), one.index))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, index)| index)
}
