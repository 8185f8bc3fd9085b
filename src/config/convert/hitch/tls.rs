//! What hitch.conf says of TLS, in a frontend or for all of them.

mod values;

use super::super::super::position::{Span, SyntaxError};
use super::super::draft::{Draft, DraftCert, Setting};
use super::super::words::{fault, path, quoted};
use super::syntax::{Item, Value};
use super::{other, switch};
use crate::config::{TlsVersion, suites};
use values::{Ciphers, Protocols, Verify, alpn, ciphers, groups, list, protocols, verify};

/// Keys that become something, in a frontend and outside.
pub(super) const KEYS: &[&str] = &[
    "pem-file",
    "pem-dir",
    "tls-protos",
    "ciphers",
    "ciphersuites",
    "ecdh-curve",
    "alpn-protos",
    "sni-nomatch-abort",
    "match-global-certs",
    "client-verify",
    "client-verify-ca",
];

const PEM_KEYS: &[&str] = &["cert", "private-key", "ocsp-resp-file"];

/// What stands in a frontend, or outside of all.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// In the order of the file.
    pems: Vec<(Span, DraftCert)>,
    folder: Option<DraftCert>,
    protocols: Option<Protocols>,
    /// Those of TLS 1.2, and of TLS 1.3.
    ciphers: Option<Ciphers>,
    ciphersuites: Option<Ciphers>,
    groups: Option<Setting>,
    alpn: Option<Setting>,
    abort: Option<(bool, Setting)>,
    global_too: bool,
    verify: Option<Verify>,
    authorities: Option<(Span, Setting)>,
}

impl Tls {
    /// Takes an item that is about TLS; false if it is about something else.
    pub(super) fn read(
        &mut self,
        item: &Item<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<bool, SyntaxError> {
        match item.key {
            "pem-file" => {
                let pem = read_pem(item, draft)?;
                self.pems.push((item.span, pem));
            }
            "pem-dir" => {
                let (text, span) = item.text()?;
                if text.is_empty() {
                    draft.same(item.span);
                    return Ok(true);
                }
                path(text, span)?;
                let folder = format!("{}/", text.trim_end_matches('/'));
                self.folder = Some(DraftCert {
                    cert: draft.setting(item.span, quoted(&folder)),
                    key: None,
                    ocsp: None,
                });
            }
            "tls-protos" => self.protocols = protocols(item, draft)?,
            "ciphers" => self.ciphers = ciphers(item, TlsVersion::Tls12, draft)?,
            "ciphersuites" => self.ciphersuites = ciphers(item, TlsVersion::Tls13, draft)?,
            "ecdh-curve" => self.groups = groups(item, draft)?,
            "alpn-protos" => self.alpn = alpn(item, draft)?,
            "sni-nomatch-abort" => {
                let (value, span) = item.text()?;
                let abort = switch(value, span)?;
                if !abort {
                    draft.same(item.span);
                }
                let setting = draft.setting(item.span, "Abort".into());
                self.abort = Some((abort, setting));
            }
            "match-global-certs" => {
                let (value, span) = item.text()?;
                self.global_too = switch(value, span)?;
                draft.same(item.span);
            }
            "client-verify" => self.verify = verify(item, draft)?,
            "client-verify-ca" => {
                let (text, span) = item.text()?;
                if text.is_empty() {
                    draft.same(item.span);
                } else {
                    let setting = draft.setting(item.span, path(text, span)?);
                    self.authorities = Some((item.span, setting));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The short form of a frontend with its certificate.
    pub(super) fn add(&mut self, span: Span, cert: Setting) {
        let cert = DraftCert {
            cert,
            key: None,
            ocsp: None,
        };
        self.pems.push((span, cert));
    }

    pub(super) fn has_certs(&self) -> bool {
        !self.pems.is_empty() || self.folder.is_some()
    }

    pub(super) fn wants_global_certs(&self) -> bool {
        self.global_too || !self.has_certs()
    }

    /// Notes that no frontend uses these certificates.
    pub(super) fn note_unused(&self, draft: &mut Draft<'_>) {
        for (span, _) in &self.pems {
            draft.without(*span, "every frontend has a certificate of its own");
        }
    }

    /// The certificates, the default first. hitch serves the last pem-file to
    /// clients that name no other.
    pub(super) fn certs(&self, global: &Self) -> Vec<DraftCert> {
        let mut certs = self.own_certs();
        if self.wants_global_certs() {
            certs.extend(global.own_certs());
        }
        certs
    }

    fn own_certs(&self) -> Vec<DraftCert> {
        let pems = self.pems.iter().map(|(_, pem)| pem);
        let last = pems.clone().next_back();
        let before = pems.clone().take(self.pems.len().saturating_sub(1));
        last.into_iter()
            .chain(before)
            .chain(&self.folder)
            .cloned()
            .collect()
    }

    /// The other settings of a listener: its own before those of all.
    pub(super) fn settings(
        &self,
        global: &Self,
        draft: &mut Draft<'_>,
    ) -> Result<Vec<(&'static str, Setting)>, SyntaxError> {
        let mut settings = Vec::new();
        if let Some((true, setting)) = self.abort.as_ref().or(global.abort.as_ref()) {
            settings.push(("sni_nomatch", setting.clone()));
        }
        let protocols = self.protocols.as_ref().or(global.protocols.as_ref());
        let (tls12, tls13) = protocols.map_or((true, true), |p| (p.tls12, p.tls13));
        match protocols {
            Some(p) if !tls12 => settings.push(("min_version", p.setting.with("\"1.3\""))),
            Some(p) if !tls13 => settings.push(("max_version", p.setting.with("\"1.2\""))),
            _ => {}
        }
        let old = self.ciphers.as_ref().or(global.ciphers.as_ref());
        let new = self.ciphersuites.as_ref().or(global.ciphersuites.as_ref());
        let (old, new) = (old.filter(|_| tls12), new.filter(|_| tls13));
        if let Some(setting) = all_ciphers(new, old, tls13, tls12) {
            settings.push(("ciphers", setting));
        }
        for (key, own, all) in [
            ("groups", &self.groups, &global.groups),
            ("alpn", &self.alpn, &global.alpn),
        ] {
            if let Some(setting) = own.as_ref().or(all.as_ref()) {
                settings.push((key, setting.clone()));
            }
        }
        let verify = self.verify.as_ref().or(global.verify.as_ref());
        let authorities = self.authorities.as_ref().or(global.authorities.as_ref());
        match (verify, authorities) {
            (Some(verify), Some((_, ca))) if verify.word != "None" => {
                settings.push(("client_verify", verify.setting.clone()));
                settings.push(("client_ca", ca.clone()));
            }
            (Some(verify), None) if verify.word != "None" => {
                return Err(fault(
                    verify.span,
                    "this needs the authorities to verify by; add client-verify-ca = \"ca.pem\"",
                ));
            }
            // Unless it is for other frontends than this.
            (_, Some((span, _))) if self.authorities.is_some() || self.verify.is_none() => {
                draft.without_once(*span, "no client is asked for a certificate here");
            }
            _ => {}
        }
        Ok(settings)
    }
}

/// One list for both versions. Where one of the two is not said, it is all that
/// there is for it.
fn all_ciphers(
    new: Option<&Ciphers>,
    old: Option<&Ciphers>,
    tls13: bool,
    tls12: bool,
) -> Option<Setting> {
    if new.is_none() && old.is_none() {
        return None;
    }
    let mut setting = Setting {
        value: String::new(),
        comments: Vec::new(),
    };
    let mut names = Vec::new();
    for (said, version, spoken) in [
        (new, TlsVersion::Tls13, tls13),
        (old, TlsVersion::Tls12, tls12),
    ] {
        match said {
            Some(said) => {
                setting = setting.and(&said.setting);
                names.extend(said.suites.iter().map(|suite| suites::suite_name(*suite)));
            }
            None if spoken => names.extend(
                suites::cipher_suites()
                    .filter(|suite| suites::version_of(*suite) == Some(version))
                    .map(suites::suite_name),
            ),
            None => {}
        }
    }
    setting.value = list(&names);
    Some(setting)
}

fn read_pem(item: &Item<'_>, draft: &mut Draft<'_>) -> Result<DraftCert, SyntaxError> {
    let file = |text: &str, span| {
        if text.ends_with('/') {
            return Err(fault(
                span,
                "this is a directory; write pem-dir for one, or the name of a file",
            ));
        }
        path(text, span)
    };
    let block = match &item.value {
        Value::Text(text, span) => {
            return Ok(DraftCert {
                cert: draft.setting(item.span, file(text, *span)?),
                key: None,
                ocsp: None,
            });
        }
        Value::Block(block) => block,
    };
    let (mut cert, mut key, mut ocsp) = (None, None, None);
    for inner in block {
        match inner.key {
            "cert" | "private-key" | "ocsp-resp-file" => {
                let (text, span) = inner.text()?;
                let setting = draft.setting(inner.span, file(text, span)?);
                match inner.key {
                    "cert" => cert = Some(setting),
                    "private-key" => key = Some(setting),
                    _ => ocsp = Some(setting),
                }
            }
            _ => other(inner, PEM_KEYS, "a pem-file", draft)?,
        }
    }
    match cert {
        Some(cert) => Ok(DraftCert { cert, key, ocsp }),
        None => Err(fault(
            item.key_span,
            "this pem-file has no cert; add cert = \"site.pem\"",
        )),
    }
}
