//! Addresses as operators write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// A place to listen on or to connect to: `HOST:PORT`, `[v6]:PORT`, `*:PORT`
/// or `unix:/path`; and, to listen on only, `systemd:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// The host as typed, or every address of this machine.
        host: Host,
        /// 0 asks the kernel for a free port, on listeners.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
    /// The sockets of that name (FileDescriptorName=, systemd.socket(5)) that
    /// systemd has bound and passes at the start: a place to listen on only.
    Systemd(String),
}

/// The host part of a TCP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every address of this machine, IPv6 and IPv4 through one dual
    /// stack socket.
    Any,
    /// An address.
    Ip(IpAddr),
    /// A name that the resolver knows.
    Name(String),
}

/// Why a text is no address: a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// The address with that port, if it is a TCP one.
    pub fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Tcp { host, .. } => Self::Tcp {
                host: host.clone(),
                port,
            },
            Self::Unix(path) => Self::Unix(path.clone()),
            Self::Systemd(name) => Self::Systemd(name.clone()),
        }
    }

    /// Whether two listeners cannot have these addresses, because clients of
    /// one would reach the other: the same port (other than 0) of the same
    /// host, or of every address and one of them. Names are compared as
    /// written, not resolved.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Systemd(one), Self::Systemd(other)) => one == other,
            (Self::Tcp { host, port }, Self::Tcp { host: h, port: p }) => {
                *port != 0 && port == p && host.overlaps(h)
            }
            _ => false,
        }
    }
}

impl Host {
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Ip(one), Self::Ip(other)) => {
                let (one, other) = (one.to_canonical(), other.to_canonical());
                one == other
                    || one.is_ipv4() == other.is_ipv4()
                        && (one.is_unspecified() || other.is_unspecified())
            }
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => match host {
                Host::Any => write!(f, "*:{port}"),
                Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
                Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{port}"),
                Host::Name(name) => write!(f, "{name}:{port}"),
            },
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path);
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return systemd(text, name);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(AddressError(format!(
                "\"{text}\" is a URL: write an address without \"{scheme}://\"{}, HOST:PORT or \
                 unix:/path",
                if rest.contains('/') {
                    " and without a path"
                } else {
                    ""
                }
            )));
        }
        let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let with_port = text
            .rsplit_once(':')
            .filter(|(host, _)| !text.ends_with(']') && (is_ipv6(host) || !is_ipv6(text)));
        let Some((host, port)) = with_port else {
            let example = match text {
                "" => "*:443".to_owned(),
                _ if text.parse::<u16>().is_ok() => format!("*:{text}"),
                _ if is_ipv6(text) => format!("[{text}]:443"),
                _ => format!("{text}:443"),
            };
            return Err(AddressError(format!(
                "\"{text}\" has no port: write HOST:PORT, such as \"{example}\", or unix:/path"
            )));
        };
        let port = match port.parse::<u16>() {
            Ok(port) if port.to_string() == port_digits(text) => port,
            _ => {
                return Err(AddressError(format!(
                    "\"{text}\" has no valid port: \"{port}\" is not a number from 0 to 65535"
                )));
            }
        };
        Ok(Self::Tcp {
            host: parse_host(text, host, port)?,
            port,
        })
    }
}

/// What follows the last colon: `u16::from_str` takes "+80" and "080" too,
/// which no operator means.
fn port_digits(text: &str) -> &str {
    text.rsplit_once(':').map_or("", |(_, port)| port)
}

fn unix(text: &str, path: &str) -> Result<Address, AddressError> {
    // sun_path holds 108 bytes with its terminating zero (unix(7)).
    if !path.starts_with('/') {
        Err(AddressError(format!(
            "\"{text}\" is no absolute path: write unix:/run/name.sock"
        )))
    } else if path.len() > 107 {
        Err(AddressError(format!(
            "\"{text}\" is {} bytes long: a Unix socket's path has at most 107",
            path.len()
        )))
    } else if path.contains('\0') {
        Err(AddressError(
            "a Unix socket's path holds a zero byte".into(),
        ))
    } else {
        Ok(Address::Unix(path.into()))
    }
}

/// Names are what systemd takes for FileDescriptorName= (systemd.socket(5)).
fn systemd(text: &str, name: &str) -> Result<Address, AddressError> {
    let fits = |b: u8| (b' '..0x7f).contains(&b) && b != b':';
    if (1..=255).contains(&name.len()) && name.bytes().all(fits) {
        Ok(Address::Systemd(name.to_owned()))
    } else {
        Err(AddressError(format!(
            "\"{text}\" names no socket: write systemd:NAME with the FileDescriptorName= of the \
             socket unit, 1 to 255 ASCII characters without a colon"
        )))
    }
}

fn parse_host(text: &str, host: &str, port: u16) -> Result<Host, AddressError> {
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(ip) => Ok(Host::Ip(ip.into())),
            Err(_) => Err(AddressError(format!(
                "\"{text}\": \"{inner}\" is no IPv6 address; write [::1]:{port}"
            ))),
        };
    }
    if host.is_empty() {
        return Err(AddressError(format!(
            "\"{text}\" has no host: write *:{port} for every address of this machine, or HOST:{port}"
        )));
    }
    if host.contains(':') {
        // One of them may be there.
        let host = host.trim_matches(['[', ']']);
        return Err(AddressError(format!(
            "\"{text}\" is ambiguous: write an IPv6 address in brackets, [{host}]:{port}"
        )));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    if looks_like_ipv4(host) {
        return Err(AddressError(format!(
            "\"{text}\": \"{host}\" is no IPv4 address; it has four numbers from 0 to 255"
        )));
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return Err(AddressError(format!(
            "\"{text}\": \"{host}\" is no host name; write a name, an address, or *"
        )));
    }
    Ok(Host::Name(host.to_owned()))
}

fn looks_like_ipv4(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_write_is_read_and_written_back() {
        for text in [
            "127.0.0.1:8443",
            "[::1]:443",
            "*:443",
            "localhost:0",
            "db-1.internal_net:5432",
            "unix:/run/x.sock",
            "systemd:https",
        ] {
            let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (text, hint) in [
            ("8443", "such as \"*:8443\""),
            ("localhost", "such as \"localhost:443\""),
            ("[::1]", "such as \"[::1]:443\""),
            ("fe80::1", "such as \"[fe80::1]:443\""),
            ("https://host:443", "without \"https://\", HOST"),
            ("http://host/x", "without a path"),
            ("", "has no port"),
            ("host:", "not a number"),
            ("host:+80", "not a number"),
            ("host:65536", "not a number"),
            (":443", "*:443"),
            ("::1:443", " [::1]:443"),
            ("[::1:443", " [::1]:443"),
            ("::1]:443", " [::1]:443"),
            ("[::g]:443", "no IPv6"),
            ("1.2.3:80", "no IPv4"),
            ("a..b:80", "no host name"),
            ("a b:80", "no host name"),
            ("unix:run/x", "absolute"),
            ("systemd:", "FileDescriptorName="),
            ("systemd:a:443", "without a colon"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
