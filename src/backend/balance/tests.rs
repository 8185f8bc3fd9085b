//! Fleets of shards that know nothing of each other.

use super::super::chance::hash;
use super::*;

const SEED: u64 = 20_240_601;

/// What every shard's tunnels make of the backends.
struct Fleet {
    shards: Vec<(Balancer, Vec<u32>)>,
    weights: Vec<u32>,
    /// Backends that can be chosen.
    up: Vec<bool>,
    part: Vec<u32>,
    chosen: Vec<u64>,
}

impl Fleet {
    fn new(balance: Balance, shards: usize, weights: &[u32]) -> Self {
        let shard = |number| {
            let chance = Chance::with_seed(SEED + number as u64);
            let balancer = Balancer::new(balance, weights, number, chance);
            (balancer, vec![0; weights.len()])
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            weights: weights.to_vec(),
            up: vec![true; weights.len()],
            part: vec![WHOLE; weights.len()],
            chosen: vec![0; weights.len()],
        }
    }

    fn open(&mut self, shard: usize, key: Option<u64>) -> usize {
        let (balancer, tunnels) = &mut self.shards[shard];
        let candidates = (0..self.weights.len())
            .filter(|index| self.up[*index])
            .map(|index| Candidate {
                index,
                weight: self.weights[index],
                tunnels: tunnels[index],
                identity: hash(format!("10.0.0.{index}:80").as_bytes()),
                part: self.part[index],
            });
        let index = balancer.pick(candidates, key).expect("one is up");
        tunnels[index] += 1;
        self.chosen[index] += 1;
        index
    }

    fn close(&mut self, shard: usize, index: usize) {
        self.shards[shard].1[index] -= 1;
    }

    /// How far the worst is from its due, as a part of that.
    fn unevenness(&self) -> f64 {
        let all: u64 = self.chosen.iter().sum();
        let weights: u32 = self.weights.iter().sum();
        let off = |(chosen, weight): (&u64, &u32)| {
            let due = all as f64 * f64::from(*weight) / f64::from(weights);
            (*chosen as f64 - due).abs() / due
        };
        let each = self.chosen.iter().zip(&self.weights).map(off);
        each.fold(0.0, f64::max)
    }
}

/// 64 shards and 3 backends, tunnels that last: few for each shard, and many.
#[test]
fn a_fleet_is_even() {
    for (balance, first, later) in [
        (Balance::RoundRobin, 0.04, 0.001),
        (Balance::LeastTunnels, 0.25, 0.02),
        (Balance::TwoChoices, 0.35, 0.05),
    ] {
        let mut fleet = Fleet::new(balance, 64, &[1, 1, 1]);
        for shard in 0..64 {
            fleet.open(shard, None);
        }
        let (one_each, spread) = (fleet.unevenness(), fleet.chosen.clone());
        for _ in 1..100 {
            for shard in 0..64 {
                fleet.open(shard, None);
            }
        }
        println!(
            "{balance:?}: one tunnel a shard {spread:?}, off by {:.1} %; a hundred {:?}, off by \
             {:.2} %",
            100.0 * one_each,
            fleet.chosen,
            100.0 * fleet.unevenness()
        );
        assert!(one_each <= first, "{balance:?}: {spread:?}");
        assert!(
            fleet.unevenness() <= later,
            "{balance:?}: {:?}",
            fleet.chosen
        );
    }
}

#[test]
fn weights_count_with_and_without_load() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastTunnels,
        Balance::TwoChoices,
    ] {
        for lasting in [true, false] {
            let mut fleet = Fleet::new(balance, 4, &[1, 2, 5]);
            for turn in 0..8000 {
                let shard = turn % 4;
                let index = fleet.open(shard, None);
                if !lasting {
                    fleet.close(shard, index);
                }
            }
            // Two drawn by weight meet the heaviest more often than not, and
            // load then puts it right: without load it is exact by chance.
            assert!(
                fleet.unevenness() < 0.08,
                "{balance:?}, lasting {lasting}: {:?}",
                fleet.chosen
            );
        }
    }
}

#[test]
fn a_hash_is_kept_by_every_shard_and_moves_only_what_it_must() {
    const CLIENTS: u64 = 12_000;
    let mut fleet = Fleet::new(Balance::SourceHash, 64, &[1, 1, 1, 1]);
    let keys: Vec<u64> = (0..CLIENTS).map(|n| hash(&n.to_be_bytes())).collect();
    let before: Vec<usize> = keys.iter().map(|key| fleet.open(0, Some(*key))).collect();
    assert!(fleet.unevenness() < 0.05, "{:?}", fleet.chosen);
    let again: Vec<usize> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| fleet.open(n % 64, Some(*key)))
        .collect();
    assert_eq!(before, again);
    fleet.up[2] = false;
    let mut moved = [0; 4];
    for (key, before) in keys.iter().zip(&before) {
        let after = fleet.open(5, Some(*key));
        if *before == 2 {
            moved[after] += 1;
        } else {
            assert_eq!(after, *before);
        }
    }
    println!("of {CLIENTS} clients, those of the backend that went: {moved:?}");
    // What it had is spread over all of the others.
    let all: u32 = moved.iter().sum();
    assert_eq!(moved[2], 0);
    for to in [0, 1, 3] {
        assert!(moved[to].abs_diff(all / 3) < all / 20, "{moved:?}");
    }
    let mut fleet = Fleet::new(Balance::SourceHash, 1, &[1, 3]);
    for key in &keys {
        fleet.open(0, Some(*key));
    }
    assert!(fleet.unevenness() < 0.05, "{:?}", fleet.chosen);
}

#[test]
fn one_that_comes_back_gets_what_it_is_due() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastTunnels,
        Balance::TwoChoices,
        Balance::SourceHash,
    ] {
        let mut fleet = Fleet::new(balance, 1, &[1, 1, 1]);
        for part in [0, WHOLE / 4, WHOLE / 2, WHOLE] {
            fleet.part[1] = part;
            fleet.chosen = vec![0; 3];
            for number in 0..3000_u64 {
                let index = fleet.open(0, Some(hash(&number.to_be_bytes())));
                // No load, so that nothing but the share is at work.
                fleet.close(0, index);
            }
            let due = 1000 * u64::from(part) / u64::from(WHOLE);
            let got = fleet.chosen[1];
            assert!(got.abs_diff(due) < 120, "{balance:?}: {got} of {due}");
        }
        // Where there is nobody else, it gets all.
        fleet.up = vec![false, true, false];
        fleet.part[1] = 0;
        assert_eq!(fleet.open(0, Some(1)), 1);
    }
}

#[test]
fn the_first_is_the_first_that_is_up() {
    let mut fleet = Fleet::new(Balance::First, 2, &[1, 9]);
    assert_eq!((fleet.open(0, None), fleet.open(1, None)), (0, 0));
    fleet.up[0] = false;
    assert_eq!(fleet.open(0, None), 1);
}
