//! The keys that are in use together.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::Error;

use super::file::TicketFile;
use super::key::{KeySize, TicketKey};
use crate::config::SealWith;
use crate::limits;

/// The keys that are in use together: one seals tickets, all open them.
#[derive(Clone)]
pub(crate) struct TicketKeys {
    /// At least one.
    keys: Arc<[TicketKey]>,
    /// Which one seals.
    seals: usize,
}

impl TicketKeys {
    /// One key made here and known nowhere else.
    pub(crate) fn fresh() -> Result<Self, Error> {
        Ok(Self {
            keys: Arc::new([TicketKey::fresh(KeySize::Bytes80)?]),
            seals: 0,
        })
    }

    /// Those of another process, the one that seals first. `None` if they are no
    /// keys.
    pub(crate) fn received<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let keys: Arc<[TicketKey]> = keys
            .into_iter()
            .map(TicketKey::from_bytes)
            .collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self { keys, seals: 0 })
    }

    /// What [`received`](Self::received) takes: secrets.
    pub(crate) fn to_send(&self) -> impl Iterator<Item = &[u8]> {
        self.in_use().map(TicketKey::bytes)
    }

    /// A fresh key that seals, and as many of those before as may be needed to
    /// open tickets of this lifetime, if there is a rotation every
    /// [`limits::TICKET_KEY_ROTATION`].
    pub(crate) fn rotated(&self, lifetime: Duration) -> Result<Self, Error> {
        let rotation = limits::TICKET_KEY_ROTATION.as_secs();
        let kept = usize::try_from(lifetime.as_secs().div_ceil(rotation)).unwrap_or(usize::MAX);
        let fresh = TicketKey::fresh(KeySize::Bytes80)?;
        let before = self.keys.iter().take(kept).map(TicketKey::copy);
        Ok(Self {
            keys: std::iter::once(fresh).chain(before).collect(),
            seals: 0,
        })
    }

    /// Those of a file, and what its operator should mend, in sentences.
    ///
    /// # Errors
    ///
    /// Those of [`TicketFile::read`].
    pub(super) fn read(
        path: &Path,
        seal_with: SealWith,
    ) -> Result<(Self, Vec<String>), crate::Error> {
        let (file, warnings) = TicketFile::read(path)?;
        let keys: Arc<[TicketKey]> = file.into_keys().into();
        let seals = match seal_with {
            SealWith::Last => keys.len().saturating_sub(1),
            SealWith::First => 0,
        };
        Ok((Self { keys, seals }, warnings))
    }

    /// All of them, the one that seals first.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &TicketKey> {
        let others = self.keys.iter().enumerate();
        self.keys.get(self.seals).into_iter().chain(
            others
                .filter(|(index, _)| *index != self.seals)
                .map(|(_, key)| key),
        )
    }
}

impl fmt::Debug for TicketKeys {
    /// How many, and nothing of what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.keys.len())
    }
}
