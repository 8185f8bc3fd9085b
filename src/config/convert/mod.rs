//! Configurations of other programs, as RON.
//!
//! Each format has a file: it reads the other program's text, and notes for
//! every line what it becomes. `draft` collects that and prints the RON with
//! the notes as comments. What adit has no equivalent for is never dropped in
//! silence: it is a comment at the head of the RON, and a [`Note`].

mod draft;
mod hitch;
mod ini;
mod tunnel;
mod words;

use std::fmt;
use std::path::Path;

use super::position::SyntaxError;
use super::{Config, ConfigError};
use crate::limits;

/// A program whose configuration can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `tunnel.ini` of Tunnel (2014), adit's ancestor.
    Tunnel,
    /// `hitch.conf`, hitch.conf(5).
    Hitch,
}

/// A converted configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// A complete configuration, which [`Config::from_ron`] reads. Its
    /// comments say what became of each line.
    pub ron: String,
    /// What has no equivalent, or none of the same meaning, by line.
    pub notes: Vec<Note>,
}

/// What an operator should know about a line that was converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line in the other program's file, from 1; 0 for the file as a
    /// whole.
    pub line: usize,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "tunnel.ini",
            Self::Hitch => "hitch.conf",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

/// Whose configuration a file is, by its name and, failing that, its text.
/// `None` if it looks like none that can be read.
pub fn detect(file_name: &str, text: &str) -> Option<Source> {
    let name = Path::new(file_name)
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    if name.ends_with(".ini") {
        return Some(Source::Tunnel);
    }
    if name.contains("hitch") {
        return Some(Source::Hitch);
    }
    let mut keys = text.lines().map(str::trim_start).filter_map(|line| {
        line.split(['=', ':'])
            .next()
            .map(|key| key.trim().to_owned())
    });
    keys.find_map(|key| match key.as_str() {
        "[main]" | "[ssl]" | "ssl_server_port" | "destination_port" => Some(Source::Tunnel),
        "frontend" | "backend" | "pem-file" | "pem-dir" => Some(Source::Hitch),
        _ => None,
    })
}

/// Converts a configuration. Relative paths are kept: the RON belongs into the
/// directory that they begin at.
///
/// # Errors
///
/// At the line and column of what cannot be read, of an unknown key, or of a
/// value that no configuration of adit can hold; at the first line if
/// something is missing that every configuration needs.
pub fn convert(text: &str, file_name: &str, source: Source) -> Result<Conversion, ConfigError> {
    let file = Path::new(file_name);
    if text.len() as u64 > limits::FILE_SIZE_MAX {
        return Err(ConfigError::too_large(file));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let draft = match source {
        Source::Tunnel => tunnel::convert(text),
        Source::Hitch => hitch::convert(text),
    };
    let at = |error: SyntaxError| ConfigError::at(file, text, error.span, &error.message);
    let (ron, notes) = draft.map_err(at)?.print(file_name, source);
    // What is printed is read back. Two lines that are well by themselves may
    // not be together: two frontends on one port, for instance.
    Config::from_ron(&ron, &format!("{file_name}, converted"))?;
    Ok(Conversion { ron, notes })
}
