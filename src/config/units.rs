//! Scalars: durations and sizes with units, addresses, paths, CPU lists.
//!
//! Each is a type of its own that serde makes from a [`Scalar`], so that what
//! has been read is valid, and what is not is refused with what to write
//! instead.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use serde::de::{EnumAccess, SeqAccess, VariantAccess, Visitor};

use super::error::clip;
use super::{Address, Host};
use crate::limits;

/// A value without parts, as it was written.
#[derive(Debug)]
pub(super) enum Scalar {
    /// In quotes.
    Text(String),
    /// Whole.
    Number(i64),
    /// A number with a fraction, or past every bound.
    Fraction,
    /// A bare word, such as Auto.
    Word(String),
    /// No scalar: how it looks.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a word")
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar::Text(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Fraction)
            }

            fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Scalar, A::Error> {
                let (word, rest) = access.variant::<String>()?;
                rest.unit_variant()?;
                Ok(Scalar::Word(word))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Scalar, A::Error> {
                Ok(Scalar::Other("a list"))
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Other("brackets"))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Scalar {
    /// The text, or a sentence that says what was expected.
    fn text(self, expected: &str) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.refused(expected)),
        }
    }

    fn refused(&self, expected: &str) -> String {
        match self {
            Self::Text(text) => format!("expected {expected}, found the text \"{}\"", clip(text)),
            Self::Number(number) => format!("expected {expected}, found the number {number}"),
            Self::Fraction => format!("expected {expected}, found another number"),
            Self::Word(word) => format!("expected {expected}, found the word {}", clip(word)),
            Self::Other(what) => format!("expected {expected}, found {what}"),
        }
    }
}

/// A type that serde makes from a scalar.
macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident($inner:ty) = $parse:expr) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(try_from = "Scalar")]
        pub(in crate::config) struct $name(pub(in crate::config) $inner);

        impl TryFrom<Scalar> for $name {
            type Error = String;

            fn try_from(scalar: Scalar) -> Result<Self, String> {
                $parse(scalar).map(Self)
            }
        }
    };
}

// Behind the macro, which they use.
mod service;
mod tls;

pub(super) use service::{
    Amount, BitsV4, BitsV6, Count, NetworkText, PagePath, ProxyVersionNumber, SniPattern,
    SourceAddress, Statuses, Weight,
};
pub(super) use tls::{
    AlpnName, Authorities, CipherName, GroupName, PresetName, ServerNameText, Switch,
    TicketLifetime, VersionName,
};

scalar! {
    /// A time that must end: neither zero nor none.
    Deadline(Duration) = |scalar| match scalar {
        Scalar::Word(_) => Err("this time cannot be without a limit; write a duration such as \"10s\"".into()),
        scalar => match duration(scalar)? {
            Duration::ZERO => Err("this time cannot be zero; write a duration such as \"10s\"".into()),
            time => Ok(time),
        },
    }
}

scalar! {
    /// A time that may be none, which is zero.
    Patience(Duration) = |scalar| match scalar {
        Scalar::Word(word) if word == "Off" => Ok(Duration::ZERO),
        Scalar::Text(text) if text == "none" => Ok(Duration::ZERO),
        Scalar::Word(word) => Err(format!(
            "unknown word {}; write Off for no limit, or a duration such as \"10m\"",
            clip(&word)
        )),
        scalar => duration(scalar),
    }
}

scalar! {
    /// A time that may be zero, but not without end.
    Grace(Duration) = |scalar| match scalar {
        Scalar::Word(_) => Err("this time cannot be without a limit; write a duration such as \"30s\", or \"0s\" to cut at once".into()),
        scalar => duration(scalar),
    }
}

scalar! {
    /// A time for which to go on accepting: none, or not without end.
    ReadyGrace(Duration) = |scalar| match scalar {
        Scalar::Word(word) if word == "Off" => Ok(Duration::ZERO),
        Scalar::Word(_) => Err("this time cannot be without a limit; write a duration such as \"5s\", or \"0s\" for none".into()),
        scalar => duration(scalar),
    }
}

scalar! {
    /// How often files are looked at; none is never.
    WatchInterval(Option<Duration>) = |scalar| match scalar {
        Scalar::Word(word) if word == "Off" => Ok(None),
        Scalar::Word(word) => Err(format!(
            "unknown word {}; write Off, or a duration such as \"2s\"",
            clip(&word)
        )),
        scalar => match duration(scalar)? {
            time if time < limits::WATCH_INTERVAL_MIN => Err(format!(
                "this is too often; write at least \"{}\", or Off",
                humantime::format_duration(limits::WATCH_INTERVAL_MIN)
            )),
            time => Ok(Some(time)),
        },
    }
}

scalar! {
    /// A buffer's size, in bytes.
    BufferSize(usize) = buffer_size
}

scalar! {
    /// A bound on memory, in bytes.
    MemorySize(usize) = memory_size
}

scalar! {
    /// A place to listen on.
    ListenAddress(Address) = |scalar: Scalar| address(scalar, "an address such as \"*:443\", \"unix:/run/name.sock\" or \"systemd:https\"")
}

scalar! {
    /// A place to connect to.
    BackendAddress(Address) = backend
}

scalar! {
    /// A path as typed; not empty.
    FilePath(PathBuf) = |scalar: Scalar| path(scalar.text("a path in quotes, such as \"site.pem\"")?)
}

scalar! {
    /// The name of a listener or a service, or a syslog ident.
    Name(String) = name
}

scalar! {
    /// A user or a group.
    AccountName(String) = |scalar: Scalar| match scalar {
        Scalar::Number(number) if (0..i64::from(u32::MAX)).contains(&number) => Ok(number.to_string()),
        scalar => match scalar.text("a name in quotes, such as \"adit\"")? {
            name if name.is_empty() => Err("the name is empty; write one, such as \"adit\"".into()),
            name => Ok(name),
        },
    }
}

scalar! {
    /// A number of shards; none is one for each CPU.
    ShardCount(Option<usize>) = |scalar| match scalar {
        Scalar::Word(word) if word == "Auto" => Ok(None),
        scalar => whole(&scalar, 1, limits::SHARDS_MAX, "Auto or a whole number").map(Some),
    }
}

scalar! {
    /// CPU numbers, in order.
    CpuList(Vec<usize>) = |scalar: Scalar| super::parse_cpu_list(&scalar.text("a list of CPUs in quotes, such as \"0-3,8\"")?)
}

scalar! {
    /// Numbers of NUMA nodes.
    NodeList(Vec<usize>) = |scalar: Scalar| super::parse_number_list(&scalar.text("a list of NUMA nodes in quotes, such as \"0\" or \"0-1\"")?, "NUMA node")
}

scalar! {
    /// Numbers of cache domains.
    CacheList(Vec<usize>) = |scalar: Scalar| super::parse_number_list(&scalar.text("a list of cache domains in quotes, such as \"0\" or \"0-1\"")?, "cache domain")
}

scalar! {
    /// A listen backlog.
    Backlog(u32) = |scalar| whole(&scalar, 1, limits::BACKLOG_MAX as usize, "a whole number")
        // The bound is a u32.
        .map(|number| number as u32)
}

scalar! {
    /// A number of session tickets.
    Tickets(usize) = |scalar| whole(&scalar, 0, limits::TICKETS_PER_HANDSHAKE_MAX, "a whole number")
}

/// The admin socket, as typed.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Scalar")]
pub(super) enum AdminSocket {
    /// Chosen by adit.
    Auto,
    /// None.
    Off,
    /// There.
    Path(PathBuf),
}

impl TryFrom<Scalar> for AdminSocket {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Word(word) if word == "Auto" => Ok(Self::Auto),
            Scalar::Word(word) if word == "Off" => Ok(Self::Off),
            Scalar::Text(text) => match text.strip_prefix("unix:") {
                Some(rest) => path(rest.to_owned()).map(Self::Path),
                None => path(text).map(Self::Path),
            },
            other => Err(other.refused("Auto, Off, or a path in quotes")),
        }
    }
}

fn duration(scalar: Scalar) -> Result<Duration, String> {
    let text = match scalar {
        Scalar::Text(text) => text,
        Scalar::Number(number) => {
            return Err(format!(
                "the number {number} has no unit; write \"{}s\"",
                number.max(0)
            ));
        }
        Scalar::Fraction => return Err("this number has no unit; write \"1500ms\"".into()),
        other => return Err(other.refused("a duration such as \"30s\"")),
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // humantime takes a bare "0".
        return Err(format!("\"{0}\" has no unit; write \"{0}s\"", clip(&text)));
    }
    let time = humantime::parse_duration(&text).map_err(|_| {
        format!(
            "\"{}\" is no duration; write a number and a unit, such as \"500ms\", \"30s\", \"5m\" or \"1h 30m\"",
            clip(&text)
        )
    })?;
    if time > limits::TIMEOUT_MAX {
        return Err(format!(
            "\"{}\" is longer than any timeout may be; write at most \"{}days\"",
            clip(&text),
            limits::TIMEOUT_MAX.as_secs() / (24 * 3600)
        ));
    }
    if !time.is_zero() && time < Duration::from_millis(1) {
        return Err(format!(
            "\"{}\" is shorter than any timeout may be; write at least \"1ms\"",
            clip(&text)
        ));
    }
    Ok(time)
}

/// Bytes, and how they were typed.
fn bytes(scalar: Scalar) -> Result<(u64, String), String> {
    match scalar {
        Scalar::Text(text) => match text.parse::<ByteSize>() {
            Ok(size) => Ok((size.as_u64(), format!("\"{}\"", clip(&text)))),
            Err(_) => Err(format!(
                "\"{}\" is no size; write a number and a unit, such as \"48KiB\" or \"64KB\"",
                clip(&text)
            )),
        },
        // What is negative is less than the least as well.
        Scalar::Number(number) => Ok((number.max(0) as u64, number.to_string())),
        other => Err(other.refused("a size such as \"48KiB\"")),
    }
}

fn memory_size(scalar: Scalar) -> Result<usize, String> {
    let (bytes, typed) = bytes(scalar)?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= limits::MEMORY_PART_MIN => Ok(bytes),
        Ok(_) => Err(format!(
            "{typed} is too little for any shard; write {} at least for each",
            size(limits::MEMORY_PART_MIN)
        )),
        Err(_) => Err(format!("{typed} is more than any machine has")),
    }
}

fn buffer_size(scalar: Scalar) -> Result<usize, String> {
    let (bytes, typed) = bytes(scalar)?;
    let allowed = format!(
        "write a size from {} to {}",
        size(limits::BUFFER_SIZE_MIN),
        size(limits::BUFFER_SIZE_MAX)
    );
    if bytes < limits::BUFFER_SIZE_MIN as u64 {
        Err(format!("{typed} is too small for a buffer; {allowed}"))
    } else if bytes > limits::BUFFER_SIZE_MAX as u64 {
        Err(format!("{typed} is too large for a buffer; {allowed}"))
    } else {
        Ok(bytes as usize)
    }
}

/// A size as an operator would write it.
pub(super) fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => format!("{bytes}B"),
    }
}

fn address(scalar: Scalar, expected: &str) -> Result<Address, String> {
    scalar
        .text(expected)?
        .parse()
        .map_err(|error: super::AddressError| error.to_string())
}

fn backend(scalar: Scalar) -> Result<Address, String> {
    let address = address(
        scalar,
        "an address such as \"127.0.0.1:8080\" or \"unix:/run/name.sock\"",
    )?;
    match &address {
        Address::Tcp {
            host: Host::Any,
            port,
        } => Err(format!(
            "\"{address}\" is no one place to connect to; write 127.0.0.1:{port}, or another host"
        )),
        Address::Tcp { host, port: 0 } => Err(format!(
            "\"{address}\" is no place to connect to: a backend has no port 0; write the port that {} listens on",
            match host {
                Host::Name(name) => name,
                _ => "it",
            }
        )),
        Address::Systemd(_) => Err(format!(
            "\"{address}\" is no place to connect to, but one to listen on; write HOST:PORT or \
             unix:/path"
        )),
        _ => Ok(address),
    }
}

fn path(text: String) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("the path is empty; write one, such as \"site.pem\"".into())
    } else if text.contains('\0') {
        Err("the path holds a zero byte; remove it".into())
    } else {
        Ok(text.into())
    }
}

fn name(scalar: Scalar) -> Result<String, String> {
    let text = scalar.text("a name in quotes")?;
    if text.is_empty() {
        Err("the name is empty; write a word, such as \"web\"".into())
    } else if text.len() > limits::NAME_MAX {
        Err(format!(
            "the name is {} bytes long; write at most {}",
            text.len(),
            limits::NAME_MAX
        ))
    } else if text.chars().any(char::is_control) {
        Err("the name holds a control character; write plain text".into())
    } else {
        Ok(text)
    }
}

fn whole(scalar: &Scalar, min: usize, max: usize, expected: &str) -> Result<usize, String> {
    match scalar {
        Scalar::Number(number) => usize::try_from(*number)
            .ok()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("{number} is out of range; write a number from {min} to {max}")),
        Scalar::Fraction => Err(format!(
            "this number is no whole one, or out of range; write a number from {min} to {max}"
        )),
        Scalar::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => Err(
            format!("a number stands without quotes here; write {}", clip(text)),
        ),
        other => Err(format!(
            "{}; write {expected} from {min} to {max}",
            other.refused(expected)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_they_are_written() {
        for (bytes, shown) in [(1024, "1KiB"), (1 << 20, "1MiB"), (1025, "1025B")] {
            assert_eq!(size(bytes), shown);
        }
    }
}
