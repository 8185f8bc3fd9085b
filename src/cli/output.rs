//! Standard output and standard error.

use std::io::{self, Write};

use super::exit::Failure;

/// Writes to standard output. A reader that has gone (`adit stats | head`) is
/// no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says on standard error why the program ends as it does.
pub(crate) fn complain(message: &str) {
    // Nothing can be said about a standard error that is closed.
    let _ = writeln!(io::stderr(), "adit: error: {}", message.trim_end());
}

/// Says something beside the result on standard error.
pub(crate) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "adit: {}", message.trim_end());
}
