//! hitch's log: several lines that mean something only together.

use super::super::super::position::{Span, SyntaxError};
use super::super::draft::{Draft, Setting};
use super::super::words::{fault, quoted, whole};
use super::switch;
use super::syntax::Item;

/// hitch's facilities that adit has too, and their names here.
const FACILITIES: &[(&str, &str)] = &[
    ("user", "User"),
    ("daemon", "Daemon"),
    ("auth", "Auth"),
    ("authpriv", "AuthPriv"),
    ("local0", "Local0"),
    ("local1", "Local1"),
    ("local2", "Local2"),
    ("local3", "Local3"),
    ("local4", "Local4"),
    ("local5", "Local5"),
    ("local6", "Local6"),
    ("local7", "Local7"),
];

/// What hitch is told about logging, over several lines.
#[derive(Default)]
pub(super) struct Logging {
    syslog: Option<Setting>,
    facility: Option<(Option<&'static str>, Span, Setting)>,
    level: Option<Setting>,
    quiet: Option<(Span, Setting)>,
    file: Option<(Span, Setting)>,
}

impl Logging {
    /// Takes one line up.
    pub(super) fn read(
        &mut self,
        item: &Item<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), SyntaxError> {
        let (value, span) = item.text()?;
        let setting = |value: &str| draft.setting(item.span, value.to_owned());
        match item.key {
            "syslog" if switch(value, span)? => self.syslog = Some(setting("")),
            "quiet" if switch(value, span)? => self.quiet = Some((item.span, setting("Error"))),
            "syslog" | "quiet" => draft.same(item.span),
            "log-filename" if value.is_empty() => draft.same(item.span),
            "log-filename" => self.file = Some((item.span, setting(&quoted(value)))),
            "log-level" => {
                self.level = Some(setting(match whole(value, span)? {
                    0 => "Off",
                    1 => "Error",
                    2 => "Info",
                    _ => {
                        return Err(fault(span, "hitch knows no such level; write 0, 1 or 2"));
                    }
                }));
            }
            _ => {
                let facility = FACILITIES
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(value))
                    .map(|(_, ours)| *ours);
                self.facility = Some((facility, item.span, setting("")));
            }
        }
        Ok(())
    }

    /// Puts what the lines say together into the draft.
    pub(super) fn finish(self, draft: &mut Draft<'_>) {
        match (self.level, self.quiet) {
            // A level says more than `quiet`, which hitch keeps for old files.
            (Some(level), quiet) => {
                draft.log.push(("level", level));
                if let Some((span, _)) = quiet {
                    draft.without(span, "log-level says it already");
                }
            }
            (None, Some((_, quiet))) => draft.log.push(("level", quiet)),
            (None, None) => {}
        }
        let Some(mut syslog) = self.syslog else {
            if let Some((_, span, _)) = self.facility {
                draft.without(span, "it has no effect, as syslog is not on");
            }
            if let Some((_, file)) = self.file {
                draft.log.push(("file", file));
            }
            return;
        };
        if let Some((span, _)) = self.file {
            draft.without(span, "adit's log goes to one place, and syslog is on");
        }
        let facility = match self.facility {
            Some((Some(facility), _, comment)) => {
                syslog = syslog.and(&comment);
                facility
            }
            Some((None, span, _)) => {
                draft.changed(
                    span,
                    "became Daemon: adit has the facilities User, Daemon, Auth, AuthPriv and Local0 to Local7",
                );
                "Daemon"
            }
            None => {
                let comment = "Daemon is hitch's default facility".to_owned();
                syslog.comments.push(comment);
                "Daemon"
            }
        };
        syslog.value = format!(
            "(ident: {}, facility: {facility}, level: Info)",
            quoted("adit")
        );
        draft.log.push(("syslog", syslog));
    }
}
