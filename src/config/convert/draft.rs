//! A configuration that is being put together from another program's lines.

use std::fmt::Write;

use super::super::error::clip;
use super::super::position::Span;
use super::{Note, Source};

/// What has been gathered so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    pub(super) listeners: Vec<DraftListener>,
    /// The backend of the one service that all listeners lead to.
    pub(super) backend: Setting,
    /// Other settings of that service.
    pub(super) service: Vec<(&'static str, Setting)>,
    /// Settings of the file as a whole, in the order of printing: key and
    /// value.
    pub(super) settings: Vec<(&'static str, Setting)>,
    /// Settings in `timeouts`.
    pub(super) timeouts: Vec<(&'static str, Setting)>,
    /// Settings in `log`.
    pub(super) log: Vec<(&'static str, Setting)>,
    /// What has no equivalent: for the head of the RON, and for the operator.
    without: Vec<Note>,
    /// What is as it was, without a setting.
    same: Vec<Note>,
    /// What the operator should know of lines that became something.
    changed: Vec<Note>,
}

/// A listener and the comments on it.
#[derive(Debug)]
pub(super) struct DraftListener {
    pub(super) address: Setting,
    /// At least one, the default first.
    pub(super) certs: Vec<DraftCert>,
    /// Other settings of its TLS, in the order of printing: key and value.
    pub(super) tls: Vec<(&'static str, Setting)>,
    pub(super) backlog: Option<Setting>,
    /// What comes after its TLS, in the order of printing: key and value.
    pub(super) rest: Vec<(&'static str, Setting)>,
}

/// A certificate, or a directory of them.
#[derive(Clone, Debug)]
pub(super) struct DraftCert {
    pub(super) cert: Setting,
    pub(super) key: Option<Setting>,
    pub(super) ocsp: Option<Setting>,
}

/// A value, as RON, and the lines that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// As RON.
    pub(super) value: String,
    /// What is said above it.
    pub(super) comments: Vec<String>,
}

impl Setting {
    /// A value without a line: the other program's default, or ours.
    pub(super) fn implied(value: String, why: &str) -> Self {
        Self {
            value,
            comments: vec![why.to_owned()],
        }
    }

    /// Another value from the same line.
    pub(super) fn with(&self, value: &str) -> Self {
        Self {
            value: value.to_owned(),
            comments: self.comments.clone(),
        }
    }

    /// The value, with a second line that it comes from.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.comments.extend(other.comments.iter().cloned());
        self
    }
}

impl<'a> Draft<'a> {
    /// An empty draft of that text's conversion.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
            listeners: Vec::new(),
            backend: Setting::implied(String::new(), ""),
            service: Vec::new(),
            settings: Vec::new(),
            timeouts: Vec::new(),
            log: Vec::new(),
            without: Vec::new(),
            same: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// A value that came from that stretch of the text.
    pub(super) fn setting(&self, span: Span, value: String) -> Setting {
        Setting {
            value,
            comments: vec![format!("line {}: {}", self.line(span), self.excerpt(span))],
        }
    }

    /// That stretch has no equivalent, and why.
    pub(super) fn without(&mut self, span: Span, why: &str) {
        let note = self.note(span, why);
        self.without.push(note);
    }

    /// As [`without`](Self::without), for what several listeners share.
    pub(super) fn without_once(&mut self, span: Span, why: &str) {
        let note = self.note(span, why);
        if !self.without.contains(&note) {
            self.without.push(note);
        }
    }

    /// That stretch needs no setting: adit does it so anyway.
    pub(super) fn same(&mut self, span: Span) {
        self.same.push(Note {
            line: self.line(span),
            text: self.excerpt(span),
        });
    }

    /// That stretch became something that is not quite the same.
    pub(super) fn changed(&mut self, span: Span, how: &str) {
        let note = self.note(span, how);
        self.changed.push(note);
    }

    /// Something about the file as a whole.
    pub(super) fn remark(&mut self, text: &str) {
        self.changed.push(Note {
            line: 0,
            text: text.to_owned(),
        });
    }

    fn note(&self, span: Span, text: &str) -> Note {
        Note {
            line: self.line(span),
            text: format!("{}: {text}", self.excerpt(span)),
        }
    }

    fn line(&self, span: Span) -> usize {
        self.lines.partition_point(|&start| start <= span.start)
    }

    /// The stretch on one line, harmless in a comment.
    fn excerpt(&self, span: Span) -> String {
        let words: Vec<_> = self.text[span.start..span.end].split_whitespace().collect();
        clip(&words.join(" "))
    }

    /// The RON, and what the operator should know.
    pub(super) fn print(mut self, file_name: &str, source: Source) -> (String, Vec<Note>) {
        for notes in [&mut self.without, &mut self.same, &mut self.changed] {
            notes.sort_by_key(|note| note.line);
        }
        let mut out = Out::default();
        out.comment(&format!(
            "Converted from {} ({source}). Relative paths begin at this file's directory.",
            clip(file_name)
        ));
        out.notes("Without an equivalent:", &self.without);
        out.notes("Not quite the same:", &self.changed);
        out.notes("Needs no setting, adit does it so:", &self.same);
        out.open("(");
        out.open("listeners: [");
        for listener in &self.listeners {
            out.open("(");
            out.setting("address", &listener.address);
            if let Some(backlog) = &listener.backlog {
                out.setting("backlog", backlog);
            }
            out.open("tls: (");
            match &listener.certs[..] {
                [only] => out.certificate(only),
                several => {
                    out.open("certs: [");
                    for cert in several {
                        out.open("(");
                        out.certificate(cert);
                        out.close("),");
                    }
                    out.close("],");
                }
            }
            for (key, setting) in &listener.tls {
                out.setting(key, setting);
            }
            out.close("),");
            out.line("service: \"backend\",");
            for (key, setting) in &listener.rest {
                out.setting(key, setting);
            }
            out.close("),");
        }
        out.close("],");
        out.open("services: {");
        out.open("\"backend\": (");
        out.comments(&self.backend);
        out.line(&format!("backends: [{}],", self.backend.value));
        for (key, setting) in &self.service {
            out.setting(key, setting);
        }
        out.close("),");
        out.close("},");
        for (key, setting) in &self.settings {
            out.setting(key, setting);
        }
        for (group, settings) in [("timeouts", &self.timeouts), ("log", &self.log)] {
            if !settings.is_empty() {
                out.open(&format!("{group}: ("));
                for (key, setting) in settings {
                    out.setting(key, setting);
                }
                out.close("),");
            }
        }
        out.close(")");
        let mut notes = self.without;
        notes.extend(self.changed);
        notes.sort_by_key(|note| note.line);
        (out.text, notes)
    }
}

/// Indented lines.
#[derive(Default)]
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn line(&mut self, line: &str) {
        let indent = 4 * self.depth;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn comment(&mut self, text: &str) {
        self.line(format!("// {text}").trim_end());
    }

    fn notes(&mut self, title: &str, notes: &[Note]) {
        if !notes.is_empty() {
            self.comment("");
            self.comment(title);
            for note in notes {
                self.comment(&format!("  {note}"));
            }
        }
    }

    fn comments(&mut self, setting: &Setting) {
        for comment in &setting.comments {
            self.comment(comment);
        }
    }

    fn setting(&mut self, key: &str, setting: &Setting) {
        self.comments(setting);
        self.line(&format!("{key}: {},", setting.value));
    }

    fn certificate(&mut self, cert: &DraftCert) {
        self.setting("cert", &cert.cert);
        for (key, setting) in [("key", &cert.key), ("ocsp", &cert.ocsp)] {
            if let Some(setting) = setting {
                self.setting(key, setting);
            }
        }
    }

    fn open(&mut self, line: &str) {
        self.line(line);
        self.depth += 1;
    }

    fn close(&mut self, line: &str) {
        self.depth -= 1;
        self.line(line);
    }
}
