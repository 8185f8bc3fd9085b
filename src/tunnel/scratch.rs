//! The buffers that all tunnels of a shard take turns with.

use crate::limits;

/// Space for one tunnel's turn. It holds nothing between turns, which is why
/// an idle tunnel needs no buffer of its own.
#[derive(Debug)]
pub(crate) struct Scratch {
    buffer_size: usize,
    /// Bytes as applications see them.
    pub(crate) plain: Box<[u8]>,
    /// Bytes as they are on the wire: received, or sealed and to be sent.
    pub(crate) wire: Wire,
    /// The same for the backend's end, should that speak TLS too. Untouched
    /// otherwise, and then nothing but addresses.
    pub(crate) backend_wire: Wire,
}

/// Bytes as they are on the wire.
#[derive(Debug)]
pub(crate) struct Wire {
    space: Box<[u8]>,
    take: usize,
}

impl Scratch {
    /// Scratch space for tunnels that take `buffer_size` bytes a turn.
    pub(crate) fn new(buffer_size: usize) -> Self {
        // A record is opened only when all of it is there, so beside what a
        // turn takes there must be room for one that was begun before.
        let take = buffer_size + limits::RECORD_WIRE_MAX;
        let records = take / limits::RECORD_PLAIN_MAX + 1;
        let seal = take + records * limits::RECORD_SEAL_OVERHEAD_MAX + limits::TICKETS_HELD_MAX;
        let wire = || Wire {
            space: vec![0; seal].into_boxed_slice(),
            take,
        };
        Self {
            buffer_size,
            plain: vec![0; take].into_boxed_slice(),
            wire: wire(),
            backend_wire: wire(),
        }
    }

    /// What [`new`](Self::new) was given.
    pub(crate) fn buffer_size(&self) -> usize {
        self.buffer_size
    }
}

impl Wire {
    /// Room to receive into: never more than [`Scratch::plain`] can hold once
    /// it is opened.
    pub(crate) fn receiving(&mut self) -> &mut [u8] {
        &mut self.space[..self.take]
    }

    /// Room to seal into: enough for all of [`Scratch::plain`], behind tickets
    /// that were held.
    pub(crate) fn sealing(&mut self) -> &mut [u8] {
        &mut self.space
    }
}
