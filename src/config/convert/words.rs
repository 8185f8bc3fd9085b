//! Values of other programs, as RON.

use std::time::Duration;

use super::super::position::{Span, SyntaxError};
use super::super::units::size;
use super::super::{Address, AddressError, Host};
use crate::limits;

/// A text in quotes, escaped as RON wants it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A path, which must not be empty.
pub(super) fn path(text: &str, span: Span) -> Result<String, SyntaxError> {
    if text.is_empty() {
        Err(fault(
            span,
            "the path is empty; write one, such as site.pem",
        ))
    } else if text.contains('\0') {
        Err(fault(span, "the path holds a zero byte; remove it"))
    } else {
        Ok(quoted(text))
    }
}

/// The address of a listener, from its host and port; no host, `*` and the
/// unspecified IPv4 address are every address.
pub(super) fn listen(host: &str, port: &str, span: Span) -> Result<Address, SyntaxError> {
    let host = match host {
        "" | "*" | "0.0.0.0" => "*",
        host => host,
    };
    address(host, port, span)
}

/// The address of a backend, from its host and port.
pub(super) fn connect(host: &str, port: &str, span: Span) -> Result<String, SyntaxError> {
    match address(host, port, span)? {
        Address::Tcp {
            host: Host::Any, ..
        } => Err(fault(
            span,
            "a backend cannot be every address; write 127.0.0.1, or another host",
        )),
        Address::Tcp { port: 0, .. } => Err(fault(
            span,
            "a backend has no port 0; write the port that it listens on",
        )),
        address => Ok(quoted(&address.to_string())),
    }
}

fn address(host: &str, port: &str, span: Span) -> Result<Address, SyntaxError> {
    let text = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    text.parse()
        .map_err(|error: AddressError| fault(span, &error.to_string()))
}

/// A whole number; digits only, and nothing past an i64.
pub(super) fn whole(text: &str, span: Span) -> Result<u64, SyntaxError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && i64::try_from(number).is_ok() => Ok(number),
        _ => Err(fault(
            span,
            "this is no whole number; write digits, such as 4",
        )),
    }
}

/// A number brought within bounds; whether it had to be.
pub(super) fn clamped(number: u64, min: usize, max: usize) -> (usize, bool) {
    let within = usize::try_from(number).unwrap_or(max).clamp(min, max);
    (within, within as u64 != number)
}

/// A timeout in seconds as RON, within its bounds; whether that changed it.
pub(super) fn seconds(number: u64) -> (String, bool) {
    let max = limits::TIMEOUT_MAX.as_secs();
    let seconds = number.min(max);
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    (quoted(&text), seconds != number)
}

/// A buffer's size as RON.
pub(super) fn buffer(bytes: usize) -> String {
    quoted(&size(bytes))
}

/// A fault at that span.
pub(super) fn fault(span: Span, message: &str) -> SyntaxError {
    SyntaxError {
        span,
        message: message.to_owned(),
    }
}
