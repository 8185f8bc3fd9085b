//! INI files: `[section]`, `key = value`, comments behind `#` or `;`.

use super::super::position::{Span, SyntaxError};
use super::words::fault;

/// One `key = value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// The whole of it, without a comment.
    pub(super) span: Span,
    pub(super) section_span: Span,
    pub(super) key_span: Span,
    pub(super) value_span: Span,
}

/// Every entry, in order.
pub(super) fn entries(text: &str) -> Result<Vec<Entry<'_>>, SyntaxError> {
    let mut entries = Vec::new();
    let mut section = Span::new(0, 0);
    let mut next = 0;
    for line in text.split_inclusive('\n') {
        let line_span = trim(text, Span::new(next, next + line.len()));
        next += line.len();
        let line = &text[line_span.start..line_span.end];
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let Some(length) = rest.find(']') else {
                return Err(fault(
                    line_span,
                    "this section's name has no end; write ] after it",
                ));
            };
            let start = line_span.start + 1;
            section = trim(text, Span::new(start, start + length));
            continue;
        }
        let Some(equals) = line.find(['=', ':']) else {
            return Err(fault(
                line_span,
                "this line is neither a section nor a setting; write key = value",
            ));
        };
        let at = line_span.start + equals;
        let key = trim(text, Span::new(line_span.start, at));
        let value = trim(text, uncommented(text, Span::new(at + 1, line_span.end)));
        if key.start == key.end {
            return Err(fault(line_span, "this value has no key; write key = value"));
        }
        entries.push(Entry {
            section: &text[section.start..section.end],
            key: &text[key.start..key.end],
            value: unquoted(&text[value.start..value.end]),
            span: Span::new(key.start, value.end.max(at + 1)),
            section_span: section,
            key_span: key,
            value_span: value,
        });
    }
    Ok(entries)
}

/// Up to a comment, which begins with `#` or `;` after white space: inside a
/// word either may stand.
fn uncommented(text: &str, span: Span) -> Span {
    let value = &text[span.start..span.end];
    let mut blank = true;
    for (at, c) in value.char_indices() {
        if blank && matches!(c, '#' | ';') {
            return Span::new(span.start, span.start + at);
        }
        blank = c.is_whitespace();
    }
    span
}

/// Quotes around the whole value do not belong to it.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

fn trim(text: &str, span: Span) -> Span {
    let slice = &text[span.start..span.end];
    let start = span.start + (slice.len() - slice.trim_start().len());
    let end = start + slice.trim().len();
    Span::new(start, end)
}
