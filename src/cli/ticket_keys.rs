//! `adit ticket-keys`: makes and rotates the files that session tickets are
//! sealed with.

use std::fmt::Write as _;

use adit::config::SealWith;
use adit::tls::{Encoding, TicketFile};

use super::args::TicketKeysCommand;
use super::exit::{Exit, Failure};
use super::output;

pub(crate) fn run(command: TicketKeysCommand) -> Result<Exit, Failure> {
    match command {
        TicketKeysCommand::New {
            file,
            keys,
            bytes,
            binary,
        } => {
            let encoding = if binary {
                Encoding::Binary
            } else {
                Encoding::Base64
            };
            TicketFile::fresh(keys, bytes, encoding)?.create(&file)?;
            say(&format!("{}: {}\n", file.display(), counted(keys)))
        }
        TicketKeysCommand::Rotate { file, keep, first } => {
            let seal_with = if first {
                SealWith::First
            } else {
                SealWith::Last
            };
            let done = TicketFile::rotate_at(&file, keep, seal_with)?;
            say(&format!(
                "{}: {}, 1 of them fresh; {} retired\n",
                file.display(),
                counted(done.keys),
                done.retired
            ))
        }
        TicketKeysCommand::Show { file } => {
            let (keys, warnings) = TicketFile::read(&file)?;
            for warning in warnings {
                output::note(&warning);
            }
            let encoding = match keys.encoding() {
                Encoding::Base64 => "base64",
                Encoding::Binary => "binary",
            };
            let mut text = format!(
                "{}: {}, {encoding}; by digests of their names:\n",
                file.display(),
                counted(keys.len())
            );
            for (index, (size, fingerprint)) in keys.fingerprints().into_iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "  {:>2}  {fingerprint}  {} bytes",
                    index + 1,
                    size.bytes()
                );
            }
            say(&text)
        }
    }
}

fn say(text: &str) -> Result<Exit, Failure> {
    output::print(text)?;
    Ok(Exit::Clean)
}

fn counted(keys: usize) -> String {
    match keys {
        1 => "1 key".into(),
        _ => format!("{keys} keys"),
    }
}
