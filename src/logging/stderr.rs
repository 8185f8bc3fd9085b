//! Lines on standard error.

use std::io::{self, IsTerminal, Write};

use log::Level;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::escape;
use super::line::Line;
use crate::limits;
use crate::sys::local_time;

/// Writes one line per record, in one write each.
///
/// Into a file or a pipe: `2026-11-23T18:21:35.123Z INFO  adit: text`, in UTC.
/// To a terminal, for a person: local time of day, the level in colour unless
/// `NO_COLOR` is set and not empty (<https://no-color.org>), and the text.
pub(super) struct Stderr {
    out: Box<dyn Write + Send>,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    File,
    Terminal { color: bool },
}

impl Stderr {
    /// The process's own standard error.
    pub(super) fn standard() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let look = if io::stderr().is_terminal() {
            Look::Terminal {
                color: !is_set("NO_COLOR") && !dumb,
            }
        } else {
            Look::File
        };
        Self {
            out: Box::new(io::stderr()),
            look,
        }
    }

    /// Another writer in its place, which is no terminal.
    pub(super) fn given(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            look: Look::File,
        }
    }

    /// Writes a line; an error (a closed pipe, a full disk) means that it is
    /// lost.
    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        self.out.write_all(render(line, self.look).as_bytes())?;
        self.out.flush()
    }
}

/// A line as a file shows it, with its newline.
pub(super) fn for_file(line: &Line) -> String {
    render(line, Look::File)
}

fn render(line: &Line, look: Look) -> String {
    const STAMP: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    const TIME_OF_DAY: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second]");

    let (word, origin, text) = (line.word(), line.origin(), line.text());
    // A date that cannot be written (the year 10000) is no reason to lose the
    // line.
    let mut shown = match look {
        Look::File => {
            let at = line.at.format(STAMP).unwrap_or_default();
            format!("{at} {word:<5} {origin}: {text}")
        }
        Look::Terminal { color } => {
            let at = line.at.to_offset(local_time::local_offset(line.at));
            let at = at.format(TIME_OF_DAY).unwrap_or_default();
            let (on, off) = if color {
                (color_of(line), "\x1b[0m")
            } else {
                ("", "")
            };
            format!("{at} {on}{word:<5}{off} {line}")
        }
    };
    escape::cut(&mut shown, limits::LOG_LINE_MAX);
    shown.push('\n');
    shown
}

fn color_of(line: &Line) -> &'static str {
    match line.level() {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let record = log::Record::builder()
            .level(Level::Info)
            .target("adit::shard")
            .args(format_args!("serving"))
            .build();
        let mut line = Line::of(&record);
        line.at = time::macros::datetime!(2026-11-23 18:21:35.123_9 UTC);
        line
    }

    #[test]
    fn a_file_gets_the_whole_stamp() {
        assert_eq!(
            render(&line(), Look::File),
            "2026-11-23T18:21:35.123Z INFO  adit: serving\n"
        );
        let notice = render(&line().noticed(), Look::File);
        assert_eq!(notice, "2026-11-23T18:21:35.123Z NOTE  adit: serving\n");
    }

    #[test]
    fn a_terminal_gets_less_and_colour_only_if_wanted() {
        let plain = render(&line(), Look::Terminal { color: false });
        assert!(plain.ends_with(":35 INFO  serving\n"), "{plain}");
        assert!(!plain.contains('\x1b'));
        let colored = render(&line(), Look::Terminal { color: true });
        assert!(colored.ends_with(":35 \x1b[32mINFO \x1b[0m serving\n"));
    }
}
