//! One ticket key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use rustls::Error;
use zeroize::Zeroizing;

/// The first bytes of a key are its name.
pub(super) const NAME_LEN: usize = 16;

/// What sets these keys apart from any other that might be derived from the
/// same secret. Another ticket format gets another label.
const LABEL: &[u8; 22] = b"adit session ticket v1";

const AEAD_KEY_LEN: usize = 32;

/// How long a ticket key is, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySize {
    /// 48 bytes: what nginx calls AES-128.
    Bytes48,
    /// 80 bytes: what nginx calls AES-256.
    Bytes80,
}

/// A name, which goes in front of every ticket, and a secret.
pub(super) struct TicketKey(Zeroizing<Vec<u8>>);

impl KeySize {
    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bytes48 => 48,
            Self::Bytes80 => 80,
        }
    }

    /// The size that is so many bytes long.
    pub fn of(bytes: usize) -> Option<Self> {
        [Self::Bytes48, Self::Bytes80]
            .into_iter()
            .find(|size| size.bytes() == bytes)
    }
}

impl TicketKey {
    /// A key of random bytes.
    pub(super) fn fresh(size: KeySize) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new(vec![0; size.bytes()]);
        rand::fill(&mut bytes).map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(Self(bytes))
    }

    /// A key as a file has it. `None` if it is as long as no key is.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        KeySize::of(bytes.len()).map(|_| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Name and secret, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn size(&self) -> KeySize {
        // Made by `fresh` or `from_bytes`, and so of one size or the other.
        KeySize::of(self.0.len()).unwrap_or(KeySize::Bytes80)
    }

    pub(super) fn name(&self) -> [u8; NAME_LEN] {
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&self.0[..NAME_LEN]);
        name
    }

    fn secret(&self) -> &[u8] {
        &self.0[NAME_LEN..]
    }

    /// Whether the secret is one byte over and over, as in a file that was
    /// made large enough and never filled.
    pub(super) fn is_blank(&self) -> bool {
        self.secret().windows(2).all(|pair| pair[0] == pair[1])
    }

    /// By which people tell keys apart: a digest of the name, which is no
    /// secret.
    pub(super) fn fingerprint(&self) -> String {
        let digest = digest(&SHA256, &self.name());
        let bytes = &digest.as_ref()[..8];
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// The AEAD key for tickets that are bound to this (RFC 5869, with
    /// SHA-256 and no salt).
    pub(super) fn derive(&self, binding: &[u8]) -> Result<RandomizedNonceKey, Error> {
        let refused = |_| Error::General("a ticket key is refused".into());
        let mut key = Zeroizing::new([0; AEAD_KEY_LEN]);
        // The label has one length, so that label and binding cannot be cut
        // in another place.
        Salt::none(HKDF_SHA256)
            .extract(self.secret())
            .expand(&[LABEL, binding], AeadKey)
            .and_then(|okm| okm.fill(&mut key[..]))
            .map_err(refused)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key[..]).map_err(refused)
    }
}

impl fmt::Debug for TicketKey {
    /// The fingerprint, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKey({})", self.fingerprint())
    }
}

struct AeadKey;

impl KeyType for AeadKey {
    fn len(&self) -> usize {
        AEAD_KEY_LEN
    }
}
