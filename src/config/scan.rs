//! Cuts a text into values that know their places.
//!
//! The scan is bounded: it nests no deeper than
//! [`limits::CONFIG_DEPTH_MAX`], holds no more values than
//! [`limits::CONFIG_VALUES_MAX`], and reads each byte a fixed number of times.
//! It finds the commonest slips of the hand (a comma, a bracket, a quote
//! forgotten) and says so where they are; it is tolerant of the inside of
//! words, numbers and texts.

use super::position::{Field, Kind, Node, Place, Span, SyntaxError};
use crate::limits;

/// Cuts a text into values.
pub(super) fn scan(text: &str) -> Result<Node<'_>, SyntaxError> {
    Scanner {
        text,
        at: 0,
        depth: 0,
        values: 0,
    }
    .file()
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    values: usize,
}

type Scanned<T> = Result<T, SyntaxError>;

impl<'a> Scanner<'a> {
    fn file(&mut self) -> Scanned<Node<'a>> {
        self.extensions()?;
        self.space()?;
        if self.rest().is_empty() {
            return Err(self.here("the file holds no configuration; write ( … ), see minimal.ron"));
        }
        let start = self.at;
        if let Some(word) = self.word() {
            self.space()?;
            if matches!(self.peek(), Some(':' | '=')) {
                return Err(fault(
                    Span::new(start, start + word.len()),
                    "the configuration is not in brackets; write ( before the first key and ) after the last value",
                ));
            }
            self.at = start;
        }
        let root = self.value("the configuration")?;
        self.space()?;
        match self.peek() {
            None => Ok(root),
            Some(c @ (')' | ']' | '}')) => Err(self.here(&format!(
                "this `{c}` closes nothing: the configuration has ended before it; remove it, or look for a bracket closed too early"
            ))),
            Some(_) => Err(self.here(
                "the configuration has ended before this; remove it, or look for a bracket closed too early",
            )),
        }
    }

    /// `#![enable(…)]` lines, which the `ron` crate reads.
    fn extensions(&mut self) -> Scanned<()> {
        loop {
            self.space()?;
            if !self.rest().starts_with('#') {
                return Ok(());
            }
            let start = self.at;
            match self.rest().find(']') {
                Some(length) => self.at += length + 1,
                None => {
                    return Err(fault(
                        Span::new(start, start + 1),
                        "`#` begins no comment in RON; write // before a comment",
                    ));
                }
            }
            if !self.text[start..].starts_with("#!") {
                return Err(fault(
                    Span::new(start, start + 1),
                    "`#` begins no comment in RON; write // before a comment",
                ));
            }
        }
    }

    fn value(&mut self, of: &str) -> Scanned<Node<'a>> {
        self.space()?;
        self.values += 1;
        if self.values > limits::CONFIG_VALUES_MAX {
            return Err(self.here(&format!(
                "there are more than {} values up to here; no configuration needs as many",
                limits::CONFIG_VALUES_MAX
            )));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some('(') => self.brackets(None)?,
            Some('[') => Kind::List(self.nested(|scanner| scanner.items(start, ']'))?),
            Some('{') => Kind::Map(self.nested(|scanner| scanner.entries(start))?),
            Some('"') => {
                self.quoted(start, '"')?;
                Kind::Text
            }
            Some('\'') => {
                self.quoted(start, '\'')?;
                Kind::Other
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => {
                self.skip_while(|c| is_word(c) || matches!(c, '.' | '+' | '-'));
                Kind::Number
            }
            Some('r') if self.raw_quotes(1).is_some() => {
                self.raw(start, 1)?;
                Kind::Text
            }
            Some('b') if self.rest().starts_with("br") && self.raw_quotes(2).is_some() => {
                self.raw(start, 2)?;
                Kind::Other
            }
            Some('b') if self.rest().starts_with("b\"") || self.rest().starts_with("b'") => {
                self.at += 1;
                self.quoted(start, self.peek().unwrap_or('"'))?;
                Kind::Other
            }
            Some(c) if is_word(c) => self.named()?,
            Some(c) if matches!(c, ',' | ')' | ']' | '}') => {
                return Err(self.here(&format!("a value is missing before this `{c}`, {of}")));
            }
            Some('#') => {
                return Err(self.here("`#` begins no comment in RON; write // before a comment"));
            }
            Some(c) => return Err(self.here(&format!("`{}` begins no value", c.escape_debug()))),
            None => return Err(self.here(&format!("the file ends before {of} has a value"))),
        };
        Ok(Node {
            span: Span::new(start, self.at),
            text: &self.text[start..self.at],
            kind,
        })
    }

    /// A word, alone or in front of brackets.
    fn named(&mut self) -> Scanned<Kind<'a>> {
        let Some(word) = self.word() else {
            return Err(self.here("a value is missing here"));
        };
        let end = self.at;
        self.space()?;
        if self.peek() == Some('(') {
            return self.brackets(Some(word));
        }
        self.at = end;
        Ok(Kind::Word)
    }

    /// `( … )`: a struct if it begins with a key, a tuple otherwise.
    fn brackets(&mut self, name: Option<&'a str>) -> Scanned<Kind<'a>> {
        let open = self.at;
        self.nested(|scanner| {
            let first = {
                scanner.at = open + 1;
                scanner.space()?;
                scanner.at
            };
            let is_struct = match scanner.peek() {
                Some(')') => true,
                Some(_) => {
                    scanner.word().is_some() && {
                        scanner.space()?;
                        // `=` is no RON; fields() says so.
                        matches!(scanner.peek(), Some(':' | '='))
                    }
                }
                None => return Err(unclosed(open, '(')),
            };
            scanner.at = first;
            if is_struct {
                Ok(Kind::Struct(name, scanner.fields(open)?))
            } else {
                scanner.at = open;
                Ok(Kind::Tuple(name, scanner.items(open, ')')?))
            }
        })
    }

    /// The fields of a struct whose bracket is open, up to its close.
    fn fields(&mut self, open: usize) -> Scanned<Vec<Field<'a>>> {
        let mut fields = Vec::new();
        loop {
            self.space()?;
            let start = self.at;
            match self.peek() {
                Some(')') => {
                    self.at += 1;
                    return Ok(fields);
                }
                Some('"') => {
                    self.quoted(start, '"')?;
                    let key = self.text[start..self.at].trim_matches('"');
                    return Err(fault(
                        Span::new(start, self.at),
                        &format!("a key stands without quotes here; write {key}"),
                    ));
                }
                _ => {}
            }
            let Some(key) = self.word() else {
                return Err(self.no_item(open, '(', ')', "a key"));
            };
            let key_span = Span::new(start, self.at);
            let key = key.strip_prefix("r#").unwrap_or(key);
            self.colon(key_span)?;
            let value = self.value(&format!("for the key \"{key}\""))?;
            let end = value.span.end;
            fields.push(Field {
                key,
                key_span,
                value,
            });
            if !self.comma(open, '(', ')', end)? {
                return Ok(fields);
            }
        }
    }

    /// The values of a list or a tuple from its opening bracket to its close.
    fn items(&mut self, open: usize, close: char) -> Scanned<Vec<Node<'a>>> {
        let bracket = if close == ']' { '[' } else { '(' };
        self.at = open + 1;
        let mut items = Vec::new();
        loop {
            self.space()?;
            match self.peek() {
                Some(c) if c == close => {
                    self.at += 1;
                    return Ok(items);
                }
                None | Some(')' | ']' | '}') => {
                    return Err(self.no_item(open, bracket, close, "a value"));
                }
                _ => {}
            }
            let value = self.value("in this place")?;
            self.space()?;
            if self.peek() == Some(':') {
                return Err(if close == ')' && matches!(value.kind, Kind::Text) {
                    let key = value.text.trim_matches('"');
                    fault(
                        value.span,
                        &format!("a key stands without quotes here; write {key}"),
                    )
                } else {
                    fault(
                        value.span,
                        "a key stands in ( … ), not in a list; write (key: value)",
                    )
                });
            }
            let end = value.span.end;
            items.push(value);
            if !self.comma(open, bracket, close, end)? {
                return Ok(items);
            }
        }
    }

    /// The entries of a map from its opening bracket to its close.
    fn entries(&mut self, open: usize) -> Scanned<Vec<(Node<'a>, Node<'a>)>> {
        self.at = open + 1;
        let mut entries = Vec::new();
        loop {
            self.space()?;
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return Ok(entries);
                }
                None | Some(')' | ']') => return Err(self.no_item(open, '{', '}', "a name")),
                _ => {}
            }
            let key = self.value("as a name")?;
            self.colon(key.span)?;
            let value = self.value("for this name")?;
            let end = value.span.end;
            entries.push((key, value));
            if !self.comma(open, '{', '}', end)? {
                return Ok(entries);
            }
        }
    }

    /// The colon behind a key.
    fn colon(&mut self, key: Span) -> Scanned<()> {
        self.space()?;
        match self.peek() {
            Some(':') => {
                self.at += 1;
                Ok(())
            }
            Some('=') => Err(self.here("`=` stands in no configuration; write : after a key")),
            _ => Err(fault(
                key,
                "this key has no value; write : and the value after it",
            )),
        }
    }

    /// What follows a value: a comma (true) or the close (false).
    fn comma(&mut self, open: usize, bracket: char, close: char, end: usize) -> Scanned<bool> {
        self.space()?;
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(true)
            }
            Some(c) if c == close => {
                self.at += 1;
                Ok(false)
            }
            None => Err(unclosed(open, bracket)),
            Some(')' | ']' | '}') => Err(self.no_item(open, bracket, close, "a comma")),
            Some(c) => {
                let next: String = if is_word(c) {
                    self.rest()
                        .chars()
                        .take_while(|&c| is_word(c))
                        .take(30)
                        .collect()
                } else {
                    c.escape_debug().collect()
                };
                Err(fault(
                    Span::new(end, end),
                    &format!(
                        "a comma is missing here, before `{next}`; write , between two values"
                    ),
                ))
            }
        }
    }

    /// Neither an item nor the right close: the file ends, or another bracket
    /// closes, or there is something else.
    fn no_item(&self, open: usize, bracket: char, close: char, what: &str) -> SyntaxError {
        match self.peek() {
            None => unclosed(open, bracket),
            Some(c @ (')' | ']' | '}')) => self.here(&format!(
                "this `{c}` does not close the `{bracket}` of line {}; write `{close}`",
                Place::of(self.text, open).line
            )),
            Some(',') => self.here("there is a comma too many here; remove it"),
            Some('#') => self.here("`#` begins no comment in RON; write // before a comment"),
            Some(c) => self.here(&format!(
                "`{}` stands where {what} or `{close}` should",
                c.escape_debug()
            )),
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Scanned<T>) -> Scanned<T> {
        if self.depth == limits::CONFIG_DEPTH_MAX {
            return Err(self.here(&format!(
                "brackets are nested deeper than {} here; no configuration needs as many",
                limits::CONFIG_DEPTH_MAX
            )));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Skips a quoted text, or a character. Neither may span lines: it is
    /// nearly always a forgotten quote, and no value here holds a line break.
    fn quoted(&mut self, start: usize, quote: char) -> Scanned<()> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.at += at + 1;
                    return Ok(());
                }
                _ => {}
            }
        }
        let line = self.text[start..].lines().next().unwrap_or_default();
        Err(fault(
            Span::new(start, start + line.trim_end().len()),
            &format!("this text has no end on its line; write {quote} after it"),
        ))
    }

    /// The number of `#` before the quote of a raw text, if one begins after
    /// that many letters.
    fn raw_quotes(&self, letters: usize) -> Option<usize> {
        let rest = &self.rest()[letters..];
        let hashes = rest.bytes().take_while(|&b| b == b'#').count();
        rest[hashes..].starts_with('"').then_some(hashes)
    }

    fn raw(&mut self, start: usize, letters: usize) -> Scanned<()> {
        let hashes = self.raw_quotes(letters).unwrap_or_default();
        let body = start + letters + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        match self.text[body..].find(&close) {
            Some(length) => {
                self.at = body + length + close.len();
                Ok(())
            }
            None => Err(fault(
                Span::new(start, body),
                &format!("this text has no end; write {close} after it"),
            )),
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.rest().starts_with("r#") {
            self.at += 2;
        }
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at = start;
            return None;
        }
        // A raw identifier may hold dots and signs, a plain one may not.
        let raw = self.at != start;
        self.skip_while(|c| is_word(c) || raw && matches!(c, '.' | '+' | '-'));
        if self.at == start || raw && self.at == start + 2 {
            self.at = start;
            return None;
        }
        Some(&self.text[start..self.at])
    }

    /// Skips white space and comments.
    fn space(&mut self) -> Scanned<()> {
        loop {
            self.skip_while(is_space);
            if self.rest().starts_with("//") {
                self.skip_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Block comments nest in RON.
    fn block_comment(&mut self) -> Scanned<()> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(c) = rest.chars().next() {
                self.at += c.len_utf8();
            } else {
                return Err(fault(
                    Span::new(start, start + 2),
                    "this comment has no end; write */ after it",
                ));
            }
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// A fault of the character that comes next.
    fn here(&self, message: &str) -> SyntaxError {
        let length = self.peek().map_or(0, char::len_utf8);
        fault(Span::new(self.at, self.at + length), message)
    }
}

fn unclosed(open: usize, bracket: char) -> SyntaxError {
    let close = match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    };
    fault(
        Span::new(open, open + 1),
        &format!("this `{bracket}` is never closed; write `{close}` where it ends"),
    )
}

fn fault(span: Span, message: &str) -> SyntaxError {
    SyntaxError {
        span,
        message: message.to_owned(),
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The white space of RON's grammar.
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t'..='\r' | '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_very_text() {
        let text = r##"#![enable(implicit_some)]
            /* outer /* inner */ */ (a: Some((b: [1, r#"x"y"#, 'c', b"z", Foo(2)])), // (
             m: {"k": (), "l": -1.5e3,}, r#w: Auto)"##;
        let root = scan(text).expect("it is RON");
        let list = root.field("a").and_then(|a| a.field("b")).expect("a.b");
        let texts: Vec<_> = (0..5)
            .map(|i| list.item(i).expect("an item").text)
            .collect();
        assert_eq!(texts, ["1", "r#\"x\"y\"#", "'c'", "b\"z\"", "Foo(2)"]);
        let map = root.field("m").expect("m");
        assert_eq!(map.item(1).expect("l").text, "-1.5e3");
        assert_eq!(root.field("w").expect("w").text, "Auto");
        let key = root.key("m").expect("m");
        assert_eq!(&text[key.start..key.end], "m");
        assert_eq!(
            Place::of(text, key.start),
            Place {
                line: 3,
                column: 14
            }
        );
        assert_eq!(
            Place {
                line: 3,
                column: 14
            }
            .offset(text),
            key.start
        );
    }

    #[test]
    fn deep_nesting_ends_in_an_error_not_in_the_stack() {
        for open in ["(", "[", "{", "{()", "Some(", "(a:", "[("] {
            let error = scan(&open.repeat(1_000_000)).expect_err("too deep");
            assert!(!error.message.is_empty());
        }
    }
}
