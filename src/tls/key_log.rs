//! A file of session secrets, for whoever has to read what was said: Wireshark
//! and others take it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::KeyLog;

use super::pem::wrong;
use crate::error::Error;

/// An open file to which secrets are appended, in the format of
/// `SSLKEYLOGFILE`. It is there only if the configuration names it; the
/// environment has no say.
#[derive(Debug)]
pub(crate) struct KeyLogFile {
    file: File,
    path: PathBuf,
    /// That it could not be written to has been said.
    failed: AtomicBool,
}

impl KeyLogFile {
    /// Opens the file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| wrong(path, format_args!("cannot be written: {error}")))?;
        Ok(Self::of(file, path))
    }

    /// One shard's hold on the file, if there is one, that nothing else counts.
    pub(super) fn another(log: Option<&Self>) -> Result<Option<Self>, rustls::Error> {
        let copy = log.map(|log| Ok(Self::of(log.file.try_clone()?, &log.path)));
        copy.transpose()
            .map_err(|error: io::Error| rustls::Error::General(format!("the key log: {error}")))
    }

    /// What there is to say of such a file.
    pub(crate) fn warning(path: &Path) -> String {
        format!(
            "{}: the secrets of every session are written to this file, and whoever reads it can \
             read all traffic; take key_log out of the configuration, or --key-log off the command \
             line, once you have what you need",
            path.display()
        )
    }

    fn of(file: File, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
            failed: AtomicBool::new(false),
        }
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(256);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                // Writing to a String does not fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        // A whole line at once, so that those of other shards stay apart
        // (O_APPEND, open(2)).
        if let Err(error) = (&self.file).write_all(line.as_bytes())
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            log::error!("{}: cannot be written: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_of_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let one = KeyLogFile::open(&path).expect("a file");
        one.log("CLIENT_RANDOM", &[0, 0xff], &[0x10]);
        let another = KeyLogFile::another(Some(&one)).expect("a copy");
        another.expect("one").log("X", &[1], &[2]);
        KeyLogFile::open(&path).expect("again").log("Y", &[3], &[4]);
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text, "CLIENT_RANDOM 00ff 10\nX 01 02\nY 03 04\n");
        let mode = fs::metadata(&path).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
