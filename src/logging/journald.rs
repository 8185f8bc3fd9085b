//! The native protocol of systemd's journal
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use super::line::Line;
use crate::config::{JournaldSink, SyslogLevel};

/// Makes entries for the journal: datagrams of fields with names of their own.
#[derive(Debug)]
pub(super) struct Journald {
    ident: String,
}

/// One entry, as it is sent.
#[derive(Debug, Default)]
pub(super) struct Entry(Vec<u8>);

impl Journald {
    pub(super) fn new(config: &JournaldSink) -> Self {
        Self {
            ident: config.ident.clone(),
        }
    }

    /// The entry of a log line.
    pub(super) fn entry(&self, line: &Line) -> Vec<u8> {
        let mut entry = self.begin(line.severity(), line.text());
        if let Some(origin) = line.foreign_origin() {
            entry.field("ADIT_CRATE", origin);
        }
        entry.finish()
    }

    /// An entry with what every one has.
    pub(super) fn begin(&self, severity: SyslogLevel, message: &str) -> Entry {
        let mut entry = Entry::default();
        entry.field("MESSAGE", message);
        entry.field("PRIORITY", &(severity as u8).to_string());
        entry.field("SYSLOG_IDENTIFIER", &self.ident);
        entry
    }
}

impl Entry {
    /// Adds a field. Its name is of capital letters, digits and underscores,
    /// and begins with a letter: the journal leaves others out.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // Else what follows it would be a field of its own.
            self.0.push(b'\n');
            self.0
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_is_one_field() {
        let mut entry = Entry::default();
        entry.field("MESSAGE", "one");
        entry.field("ADIT_SNI", "a\nPRIORITY=0");
        let expected = b"MESSAGE=one\nADIT_SNI\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert_eq!(entry.finish(), expected);
    }
}
