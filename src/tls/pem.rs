//! PEM files (RFC 7468): what certificates, keys and revocation lists come in.
//!
//! The blocks are told apart here, so that a fault can be named by its line;
//! what is in a block is decoded by rustls' own reader.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::limits;

/// A PEM file, as it was read. It is wiped when it is dropped, for there may be
/// a key in it.
pub(super) struct PemFile {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl PemFile {
    /// Reads a file of at most [`limits::FILE_SIZE_MAX`] bytes.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let (bytes, mode) = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            mode,
        })
    }

    /// The permission bits of its mode.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o777
    }

    /// The certificates, in the file's order, each with the line where it
    /// begins. There may be none.
    pub(super) fn certificates(&self) -> Result<Vec<(usize, CertificateDer<'static>)>, Error> {
        self.all(|kind| kind == SectionKind::Certificate)
    }

    /// The revocation lists, as [`certificates`](Self::certificates) are given.
    pub(super) fn crls(
        &self,
    ) -> Result<Vec<(usize, CertificateRevocationListDer<'static>)>, Error> {
        self.all(|kind| kind == SectionKind::Crl)
    }

    /// The first private key, if there is one.
    pub(super) fn key(&self) -> Result<Option<Zeroizing<PrivateKeyDer<'static>>>, Error> {
        for block in self.blocks() {
            let block = block?;
            if !block.label.ends_with(b"PRIVATE KEY") {
                continue;
            }
            if block.is_encrypted() {
                return Err(self.wrong_at(
                    block.line,
                    "the private key is encrypted, and adit asks for no passphrase; write it out \
                     in the clear with `openssl pkey -in OLD -out NEW` and make NEW readable by \
                     its owner only",
                ));
            }
            // A kind of key that no one has any more is passed over, as other
            // labels are.
            if SectionKind::try_from(block.label).is_err() {
                continue;
            }
            let (kind, der) = self.decode(&block)?;
            if let Some(key) = PrivateKeyDer::from_pem(kind, der) {
                return Ok(Some(Zeroizing::new(key)));
            }
        }
        Ok(None)
    }

    /// Whether it looks like the same in DER: a SEQUENCE (X.690, section 8.9).
    pub(super) fn is_der(&self) -> bool {
        matches!(self.bytes.as_slice(), [0x30, 0x80..=0xff, ..])
    }

    /// An error that is this file's.
    pub(super) fn wrong(&self, what: impl fmt::Display) -> Error {
        wrong(&self.path, what)
    }

    /// An error at this line of the file.
    pub(super) fn wrong_at(&self, line: usize, what: impl fmt::Display) -> Error {
        Error::Identity(format!("{}:{line}: {what}", self.path.display()))
    }

    fn all<T: PemObject>(
        &self,
        wanted: impl Fn(SectionKind) -> bool,
    ) -> Result<Vec<(usize, T)>, Error> {
        let mut all = Vec::new();
        for block in self.blocks() {
            let block = block?;
            // Keys stay undecoded where nobody asks for them.
            if block.label.ends_with(b"PRIVATE KEY") {
                continue;
            }
            let (kind, mut der) = match SectionKind::try_from(block.label) {
                Ok(kind) if wanted(kind) => self.decode(&block)?,
                _ => continue,
            };
            der.shrink_to_fit();
            if let Some(item) = T::from_pem(kind, der) {
                all.push((block.line, item));
            }
        }
        Ok(all)
    }

    fn blocks(&self) -> impl Iterator<Item = Result<Block<'_>, Error>> {
        Blocks::new(&self.bytes).map(|block| {
            block.map_err(|line| {
                self.wrong_at(
                    line,
                    "the PEM block that begins here does not end; is the file cut short?",
                )
            })
        })
    }

    fn decode(&self, block: &Block<'_>) -> Result<(SectionKind, Vec<u8>), Error> {
        <(SectionKind, Vec<u8>)>::from_pem_slice(block.text).map_err(|_| {
            self.wrong_at(
                block.fault(),
                "the PEM block is not valid base64; is the file damaged?",
            )
        })
    }
}

/// An error that is a file's.
pub(super) fn wrong(path: &Path, what: impl fmt::Display) -> Error {
    Error::Identity(format!("{}: {what}", path.display()))
}

/// A file's bytes, wiped when they are dropped, and its mode.
pub(super) fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), Error> {
    let unreadable = |error| wrong(path, format_args!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        return Err(wrong(path, "is a directory; name a PEM file"));
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(meta.len().min(limits::FILE_SIZE_MAX)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limits::FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limits::FILE_SIZE_MAX {
        return Err(wrong(
            path,
            format_args!("is larger than {} bytes", limits::FILE_SIZE_MAX),
        ));
    }
    Ok((bytes, meta.mode()))
}

/// From a line that begins a block to the one that ends it.
struct Block<'a> {
    /// The line of the beginning, counted from 1.
    line: usize,
    label: &'a [u8],
    text: &'a [u8],
}

impl Block<'_> {
    /// By PKCS #8 (RFC 7468, section 11) or as OpenSSL did before (RFC 1421,
    /// section 4.6.1.1).
    fn is_encrypted(&self) -> bool {
        self.label.starts_with(b"ENCRYPTED ")
            || self
                .text
                .split(|byte| *byte == b'\n')
                .any(|line| line.starts_with(b"Proc-Type:"))
    }

    /// The line that no base64 is in, or that where the block begins.
    fn fault(&self) -> usize {
        let bad = |byte: &u8| {
            !(byte.is_ascii_alphanumeric()
                || byte.is_ascii_whitespace()
                || matches!(byte, b'+' | b'/' | b'='))
        };
        self.text
            .split(|byte| *byte == b'\n')
            .position(|line| !line.starts_with(b"-----") && line.iter().any(bad))
            .map_or(self.line, |lines| self.line + lines)
    }
}

/// The blocks of a text; an error is the line of a beginning without an end.
struct Blocks<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Blocks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // What editors of another system put first.
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self { rest, line: 0 }
    }

    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self
            .rest
            .split_at(end.map_or(self.rest.len(), |end| end + 1));
        self.rest = rest;
        Some(line.trim_ascii_end())
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let from = self.rest;
            let Some(label) = marked(self.next_line()?, b"-----BEGIN ") else {
                continue;
            };
            let line = self.line;
            loop {
                match self.next_line() {
                    Some(text) if marked(text, b"-----END ").is_some() => break,
                    Some(text) if marked(text, b"-----BEGIN ").is_none() => {}
                    _ => {
                        // Nothing good can follow.
                        self.rest = &[];
                        return Some(Err(line));
                    }
                }
            }
            let text = &from[..from.len() - self.rest.len()];
            return Some(Ok(Block { line, label, text }));
        }
    }
}

/// What stands between this beginning of a line and its closing hyphens.
fn marked<'a>(line: &'a [u8], begin: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(begin)?.strip_suffix(b"-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PemFile {
        PemFile {
            path: "x.pem".into(),
            bytes: Zeroizing::new(text.into()),
            mode: 0o600,
        }
    }

    fn certificate() -> String {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("made");
        made.signing_key.serialize_pem() + &made.cert.pem()
    }

    #[test]
    fn blocks_are_found_with_their_lines_among_other_text() {
        let text = format!("\u{feff}Bag Attributes\r\n  x: y\n{}", certificate());
        let read = file(&text.replace('\n', "\r\n"));
        let key_lines = text
            .lines()
            .position(|line| line.contains("BEGIN CERTIFICATE"));
        let found = read.certificates().expect("certificates");
        assert_eq!(found.len(), 1);
        assert_eq!(Some(found[0].0 - 1), key_lines);
        assert!(read.key().expect("a key").is_some());
        assert!(read.crls().expect("none").is_empty());
    }

    #[test]
    fn faults_name_the_line() {
        let good = certificate();
        let lines = good.lines().count();
        for (text, expected) in [
            // Cut short in the certificate.
            (good[..good.len() - 30].to_owned(), "does not end"),
            // A block inside of a block.
            (good.replace("-----END PRIVATE KEY-----\n", ""), "x.pem:1: "),
            (good.replace("-----END CERT", "!\n-----END CERT"), "base64"),
            (
                good.replace("-----END CERT", "!\n-----END CERT"),
                &format!("x.pem:{lines}: "),
            ),
        ] {
            let error = file(&text).certificates().expect_err("a fault").to_string();
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
        for text in [
            "\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
             -----END RSA PRIVATE KEY-----\n",
        ] {
            let error = file(text).key().expect_err("a fault").to_string();
            assert!(error.starts_with("x.pem:2: "), "{error}");
            assert!(error.contains("encrypted"), "{error}");
        }
    }
}
