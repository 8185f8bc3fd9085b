//! Bytes that a peer could not take yet.

use super::held::Kept;

/// Bytes on their way out that the kernel would not take. Empty, it owns no
/// memory.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    bytes: Kept,
    /// How many of them are gone. Less than `bytes.len()`, or both are 0.
    sent: usize,
}

impl Unsent {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is still to be sent.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Keeps these bytes, behind what is kept already.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.extend_exactly(bytes);
        }
    }

    /// Forgets the first `n` bytes: they were sent.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        debug_assert!(self.sent <= self.bytes.len());
        if self.sent >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_memory_goes_with_the_last() {
        let mut unsent = Unsent::default();
        unsent.keep(b"abc");
        unsent.advance(2);
        unsent.keep(b"de");
        assert_eq!(unsent.as_slice(), b"cde");
        unsent.advance(3);
        assert!(unsent.is_empty());
        assert_eq!(super::super::held::bytes(), 0);
    }
}
