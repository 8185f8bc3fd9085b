//! Text that cannot forge a log line.

use std::fmt::{self, Write};

use crate::limits;

/// Bytes from the network as a log line may show them.
///
/// Printable ASCII stands for itself, but for the backslash and the double
/// quote, which get a backslash before them; every other byte becomes `\n`,
/// `\r`, `\t` or `\xNN`. What would pass [`limits::LOG_FIELD_MAX`] bytes ends
/// in `…`.
///
/// ```
/// use adit::logging::escaped;
///
/// assert_eq!(escaped("example.org").to_string(), "example.org");
/// assert_eq!(escaped(b"a\n\x1b[2Jb").to_string(), r"a\n\x1b[2Jb");
/// ```
pub fn escaped<T: AsRef<[u8]> + ?Sized>(bytes: &T) -> Escaped<'_> {
    Escaped(bytes.as_ref())
}

/// What [`escaped`] returns: shows itself by `Display`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

impl Escaped<'_> {
    /// Each byte as it is shown: one to four characters, never to be split.
    fn pieces(&self) -> impl Iterator<Item = std::ascii::EscapeDefault> {
        self.0.iter().map(|&byte| {
            let mut piece = std::ascii::escape_default(byte);
            if byte == b'\'' {
                // Harmless, and frequent in prose: leave its backslash out.
                piece.next();
            }
            piece
        })
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = limits::LOG_FIELD_MAX;
        let fits =
            self.0.len() <= all && self.pieces().map(|piece| piece.len()).sum::<usize>() <= all;
        let mut room = if fits { all } else { all - ELLIPSIS.len_utf8() };
        for piece in self.pieces() {
            if piece.len() > room {
                return f.write_char(ELLIPSIS);
            }
            room -= piece.len();
            write!(f, "{piece}")?;
        }
        Ok(())
    }
}

/// Stands for what was cut off.
const ELLIPSIS: char = '…';

/// Takes formatted text, escapes its control characters, and stops the
/// formatting once it has more than a line holds.
///
/// Backslashes stay as they are: text from the network has been
/// [`escaped`] already, and a path or a name of our own reads better so.
#[derive(Debug, Default)]
pub(super) struct LineText(String);

impl LineText {
    /// The text of these arguments, at most [`limits::LOG_LINE_MAX`] bytes.
    pub(super) fn of(args: fmt::Arguments<'_>) -> String {
        let mut text = Self::default();
        // An error is our own, at the end of the room, or that of a value which
        // cannot show itself; what there is by then is the line.
        let _ = text.write_fmt(args);
        cut(&mut text.0, limits::LOG_LINE_MAX);
        text.0
    }
}

impl Write for LineText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() > limits::LOG_LINE_MAX {
                return Err(fmt::Error);
            }
            match c {
                '\n' | '\r' | '\t' => self.0.extend(c.escape_default()),
                _ if reshapes(c) => match u8::try_from(c) {
                    Ok(byte) => write!(self.0, "\\x{byte:02x}")?,
                    Err(_) => self.0.extend(c.escape_unicode()),
                },
                _ => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Whether a character could make a line look like something else: a control
/// character (C0, DEL, C1), another line or paragraph separator, or one that
/// changes the direction of writing.
fn reshapes(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}'
        )
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts a text to at most `max_bytes`, on a character's boundary, the last of
/// them being an ellipsis.
pub(super) fn cut(text: &mut String, max_bytes: usize) {
    if text.len() <= max_bytes {
        return;
    }
    let mut end = max_bytes.saturating_sub(ELLIPSIS.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push(ELLIPSIS);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        LineText::of(format_args!("{text}"))
    }

    #[test]
    fn bytes_from_the_network_become_plain_ascii() {
        let every: Vec<u8> = (0..=255).collect();
        for bytes in every.chunks(32) {
            let shown = escaped(bytes).to_string();
            assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown}");
        }
        assert_eq!(escaped("a\\b\"c'd").to_string(), r#"a\\b\"c'd"#);
        assert_eq!(escaped("é").to_string(), r"\xc3\xa9");
    }

    #[test]
    fn a_field_is_bounded_and_an_escape_is_never_split() {
        let whole = "a".repeat(limits::LOG_FIELD_MAX);
        assert_eq!(escaped(&whole).to_string(), whole);
        for lead in 0..4 {
            let bytes = [&b"abc"[..lead], &[0; 1000]].concat();
            let shown = escaped(&bytes).to_string();
            assert!(shown.len() <= limits::LOG_FIELD_MAX, "{}", shown.len());
            assert!(shown.ends_with("\\x00…"), "{shown}");
        }
    }

    #[test]
    fn a_line_keeps_letters_and_loses_controls() {
        assert_eq!(line("Grüße, \\ 世界"), "Grüße, \\ 世界");
        assert_eq!(
            line("a\nb\r\tc\0d\x1b[1m\x7f\u{85}\u{9b}"),
            r"a\nb\r\tc\x00d\x1b[1m\x7f\x85\x9b"
        );
        assert_eq!(line("\u{202e}\u{2028}"), r"\u{202e}\u{2028}");
    }

    #[test]
    fn a_line_is_cut_on_a_characters_boundary() {
        for lead in 0..4 {
            let text = "x".repeat(lead) + &"世".repeat(limits::LOG_LINE_MAX);
            let shown = line(&text);
            assert!(shown.len() <= limits::LOG_LINE_MAX);
            assert!(shown.len() > limits::LOG_LINE_MAX - 6);
            assert!(shown.ends_with("世…"));
        }
    }
}
