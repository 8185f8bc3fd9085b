//! What is wrong with a configuration.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::position::{Place, Span};
use crate::limits;

/// The most of a source line that an error repeats, in characters.
const EXCERPT_MAX: usize = 100;

/// The most of an offending text that an error repeats, in characters.
const OFFENDING_MAX: usize = 60;

/// What is wrong with a configuration, where, and what to write instead.
///
/// Displayed, it is one sentence behind the place, then the line of the file
/// with a caret below the offending text:
///
/// ```text
/// adit.ron:7:18: unknown key "backned" in a listener; did you mean "backend"?
///   7 |         backned: "127.0.0.1:8080",
///     |         ^^^^^^^
/// ```
pub struct ConfigError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    place: Option<Place>,
    /// The line, as far as it is shown, and the caret below it.
    excerpt: Option<Excerpt>,
    offending: String,
    problem: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

#[derive(Debug)]
struct Excerpt {
    line: String,
    caret_column: usize,
    caret_width: usize,
}

impl ConfigError {
    /// The file, as it was named to the reader.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// The line of the offending text, from 1. `None` if the file could not be
    /// read at all.
    pub fn line(&self) -> Option<usize> {
        self.0.place.map(|place| place.line)
    }

    /// The column of the first offending character, from 1, in characters.
    /// `None` if the file could not be read at all.
    pub fn column(&self) -> Option<usize> {
        self.0.place.map(|place| place.column)
    }

    /// The offending text, cut to a length fit for a message; empty if there
    /// is none.
    pub fn offending(&self) -> &str {
        &self.0.offending
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    /// What to write instead, where the problem does not say it already.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// A fault at that span of the text. What stands after the first "; " of
    /// the message is its hint.
    pub(crate) fn at(file: &Path, text: &str, span: Span, message: &str) -> Self {
        let span = span.within(text);
        let place = Place::of(text, span.start);
        let (problem, hint) = match message.split_once("; ") {
            Some((problem, hint)) => (problem, Some(hint.to_owned())),
            None => (message, None),
        };
        Self(Box::new(Inner {
            file: file.to_owned(),
            place: Some(place),
            excerpt: Some(Excerpt::of(text, span, place)),
            offending: clip(&text[span.start..span.end]),
            problem: problem.to_owned(),
            hint,
            source: None,
        }))
    }

    /// A fault of the file as a whole.
    fn whole(file: &Path, problem: String, hint: &str, source: Option<io::Error>) -> Self {
        Self(Box::new(Inner {
            file: file.to_owned(),
            place: None,
            excerpt: None,
            offending: String::new(),
            problem,
            hint: Some(hint.to_owned()),
            source,
        }))
    }

    /// The file cannot be read.
    pub(crate) fn unreadable(file: &Path, error: io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path, or write the file first",
            io::ErrorKind::PermissionDenied => {
                "let the user that runs adit read the file and enter its directories"
            }
            io::ErrorKind::IsADirectory => "name the file in the directory",
            _ => "name a regular file that can be read",
        };
        Self::whole(file, format!("cannot be read: {error}"), hint, Some(error))
    }

    /// The file is larger than any configuration.
    pub(crate) fn too_large(file: &Path) -> Self {
        let problem = format!(
            "is larger than {} MiB, the most that is read",
            limits::FILE_SIZE_MAX / (1024 * 1024)
        );
        Self::whole(file, problem, "is it the right file?", None)
    }

    /// The file is no UTF-8 text.
    pub(crate) fn not_utf8(file: &Path, bytes: &[u8], error: std::str::Utf8Error) -> Self {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        let mut fault = Self::whole(
            file,
            format!("byte 0x{byte:02x} is no UTF-8 text"),
            "save the file as UTF-8",
            None,
        );
        fault.0.place = Some(Place::of(&valid, valid.len()));
        fault.0.offending = format!("\\x{byte:02x}");
        fault
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}:", inner.file.display())?;
        if let Some(place) = inner.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", inner.problem)?;
        if let Some(hint) = &inner.hint {
            write!(f, "; {hint}")?;
        }
        if let (Some(place), Some(excerpt)) = (inner.place, &inner.excerpt) {
            let number = place.line.to_string();
            write!(
                f,
                "\n  {number} | {}\n  {:number_width$} | {:indent$}{}",
                excerpt.line,
                "",
                "",
                "^".repeat(excerpt.caret_width),
                number_width = number.len(),
                indent = excerpt.caret_column,
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    /// As [`Display`](fmt::Display): an `unwrap` should be as readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(source)
    }
}

impl Excerpt {
    /// The line in which the span starts. Of a long line only the part around
    /// the span is kept, and the caret ends with the line.
    fn of(text: &str, span: Span, place: Place) -> Self {
        let from = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let to = text[span.start..]
            .find('\n')
            .map_or(text.len(), |at| span.start + at);
        let line = text[from..to].trim_end();
        let column = place.column - 1;
        let skipped = if column > EXCERPT_MAX * 3 / 4 {
            column - EXCERPT_MAX / 2
        } else {
            0
        };
        let shown: String = line
            .chars()
            .skip(skipped)
            .take(EXCERPT_MAX)
            .map(printable)
            .collect();
        let caret_column = column - skipped;
        let width = text[span.start..span.end.min(to)]
            .trim_end()
            .chars()
            .count();
        Self {
            caret_width: width.clamp(1, (EXCERPT_MAX - caret_column).max(1)),
            caret_column,
            line: shown,
        }
    }
}

/// One column wide and harmless on a terminal: a tab would shift the caret.
fn printable(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

/// A text as messages repeat it: harmless on a terminal, and not too long.
pub(super) fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(OFFENDING_MAX).map(printable).collect();
    if text.chars().nth(OFFENDING_MAX).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, word: &str) -> String {
        let start = text.find(word).expect("the word is in the text");
        let span = Span::new(start, start + word.len());
        ConfigError::at(Path::new("x.ron"), text, span, "is wrong; write y").to_string()
    }

    #[test]
    fn the_caret_stands_below_the_offending_text() {
        assert_eq!(
            error("(\n\tä: bad,\r\n)", "bad"),
            "x.ron:2:5: is wrong; write y\n  2 |  ä: bad,\n    |     ^^^"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_offending_text() {
        let text = format!("{}bad{}", "a".repeat(5000), "b".repeat(5000));
        let shown = error(&text, "bad");
        let [_, line, caret] = shown.lines().collect::<Vec<_>>()[..] else {
            panic!("{shown}");
        };
        assert!(line.chars().count() < 120, "{line}");
        let column = caret.find('^').expect("a caret");
        assert_eq!(&line[column..column + 3], "bad");
    }
}
