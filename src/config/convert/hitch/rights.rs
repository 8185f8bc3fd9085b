//! As whom hitch acts: its user, its group and its root directory.

use super::super::super::position::{Span, SyntaxError};
use super::super::draft::{Draft, Setting};
use super::super::words::{path, quoted};
use super::syntax::Item;

/// What the lines say, before it is known whether they name a user.
#[derive(Default)]
pub(super) struct Rights {
    /// In the order of the file.
    given: Vec<(&'static str, Span, Setting)>,
}

impl Rights {
    /// Takes one line up.
    pub(super) fn read(
        &mut self,
        item: &Item<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), SyntaxError> {
        let (value, span) = item.text()?;
        if value.is_empty() {
            draft.same(item.span);
            return Ok(());
        }
        let (key, value) = match item.key {
            "user" => ("user", quoted(value)),
            "group" => ("group", quoted(value)),
            _ => ("chroot", path(value, span)?),
        };
        let setting = draft.setting(item.span, value);
        self.given.push((key, item.span, setting));
        Ok(())
    }

    /// Puts them into the draft: the others go with a user alone.
    pub(super) fn finish(self, draft: &mut Draft<'_>) {
        let has_user = self.given.iter().any(|(key, ..)| *key == "user");
        for (key, span, setting) in self.given {
            if has_user {
                draft.settings.push((key, setting));
            } else {
                draft.without(
                    span,
                    "adit takes it with a user alone; write user: \"…\" too",
                );
            }
        }
    }
}
