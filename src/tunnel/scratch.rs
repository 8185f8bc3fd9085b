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
    /// What fits once it is opened.
    most: usize,
    buffer_size: usize,
}

impl Scratch {
    /// Scratch space for tunnels that take `buffer_size` bytes a turn, and
    /// [`in_bulk`](Self::in_bulk) more.
    pub(crate) fn new(buffer_size: usize) -> Self {
        let most = begun_before(Self::in_bulk(buffer_size));
        let records = most / limits::RECORD_PLAIN_MAX + 1;
        let seal = most + records * limits::RECORD_SEAL_OVERHEAD_MAX + limits::TICKETS_HELD_MAX;
        let wire = || Wire {
            space: vec![0; seal].into_boxed_slice(),
            most,
            buffer_size,
        };
        Self {
            buffer_size,
            plain: vec![0; most].into_boxed_slice(),
            wire: wire(),
            backend_wire: wire(),
        }
    }

    /// What is taken in one turn where there is much to take, and whoever it is
    /// for takes it at once.
    pub(crate) fn in_bulk(buffer_size: usize) -> usize {
        (buffer_size * limits::BULK_FACTOR)
            .min(limits::BUFFER_SIZE_MAX)
            .max(buffer_size)
    }

    /// What [`new`](Self::new) was given.
    pub(crate) fn buffer_size(&self) -> usize {
        self.buffer_size
    }
}

impl Wire {
    /// Room to receive into in a turn that is like any other.
    pub(crate) fn receiving(&mut self) -> &mut [u8] {
        self.receiving_up_to(self.buffer_size)
    }

    /// Room to receive into in a turn that takes so much: never more than
    /// [`Scratch::plain`] can hold once it is opened.
    pub(crate) fn receiving_up_to(&mut self, take: usize) -> &mut [u8] {
        let room = begun_before(take).min(self.most);
        &mut self.space[..room]
    }

    /// Room to seal into: enough for all of [`Scratch::plain`], behind tickets
    /// that were held.
    pub(crate) fn sealing(&mut self) -> &mut [u8] {
        &mut self.space
    }
}

/// A record is opened only when all of it is there, so beside what a turn takes
/// there must be room for one that was begun before.
fn begun_before(take: usize) -> usize {
    take + limits::RECORD_WIRE_MAX
}
