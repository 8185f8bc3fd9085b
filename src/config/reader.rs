//! Gives the tree of values to serde, and puts a place to every fault.
//!
//! What serde's derived code finds wrong (a missing key, a value that a type
//! refuses) it says without a place; here the innermost value that was being
//! read is known, and becomes the place. Unknown and repeated keys are refused
//! before serde sees them, at the key.

mod access;

use std::collections::HashSet;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Visitor};
use serde::forward_to_deserialize_any;

use super::error::clip;
use super::position::{Field, Kind, Node, Span, SyntaxError};
use super::suggest::nearest;
use access::{Entries, Fields, Items, Variant};

/// Structs that may be written as one value: that of the key named here.
const SHORTHANDS: &[(&str, &str)] = &[
    ("a backend", "address"),
    ("a certificate", "cert"),
    ("ticket_keys", "file"),
];

/// Enums of which one variant may go without its name, and how they are
/// written.
const NAMELESS: &[(&str, &str, &str)] = &[(
    "tls of a listener",
    "Server",
    "tls, ( cert: …, … ), Client( … ), Passthrough, or Off",
)];

/// What to write for keys that must be there.
const EXAMPLES: &[(&str, &str)] = &[
    ("listeners", "listeners: [(address: \"*:443\", …)]"),
    ("address", "address: \"HOST:PORT\""),
    ("tls", "tls: (cert: \"site.pem\", key: \"site.key\")"),
    ("cert", "cert: \"site.pem\""),
    ("backends", "backends: [\"127.0.0.1:8080\"]"),
    ("file", "file: \"ticket.keys\""),
];

/// Reads a value from its tree.
pub(super) fn read<'de, T: de::Deserialize<'de>>(root: &'de Node<'de>) -> Result<T, SyntaxError> {
    T::deserialize(Reader::new(root)).map_err(|fault| match fault.at(root) {
        Fault::At(error) => error,
        // Fault::at() leaves nothing else.
        other => SyntaxError {
            span: root.span.head(),
            message: other.to_string(),
        },
    })
}

/// What serde, or a type that it reads, finds wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// A sentence without a place yet.
    Message(String),
    /// A value of another kind was expected: what kind.
    Expected(String),
    /// That key is missing in the struct at hand.
    Missing(&'static str),
    /// A sentence and its place.
    At(SyntaxError),
}

impl Fault {
    /// The fault, placed at that value unless it has a place already.
    fn at(self, node: &Node<'_>) -> Self {
        let message = match self {
            Self::At(_) => return self,
            Self::Message(message) => message,
            Self::Expected(expected) => format!("expected {expected}, found {}", found(node)),
            Self::Missing(key) => format!("the key \"{key}\" is missing"),
        };
        Self::At(SyntaxError {
            span: node.span,
            message,
        })
    }

    fn placed(span: Span, message: String) -> Self {
        Self::At(SyntaxError { span, message })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::Expected(expected) => write!(f, "expected {expected}"),
            Self::Missing(key) => write!(f, "the key \"{key}\" is missing"),
            Self::At(error) => f.write_str(&error.message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// A value in the words of an operator.
pub(super) fn found(node: &Node<'_>) -> String {
    match &node.kind {
        Kind::Text => format!("the text {}", clip(node.text)),
        Kind::Number => format!("the number {}", clip(node.text)),
        Kind::Other => clip(node.text),
        Kind::Word => format!("the word {}", clip(node.text)),
        Kind::List(_) => "a list, [ … ]".into(),
        Kind::Map(_) => "a map, { … }".into(),
        Kind::Struct(_, fields) if fields.is_empty() => "()".into(),
        Kind::Struct(..) => "a struct, ( key: value, … )".into(),
        Kind::Tuple(..) => "values in round brackets, ( … )".into(),
    }
}

/// One value, as serde asks for it.
#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node<'de>,
    /// The name before its bracket was read already: it is an enum's word.
    named: bool,
}

impl<'de> Reader<'de> {
    fn new(node: &'de Node<'de>) -> Self {
        Self { node, named: false }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let node = self.node;
        match &node.kind {
            Kind::Text => visitor.visit_string(scalar::<String>(node)?),
            // What is no i64 is a fraction or out of every bound.
            Kind::Number => match ron::from_str::<i64>(node.text) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => visitor.visit_f64(scalar::<f64>(node)?),
            },
            Kind::Word => visitor.visit_enum(BorrowedStrDeserializer::new(node.text)),
            Kind::List(_) | Kind::Tuple(..) => visitor.visit_seq(Items([].iter())),
            Kind::Map(_) | Kind::Struct(..) | Kind::Other => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Word if self.node.text == "None" => visitor.visit_none(),
            _ => {
                let inner = self.node.inner();
                visitor
                    .visit_some(Reader::new(inner))
                    .map_err(|fault| fault.at(inner))
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            _ => Err(Fault::Expected("a list, [ …, … ]".into())),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Kind::Map(entries) = &self.node.kind else {
            return Err(Fault::Expected("a map, { \"name\": value, … }".into()));
        };
        let mut names = HashSet::new();
        for (key, _) in entries {
            if matches!(key.kind, Kind::Text) && !names.insert(scalar::<String>(key)?) {
                return Err(Fault::placed(
                    key.span,
                    format!(
                        "the name {} stands here a second time; remove one of the two",
                        clip(key.text)
                    ),
                ));
            }
        }
        visitor.visit_map(Entries {
            entries: entries.iter(),
            value: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        what: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let node = self.node;
        let shorthand = SHORTHANDS
            .iter()
            .find(|(name, _)| *name == what)
            .map(|(_, key)| *key);
        let fields = match (&node.kind, shorthand) {
            (Kind::Struct(None, fields), _) => fields,
            (Kind::Struct(Some(_), fields), _) if self.named => fields,
            (Kind::Struct(Some(name), _), _) => {
                return Err(Fault::placed(
                    Span::new(node.span.start, node.span.start + name.len()),
                    format!(
                        "{what} has no name before its bracket; remove {}",
                        clip(name)
                    ),
                ));
            }
            (Kind::Text, Some(key)) => return visitor.visit_map(Fields::new([(key, node)])),
            _ => {
                let or = shorthand.map_or("", |_| ", or a text in quotes");
                return Err(Fault::Expected(format!(
                    "{what}, ( {}: …, … ){or}",
                    keys.first().copied().unwrap_or("key")
                )));
            }
        };
        check_keys(what, keys, fields)?;
        visitor
            .visit_map(Fields::new(
                fields.iter().map(|field| (field.key, &field.value)),
            ))
            .map_err(|fault| match fault {
                Fault::Missing(key) => Fault::placed(node.span.head(), missing(what, key)),
                other => other,
            })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        what: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let node = self.node;
        let list = words.join(", ");
        let nameless = NAMELESS.iter().find(|(name, ..)| *name == what);
        let unknown = |word: &str| match nearest(word, words.iter().copied()) {
            Some(meant) => format!("unknown word {}; did you mean {meant}?", clip(word)),
            None => format!("unknown word {}; write one of {list}", clip(word)),
        };
        match &node.kind {
            Kind::Word if words.contains(&node.text) => visitor.visit_enum(Variant {
                word: node.text,
                content: None,
            }),
            Kind::Word => Err(Fault::Message(unknown(node.text))),
            Kind::Struct(Some(word), _) if words.contains(word) => visitor.visit_enum(Variant {
                word,
                content: Some(Reader { node, named: true }),
            }),
            Kind::Tuple(Some(word), items) if words.contains(word) && items.len() == 1 => visitor
                .visit_enum(Variant {
                    word,
                    content: Some(Reader::new(&items[0])),
                }),
            Kind::Struct(Some(word), _) | Kind::Tuple(Some(word), _) if !words.contains(word) => {
                let span = Span::new(node.span.start, node.span.start + word.len());
                Err(Fault::placed(span, unknown(word)))
            }
            Kind::Struct(None, _) if nameless.is_some() => visitor.visit_enum(Variant {
                word: nameless.map_or("", |(_, word, _)| word),
                content: Some(Reader::new(node)),
            }),
            _ if nameless.is_some() => Err(Fault::Expected(
                nameless.map_or("", |(.., form)| form).to_owned(),
            )),
            Kind::Text => {
                let text = node.text.trim_matches('"');
                let meant = nearest(text, words.iter().copied()).map_or_else(
                    || format!("write one of {list}"),
                    |meant| format!("write {meant}"),
                );
                Err(Fault::Message(format!(
                    "this word stands without quotes here; {meant}"
                )))
            }
            _ => Err(Fault::Expected(format!("one of the words {list}"))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// Refuses keys that a struct does not have, and keys given twice.
fn check_keys(what: &str, keys: &[&str], fields: &[Field<'_>]) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for field in fields {
        let key = clip(field.key);
        if !keys.contains(&field.key) {
            let hint = match nearest(field.key, keys.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("its keys are {}", keys.join(", ")),
            };
            return Err(Fault::placed(
                field.key_span,
                format!("unknown key \"{key}\" in {what}; {hint}"),
            ));
        }
        if !seen.insert(field.key) {
            return Err(Fault::placed(
                field.key_span,
                format!("the key \"{key}\" stands here a second time; remove one of the two"),
            ));
        }
    }
    Ok(())
}

fn missing(what: &str, key: &str) -> String {
    let example = EXAMPLES
        .iter()
        .find(|(name, _)| *name == key)
        .map_or_else(|| format!("{key}: …"), |(_, example)| (*example).to_owned());
    format!("the key \"{key}\" is missing in {what}; add {example}")
}

/// What RON's own reader takes that text for: escapes, bases, exponents.
fn scalar<T: de::DeserializeOwned>(node: &Node<'_>) -> Result<T, Fault> {
    ron::from_str(node.text).map_err(|error| {
        Fault::placed(
            node.span,
            format!("{}: {}", found(node), sentence(&error.code)),
        )
    })
}

/// RON's own words, as part of a sentence.
pub(super) fn sentence(error: &ron::Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// Reads a value; what is wrong with it is placed at it.
fn value<'de, T: DeserializeSeed<'de>>(node: &'de Node<'de>, seed: T) -> Result<T::Value, Fault> {
    seed.deserialize(Reader::new(node))
        .map_err(|fault| fault.at(node))
}
