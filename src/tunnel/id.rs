//! Names for tunnels, unique among all processes.

use std::cell::Cell;

use aws_lc_rs::rand;

/// Gives out names, each once.
#[derive(Debug)]
pub(crate) struct Ids {
    process: [u8; 8],
    shard: u16,
    next: Cell<u64>,
}

impl Ids {
    /// Those of the shard with that number, in this process.
    pub(crate) fn new(shard: usize) -> Self {
        let mut process = [0; 8];
        // Without chance the names are still unique within the process, which
        // is told by its id.
        if rand::fill(&mut process).is_err() {
            process[..4].copy_from_slice(&std::process::id().to_be_bytes());
        }
        Self {
            process,
            // There are fewer shards than that.
            shard: u16::try_from(shard).unwrap_or(u16::MAX),
            next: Cell::new(0),
        }
    }

    /// The next name: 16 bytes.
    pub(crate) fn next(&self) -> [u8; 16] {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.process);
        id[8..].copy_from_slice(&number.to_be_bytes());
        // The number does not reach its two highest bytes in centuries.
        id[8..10].copy_from_slice(&self.shard.to_be_bytes());
        id
    }
}
