//! Files of ticket keys on disk: read, made, and replaced in one step.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::{TicketFile, wrong};
use crate::config::SealWith;
use crate::error::Error;
use crate::limits;

/// What a rotation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How many keys the file has now.
    pub keys: usize,
    /// How many were taken out of it.
    pub retired: usize,
}

impl TicketFile {
    /// Reads a file, and says what its operator should mend, in sentences.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] if it cannot be read, and as
    /// [`parse`](Self::parse) has it.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), Error> {
        let (bytes, found) = read(path)?;
        let mut warnings = Vec::new();
        if found.mode() & 0o077 != 0 {
            warnings.push(format!(
                "{}: the ticket keys' file can be read by others than its owner (mode {:03o}), \
                 who could open every session made with them; run `chmod 600` on it, and rotate \
                 the keys",
                path.display(),
                found.mode() & 0o777
            ));
        }
        Ok((Self::parse(&bytes, path)?, warnings))
    }

    /// Writes the keys to a file that is not there yet, which its owner alone
    /// can read.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] if the file is there, or cannot be written. Then
    /// nothing is left of it.
    pub fn create(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.format(path)?;
        let new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = match new {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(wrong(
                    path,
                    "is there already, and its sessions would be lost; rotate it with `adit \
                     ticket-keys rotate`, or remove it first",
                ));
            }
            Err(error) => return Err(wrong(path, format_args!("cannot be made: {error}"))),
        };
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_folder(path));
        written.map_err(|error| {
            // It was not there before.
            let _ = fs::remove_file(path);
            wrong(path, format_args!("cannot be written: {error}"))
        })
    }

    /// Puts a fresh key where the one that seals is looked for, and retires the
    /// oldest until `keep` are left: if not given, as many as there were, and
    /// at least [`limits::TICKET_KEYS_KEPT`].
    ///
    /// So a session from a file of three keys resumes after two rotations, and
    /// not after the third. Who reads the file meanwhile sees the old one or
    /// the new one. Symbolic links are followed; format, comments, mode and
    /// owner stay. One rotation at a time: of two at once one is refused, or
    /// lost.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] if the file cannot be read or replaced. Then it is
    /// as it was.
    pub fn rotate_at(
        path: &Path,
        keep: Option<usize>,
        seal_with: SealWith,
    ) -> Result<Rotation, Error> {
        let target = fs::canonicalize(path)
            .map_err(|error| wrong(path, format_args!("cannot be read: {error}")))?;
        let (bytes, found) = read(&target)?;
        let mut file = Self::parse(&bytes, path)?;
        let keep = keep.unwrap_or_else(|| file.len().max(limits::TICKET_KEYS_KEPT));
        if !(1..=limits::TICKET_KEYS_MAX).contains(&keep) {
            return Err(wrong(
                path,
                format_args!(
                    "{keep} keys cannot be kept; write a number from 1 to {}",
                    limits::TICKET_KEYS_MAX
                ),
            ));
        }
        let retired = file.rotate(keep, seal_with)?;
        let bytes = file.format(path)?;
        replace(&target, &bytes, &found)
            .map_err(|error| wrong(&target, format_args!("cannot be replaced: {error}")))?;
        Ok(Rotation {
            keys: file.len(),
            retired,
        })
    }
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, fs::Metadata), Error> {
    let unreadable = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; `adit ticket-keys new` makes one",
            _ => "",
        };
        wrong(path, format_args!("cannot be read: {error}{hint}"))
    };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if found.is_dir() {
        return Err(wrong(path, "is a directory; name a file of ticket keys"));
    }
    // Never moved while it grows, which would leave copies behind.
    let max = limits::TICKET_KEY_FILE_MAX;
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > max {
        return Err(wrong(
            path,
            format_args!("is larger than {max} bytes, and so no file of ticket keys"),
        ));
    }
    Ok((bytes, found))
}

/// Replaces a file in one step, and makes sure that it is on disk.
fn replace(path: &Path, bytes: &[u8], like: &fs::Metadata) -> io::Result<()> {
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let beside = Beside(path.with_file_name(name));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside.0)?;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let now = fs::metadata(path)?;
    let state = |m: &fs::Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec());
    if state(&now) != state(like) {
        return Err(io::Error::other(
            "somebody else has changed it meanwhile; try again",
        ));
    }
    fs::rename(&beside.0, path)?;
    sync_folder(path)
}

/// A file that is removed if it has not been moved elsewhere.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // Gone if all went well.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes sure that a name is on disk (fsync(2)).
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
