//! Standard output and standard error.

use std::io::{self, Write};

use super::exit::Failure;

/// Whether anybody reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Here,
    Gone,
}

/// Writes to standard output. A reader that has gone (`adit stats | head`) is
/// no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_while_read(text).map(|_| ())
}

/// As [`print`], for what has more to write: it ends once nobody reads.
pub(crate) fn print_while_read(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Here),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::runtime(format!("standard output: {error}"))),
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
