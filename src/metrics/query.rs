//! Which of the open tunnels are wanted, and in which order.
//!
//! A query is a few words, the same on the command line, in `adit top` and in
//! the query of `GET /tunnels`. Every shard answers it by itself, and what they
//! answer is joined by the same rules.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use super::tunnel::{TunnelId, TunnelState, TunnelStats, TunnelView};
use crate::config::Network;
use crate::http;
use crate::limits;

/// Which of the open tunnels are wanted: those that fit every filter, the first
/// so many of them in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelQuery {
    filters: Vec<TunnelFilter>,
    /// What they are ordered by.
    pub order: TunnelOrder,
    /// The other way round.
    pub reverse: bool,
    limit: usize,
    rates: bool,
}

/// What tunnels are ordered by. Amounts begin with the greatest, texts with the
/// first of the alphabet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelOrder {
    /// The oldest first.
    #[default]
    Age,
    /// By bytes in both directions.
    Bytes,
    /// By bytes from the client.
    Up,
    /// By bytes to the client.
    Down,
    /// By bytes a second in both directions, now.
    Rate,
    /// By the client's address.
    Client,
    /// By the name that the client asked for.
    Sni,
    /// By service.
    Service,
    /// By backend.
    Backend,
    /// By shard and number.
    Id,
}

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

/// A tunnel's place in an order. What comes first is the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Amount(Reverse<u64>, TunnelId),
    Text(Option<String>, TunnelId),
}

const KEYS: [&str; 14] = [
    "id", "client", "sni", "listener", "service", "backend", "state", "tls", "cipher", "group",
    "age", "up", "down", "bytes",
];

impl Default for TunnelQuery {
    /// Every tunnel, the oldest first, [`limits::TUNNELS_LISTED_DEFAULT`] at
    /// most.
    fn default() -> Self {
        Self {
            filters: Vec::new(),
            order: TunnelOrder::default(),
            reverse: false,
            limit: limits::TUNNELS_LISTED_DEFAULT,
            rates: false,
        }
    }
}

impl TunnelQuery {
    /// One more condition.
    pub fn filter(mut self, filter: TunnelFilter) -> Self {
        self.filters.push(filter);
        self
    }

    /// In that order.
    pub fn order(mut self, order: TunnelOrder) -> Self {
        self.order = order;
        self
    }

    /// In the opposite order, if so.
    pub fn reversed(mut self, reverse: bool) -> Self {
        self.reverse = reverse;
        self
    }

    /// No more than so many, and [`limits::TUNNELS_LISTED_MAX`] at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.min(limits::TUNNELS_LISTED_MAX);
        self
    }

    /// How many at most.
    pub fn most(&self) -> usize {
        self.limit
    }

    /// With the rates of the moment, whether or not order or filters need them.
    pub fn with_rates(mut self) -> Self {
        self.rates = true;
        self
    }

    /// Whether the rates of the moment are to be found out.
    pub fn wants_rates(&self) -> bool {
        let by_rate = |filter: &TunnelFilter| match &filter.test {
            Test::Key { any_of, .. } => any_of
                .iter()
                .any(|term| matches!(term, Term::Amount(AmountKey::Rate, ..))),
            Test::Anywhere(_) => false,
        };
        self.rates || self.order == TunnelOrder::Rate || self.filters.iter().any(by_rate)
    }

    /// As the query of `GET /tunnels`.
    pub fn to_url(&self) -> String {
        let mut query = format!("limit={}&sort={}", self.limit, self.order);
        if self.reverse {
            query += "&reverse=true";
        }
        if self.rates {
            query += "&rates=true";
        }
        for filter in &self.filters {
            query += "&filter=";
            query += &http::encode(&filter.text);
        }
        query
    }

    /// From the query of such a request. What is left out is as by default.
    ///
    /// # Errors
    ///
    /// What was not understood, and what to write instead.
    pub fn from_request(request: &http::Request) -> Result<Self, String> {
        let mut query = Self::default();
        for limit in request.query_texts("limit") {
            let limit = limit.parse();
            query = query.limit(limit.map_err(|_| "limit: write a number, such as 100")?);
        }
        for order in request.query_texts("sort") {
            query.order = order.parse()?;
        }
        for reverse in request.query_texts("reverse") {
            query.reverse = yes_or_no("reverse", &reverse)?;
        }
        for rates in request.query_texts("rates") {
            query.rates = yes_or_no("rates", &rates)?;
        }
        for filter in request.query_texts("filter") {
            query.filters.push(filter.parse()?);
        }
        Ok(query)
    }

    pub(crate) fn fits(&self, tunnel: &TunnelView<'_>) -> bool {
        self.filters.iter().all(|filter| filter.fits(tunnel))
    }

    pub(crate) fn rank(&self, tunnel: &TunnelView<'_>) -> Rank {
        let amount = |amount| Rank::Amount(Reverse(amount), tunnel.id);
        let text = |text: Option<&str>| Rank::Text(text.map(str::to_owned), tunnel.id);
        match self.order {
            TunnelOrder::Age => amount((tunnel.age_seconds * 1e6) as u64),
            TunnelOrder::Bytes => amount(tunnel.bytes_up.saturating_add(tunnel.bytes_down)),
            TunnelOrder::Up => amount(tunnel.bytes_up),
            TunnelOrder::Down => amount(tunnel.bytes_down),
            TunnelOrder::Rate => amount(tunnel.bytes_per_second.unwrap_or(0)),
            // So that 9.0.0.1 comes before 10.0.0.1.
            TunnelOrder::Client => Rank::Text(
                tunnel.client.map(|client| match client {
                    std::net::SocketAddr::V4(v4) => {
                        format!("4{:08x}{:05}", u32::from(*v4.ip()), v4.port())
                    }
                    std::net::SocketAddr::V6(v6) => {
                        format!("6{:032x}{:05}", u128::from(*v6.ip()), v6.port())
                    }
                }),
                tunnel.id,
            ),
            TunnelOrder::Sni => text(tunnel.sni),
            TunnelOrder::Service => text(tunnel.service),
            TunnelOrder::Backend => text(tunnel.backend),
            TunnelOrder::Id => amount(0),
        }
    }

    pub(crate) fn compare(&self, a: &Rank, b: &Rank) -> Ordering {
        if self.reverse { b.cmp(a) } else { a.cmp(b) }
    }

    /// Joins what a shard has answered with what others have: the first so many
    /// of all of them.
    pub(crate) fn join(&self, tunnels: &mut Vec<TunnelStats>, more: Vec<TunnelStats>) {
        tunnels.extend(more);
        let mut ranked: Vec<(Rank, TunnelStats)> = tunnels
            .drain(..)
            .map(|tunnel| (self.rank(&tunnel.view()), tunnel))
            .collect();
        ranked.sort_unstable_by(|(a, _), (b, _)| self.compare(a, b));
        ranked.truncate(self.limit);
        tunnels.extend(ranked.into_iter().map(|(_, tunnel)| tunnel));
    }
}

impl TunnelOrder {
    /// Every order.
    pub const ALL: [Self; 10] = [
        Self::Age,
        Self::Bytes,
        Self::Up,
        Self::Down,
        Self::Rate,
        Self::Client,
        Self::Sni,
        Self::Service,
        Self::Backend,
        Self::Id,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Up => "up",
            Self::Down => "down",
            Self::Rate => "rate",
            Self::Client => "client",
            Self::Sni => "sni",
            Self::Service => "service",
            Self::Backend => "backend",
            Self::Id => "id",
        }
    }
}

impl fmt::Display for TunnelOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TunnelOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL;
        let found = all.into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| {
            let words = all.map(Self::as_str).join(", ");
            format!("\"{}\" is no order; write {words}", text.escape_debug())
        })
    }
}

impl TunnelFilter {
    fn fits(&self, tunnel: &TunnelView<'_>) -> bool {
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

fn yes_or_no(key: &str, text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{key}: write true or false"))
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
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
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

#[cfg(test)]
mod tests;
