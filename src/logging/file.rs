//! Lines in a file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::limits;

/// A file that lines are appended to, each whole.
///
/// Who rotates it renames it and has it [opened anew](Self::reopen); who
/// truncates it in place (logrotate's `copytruncate`) need say nothing, since
/// what is written goes to the end that the file then has.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// The rest of a line of which the file has the beginning: the disk was
    /// full. It goes ahead of all others, so that no line is cut.
    begun: Vec<u8>,
}

impl LogFile {
    /// Opens it, and makes it with mode [`limits::LOG_FILE_MODE`] if it is not
    /// there. The error is a sentence that names the file and the remedy.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = append(path, true).map_err(|error| explain(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            begun: Vec::new(),
        })
    }

    /// Opens what is at its path now, and goes on there; gives the number of
    /// lines that are lost by it. If it cannot be opened, the old one stays.
    pub(super) fn reopen(&mut self) -> Result<u64, String> {
        let file = append(&self.path, true).map_err(|error| explain(&self.path, &error))?;
        let lost = self.finish();
        self.begun = Vec::new();
        self.file = file;
        Ok(lost)
    }

    /// Appends lines, each with its newline; gives the number of those that are
    /// lost. It may wait for the disk, but never for room on it.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        if self.finish() > 0 {
            return count(lines);
        }
        let written = write(&mut self.file, lines);
        let (done, mut rest) = lines.split_at(written);
        if !rest.is_empty() && done.last().is_some_and(|byte| *byte != b'\n') {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let end = end.map_or(rest.len(), |newline| newline + 1);
            self.begun = rest[..end].to_vec();
            rest = &rest[end..];
        }
        count(rest)
    }

    /// Ends the line that was begun, if one was; 1 if it cannot be.
    fn finish(&mut self) -> u64 {
        if !self.begun.is_empty() {
            let written = write(&mut self.file, &self.begun);
            self.begun.drain(..written);
        }
        u64::from(!self.begun.is_empty())
    }
}

/// Looks whether lines could be appended to a file at this path, and makes
/// none.
pub(super) fn check(path: &Path) -> Result<(), String> {
    match append(path, false) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            match folder.metadata() {
                Ok(folder) if folder.is_dir() => Ok(()),
                Ok(_) => Err(explain(path, &io::ErrorKind::NotADirectory.into())),
                Err(error) => Err(explain(path, &error)),
            }
        }
        Err(error) => Err(explain(path, &error)),
    }
}

fn append(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A terminal must not become ours, nor a pipe without a reader hold us up.
    options
        .append(true)
        .mode(limits::LOG_FILE_MODE)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            // The process's umask may have taken from it: a service's often is
            // 0077, for sockets and keys.
            let mode = Permissions::from_mode(limits::LOG_FILE_MODE);
            file.set_permissions(mode)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Writes as much as the file takes; gives the number of bytes.
fn write(file: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn explain(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    let path = path.display();
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => format!("make its folder: mkdir -p {folder}"),
        io::ErrorKind::NotADirectory => format!("{folder} is no folder; write another path"),
        io::ErrorKind::IsADirectory => "it is a folder; write the path of a file in it".to_owned(),
        io::ErrorKind::PermissionDenied => format!(
            "the user that adit runs as must be able to write to it, and to {folder} to make it anew"
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            "write another path, or have systemd let adit write there (ReadWritePaths=, \
             LogsDirectory=)"
                .to_owned()
        }
        _ => "write another path".to_owned(),
    };
    format!("the log file {path} cannot be opened: {error}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_for_few_eyes_and_appended_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        check(&path).expect("it could be made");
        assert!(!path.exists());
        let mut log = LogFile::open(&path).expect("made");
        assert_eq!(log.write(b"one\ntwo\n"), 0);
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{mode:o}");
        // Truncated in place, it goes on at the new end.
        std::fs::write(&path, "").expect("truncated");
        assert_eq!(log.write(b"three\n"), 0);
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "three\n");
    }

    #[test]
    fn what_cannot_be_opened_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, part) in [
            (folder.path().join("no/a.log"), "mkdir -p"),
            (folder.path().to_owned(), "it is a folder"),
        ] {
            let error = LogFile::open(&path).expect_err("it cannot be");
            assert!(error.contains(part), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(check(&path).is_err());
        }
    }

    /// A pipe that takes part of a line only, as a disk does that gets full.
    #[test]
    fn a_line_that_was_begun_is_ended_before_the_next() {
        use std::io::Read as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .expect("a pipe");
        let mut log = LogFile::open(&path).expect("it has a reader");
        let line = |letter: u8| [vec![letter; 9_999], vec![b'\n']].concat();
        let lines: Vec<u8> = (b'a'..=b'z').flat_map(line).collect();
        let lost = log.write(&lines);
        assert!(lost > 0 && !log.begun.is_empty(), "the pipe is full");
        assert_eq!(log.write(&line(b'0')), 1, "nor is there room for this");
        let mut read = Vec::new();
        let mut drain = |read: &mut Vec<u8>| {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                read.extend_from_slice(&buffer[..n]);
            }
        };
        drain(&mut read);
        assert_eq!(log.write(&line(b'1')), 0);
        drain(&mut read);
        let whole: Vec<&[u8]> = read.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(whole.len() as u64, 26 - lost + 1);
        for line in &whole {
            assert_eq!(line.len(), 10_000);
            assert!(line[..9_999].iter().all(|byte| *byte == line[0]));
        }
        assert_eq!(whole.last().map(|line| line[0]), Some(b'1'));
    }
}
