//! Bytes without end that can be told from any others at every place.

use std::sync::LazyLock;

/// A prime, so that the pattern's turns fall together with no buffer's.
const LENGTH: usize = 1_048_573;

/// One turn of the pattern, twice, so that any `LENGTH` bytes lie in a row.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(2014);
    let mut turn = vec![0; LENGTH];
    random.fill(&mut turn);
    turn.extend_from_within(..);
    turn
});

/// The pattern's bytes from `offset`, at most `most` of them and at least one.
pub fn at(offset: u64, most: u64) -> &'static [u8] {
    let start = (offset % LENGTH as u64) as usize;
    let length = most.min(LENGTH as u64) as usize;
    &BLOCK[start..start + length]
}

/// The pattern's first bytes.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(length);
    while all.len() < length {
        all.extend_from_slice(at(all.len() as u64, (length - all.len()) as u64));
    }
    all
}

/// Compares what arrives with the pattern, from its beginning.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// How many bytes have arrived, all of them right.
    pub seen: u64,
}

impl Check {
    /// Fails at the first byte that is not the pattern's.
    #[track_caller]
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = at(self.seen, bytes.len() as u64);
            let (now, later) = bytes.split_at(expected.len());
            if now != expected {
                let at = now.iter().zip(expected).position(|(a, b)| a != b);
                panic!("wrong byte at {}", self.seen + at.unwrap_or(0) as u64);
            }
            self.seen += now.len() as u64;
            bytes = later;
        }
    }
}
