//! The scalars of TLS settings.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CipherSuite, NamedGroup};
use serde::Deserialize;

use super::super::error::clip;
use super::super::suggest::nearest;
use super::super::{ServerVerify, TlsVersion};
use super::{Scalar, duration, path};
use crate::config::suites;
use crate::limits;

scalar! {
    /// A version of TLS.
    VersionName(TlsVersion) = |scalar: Scalar| match scalar {
        Scalar::Fraction => Err("a version stands in quotes; write \"1.2\" or \"1.3\"".into()),
        scalar => version(&scalar.text("a version, \"1.2\" or \"1.3\"")?),
    }
}

scalar! {
    /// The versions of a preset, the lowest and the highest.
    PresetName((TlsVersion, TlsVersion)) = preset
}

scalar! {
    /// A cipher suite that the program has.
    CipherName(CipherSuite) = cipher
}

scalar! {
    /// A key exchange group that the program has.
    GroupName(NamedGroup) = group
}

scalar! {
    /// The name of an application protocol (RFC 7301, section 3.1).
    AlpnName(String) = |scalar: Scalar| {
        let name = scalar.text("a protocol in quotes, such as \"h2\"")?;
        match name.len() {
            0 => Err("the protocol's name is empty; write one, such as \"h2\" or \"http/1.1\"".into()),
            length if length > limits::ALPN_NAME_MAX => Err(format!(
                "the protocol's name is {length} bytes long; write at most {}",
                limits::ALPN_NAME_MAX
            )),
            _ => Ok(name),
        }
    }
}

scalar! {
    /// How long a session can be resumed.
    TicketLifetime(Duration) = |scalar| match scalar {
        Scalar::Word(_) => Err("this time cannot be without a limit; write a duration such as \"12h\"".into()),
        scalar => match duration(scalar)? {
            time if time > limits::TICKET_LIFETIME_MAX => Err(
                "a ticket cannot live longer than seven days (RFC 8446, section 4.6.1); write at most \"7days\"".into(),
            ),
            time if time < limits::TICKET_LIFETIME_MIN => Err(
                "a ticket's lifetime is stated in seconds; write at least \"1s\", or tickets: 0 for none".into(),
            ),
            time => Ok(time),
        },
    }
}

scalar! {
    /// The name that a backend's certificate must be for.
    ServerNameText(String) = |scalar: Scalar| {
        let name = scalar.text("a name in quotes, such as \"app.example.org\"")?;
        match ServerName::try_from(name.as_str()) {
            Ok(_) => Ok(name),
            Err(_) => Err(format!(
                "\"{}\" is neither a DNS name nor an IP address; write the name that the backend's certificate is for, without a port",
                clip(&name)
            )),
        }
    }
}

scalar! {
    /// Yes or no.
    Switch(bool) = |scalar: Scalar| match scalar {
        Scalar::Word(word) if word == "true" => Ok(true),
        Scalar::Word(word) if word == "false" => Ok(false),
        other => Err(other.refused("true or false")),
    }
}

scalar! {
    /// Whose word is taken for a backend: [`ServerVerify::System`] or
    /// [`ServerVerify::Ca`].
    Authorities(ServerVerify) = |scalar: Scalar| match scalar {
        Scalar::Word(word) if word == "System" => Ok(ServerVerify::System),
        Scalar::Text(text) => path(text).map(|file: PathBuf| ServerVerify::Ca(file)),
        other => Err(other.refused("System, or a path in quotes, such as \"ca.pem\"")),
    }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    let plain = text.to_ascii_lowercase();
    let number = ["tlsv", "tls ", "tls"]
        .iter()
        .find_map(|prefix| plain.strip_prefix(prefix))
        .unwrap_or(&plain);
    match number {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        "1" | "1.0" | "1.1" | "sslv2" | "sslv3" | "ssl3" => Err(format!(
            "\"{}\" is broken, and adit does not have it: TLS before 1.2 may no longer be spoken (RFC 8996, RFC 7568); write \"1.2\" or \"1.3\"",
            clip(text)
        )),
        _ => Err(format!(
            "\"{}\" is no version of TLS; write \"1.2\" or \"1.3\"",
            clip(text)
        )),
    }
}

fn preset(scalar: Scalar) -> Result<(TlsVersion, TlsVersion), String> {
    const WORDS: [&str; 2] = ["Modern", "Intermediate"];
    let word = match scalar {
        Scalar::Word(word) => word,
        Scalar::Text(text) => {
            return Err(format!(
                "this word stands without quotes here; write {}",
                nearest(&text, WORDS).unwrap_or("Modern or Intermediate")
            ));
        }
        other => return Err(other.refused("Modern or Intermediate")),
    };
    match word.as_str() {
        "Modern" => Ok((TlsVersion::Tls13, TlsVersion::Tls13)),
        "Intermediate" => Ok((TlsVersion::Tls12, TlsVersion::Tls13)),
        "Old" => Err(
            "what Mozilla calls old needs TLS 1.0 and CBC ciphers, which are broken, and adit does not have them; write Intermediate, for every client since about 2014".into(),
        ),
        _ => Err(match nearest(&word, WORDS) {
            Some(meant) => format!("unknown word {}; did you mean {meant}?", clip(&word)),
            None => format!("unknown word {}; write Modern or Intermediate", clip(&word)),
        }),
    }
}

fn cipher(scalar: Scalar) -> Result<CipherSuite, String> {
    let name = scalar.text("a cipher suite in quotes, such as \"TLS_AES_128_GCM_SHA256\"")?;
    suites::suite_named(&name).ok_or_else(|| {
        let names: Vec<_> = suites::cipher_suites().map(suites::suite_name).collect();
        unknown("cipher suite", &name, &names)
    })
}

fn group(scalar: Scalar) -> Result<NamedGroup, String> {
    let name = scalar.text("a group in quotes, such as \"X25519\"")?;
    suites::group_named(&name).ok_or_else(|| {
        let names: Vec<_> = suites::groups().map(suites::group_name).collect();
        unknown("group", &name, &names)
    })
}

fn unknown(what: &str, name: &str, there: &[&str]) -> String {
    let hint = nearest(name, there.iter().copied())
        .map_or_else(String::new, |meant| format!("did you mean {meant}? "));
    format!(
        "unknown {what} \"{}\"; {hint}There are {}",
        clip(name),
        there.join(", ")
    )
    .replace("; There are", "; there are")
}
