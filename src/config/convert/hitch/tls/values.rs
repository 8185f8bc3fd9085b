//! The values of hitch's TLS settings.

use rustls::CipherSuite;

use super::super::super::draft::{Draft, Setting};
use super::super::super::words::{fault, quoted};
use super::super::syntax::Item;
use crate::config::TlsVersion;
use crate::config::error::clip;
use crate::config::position::{Span, SyntaxError};
use crate::config::suites;
use crate::limits;

/// The versions that are spoken, one at least. The setting has no value yet.
#[derive(Clone, Debug)]
pub(super) struct Protocols {
    pub(super) setting: Setting,
    pub(super) tls12: bool,
    pub(super) tls13: bool,
}

/// Suites of one version. The setting has no value yet.
#[derive(Clone, Debug)]
pub(super) struct Ciphers {
    pub(super) setting: Setting,
    pub(super) suites: Vec<CipherSuite>,
}

/// Whether clients are asked for certificates, in our word.
#[derive(Clone, Debug)]
pub(super) struct Verify {
    pub(super) span: Span,
    pub(super) setting: Setting,
    pub(super) word: &'static str,
}

pub(super) fn list(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted(name.as_ref())).collect();
    format!("[{}]", names.join(", "))
}

pub(super) fn protocols(
    item: &Item<'_>,
    draft: &mut Draft<'_>,
) -> Result<Option<Protocols>, SyntaxError> {
    let (value, span) = item.text()?;
    let names: Vec<_> = value.split_whitespace().collect();
    for name in &names {
        if !["SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"].contains(name) {
            return Err(fault(
                span,
                "this names an unknown protocol; write some of SSLv3, TLSv1.0, TLSv1.1, TLSv1.2 and TLSv1.3",
            ));
        }
    }
    let (tls12, tls13) = (names.contains(&"TLSv1.2"), names.contains(&"TLSv1.3"));
    let others = names
        .iter()
        .any(|name| !["TLSv1.2", "TLSv1.3"].contains(name));
    match (tls12 || tls13, others) {
        (false, _) => {
            draft.without(
                item.span,
                "adit speaks TLS 1.2 and 1.3 alone: older versions are broken",
            );
            return Ok(None);
        }
        (true, true) => draft.changed(
            item.span,
            "versions before TLS 1.2 are broken, and left out",
        ),
        (true, false) if tls12 && tls13 => draft.same(item.span),
        (true, false) => {}
    }
    Ok(Some(Protocols {
        setting: draft.setting(item.span, String::new()),
        tls12,
        tls13,
    }))
}

/// The suites of one version that are named. OpenSSL's language of ciphers has
/// more than names.
pub(super) fn ciphers(
    item: &Item<'_>,
    version: TlsVersion,
    draft: &mut Draft<'_>,
) -> Result<Option<Ciphers>, SyntaxError> {
    let (value, _) = item.text()?;
    if value.is_empty() {
        draft.same(item.span);
        return Ok(None);
    }
    let mut suites = Vec::new();
    let mut unknown = Vec::new();
    for name in value.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match suites::suite_named(name) {
            Some(suite) if suites::version_of(suite) == Some(version) => {
                if !suites.contains(&suite) {
                    suites.push(suite);
                }
            }
            _ => unknown.push(name),
        }
    }
    if suites.is_empty() {
        draft.without(
            item.span,
            "none of these is the name of a cipher suite that adit has; all of those, which are AEAD suites with forward secrecy, stand",
        );
        return Ok(None);
    }
    if !unknown.is_empty() {
        draft.changed(
            item.span,
            &format!(
                "{} left out: adit has no such suite",
                clip(&unknown.join(", "))
            ),
        );
    }
    Ok(Some(Ciphers {
        setting: draft.setting(item.span, String::new()),
        suites,
    }))
}

pub(super) fn groups(
    item: &Item<'_>,
    draft: &mut Draft<'_>,
) -> Result<Option<Setting>, SyntaxError> {
    let (value, _) = item.text()?;
    if ["", "auto"].contains(&value) {
        draft.same(item.span);
        return Ok(None);
    }
    let (mut names, mut unknown) = (Vec::new(), Vec::new());
    for name in value.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match suites::group_named(name).map(suites::group_name) {
            Some(name) if names.contains(&name) => {}
            Some(name) => names.push(name),
            None => unknown.push(name),
        }
    }
    // What is not post-quantum alone is for TLS 1.2 as well.
    if !names.iter().any(|name| !name.contains("MLKEM")) {
        draft.without(
            item.span,
            "none of these is a group for both TLS 1.2 and 1.3 that adit has; X25519MLKEM768, X25519 and the NIST curves stand",
        );
        return Ok(None);
    }
    if !unknown.is_empty() {
        draft.changed(
            item.span,
            &format!(
                "{} left out: adit has no such group",
                clip(&unknown.join(", "))
            ),
        );
    }
    Ok(Some(draft.setting(item.span, list(&names))))
}

pub(super) fn alpn(item: &Item<'_>, draft: &mut Draft<'_>) -> Result<Option<Setting>, SyntaxError> {
    let (value, span) = item.text()?;
    let mut names: Vec<&str> = Vec::new();
    for name in value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        if name.len() > limits::ALPN_NAME_MAX {
            return Err(fault(
                span,
                "a protocol's name is longer than 255 bytes; write one such as h2",
            ));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > limits::ALPN_MAX {
        return Err(fault(span, "these are more than 16 protocols; write fewer"));
    }
    if names.is_empty() {
        draft.same(item.span);
        return Ok(None);
    }
    Ok(Some(draft.setting(item.span, list(&names))))
}

pub(super) fn verify(
    item: &Item<'_>,
    draft: &mut Draft<'_>,
) -> Result<Option<Verify>, SyntaxError> {
    let (value, span) = item.text()?;
    let word = match value {
        "none" | "" => "None",
        "optional" => "Optional",
        "required" => "Required",
        _ => {
            return Err(fault(
                span,
                "this is no way to verify clients; write none, optional or required",
            ));
        }
    };
    if word == "None" {
        draft.same(item.span);
    }
    Ok(Some(Verify {
        span: item.span,
        setting: draft.setting(item.span, word.into()),
        word,
    }))
}
