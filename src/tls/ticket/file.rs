//! A file of ticket keys, as it is written.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::key::{KeySize, TicketKey};
use crate::config::SealWith;
use crate::error::Error;
use crate::limits;

/// A file of session ticket keys, in the formats that nginx
/// (`ssl_session_ticket_key`) and HAProxy (`tls-ticket-keys`) share.
///
/// A key is 48 or 80 bytes: a name of 16, and a secret. A file is
///
/// - *binary*: keys one after the other, all of one size. 240 bytes and their
///   multiples could be keys of either size, and are taken for keys of 80;
/// - *base64*, if there is nothing but ASCII text in it: one key on each line,
///   of either size. Empty lines, and lines that begin with `#`, are passed
///   over.
///
/// There are up to [`limits::TICKET_KEYS_MAX`] of them, and a file is up to
/// [`limits::TICKET_KEY_FILE_MAX`] bytes long.
#[derive(Debug)]
pub struct TicketFile {
    encoding: Encoding,
    /// At least one of them is a key.
    lines: Vec<Line>,
}

/// How keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// One key on each line.
    #[default]
    Base64,
    /// One key after the other.
    Binary,
}

#[derive(Debug)]
enum Line {
    Key(TicketKey),
    /// An empty line or a comment.
    Other(String),
}

impl TicketFile {
    /// Fresh keys, all of one size.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] for a number of keys that cannot be, or cannot be
    /// read back; [`Error::System`] if there is no randomness to be had.
    pub fn fresh(count: usize, size: KeySize, encoding: Encoding) -> Result<Self, Error> {
        if !(1..=limits::TICKET_KEYS_MAX).contains(&count) {
            return Err(Error::Identity(format!(
                "{count} keys cannot be; write a number from 1 to {}",
                limits::TICKET_KEYS_MAX
            )));
        }
        let lines = (0..count)
            .map(|_| TicketKey::fresh(size).map(Line::Key))
            .collect::<Result<_, _>>()
            .map_err(|error| Error::System(error.to_string()))?;
        Ok(Self { encoding, lines })
    }

    /// Reads a file's text. `path` is its name in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], which names the file, the line if it has lines, and
    /// what to write instead; and shows nothing of any key.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let file = if bytes.is_ascii() && !bytes.contains(&0) {
            Self::parse_base64(bytes, path)?
        } else {
            Self::parse_binary(bytes, path)?
        };
        file.check(path)?;
        Ok(file)
    }

    fn parse_binary(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let sizes = [KeySize::Bytes80, KeySize::Bytes48];
        let Some(size) = sizes
            .into_iter()
            .find(|size| bytes.len().is_multiple_of(size.bytes()))
        else {
            return Err(wrong(
                path,
                format_args!(
                    "is binary and {} bytes long, but ticket keys are 48 or 80 bytes each; {REMEDY}",
                    bytes.len()
                ),
            ));
        };
        let lines = bytes
            .chunks_exact(size.bytes())
            .filter_map(TicketKey::from_bytes)
            .map(Line::Key)
            .collect();
        Ok(Self {
            encoding: Encoding::Binary,
            lines,
        })
    }

    fn parse_base64(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let mut lines = Vec::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = line.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                lines.push(Line::Other(String::from_utf8_lossy(text).into_owned()));
                continue;
            }
            let at = |what: &dyn fmt::Display| wrong_at(path, index + 1, what);
            let decoded = Zeroizing::new(BASE64.decode(text).map_err(|_| {
                at(&format_args!(
                    "is no base64; write one key of 48 or 80 bytes on each line, such as \
                     `openssl rand -base64 48` gives, or begin a comment with #"
                ))
            })?);
            let key = TicketKey::from_bytes(&decoded).ok_or_else(|| {
                at(&format_args!(
                    "holds {} bytes in base64, but a ticket key is 48 or 80 bytes; {REMEDY}",
                    decoded.len()
                ))
            })?;
            lines.push(Line::Key(key));
        }
        // What follows the last line's end is no line.
        lines.pop_if(|last| matches!(last, Line::Other(text) if text.is_empty()));
        Ok(Self {
            encoding: Encoding::Base64,
            lines,
        })
    }

    /// Whether the keys are some, not too many, and differ.
    fn check(&self, path: &Path) -> Result<(), Error> {
        let keys: Vec<(usize, &TicketKey)> = self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(index, line)| match line {
                Line::Key(key) => Some((index + 1, key)),
                Line::Other(_) => None,
            })
            .collect();
        if keys.is_empty() {
            return Err(wrong(path, format_args!("holds no ticket key; {REMEDY}")));
        }
        if keys.len() > limits::TICKET_KEYS_MAX {
            return Err(wrong(
                path,
                format_args!(
                    "holds {} ticket keys, more than {}; remove the oldest",
                    keys.len(),
                    limits::TICKET_KEYS_MAX
                ),
            ));
        }
        for (nth, (line, key)) in keys.iter().enumerate() {
            let at = |what: &dyn fmt::Display| match self.encoding {
                Encoding::Base64 => wrong_at(path, *line, what),
                Encoding::Binary => wrong(path, format_args!("key {line} {what}")),
            };
            if key.is_blank() {
                return Err(at(&format_args!(
                    "is no secret: one byte over and over; {REMEDY}"
                )));
            }
            if let Some((earlier, _)) = keys[..nth].iter().find(|(_, k)| k.name() == key.name()) {
                return Err(at(&format_args!(
                    "has the name (the first 16 bytes) of {} {earlier}, so that one of the two \
                     could open no ticket; remove it",
                    match self.encoding {
                        Encoding::Base64 => "line",
                        Encoding::Binary => "key",
                    }
                )));
            }
        }
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys().count()
    }

    /// Never: a file without keys is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the keys are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Each key's size, and by what people tell it from others: a digest of its
    /// name. Neither is secret.
    pub fn fingerprints(&self) -> Vec<(KeySize, String)> {
        self.keys()
            .map(|key| (key.size(), key.fingerprint()))
            .collect()
    }

    fn keys(&self) -> impl Iterator<Item = &TicketKey> {
        self.lines.iter().filter_map(|line| match line {
            Line::Key(key) => Some(key),
            Line::Other(_) => None,
        })
    }

    pub(super) fn into_keys(self) -> Vec<TicketKey> {
        self.lines
            .into_iter()
            .filter_map(|line| match line {
                Line::Key(key) => Some(key),
                Line::Other(_) => None,
            })
            .collect()
    }

    /// Puts a fresh key where the one that seals is looked for, and takes the
    /// oldest away until `keep` are left, which is at least 1. Gives how many
    /// were taken away. Comments stay where they are.
    pub(super) fn rotate(&mut self, keep: usize, seal_with: SealWith) -> Result<usize, Error> {
        let sealing = match seal_with {
            SealWith::Last => self.keys().last(),
            SealWith::First => self.keys().next(),
        };
        let size = sealing.map_or(KeySize::Bytes80, TicketKey::size);
        let fresh = TicketKey::fresh(size).map_err(|error| Error::System(error.to_string()))?;
        let is_key = |line: &Line| matches!(line, Line::Key(_));
        match seal_with {
            SealWith::Last => self.lines.push(Line::Key(fresh)),
            SealWith::First => {
                let first = self.lines.iter().position(is_key).unwrap_or(0);
                self.lines.insert(first, Line::Key(fresh));
            }
        }
        let retired = self.len().saturating_sub(keep.max(1));
        for _ in 0..retired {
            let oldest = match seal_with {
                SealWith::Last => self.lines.iter().position(is_key),
                SealWith::First => self.lines.iter().rposition(is_key),
            };
            if let Some(oldest) = oldest {
                self.lines.remove(oldest);
            }
        }
        Ok(retired)
    }

    /// The file's text.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] if it would be read back as something else.
    pub(super) fn format(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(limits::TICKET_KEYS_MAX * 128));
        for line in &self.lines {
            match (line, self.encoding) {
                (Line::Key(key), Encoding::Binary) => bytes.extend_from_slice(key.bytes()),
                (Line::Key(key), Encoding::Base64) => {
                    let text = Zeroizing::new(BASE64.encode(key.bytes()));
                    bytes.extend_from_slice(text.as_bytes());
                    bytes.push(b'\n');
                }
                (Line::Other(text), _) => {
                    bytes.extend_from_slice(text.as_bytes());
                    bytes.push(b'\n');
                }
            }
        }
        if Self::parse(&bytes, path)?.fingerprints() != self.fingerprints() {
            return Err(wrong(
                path,
                format_args!(
                    "{} binary keys of 48 bytes are as long as keys of 80 would be; keep one more \
                     or one less, or write them in base64",
                    self.len()
                ),
            ));
        }
        Ok(bytes)
    }
}

const REMEDY: &str = "`adit ticket-keys new FILE` makes a file that is right";

pub(super) fn wrong(path: &Path, what: impl fmt::Display) -> Error {
    Error::Identity(format!("{}: {what}", path.display()))
}

fn wrong_at(path: &Path, line: usize, what: impl fmt::Display) -> Error {
    Error::Identity(format!("{}:{line}: this line {what}", path.display()))
}
