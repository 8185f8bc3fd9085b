//! `tunnel.ini`, the file of adit's ancestor.
//!
//! Tunnel read it with `ini_parse`, took the last of repeated keys, and knew
//! no defaults. It logged to syslog always: LOCAL1, up to NOTICE.

use super::super::position::{Span, SyntaxError};
use super::super::suggest::nearest;
use super::draft::{Draft, DraftCert, DraftListener, Setting};
use super::ini::{Entry, entries};
use super::words::{buffer, clamped, connect, fault, listen, path, quoted, whole};
use crate::limits;

const KEYS: &[(&str, &str)] = &[
    ("main", "ssl_server_name"),
    ("main", "ssl_server_port"),
    ("main", "destination_name"),
    ("main", "destination_port"),
    ("main", "thread_count"),
    ("main", "buffer_size"),
    ("ssl", "verify_locations"),
    ("ssl", "certificate_file"),
    ("ssl", "PrivateKey_file"),
];

/// Reads a `tunnel.ini`.
pub(super) fn convert(text: &str) -> Result<Draft<'_>, SyntaxError> {
    let entries = entries(text)?;
    let mut draft = Draft::new(text);
    for (index, entry) in entries.iter().enumerate() {
        check_key(entry)?;
        let again = entries[index + 1..]
            .iter()
            .any(|later| later.key == entry.key);
        if again {
            draft.without(
                entry.span,
                "a later line sets it again, and that one counts",
            );
        }
    }
    let last = |key: &str| entries.iter().rev().find(|entry| entry.key == key);
    let required = |key: &str, example: &str| {
        last(key).ok_or_else(|| {
            fault(
                Span::new(0, 0),
                &format!("the key \"{key}\" is missing; add {key} = {example}"),
            )
        })
    };

    let port = required("ssl_server_port", "443")?;
    let host = last("ssl_server_name");
    let listened = listen(host.map_or("", |host| host.value), port.value, {
        // An address of two lines: the fault is mostly the port's.
        match host {
            Some(host) if port.value.parse::<u16>().is_ok() => host.value_span,
            _ => port.value_span,
        }
    })?;
    let address = pair(&draft, host, port, quoted(&listened.to_string()));

    let host = required("destination_name", "127.0.0.1")?;
    let port = required("destination_port", "8080")?;
    if port.value.parse::<u16>().is_err() {
        return Err(fault(
            port.value_span,
            "this is no port: adit takes numbers from 1 to 65535, not service names; write one, such as 8080",
        ));
    }
    let span = if port.value == "0" {
        port.value_span
    } else {
        host.value_span
    };
    let value = connect(host.value, port.value, span)?;
    draft.backend = pair(&draft, Some(host), port, value);

    let cert = required("certificate_file", "server-cert.pem")?;
    let cert = draft.setting(cert.span, path(cert.value, cert.value_span)?);
    let key = required("PrivateKey_file", "server-key.pem")?;
    let key = draft.setting(key.span, path(key.value, key.value_span)?);
    draft.listeners.push(DraftListener {
        address,
        certs: vec![DraftCert {
            cert,
            key: Some(key),
            ocsp: None,
        }],
        tls: Vec::new(),
        backlog: None,
        rest: Vec::new(),
    });

    if let Some(entry) = last("thread_count") {
        let (count, changed) =
            clamped(whole(entry.value, entry.value_span)?, 1, limits::SHARDS_MAX);
        if changed {
            draft.changed(
                entry.span,
                &format!("became {count}, the nearest that adit takes"),
            );
        }
        let setting = draft.setting(entry.span, count.to_string());
        draft.settings.push(("shards", setting));
    }
    if let Some(entry) = last("buffer_size") {
        let (bytes, changed) = clamped(
            whole(entry.value, entry.value_span)?,
            limits::BUFFER_SIZE_MIN,
            limits::BUFFER_SIZE_MAX,
        );
        if changed {
            let how = format!("became {}, the nearest that adit takes", buffer(bytes));
            draft.changed(entry.span, &how);
        }
        let setting = draft.setting(entry.span, buffer(bytes));
        draft.settings.push(("buffer_size", setting));
    }
    if let Some(entry) = last("verify_locations") {
        if entry.value.is_empty() {
            draft.same(entry.span);
        } else {
            let ca = path(entry.value, entry.value_span)?;
            draft.without(
                entry.span,
                &format!(
                    "for clients that must show a certificate of these authorities write client_verify: Required, client_ca: {ca} in tls"
                ),
            );
        }
    }
    draft.log.push((
        "syslog",
        Setting::implied(
            format!(
                "(ident: {}, facility: Local1, level: Notice)",
                quoted("adit")
            ),
            "Tunnel always logged to syslog: LOCAL1, up to NOTICE. Without this, to stderr.",
        ),
    ));
    draft.remark(
        "Tunnel's paths began at the directory it was started in; adit's begin at this file's",
    );
    Ok(draft)
}

/// Two lines that are one address.
fn pair(draft: &Draft<'_>, host: Option<&Entry<'_>>, port: &Entry<'_>, value: String) -> Setting {
    let port = draft.setting(port.span, value.clone());
    match host {
        Some(host) => draft.setting(host.span, value).and(&port),
        None => port,
    }
}

fn check_key(entry: &Entry<'_>) -> Result<(), SyntaxError> {
    let section = KEYS.iter().find(|(_, key)| *key == entry.key);
    match section {
        Some((section, _)) if *section == entry.section => Ok(()),
        Some((section, _)) => Err(fault(
            entry.key_span,
            &format!(
                "{} stands in the section [{section}], not {}; move it there",
                entry.key,
                if entry.section_span.start == entry.section_span.end {
                    "before every section".to_owned()
                } else {
                    format!("in [{}]", super::super::error::clip(entry.section))
                }
            ),
        )),
        None => {
            let keys = KEYS.iter().map(|(_, key)| *key);
            let hint = match nearest(entry.key, keys.clone()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("Tunnel's keys are {}", keys.collect::<Vec<_>>().join(", ")),
            };
            Err(fault(
                entry.key_span,
                &format!(
                    "unknown key \"{}\"; {hint}",
                    super::super::error::clip(entry.key)
                ),
            ))
        }
    }
}
