//! Why an operation failed, in a few words that can be counted.

use std::fmt;
use std::io;

use super::link::{Fault, is_reset};

/// How far an operation had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connect,
    Handshake,
    /// Bytes are exchanged.
    Io,
    Close,
}

/// Why an operation has no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It failed: where and why, such as `connect/refused`.
    Failed(String),
    /// It was in flight when the generator was told to stop.
    Cut,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Io => "io",
            Self::Close => "close",
        })
    }
}

impl Trouble {
    pub(super) fn new(phase: Phase, fault: &Fault) -> Self {
        Self::Failed(match fault {
            Fault::Eof => format!("{phase}/eof"),
            Fault::Surplus => format!("{phase}/surplus"),
            Fault::Io(error) => {
                let word = io_word(error);
                // The kernel may tell of a failed connect only when something
                // is sent.
                let phase = if word == "refused" {
                    Phase::Connect
                } else {
                    phase
                };
                format!("{phase}/{word}")
            }
            Fault::Tls(error) => format!("{phase}/{}", tls_words(error)),
        })
    }

    pub(super) fn timeout(phase: Phase) -> Self {
        Self::Failed(format!("{phase}/timeout"))
    }
}

fn io_word(error: &io::Error) -> String {
    if is_reset(error) {
        return "reset".into();
    }
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "refused".into(),
        Some(libc::ENOENT) => "no-socket".into(),
        Some(libc::ETIMEDOUT) => "timeout".into(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => {
            "unreachable".into()
        }
        Some(libc::EADDRNOTAVAIL) => "no-local-port".into(),
        Some(libc::EMFILE | libc::ENFILE) => "no-descriptor".into(),
        Some(libc::ENOBUFS | libc::ENOMEM) => "no-memory".into(),
        Some(libc::EACCES | libc::EPERM) => "forbidden".into(),
        // A Unix socket whose backlog is full.
        Some(libc::EAGAIN) => "backlog-full".into(),
        Some(number) => format!("errno-{number}"),
        None => format!("{:?}", error.kind()).to_ascii_lowercase(),
    }
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        // RFC 8446, section 6, writes them so.
        E::AlertReceived(alert) => format!("alert/{}", snake(&format!("{alert:?}"))),
        E::InvalidCertificate(why) => {
            let why = format!("{why:?}");
            let name: String = why
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            format!("certificate/{}", snake(&name))
        }
        E::PeerIncompatible(why) => format!("incompatible/{}", snake(&format!("{why:?}"))),
        E::PeerMisbehaved(why) => format!("misbehaved/{}", snake(&format!("{why:?}"))),
        E::InvalidMessage(_) => "not-tls".into(),
        E::DecryptError => "decrypt".into(),
        _ => "tls".into(),
    }
}

/// `HandshakeFailure` as `handshake_failure`. What follows a name is left out.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_its_place_and_its_name() {
        let words = |phase, fault: Fault| match Trouble::new(phase, &fault) {
            Trouble::Failed(words) => words,
            Trouble::Cut => panic!("{fault:?}"),
        };
        let os = |number| Fault::Io(io::Error::from_raw_os_error(number));
        assert_eq!(
            words(Phase::Handshake, os(libc::ECONNREFUSED)),
            "connect/refused"
        );
        assert_eq!(words(Phase::Io, os(libc::ECONNRESET)), "io/reset");
        assert_eq!(words(Phase::Handshake, Fault::Eof), "handshake/eof");
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert_eq!(
            words(Phase::Handshake, Fault::Tls(alert)),
            "handshake/alert/handshake_failure"
        );
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(
            words(Phase::Handshake, Fault::Tls(certificate)),
            "handshake/certificate/unknown_issuer"
        );
    }
}
