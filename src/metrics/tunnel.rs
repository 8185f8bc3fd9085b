//! One open tunnel, as it is told of outside its shard.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a tunnel is called: `3-1842` is the tunnel 1842 of shard 3. It is given
/// once in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TunnelId {
    /// The shard that carries it.
    pub shard: usize,
    /// Its number there.
    pub number: u64,
}

/// What an open tunnel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelState {
    /// It finds out who the client is and what it wants.
    Handshake,
    /// It looks for a backend, and connects to it.
    Connect,
    /// It carries bytes.
    Relay,
    /// It takes leave of its peers.
    Closing,
}

/// One open tunnel. What is not known yet, or does not apply, is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelStats {
    /// What it is called.
    pub id: TunnelId,
    /// What it is doing.
    pub state: TunnelState,
    /// The client, as a header of the PROXY protocol names it where there was
    /// one; `None` for one that came by a Unix socket.
    pub client: Option<SocketAddr>,
    /// The server name that the client asked for.
    pub sni: Option<String>,
    /// The name of the listener that it came in at.
    pub listener: String,
    /// The name of the service that it leads to.
    pub service: Option<String>,
    /// Its backend's address, as it was configured.
    pub backend: Option<String>,
    /// The protocol version that was agreed on with the client: "TLSv1.3".
    pub tls_version: Option<String>,
    /// The cipher suite, in IANA's name.
    pub cipher: Option<String>,
    /// The key exchange group, in IANA's name.
    pub group: Option<String>,
    /// Whether the client resumed a session.
    pub resumed: Option<bool>,
    /// Seconds since it was accepted.
    pub age_seconds: f64,
    /// Plaintext bytes from the client to the backend.
    pub bytes_up: u64,
    /// Plaintext bytes from the backend to the client.
    pub bytes_down: u64,
    /// Bytes a second in both directions, since the tunnels were last looked
    /// at; if that was too long ago, since it was accepted. Only told where it
    /// was asked for.
    pub bytes_per_second: Option<u64>,
}

/// Some of the open tunnels: those that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelList {
    /// In the order that was asked for, and no more than were asked for.
    pub tunnels: Vec<TunnelStats>,
    /// How many there are that fit what was asked for.
    pub matching: u64,
    /// How many there are in all.
    pub open: u64,
    /// The shards that did not answer in time.
    pub silent_shards: Vec<usize>,
}

/// One open tunnel without a text of its own: what filters and orders look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TunnelView<'a> {
    pub(crate) id: TunnelId,
    pub(crate) state: TunnelState,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) sni: Option<&'a str>,
    pub(crate) listener: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) backend: Option<&'a str>,
    pub(crate) tls_version: Option<&'a str>,
    pub(crate) cipher: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    pub(crate) resumed: Option<bool>,
    pub(crate) age_seconds: f64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) bytes_per_second: Option<u64>,
}

impl TunnelState {
    /// Every state, in the order in which a tunnel passes through them.
    pub const ALL: [Self; 4] = [Self::Handshake, Self::Connect, Self::Relay, Self::Closing];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Connect => "connect",
            Self::Relay => "relay",
            Self::Closing => "closing",
        }
    }
}

impl fmt::Display for TunnelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.number)
    }
}

impl FromStr for TunnelId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Digits alone: a sign would be taken otherwise.
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        text.split_once('-')
            .filter(|(shard, number)| digits(shard) && digits(number))
            .and_then(|(shard, number)| {
                Some(Self {
                    shard: shard.parse().ok()?,
                    number: number.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                format!(
                    "\"{}\" is no tunnel's id; write one such as 3-1842, as adit tunnels shows it",
                    text.escape_debug()
                )
            })
    }
}

impl TryFrom<String> for TunnelId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TunnelId> for String {
    fn from(id: TunnelId) -> Self {
        id.to_string()
    }
}

impl TunnelStats {
    pub(crate) fn view(&self) -> TunnelView<'_> {
        TunnelView {
            id: self.id,
            state: self.state,
            client: self.client,
            sni: self.sni.as_deref(),
            listener: &self.listener,
            service: self.service.as_deref(),
            backend: self.backend.as_deref(),
            tls_version: self.tls_version.as_deref(),
            cipher: self.cipher.as_deref(),
            group: self.group.as_deref(),
            resumed: self.resumed,
            age_seconds: self.age_seconds,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            bytes_per_second: self.bytes_per_second,
        }
    }
}

impl TunnelView<'_> {
    /// The same with texts of its own.
    pub(crate) fn to_stats(self) -> TunnelStats {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        TunnelStats {
            id: self.id,
            state: self.state,
            client: self.client,
            sni: owned(self.sni),
            listener: self.listener.to_owned(),
            service: owned(self.service),
            backend: owned(self.backend),
            tls_version: owned(self.tls_version),
            cipher: owned(self.cipher),
            group: owned(self.group),
            resumed: self.resumed,
            age_seconds: self.age_seconds,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            bytes_per_second: self.bytes_per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = TunnelId {
            shard: 3,
            number: 1842,
        };
        assert_eq!(id.to_string(), "3-1842");
        assert_eq!("3-1842".parse(), Ok(id));
        let json = serde_json::to_string(&id).expect("JSON");
        assert_eq!(json, "\"3-1842\"");
        assert_eq!(serde_json::from_str::<TunnelId>(&json).ok(), Some(id));
        for wrong in [
            "",
            "3",
            "3-",
            "-3",
            "+3-1",
            "3--1",
            "3-1-2",
            "a-b",
            "3-99999999999999999999",
        ] {
            assert!(wrong.parse::<TunnelId>().is_err(), "{wrong}");
        }
    }
}
