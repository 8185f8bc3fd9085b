//! A condition that tunnels fit, or do not.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use crate::config::Network;
use crate::limits;
use crate::metrics::tunnel::{TunnelId, TunnelState, TunnelView};

const KEYS: [&str; 14] = [
    "id", "client", "sni", "listener", "service", "backend", "state", "tls", "cipher", "group",
    "age", "up", "down", "bytes",
];

/// A condition. `KEY=VALUE[,VALUE…]` fits where one of the values does,
/// `KEY!=VALUE[,VALUE…]` where none does, and a word alone where any text of
/// the tunnel contains it.
///
/// - `sni`, `listener`, `service`, `backend`, `cipher`, `group`: the whole text,
///   in which `*` stands for anything; nothing at all for one that has none;
/// - `id`: as it is shown;
/// - `client`: an address or a network, or `unix`;
/// - `state`: `handshake`, `connect`, `relay`, `closing`;
/// - `tls`: `1.2`, `1.3`, or `none`;
/// - `age` (`5m`), `up`, `down`, `bytes`, `rate` (`1MiB`): that much at least,
///   or a range: `5m..1h`, `..30s`.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelFilter {
    text: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Anywhere(String),
    Key { any_of: Vec<Term>, not: bool },
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Id(TunnelId),
    Text(TextKey, String),
    Client(Option<Network>),
    State(TunnelState),
    /// The end of the version's name; `None`: plaintext.
    Tls(Option<String>),
    Amount(AmountKey, f64, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextKey {
    Sni,
    Listener,
    Service,
    Backend,
    Cipher,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AmountKey {
    Age,
    Up,
    Down,
    Bytes,
    Rate,
}

impl TunnelFilter {
    pub(super) fn fits(&self, tunnel: &TunnelView<'_>) -> bool {
        match &self.test {
            Test::Anywhere(word) => {
                let holds = |text: &str| text.to_lowercase().contains(word.as_str());
                let texts = [
                    Some(tunnel.listener),
                    tunnel.sni,
                    tunnel.service,
                    tunnel.backend,
                    tunnel.cipher,
                    tunnel.group,
                    tunnel.tls_version,
                    Some(tunnel.state.as_str()),
                ];
                texts.into_iter().flatten().any(holds)
                    || tunnel
                        .client
                        .is_some_and(|client| holds(&client.to_string()))
                    || holds(&tunnel.id.to_string())
            }
            Test::Key { any_of, not } => any_of.iter().any(|term| term.fits(tunnel)) != *not,
        }
    }

    /// Whether it asks for rates of the moment.
    pub(super) fn asks_for_rates(&self) -> bool {
        match &self.test {
            Test::Key { any_of, .. } => any_of
                .iter()
                .any(|term| matches!(term, Term::Amount(AmountKey::Rate, ..))),
            Test::Anywhere(_) => false,
        }
    }
}

impl fmt::Display for TunnelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TunnelFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > limits::TUNNEL_FILTER_MAX {
            return Err(format!(
                "a filter has 1 to {} bytes",
                limits::TUNNEL_FILTER_MAX
            ));
        }
        let test = match text.split_once('=') {
            None => Test::Anywhere(text.to_lowercase()),
            Some((key, values)) => {
                let (key, not) = match key.strip_suffix('!') {
                    Some(key) => (key, true),
                    None => (key, false),
                };
                let any_of = values.split(',').map(|value| Term::new(key, value));
                Test::Key {
                    any_of: any_of.collect::<Result<_, _>>()?,
                    not,
                }
            }
        };
        Ok(Self {
            text: text.to_owned(),
            test,
        })
    }
}

impl Term {
    fn new(key: &str, value: &str) -> Result<Self, String> {
        let text = |key| Ok(Self::Text(key, value.to_lowercase()));
        let amount = |key| amounts(key, value).map(|(least, most)| Self::Amount(key, least, most));
        match key {
            "id" => value.parse().map(Self::Id),
            "client" if value == "unix" => Ok(Self::Client(None)),
            "client" => value.parse().map(|network| Self::Client(Some(network))),
            "sni" => text(TextKey::Sni),
            "listener" => text(TextKey::Listener),
            "service" => text(TextKey::Service),
            "backend" => text(TextKey::Backend),
            "cipher" => text(TextKey::Cipher),
            "group" => text(TextKey::Group),
            "state" => {
                let all = TunnelState::ALL;
                let found = all.into_iter().find(|state| state.as_str() == value);
                found.map(Self::State).ok_or_else(|| {
                    let words = all.map(TunnelState::as_str).join(", ");
                    format!("state: write {words}, not \"{}\"", value.escape_debug())
                })
            }
            "tls" => match value {
                "none" => Ok(Self::Tls(None)),
                "1.2" | "1.3" => Ok(Self::Tls(Some(value.to_owned()))),
                _ => Err(format!(
                    "tls: write 1.2, 1.3 or none, not \"{}\"",
                    value.escape_debug()
                )),
            },
            "age" => amount(AmountKey::Age),
            "up" => amount(AmountKey::Up),
            "down" => amount(AmountKey::Down),
            "bytes" => amount(AmountKey::Bytes),
            "rate" => amount(AmountKey::Rate),
            _ => Err(format!(
                "\"{}\" is nothing to filter by; write one of {}, rate",
                key.escape_debug(),
                KEYS.join(", ")
            )),
        }
    }

    fn fits(&self, tunnel: &TunnelView<'_>) -> bool {
        match self {
            Self::Id(id) => tunnel.id == *id,
            Self::Text(key, pattern) => {
                let text = match key {
                    TextKey::Sni => tunnel.sni,
                    TextKey::Listener => Some(tunnel.listener),
                    TextKey::Service => tunnel.service,
                    TextKey::Backend => tunnel.backend,
                    TextKey::Cipher => tunnel.cipher,
                    TextKey::Group => tunnel.group,
                };
                let text = text.unwrap_or("").to_lowercase();
                is_like(text.as_bytes(), pattern.as_bytes())
            }
            Self::Client(network) => match (network, tunnel.client) {
                (Some(network), Some(client)) => network.contains(client.ip()),
                (None, client) => client.is_none(),
                (Some(_), None) => false,
            },
            Self::State(state) => tunnel.state == *state,
            Self::Tls(version) => match (version, tunnel.tls_version) {
                (Some(version), Some(name)) => name.ends_with(version.as_str()),
                (None, name) => name.is_none(),
                (Some(_), None) => false,
            },
            Self::Amount(key, least, most) => {
                // Exact up to 8 PiB.
                let amount = match key {
                    AmountKey::Age => tunnel.age_seconds,
                    AmountKey::Up => tunnel.bytes_up as f64,
                    AmountKey::Down => tunnel.bytes_down as f64,
                    AmountKey::Bytes => tunnel.bytes_up as f64 + tunnel.bytes_down as f64,
                    AmountKey::Rate => tunnel.bytes_per_second.unwrap_or(0) as f64,
                };
                (*least..=*most).contains(&amount)
            }
        }
    }
}

/// The least and the most of a range.
fn amounts(key: AmountKey, text: &str) -> Result<(f64, f64), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, ""));
    let wrong = || match key {
        AmountKey::Age => format!(
            "age: write a time such as 5m, or a range such as 5m..1h or ..30s, not \"{}\"",
            text.escape_debug()
        ),
        _ => format!(
            "write a size such as 1MiB, or a range such as 1MiB..1GiB or ..10KiB, not \"{}\"",
            text.escape_debug()
        ),
    };
    let one = |text: &str| match key {
        AmountKey::Age => humantime::parse_duration(text)
            .ok()
            .as_ref()
            .map(Duration::as_secs_f64),
        _ => text
            .parse::<ByteSize>()
            .ok()
            .map(|size| size.as_u64() as f64),
    };
    let bound = |text: &str, default| match text {
        "" => Ok(default),
        text => one(text).ok_or_else(wrong),
    };
    if least.is_empty() && most.is_empty() {
        return Err(wrong());
    }
    Ok((bound(least, 0.0)?, bound(most, f64::INFINITY)?))
}

/// Whether a text is like a pattern, in which each `*` stands for any bytes.
pub(super) fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on if the last star stands for one more byte.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((at, in_pattern + 1));
                in_pattern += 1;
            }
            Some(byte) if *byte == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match &mut star {
                Some((from, after)) => {
                    *from += 1;
                    (at, in_pattern) = (*from, *after);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}
