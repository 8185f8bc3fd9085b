//! How an access line looks.

use std::fmt::{self, Write};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::entry::{Entry, Value};
use crate::config::AccessFormat;
use crate::limits;

/// The line of an entry, without a newline, of at most `most` bytes: ASCII in
/// one line, whatever clients have sent. Texts are cut, and end in `…`
/// (`\u2026`), until it fits.
pub(super) fn line(entry: &Entry, format: AccessFormat, most: usize) -> String {
    let mut texts = limits::LOG_FIELD_MAX;
    loop {
        let line = match format {
            AccessFormat::Text => text(entry, texts),
            AccessFormat::Json => json(entry, texts),
        };
        if line.len() <= most || texts <= limits::ACCESS_FIELD_MIN {
            return line;
        }
        texts /= 2;
    }
}

/// `key=value`, with blanks between.
fn text(entry: &Entry, texts: usize) -> String {
    let mut line = String::with_capacity(512);
    entry.each(|name, value| {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(name);
        line.push('=');
        let done = match value {
            Value::Unknown => line.write_char('-'),
            Value::Text(text) => write_quoted(&mut line, text, texts),
            plain => write_plain(&mut line, plain),
        };
        debug_assert!(done.is_ok(), "writing to a String cannot fail");
    });
    line
}

/// An object whose members are in order.
fn json(entry: &Entry, texts: usize) -> String {
    let mut line = String::with_capacity(640);
    entry.each(|name, value| {
        line.push(if line.is_empty() { '{' } else { ',' });
        let done = write!(line, "\"{name}\":").and_then(|()| match value {
            Value::Unknown => line.write_str("null"),
            Value::Text(text) => write_json_text(&mut line, text, texts),
            number @ (Value::Number(_) | Value::Millis(_) | Value::Flag(_)) => {
                write_plain(&mut line, number)
            }
            // These have nothing in them that would have to be escaped.
            word => {
                line.push('"');
                write_plain(&mut line, word)?;
                line.write_char('"')
            }
        });
        debug_assert!(done.is_ok(), "writing to a String cannot fail");
    });
    line.push('}');
    line
}

/// The fields for the journal, under names of its kind; what is not known is
/// left out.
pub(super) fn journal_fields(entry: &Entry, mut field: impl FnMut(&str, &str)) {
    let (mut key, mut shown) = (String::new(), String::new());
    entry.each(|name, value| {
        key.clear();
        key.push_str("ADIT_");
        key.push_str(name);
        key.make_ascii_uppercase();
        shown.clear();
        match value {
            Value::Unknown => {}
            // A field has its own beginning and end, and holds what there was.
            Value::Text(text) => field(&key, &cut(text, limits::LOG_FIELD_MAX)),
            plain => {
                let done = write_plain(&mut shown, plain);
                debug_assert!(done.is_ok(), "writing to a String cannot fail");
                field(&key, &shown);
            }
        }
    });
}

/// A value that is neither unknown nor a text.
fn write_plain(line: &mut String, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Time(at) => line.write_str(&stamp(at)),
        Value::Id(shard, number) => write!(line, "{shard}-{number}"),
        Value::Number(number) => write!(line, "{number}"),
        Value::Millis(time) => {
            let micros = time.as_micros();
            write!(line, "{}.{:03}", micros / 1000, micros % 1000)
        }
        Value::Flag(flag) => write!(line, "{flag}"),
        Value::Address(address) => write!(line, "{address}"),
        Value::Word(word) => line.write_str(word),
        Value::Text(_) | Value::Unknown => Ok(()),
    }
}

/// A time in UTC (RFC 3339, section 5.6).
pub(super) fn stamp(at: OffsetDateTime) -> String {
    const STAMP: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // A date that cannot be written (the year 10000) is no reason to lose a
    // line.
    at.format(STAMP).unwrap_or_default()
}

/// A text as it is if it could be mistaken for nothing else; otherwise in
/// quotes, with backslashes before quotes and backslashes, and `\xNN` or
/// `\u{NNNN}` for what is not printable ASCII.
fn write_quoted(line: &mut String, text: &str, most: usize) -> fmt::Result {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@*+-[]%,~".contains(&byte);
    if text.len() <= most && !text.is_empty() && text != "-" && text.bytes().all(plain) {
        return line.write_str(text);
    }
    line.push('"');
    for c in cut(text, most).chars() {
        match c {
            '"' | '\\' => write!(line, "\\{c}")?,
            ' '..='~' => line.push(c),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\0'..='\x7f' => write!(line, "\\x{:02x}", u32::from(c))?,
            _ => write!(line, "{}", c.escape_unicode())?,
        }
    }
    line.write_char('"')
}

/// A JSON string (RFC 8259, section 7) of ASCII alone: no letter in it can
/// change how a terminal shows the line.
fn write_json_text(line: &mut String, text: &str, most: usize) -> fmt::Result {
    line.push('"');
    for c in cut(text, most).chars() {
        match c {
            '"' | '\\' => write!(line, "\\{c}")?,
            ' '..='~' => line.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(line, "\\u{unit:04x}")?;
                }
            }
        }
    }
    line.write_char('"')
}

/// At most so many bytes of it, and an ellipsis if that is not all.
fn cut(text: &str, most: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value as Json;

    use super::*;

    pub(super) fn entry() -> Entry {
        Entry {
            time: time::macros::datetime!(2026-11-23 18:21:35.123_9 UTC),
            shard: 3,
            number: 17,
            listener: "https".into(),
            client: Some(([192, 0, 2, 7], 40_000).into()),
            sni: Some("www.example.org".into()),
            alpn: Some("h2".into()),
            tls_version: Some("TLSv1.3"),
            cipher: Some("TLS_AES_128_GCM_SHA256"),
            resumed: Some(false),
            client_cert: Some("CN:probe 1".into()),
            service: Some("web".into()),
            backend: Some("127.0.0.1:8080".into()),
            handshake: Some(Duration::from_micros(1_234)),
            connect: Some(Duration::from_micros(56)),
            duration: Duration::from_millis(2_500),
            bytes_up: 12,
            bytes_down: 345_678,
            phase: "relay",
            side: "client",
            cause: "eof",
            detail: None,
        }
    }

    /// The names, their order and their values are what others rely on: this
    /// changes by additions at the end alone.
    #[test]
    fn the_fields_are_these() {
        assert_eq!(
            line(&entry(), AccessFormat::Text, 4096),
            "time=2026-11-23T18:21:35.123Z id=3-17 shard=3 listener=https \
             client=192.0.2.7:40000 sni=www.example.org alpn=h2 tls_version=TLSv1.3 \
             cipher=TLS_AES_128_GCM_SHA256 resumed=false client_cert=\"CN:probe 1\" service=web \
             backend=127.0.0.1:8080 handshake_ms=1.234 connect_ms=0.056 duration_ms=2500.000 \
             bytes_up=12 bytes_down=345678 phase=relay side=client cause=eof detail=-"
        );
        assert_eq!(
            line(&entry(), AccessFormat::Json, 4096),
            "{\"time\":\"2026-11-23T18:21:35.123Z\",\"id\":\"3-17\",\"shard\":3,\
             \"listener\":\"https\",\"client\":\"192.0.2.7:40000\",\"sni\":\"www.example.org\",\
             \"alpn\":\"h2\",\"tls_version\":\"TLSv1.3\",\"cipher\":\"TLS_AES_128_GCM_SHA256\",\
             \"resumed\":false,\"client_cert\":\"CN:probe 1\",\"service\":\"web\",\
             \"backend\":\"127.0.0.1:8080\",\"handshake_ms\":1.234,\"connect_ms\":0.056,\
             \"duration_ms\":2500.000,\"bytes_up\":12,\"bytes_down\":345678,\"phase\":\"relay\",\
             \"side\":\"client\",\"cause\":\"eof\",\"detail\":null}"
        );
        let mut fields = Vec::new();
        journal_fields(&entry(), |name, value| {
            fields.push(format!("{name}={value}"))
        });
        assert_eq!(fields.len(), 21, "what is not known is left out");
        assert_eq!(fields[5], "ADIT_SNI=www.example.org");
        assert_eq!(fields[13], "ADIT_HANDSHAKE_MS=1.234");
    }

    #[test]
    fn no_text_can_be_taken_for_anything_else() {
        for hostile in [
            "a\" client=\"1.2.3.4",
            "a\nid=0-0 sni=b",
            "\",\"cause\":\"eof",
            "\\\"}\n{",
            "\u{9b}2J\u{1b}[2J\u{202e}\u{2028}\0\x7f",
            "-",
            "",
            "grüße 世界 🚪",
        ] {
            let mut entry = entry();
            entry.sni = Some(hostile.into());
            entry.alpn = Some(hostile.into());
            entry.detail = Some(hostile.into());
            let shown = line(&entry, AccessFormat::Json, 4096);
            assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown}");
            let parsed: Json = serde_json::from_str(&shown).expect("JSON");
            for name in ["sni", "alpn", "detail"] {
                assert_eq!(parsed[name], hostile, "{shown}");
            }
            assert_eq!(parsed["cause"], "eof");
            let shown = line(&entry, AccessFormat::Text, 4096);
            assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown}");
            // Outside of quotes there are no more fields than there should be.
            let mut quoted = false;
            let mut escaped = false;
            let outside = shown.chars().filter(|&c| {
                let was = quoted;
                match (c, escaped) {
                    (_, true) => escaped = false,
                    ('\\', false) if quoted => escaped = true,
                    ('"', false) => quoted = !quoted,
                    _ => {}
                }
                !was && c == '='
            });
            assert_eq!(outside.count(), 22, "{shown}");
        }
    }

    #[test]
    fn however_long_its_texts_a_line_is_whole() {
        for letter in ["\u{1}", "\"", "世", "🚪", "a"] {
            let long: Box<str> = letter.repeat(100_000).into();
            let mut entry = entry();
            entry.listener = long.clone();
            for text in [
                &mut entry.sni,
                &mut entry.alpn,
                &mut entry.client_cert,
                &mut entry.service,
                &mut entry.backend,
                &mut entry.detail,
            ] {
                *text = Some(long.clone());
            }
            for most in [limits::ACCESS_LINE_MAX, limits::LOG_LINE_MAX - 200] {
                let shown = line(&entry, AccessFormat::Json, most);
                assert!(shown.len() <= most, "{} of {most}", shown.len());
                let parsed: Json = serde_json::from_str(&shown).expect("JSON");
                let sni = parsed["sni"].as_str().expect("a text");
                assert!(sni.starts_with(letter) && sni.ends_with('…'), "{sni}");
                let shown = line(&entry, AccessFormat::Text, most);
                assert!(shown.len() <= most, "{} of {most}", shown.len());
                assert!(shown.contains("…\"") || shown.contains("\\u{2026}\""));
            }
        }
    }
}
