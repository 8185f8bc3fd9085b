//! Random numbers for choices that nobody has to be unable to foresee.

use std::cell::Cell;

use aws_lc_rs::rand;

/// A shard's source of random numbers: a counter of odd step whose values are
/// mixed (SplitMix64, by Steele, Lea and Flood, OOPSLA 2014). Not for keys.
#[derive(Debug)]
pub(crate) struct Chance(Cell<u64>);

impl Chance {
    /// The same numbers for the same seed.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self(Cell::new(mix(seed)))
    }

    /// Other numbers each time, and for each `number` in any case.
    pub(crate) fn new(number: usize) -> Self {
        let mut seed = [0; 8];
        // Where the system has no chance to give, the number has to do.
        let _ = rand::fill(&mut seed);
        Self::with_seed(u64::from_ne_bytes(seed) ^ number as u64)
    }

    /// A number below `bound`, which is not 0. It is even but for the part
    /// `bound / 2^64`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let next = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(next);
        ((u128::from(mix(next)) * u128::from(bound)) >> 64) as u64
    }
}

/// Every bit of the answer depends on every bit of `x`, and different numbers
/// have different answers.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash that is the same on every shard, in every process and version
/// (FNV-1a, mixed).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash)
}
