//! The parts of lists, structs, maps and words, as serde goes through them.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Visitor};

use super::super::position::Node;
use super::{Fault, Reader, value};

/// A word, and what stands in the bracket behind it.
pub(super) struct Variant<'de> {
    pub(super) word: &'de str,
    /// `None`: there is no bracket.
    pub(super) content: Option<Reader<'de>>,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let word = seed.deserialize(BorrowedStrDeserializer::<Fault>::new(self.word))?;
        Ok((word, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Fault::Message(format!(
                "the word {0} has no brackets; write {0}",
                self.word
            ))),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        match self.content {
            Some(reader) => seed
                .deserialize(reader)
                .map_err(|fault| fault.at(reader.node)),
            None => Err(Fault::Message(format!(
                "the word {0} has brackets; write {0}( … )",
                self.word
            ))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Message(
            "this word takes one value in brackets".into(),
        ))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        Err(Fault::Message(
            "this word takes one value in brackets".into(),
        ))
    }
}

/// The values of a list.
pub(super) struct Items<'de>(pub(super) std::slice::Iter<'de, Node<'de>>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|node| value(node, seed)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The fields of a struct.
pub(super) struct Fields<'de, I> {
    fields: I,
    value: Option<&'de Node<'de>>,
}

impl<'de, I: Iterator<Item = (&'de str, &'de Node<'de>)>> Fields<'de, I> {
    pub(super) fn new(fields: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            fields: fields.into_iter(),
            value: None,
        }
    }
}

impl<'de, I> de::MapAccess<'de> for Fields<'de, I>
where
    I: Iterator<Item = (&'de str, &'de Node<'de>)>,
{
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(node);
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        taken(&mut self.value, seed)
    }
}

/// The entries of a map.
pub(super) struct Entries<'de> {
    pub(super) entries: std::slice::Iter<'de, (Node<'de>, Node<'de>)>,
    pub(super) value: Option<&'de Node<'de>>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(node);
        value(key, seed).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        taken(&mut self.value, seed)
    }
}

fn taken<'de, T: DeserializeSeed<'de>>(
    slot: &mut Option<&'de Node<'de>>,
    seed: T,
) -> Result<T::Value, Fault> {
    match slot.take() {
        Some(node) => value(node, seed),
        None => Err(Fault::Message(
            "a value was asked for before its key".into(),
        )),
    }
}
