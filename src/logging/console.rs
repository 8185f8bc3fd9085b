//! Where an operator looks when there is no syslog daemon.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::line::Line;
use super::stderr::{self, Stderr};

/// Standard error and, behind it, the machine's console, as `LOG_CONS` of
/// openlog(3) has it.
pub(super) struct Console {
    /// Standard error, or what a test put in its place.
    pub(super) stderr: Stderr,
    /// Whether anybody could see what is written there.
    stderr_is_seen: bool,
    /// The machine's console, if it is to be used.
    device: Option<PathBuf>,
}

impl Console {
    /// The process's standard error and `/dev/console`.
    pub(super) fn standard() -> Self {
        Self {
            stderr: Stderr::standard(),
            stderr_is_seen: !stderr_is_null(),
            device: Some(PathBuf::from("/dev/console")),
        }
    }

    /// This writer and nothing else.
    pub(super) fn given(out: Box<dyn Write + Send>) -> Self {
        Self {
            stderr: Stderr::given(out),
            stderr_is_seen: true,
            device: None,
        }
    }

    /// Writes a line to the first place that takes it; an error means that none
    /// did.
    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let outcome = if self.stderr_is_seen {
            self.stderr.write(line)
        } else {
            Err(io::ErrorKind::NotConnected.into())
        };
        match (outcome, &self.device) {
            (Err(_), Some(device)) => write_to_device(device, line),
            (outcome, _) => outcome,
        }
    }
}

/// Opens the console for one line, as syslog(3) does, so that no descriptor is
/// kept for a rare case. It must not become our terminal, nor a serial line
/// without a reader hold us up.
fn write_to_device(device: &Path, line: &Line) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(device)?
        .write_all(stderr::for_file(line).as_bytes())
}

/// Whether standard error leads to `/dev/null`: a daemon's often does, and Rust
/// opens that in the place of one that was closed at the start.
fn stderr_is_null() -> bool {
    let stderr = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata());
    match (stderr, fs::metadata("/dev/null")) {
        (Ok(stderr), Ok(null)) => {
            stderr.file_type().is_char_device() && stderr.rdev() == null.rdev()
        }
        (Err(_), _) => true,
        (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    /// A pipe that nobody reads any more.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_machines_console_gets_what_standard_error_cannot_take() {
        let device = tempfile::NamedTempFile::new().expect("a file");
        let mut console = Console {
            stderr: Stderr::given(Box::new(Broken)),
            stderr_is_seen: true,
            device: Some(device.path().to_owned()),
        };
        let line = Line::own(Level::Error, format_args!("help"));
        console.write(&line).expect("the device takes it");
        let written = fs::read_to_string(device.path()).expect("text");
        assert!(written.ends_with(" ERROR adit: help\n"), "{written}");

        console.device = None;
        assert!(console.write(&line).is_err());
    }
}
