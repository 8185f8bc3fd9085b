//! Stateless session tickets (RFC 5077; RFC 8446, section 4.6.1).
//!
//! All shards seal with the same keys, so that a session resumes on whichever
//! shard it lands; and so do all servers that read the same file of keys
//! ([`TicketFile`]). A ticket is
//!
//! ```text
//!   bytes
//!   16    name of the key
//!    1    version, 1
//!   12    nonce, random
//!   n     AES-256-GCM of: time of issue, in seconds since 1970, 8 bytes, most
//!         significant first; then the session's state as rustls writes it.
//!         Name and version are additional data
//!   16    tag
//! ```
//!
//! The AEAD key is HKDF-SHA256 (RFC 5869) of the key's secret, without salt;
//! `info` is `adit session ticket v1` and then the *binding*: bytes that stand
//! for what a listener demands of its clients. A session that was made where
//! other clients are let in does therefore not resume.
//!
//! A ticket that names no key that we hold, is of another version, does not
//! open, is older than the lifetime or comes from the future is answered with a
//! full handshake, whatever else it may be. Nonces are random, so no key ought
//! to seal more than 2³² tickets: one that makes 10,000 a second lasts for five
//! days.
//!
//! `key` is one key, `keys` are those in use, `file` and `store` are what is on
//! disk. This file has what becomes of them.

mod file;
mod key;
mod keys;
mod store;

pub use file::{Encoding, TicketFile};
pub use key::KeySize;
pub(crate) use keys::TicketKeys;
pub use store::Rotation;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::Error;
use rustls::server::ProducesTickets;

use crate::config::Tickets;
use crate::limits;
use key::NAME_LEN;

const VERSION: u8 = 1;
const ISSUED_LEN: usize = 8;

/// What is seen of every ticket: name and version.
type Head = [u8; NAME_LEN + 1];

/// How one listener's tickets are made.
#[derive(Clone, Debug)]
pub(crate) struct TicketTerms {
    lifetime: Duration,
    binding: Vec<u8>,
    /// Those of its file. `None`: the process's, which change now and then.
    keys: Option<TicketKeys>,
}

impl TicketTerms {
    /// Reads the file of keys, if there is one. `None` if there are to be no
    /// tickets. The texts are what the operator should mend.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`](crate::Error::Identity) for a file that cannot be
    /// used, with a text that names it and the remedy.
    pub(crate) fn load(
        tickets: &Tickets,
        binding: &[u8],
    ) -> Result<Option<(Self, Vec<String>)>, crate::Error> {
        // Read even if it goes unused: what is wrong with it stays wrong.
        let read = tickets
            .keys
            .as_ref()
            .map(|file| TicketKeys::read(&file.path, file.seal_with))
            .transpose()?;
        if tickets.count == 0 {
            return Ok(None);
        }
        let (keys, warnings) = read.map_or((None, Vec::new()), |(keys, w)| (Some(keys), w));
        let terms = Self {
            lifetime: tickets.lifetime,
            binding: binding.to_vec(),
            keys,
        };
        Ok(Some((terms, warnings)))
    }

    /// Whether they are sealed with the process's own keys.
    pub(crate) fn follow_the_process(&self) -> bool {
        self.keys.is_none()
    }

    /// How long a session can be resumed.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What seals and opens, where the process's keys are these.
    pub(crate) fn ticketer(&self, process: &TicketKeys) -> Result<Arc<Ticketer>, Error> {
        let keys = self.keys.as_ref().unwrap_or(process);
        Ticketer::new(keys, self.lifetime, &self.binding).map(Arc::new)
    }
}

/// One shard's keys for one listener, ready for use.
pub(crate) struct Ticketer {
    /// The first seals; all open.
    keys: Vec<(Head, RandomizedNonceKey)>,
    lifetime: Duration,
}

impl Ticketer {
    /// Tickets that last for `lifetime` and resume only where `binding` is the
    /// same.
    pub(crate) fn new(
        keys: &TicketKeys,
        lifetime: Duration,
        binding: &[u8],
    ) -> Result<Self, Error> {
        let ready = |key: &key::TicketKey| {
            let mut head = [VERSION; NAME_LEN + 1];
            head[..NAME_LEN].copy_from_slice(&key.name());
            Ok((head, key.derive(binding)?))
        };
        Ok(Self {
            keys: keys.in_use().map(ready).collect::<Result<_, Error>>()?,
            lifetime,
        })
    }

    fn seal(&self, state: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (head, key) = self.keys.first()?;
        let mut sealed = Vec::with_capacity(ISSUED_LEN + state.len() + key.algorithm().tag_len());
        sealed.extend_from_slice(&unix_seconds(now)?.to_be_bytes());
        sealed.extend_from_slice(state);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(head), &mut sealed)
            .ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        let mut ticket = Vec::with_capacity(head.len() + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(head);
        ticket.extend_from_slice(nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (head, rest) = ticket.split_first_chunk::<{ NAME_LEN + 1 }>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // Neither name nor version is secret, so comparing them need not take
        // constant time.
        let (_, key) = self.keys.iter().find(|(ours, _)| ours == head)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(head), &mut opened)
            .ok()?;
        let (issued, state) = plain.split_first_chunk::<ISSUED_LEN>()?;
        let (issued, now) = (u64::from_be_bytes(*issued), unix_seconds(now)?);
        let age = now.saturating_sub(issued);
        let ahead = issued.saturating_sub(now);
        (age <= self.lifetime.as_secs() && ahead <= limits::TICKET_CLOCK_SKEW.as_secs())
            .then(|| state.to_vec())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticketer({} keys)", self.keys.len())
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, SystemTime::now())
    }
}

fn unix_seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

#[cfg(test)]
mod tests;
