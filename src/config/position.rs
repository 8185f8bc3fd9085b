//! Where each value stands in the file.
//!
//! serde knows values but not their places, and RON's own errors give the
//! place where its reader stopped, which is mostly past the offender. So the
//! text is first cut into a tree of [`Node`]s that know where they begin and
//! end. The tree holds no meaning: what a number or a quoted text stands for
//! is left to the `ron` crate, and which keys there are to
//! [`file`](super::file).

/// A stretch of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A line and a column of the text, both from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) span: Span,
    /// Its very text.
    pub(super) text: &'a str,
    pub(super) kind: Kind<'a>,
}

/// What kind of value it is by its looks.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// `"text"`, `r#"text"#`.
    Text,
    /// `30`, `-1.5`, `0x10`.
    Number,
    /// `'c'`, `b"bytes"`, `b'c'`: legal, and of no use here.
    Other,
    /// `Auto`, `None`, `true`.
    Word,
    /// `[ … ]`.
    List(Vec<Node<'a>>),
    /// `{ key: value, … }`.
    Map(Vec<(Node<'a>, Node<'a>)>),
    /// `( key: value, … )`, or `()`; with the name that may stand in front.
    Struct(Option<&'a str>, Vec<Field<'a>>),
    /// `( value, … )`, with the name that may stand in front.
    Tuple(Option<&'a str>, Vec<Node<'a>>),
}

/// A key of a struct and its value.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Span,
    pub(super) value: Node<'a>,
}

/// What is wrong with the text: where, and a sentence.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) span: Span,
    pub(super) message: String,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        Self { start, end }
    }

    /// The first byte alone: enough to show where a long value begins.
    pub(super) fn head(self) -> Self {
        Self::new(self.start, self.end.min(self.start + 1))
    }

    /// The span, with both ends inside the text and on character boundaries.
    pub(crate) fn within(self, text: &str) -> Self {
        let start = floor(text, self.start);
        Self::new(start, floor(text, self.end).max(start))
    }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Place {
    /// The place of that byte.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..floor(text, offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: 1 + before.bytes().filter(|&b| b == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }

    /// The byte at that place, or the text's end if there is none.
    pub(super) fn offset(self, text: &str) -> usize {
        let line_start = match self.line {
            0 | 1 => 0,
            line => text
                .match_indices('\n')
                .nth(line - 2)
                .map_or(text.len(), |(at, _)| at + 1),
        };
        text[line_start..]
            .char_indices()
            .nth(self.column.saturating_sub(1))
            .map_or(text.len(), |(at, _)| line_start + at)
    }
}

impl<'a> Node<'a> {
    /// The value of that key, if this is a struct that has it.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        match &self.inner().kind {
            Kind::Struct(_, fields) => fields
                .iter()
                .find(|field| field.key == key)
                .map(|field| field.value.inner()),
            _ => None,
        }
    }

    /// The place of that key, if this is a struct that has it.
    pub(super) fn key(&self, key: &str) -> Option<Span> {
        match &self.inner().kind {
            Kind::Struct(_, fields) => fields
                .iter()
                .find(|field| field.key == key)
                .map(|field| field.key_span),
            _ => None,
        }
    }

    /// The value at that index, if this is a list or a map that has it.
    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        match &self.inner().kind {
            Kind::List(items) => items.get(index).map(Self::inner),
            Kind::Map(entries) => entries.get(index).map(|(_, value)| value.inner()),
            _ => None,
        }
    }

    /// What `Some( … )` holds, or the value itself: operators need not write
    /// it, but may.
    pub(super) fn inner(&self) -> &Self {
        match &self.kind {
            Kind::Tuple(Some("Some"), items) if items.len() == 1 => items[0].inner(),
            _ => self,
        }
    }

    /// The smallest value in which that byte lies, or at whose end it lies.
    pub(super) fn innermost(&self, offset: usize) -> &Self {
        let holds = |node: &Self| node.span.start <= offset && offset <= node.span.end;
        let child = match &self.kind {
            Kind::List(items) | Kind::Tuple(_, items) => items.iter().find(|item| holds(item)),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|(key, value)| [key, value])
                .find(|node| holds(node)),
            Kind::Struct(_, fields) => fields
                .iter()
                .map(|field| &field.value)
                .find(|value| holds(value)),
            Kind::Text | Kind::Number | Kind::Other | Kind::Word => None,
        };
        child.map_or(self, |child| child.innermost(offset))
    }
}
