//! The notation of hitch.conf: `key = value`, `key = { … }`, comments behind
//! `#`. Line breaks are as good as blanks.

use super::super::super::position::{Span, SyntaxError};
use super::super::words::fault;

/// How deep blocks are nested at most: a pem-file's in a frontend's.
const BLOCKS_MAX: usize = 2;

/// One `key = value`.
pub(super) struct Item<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Span,
    pub(super) value: Value<'a>,
    /// From the key to the end of the value.
    pub(super) span: Span,
}

/// What stands behind a key.
pub(super) enum Value<'a> {
    /// A word, or a text without its quotes; the place is with them.
    Text(&'a str, Span),
    /// `{ … }`.
    Block(Vec<Item<'a>>),
}

impl<'a> Item<'a> {
    /// The value, which must not be a block.
    pub(super) fn text(&self) -> Result<(&'a str, Span), SyntaxError> {
        match &self.value {
            Value::Text(text, span) => Ok((text, *span)),
            Value::Block(_) => Err(fault(
                self.key_span,
                "this key takes no block; write a value after the =",
            )),
        }
    }
}

/// Every item, in order.
pub(super) fn items(text: &str) -> Result<Vec<Item<'_>>, SyntaxError> {
    Parser { text, at: 0 }.items(None, 0)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

enum Token<'a> {
    Word(&'a str),
    Text(&'a str),
    Sign(char),
    End,
}

impl<'a> Parser<'a> {
    /// Items up to the end of the block that was opened there, or of the file.
    fn items(&mut self, open: Option<Span>, depth: usize) -> Result<Vec<Item<'a>>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (token, key_span) = self.token()?;
            let key = match (token, open) {
                (Token::Word(key), _) => key,
                (Token::Sign('}'), Some(_)) | (Token::End, None) => return Ok(items),
                (Token::End, Some(open)) => {
                    return Err(fault(open, "this block has no end; write } after it"));
                }
                (Token::Sign('}'), None) => {
                    return Err(fault(key_span, "this } closes no block; remove it"));
                }
                _ => {
                    return Err(fault(
                        key_span,
                        "a key should stand here; write key = value",
                    ));
                }
            };
            if !matches!(self.token()?.0, Token::Sign('=')) {
                return Err(fault(
                    key_span,
                    "this key has no value; write = and the value after it",
                ));
            }
            let (token, span) = self.token()?;
            let value = match token {
                Token::Text(text) => Value::Text(text, span),
                Token::Word(_) if key == "tls-protos" => self.protocols(span)?,
                Token::Word(word) => Value::Text(word, span),
                Token::Sign('{') if depth < BLOCKS_MAX => {
                    Value::Block(self.items(Some(span), depth + 1)?)
                }
                Token::Sign('{') => {
                    return Err(fault(
                        span,
                        "blocks are nested deeper here than hitch knows; remove one",
                    ));
                }
                _ => {
                    return Err(fault(
                        key_span,
                        "this key has no value; write one after the =",
                    ));
                }
            };
            items.push(Item {
                key,
                key_span,
                value,
                span: Span::new(key_span.start, self.at),
            });
        }
    }

    /// The list of protocols, which stands without quotes: words up to one
    /// that is none.
    fn protocols(&mut self, first: Span) -> Result<Value<'a>, SyntaxError> {
        let mut end = first.end;
        loop {
            self.at = end;
            match self.token()? {
                (Token::Word(word), span)
                    if word.starts_with("TLSv") || word.starts_with("SSLv") =>
                {
                    end = span.end;
                }
                _ => break,
            }
        }
        self.at = end;
        let span = Span::new(first.start, end);
        Ok(Value::Text(&self.text[span.start..span.end], span))
    }

    fn token(&mut self) -> Result<(Token<'a>, Span), SyntaxError> {
        self.space();
        let start = self.at;
        let rest = &self.text[start..];
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(sign @ ('=' | '{' | '}')) => (Token::Sign(sign), 1),
            Some('"') => match rest[1..].find(['"', '\n']) {
                Some(end) if rest[1 + end..].starts_with('"') => {
                    (Token::Text(&rest[1..=end]), end + 2)
                }
                _ => {
                    let line = rest.lines().next().unwrap_or_default().trim_end();
                    return Err(fault(
                        Span::new(start, start + line.len()),
                        "this text has no end on its line; write \" after it",
                    ));
                }
            },
            Some(_) => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '=' | '{' | '}' | '"' | '#'))
                    .unwrap_or(rest.len());
                (Token::Word(&rest[..end]), end)
            }
        };
        self.at = start + length;
        Ok((token, Span::new(start, self.at)))
    }

    /// Skips blanks and comments.
    fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.len() - rest.trim_start().len();
            self.at += blanks;
            if !self.text[self.at..].starts_with('#') {
                return;
            }
            let rest = &self.text[self.at..];
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }
}
