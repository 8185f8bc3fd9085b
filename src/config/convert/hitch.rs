//! `hitch.conf`, as hitch.conf(5) describes it.
//!
//! What adit can be told becomes a setting. What it does anyway, and what it
//! cannot do, stands in [`UNSETTABLE`] with the reason.

mod logging;
mod proxy;
mod rights;
mod syntax;
mod table;
mod tls;

use std::collections::HashSet;

use super::super::error::clip;
use super::super::position::{Span, SyntaxError};
use super::super::suggest::nearest;
use super::super::{Address, Host};
use super::draft::{Draft, DraftListener, Setting};
use super::words::{clamped, connect, fault, listen, path, quoted, seconds, whole};
use crate::limits;
use logging::Logging;
use proxy::Proxy;
use rights::Rights;
use syntax::{Item, Value, items};
use table::{UNSETTABLE, is_off, is_on};
use tls::Tls;

/// Keys that become something, outside of blocks.
const KEYS: &[&str] = &[
    "frontend",
    "backend",
    "workers",
    "backlog",
    "backend-connect-timeout",
    "ssl-handshake-timeout",
    "syslog",
    "syslog-facility",
    "log-level",
    "quiet",
    "log-filename",
    "user",
    "group",
    "chroot",
    "backend-refresh",
    "backendrefresh",
    "tcp-fastopen",
    "enable-tcp-fastopen",
];

/// Keys that become something in a frontend's block.
const FRONTEND_KEYS: &[&str] = &["host", "port"];

/// A frontend before it has its certificate.
struct Frontend {
    span: Span,
    address: Address,
    setting: Setting,
    tls: Tls,
}

/// Reads a `hitch.conf`.
pub(super) fn convert(text: &str) -> Result<Draft<'_>, SyntaxError> {
    let items = items(text)?;
    let mut draft = Draft::new(text);
    let mut frontends = Vec::new();
    let mut global = Tls::default();
    let mut backlog = None;
    let mut backend = None;
    let mut log = Logging::default();
    let mut rights = Rights::default();
    let mut proxy = Proxy::default();
    let mut tcp = None;
    for item in last_of_each(&items, &["frontend", "pem-file"], &mut draft) {
        match item.key {
            "frontend" => frontends.push(frontend(item, &mut draft)?),
            "backend" => {
                backend = Some(draft.setting(item.span, backend_address(item)?));
            }
            "workers" => workers(item, &mut draft)?,
            "backlog" => {
                let (value, span) = item.text()?;
                let (count, changed) =
                    clamped(whole(value, span)?, 1, limits::BACKLOG_MAX as usize);
                if changed {
                    draft.changed(
                        item.span,
                        &format!("became {count}, the nearest that adit takes"),
                    );
                }
                backlog = Some(draft.setting(item.span, count.to_string()));
            }
            "ssl-handshake-timeout" => timeout("handshake", item, &mut draft)?,
            "backend-connect-timeout" => timeout("connect", item, &mut draft)?,
            "syslog" | "syslog-facility" | "log-level" | "quiet" | "log-filename" => {
                log.read(item, &mut draft)?
            }
            "user" | "group" | "chroot" => rights.read(item, &mut draft)?,
            "backend-refresh" | "backendrefresh" => refresh(item, &mut draft)?,
            "tcp-fastopen" | "enable-tcp-fastopen" => {
                let (value, span) = item.text()?;
                if switch(value, span)? {
                    tcp = Some(draft.setting(item.span, "(fast_open: true)".into()));
                } else {
                    draft.same(item.span);
                }
            }
            key if proxy::KEYS.contains(&key) => proxy.read(item, &mut draft)?,
            _ if global.read(item, &mut draft)? => {}
            _ => other(item, KEYS, "the configuration", &mut draft)?,
        }
    }
    draft.backend = match backend {
        Some(setting) => setting,
        None => Setting::implied(
            quoted("127.0.0.1:8000"),
            "hitch's default, as the file names no backend",
        ),
    };
    if frontends.is_empty() {
        frontends.push(Frontend {
            span: Span::new(0, 0),
            address: Address::Tcp {
                host: Host::Any,
                port: 8443,
            },
            setting: Setting::implied(
                quoted("*:8443"),
                "hitch's default, as the file names no frontend",
            ),
            tls: Tls::default(),
        });
    }
    check_conflicts(&frontends)?;
    if !frontends.iter().any(|f| f.tls.wants_global_certs()) {
        global.note_unused(&mut draft);
    }
    let proxy_from = proxy.finish(&mut draft)?;
    for frontend in frontends {
        let certs = frontend.tls.certs(&global);
        if certs.is_empty() {
            return Err(fault(
                frontend.span,
                "this leaves a frontend without a pem-file; add pem-file = \"site.pem\", or pem-dir",
            ));
        }
        let tls = frontend.tls.settings(&global, &mut draft)?;
        draft.listeners.push(DraftListener {
            address: frontend.setting,
            certs,
            tls,
            backlog: backlog.clone(),
            rest: [("proxy_from", &proxy_from), ("tcp", &tcp)]
                .into_iter()
                .filter_map(|(key, setting)| Some((key, setting.clone()?)))
                .collect(),
        });
    }
    log.finish(&mut draft);
    rights.finish(&mut draft);
    Ok(draft)
}

/// Two frontends that are well by themselves may not be together.
fn check_conflicts(frontends: &[Frontend]) -> Result<(), SyntaxError> {
    for (index, frontend) in frontends.iter().enumerate().take(limits::LISTENERS_MAX) {
        let clash = frontends[..index]
            .iter()
            .find(|other| other.address.conflicts_with(&frontend.address));
        if let Some(other) = clash {
            return Err(fault(
                frontend.span,
                &format!(
                    "the address {} conflicts with {} of an earlier frontend; give one of the two another port or host",
                    frontend.address, other.address
                ),
            ));
        }
    }
    Ok(())
}

fn frontend(item: &Item<'_>, draft: &mut Draft<'_>) -> Result<Frontend, SyntaxError> {
    let block = match &item.value {
        Value::Text(text, span) => {
            let (address, cert) = match text.split_once('+') {
                Some((address, cert)) => (address, Some(cert)),
                None => (*text, None),
            };
            let (host, port) = host_port(address, *span)?;
            let address = listen(host, port, *span)?;
            let setting = draft.setting(item.span, quoted(&address.to_string()));
            let mut tls = Tls::default();
            if let Some(cert) = cert {
                let cert = draft.setting(item.span, path(cert, *span)?);
                tls.add(item.span, cert);
            }
            return Ok(Frontend {
                span: item.span,
                address,
                setting,
                tls,
            });
        }
        Value::Block(block) => block,
    };
    let (mut host, mut port, mut tls) = (None, None, Tls::default());
    for inner in last_of_each(block, &["pem-file"], draft) {
        match inner.key {
            "host" => host = Some((inner.text()?, inner.span)),
            "port" => port = Some((inner.text()?, inner.span)),
            _ if tls.read(inner, draft)? => {}
            _ => other(inner, FRONTEND_KEYS, "a frontend", draft)?,
        }
    }
    let Some(((port, port_span), port_line)) = port else {
        return Err(fault(
            item.key_span,
            "this frontend has no port; add port = \"443\"",
        ));
    };
    let ((host, host_span), host_line) = host.unwrap_or((("*", port_span), port_line));
    let span = if port.parse::<u16>().is_ok() {
        host_span
    } else {
        port_span
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let address = listen(host, port, span)?;
    let mut setting = draft.setting(host_line, quoted(&address.to_string()));
    if host_line != port_line {
        setting = setting.and(&draft.setting(port_line, String::new()));
    }
    Ok(Frontend {
        span: item.span,
        address,
        setting,
        tls,
    })
}

fn backend_address(item: &Item<'_>) -> Result<String, SyntaxError> {
    let (text, span) = item.text()?;
    if text.starts_with('/') {
        return match format!("unix:{text}").parse::<Address>() {
            Ok(address) => Ok(quoted(&address.to_string())),
            Err(error) => Err(fault(span, &error.to_string())),
        };
    }
    let (host, port) = host_port(text, span)?;
    connect(host, port, span)
}

/// `[HOST]:PORT`; hitch wants the brackets, old files have none.
fn host_port(text: &str, span: Span) -> Result<(&str, &str), SyntaxError> {
    let parts = match text.strip_prefix('[') {
        Some(rest) => rest.rsplit_once("]:"),
        None => text.rsplit_once(':'),
    };
    parts.ok_or_else(|| {
        fault(
            span,
            "this is no address of hitch; write [HOST]:PORT, such as [*]:443",
        )
    })
}

fn workers(item: &Item<'_>, draft: &mut Draft<'_>) -> Result<(), SyntaxError> {
    let (value, span) = item.text()?;
    let count = if value == "auto" {
        "Auto".to_owned()
    } else {
        let (count, changed) = clamped(whole(value, span)?, 1, limits::SHARDS_MAX);
        if changed {
            draft.changed(
                item.span,
                &format!("became {count}, the nearest that adit takes"),
            );
        }
        count.to_string()
    };
    let setting = draft.setting(item.span, count);
    draft.settings.push(("shards", setting));
    Ok(())
}

fn timeout(key: &'static str, item: &Item<'_>, draft: &mut Draft<'_>) -> Result<(), SyntaxError> {
    let never = "adit always has this limit; its default stands";
    if let Some(setting) = time(item, draft, never)? {
        draft.timeouts.push((key, setting));
    }
    Ok(())
}

/// How often the backend's name is resolved anew.
fn refresh(item: &Item<'_>, draft: &mut Draft<'_>) -> Result<(), SyntaxError> {
    let never = "adit always resolves names anew; every 30 s, unless resolve in the service says \
                 otherwise";
    if let Some(setting) = time(item, draft, never)? {
        draft.service.push(("resolve", setting));
    }
    Ok(())
}

/// So many seconds. Of 0 the note is `never`.
fn time(
    item: &Item<'_>,
    draft: &mut Draft<'_>,
    never: &str,
) -> Result<Option<Setting>, SyntaxError> {
    let (value, span) = item.text()?;
    let number = whole(value, span)?;
    if number == 0 {
        draft.without(item.span, never);
        return Ok(None);
    }
    let (value, changed) = seconds(number);
    if changed {
        draft.changed(
            item.span,
            &format!("became {value}, the longest that adit takes"),
        );
    }
    Ok(Some(draft.setting(item.span, value)))
}

/// The items that count: of repeated keys the last, but for those that may be
/// repeated.
fn last_of_each<'i, 'a>(
    items: &'i [Item<'a>],
    repeatable: &[&str],
    draft: &mut Draft<'_>,
) -> Vec<&'i Item<'a>> {
    let mut seen = HashSet::new();
    let mut last = Vec::new();
    for item in items.iter().rev() {
        if repeatable.contains(&item.key) || seen.insert(item.key) {
            last.push(item);
        } else {
            draft.without(item.span, "a later line sets it again, and that one counts");
        }
    }
    last.reverse();
    last
}

/// A key that becomes no setting.
fn other(
    item: &Item<'_>,
    here: &[&str],
    what: &str,
    draft: &mut Draft<'_>,
) -> Result<(), SyntaxError> {
    let known = UNSETTABLE
        .iter()
        .find(|known| known.keys.contains(&item.key));
    let Some(known) = known else {
        let keys = UNSETTABLE
            .iter()
            .flat_map(|known| known.keys.iter().copied())
            .chain(tls::KEYS.iter().copied())
            .chain(proxy::KEYS.iter().copied().filter(|_| here == KEYS))
            .chain(here.iter().copied());
        let hint = nearest(item.key, keys).map_or_else(
            || {
                format!(
                    "{what} has {} and what hitch.conf(5) lists",
                    here.join(", ")
                )
            },
            |meant| format!("did you mean {meant}?"),
        );
        return Err(fault(
            item.key_span,
            &format!("unknown key \"{}\" in {what}; {hint}", clip(item.key)),
        ));
    };
    let (value, _) = item.text()?;
    if known.is_same(value) {
        draft.same(item.span);
    } else {
        draft.without(item.span, known.why);
    }
    Ok(())
}

fn switch(value: &str, span: Span) -> Result<bool, SyntaxError> {
    if is_on(value) {
        Ok(true)
    } else if is_off(value) {
        Ok(false)
    } else {
        Err(fault(
            span,
            "this is neither on nor off; write one of the two",
        ))
    }
}
