//! Stateless session tickets (RFC 5077; RFC 8446, section 4.6.1).
//!
//! All shards seal with the same keys, so that a session resumes on whichever
//! shard it lands. A ticket is
//!
//! ```text
//!   key name (16) | nonce (12) | AES-256-GCM of the state, with the name as
//!                                additional data | tag (16)
//! ```
//!
//! One that names no key that we hold, or does not open, is answered with a
//! full handshake, whatever else it may be.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::Error;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::limits;

const NAME_LEN: usize = 16;
const SECRET_LEN: usize = 32;

/// The keys that seal and open tickets, newest first. The first seals; all
/// open.
#[derive(Clone)]
pub(crate) struct TicketKeys(Arc<[TicketKey]>);

struct TicketKey {
    name: [u8; NAME_LEN],
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl TicketKeys {
    /// One fresh key.
    pub(crate) fn fresh() -> Result<Self, Error> {
        Ok(Self(Arc::new([TicketKey::fresh()?])))
    }

    /// A fresh key that seals, and the one that sealed before, which goes on
    /// opening.
    pub(crate) fn rotated(&self) -> Result<Self, Error> {
        let fresh = TicketKey::fresh()?;
        Ok(Self(match self.0.first() {
            Some(previous) => Arc::new([fresh, previous.copy()]),
            None => Arc::new([fresh]),
        }))
    }
}

impl fmt::Debug for TicketKeys {
    /// How many, and nothing of what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.0.len())
    }
}

impl TicketKey {
    fn fresh() -> Result<Self, Error> {
        let mut key = Self {
            name: [0; NAME_LEN],
            secret: Zeroizing::new([0; SECRET_LEN]),
        };
        rand::fill(&mut key.name).map_err(|_| Error::FailedToGetRandomBytes)?;
        rand::fill(&mut key.secret[..]).map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(key)
    }

    fn copy(&self) -> Self {
        Self {
            name: self.name,
            secret: self.secret.clone(),
        }
    }
}

/// One shard's keys, ready for use.
pub(super) struct Ticketer {
    keys: Vec<([u8; NAME_LEN], RandomizedNonceKey)>,
}

impl Ticketer {
    pub(super) fn new(keys: &TicketKeys) -> Result<Self, Error> {
        let ready = |key: &TicketKey| {
            let aead = RandomizedNonceKey::new(&AES_256_GCM, &key.secret[..])
                .map_err(|_| Error::General("the ticket key is refused".into()))?;
            Ok((key.name, aead))
        };
        Ok(Self {
            keys: keys.0.iter().map(ready).collect::<Result<_, Error>>()?,
        })
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
        u32::try_from(limits::TICKET_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first()?;
        let mut sealed =
            Vec::with_capacity(NAME_LEN + NONCE_LEN + plain.len() + key.algorithm().tag_len());
        sealed.extend_from_slice(plain);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // A name is no secret, so comparing it need not take constant time.
        let (_, key) = self.keys.iter().find(|(ours, _)| ours == name)?;
        let mut state = sealed.to_vec();
        let opened = key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(name),
                &mut state,
            )
            .ok()?
            .len();
        state.truncate(opened);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_for_one_rotation_and_not_after_two() {
        let first = TicketKeys::fresh().unwrap();
        let second = first.rotated().unwrap();
        let third = second.rotated().unwrap();
        let ticket = Ticketer::new(&first).unwrap().encrypt(b"state").unwrap();
        for (keys, expected) in [
            (&first, Some(b"state".to_vec())),
            (&second, Some(b"state".to_vec())),
            (&third, None),
        ] {
            assert_eq!(Ticketer::new(keys).unwrap().decrypt(&ticket), expected);
        }
    }

    #[test]
    fn what_was_not_sealed_by_us_does_not_open() {
        let ticketer = Ticketer::new(&TicketKeys::fresh().unwrap()).unwrap();
        let ticket = ticketer.encrypt(b"state").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ticketer.decrypt(&changed), None, "byte {at}");
            assert_eq!(ticketer.decrypt(&ticket[..at]), None, "cut at {at}");
        }
    }
}
