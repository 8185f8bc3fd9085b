//! What the two processes say to each other: bytes, without sockets.
//!
//! A message is one byte that tells what it is, and then JSON (RFC 8259), but
//! for the keys, which are secrets and go as they are.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Address;
use crate::limits;
use crate::tls::TicketKeys;

/// Of what the messages mean. Another one is refused, and the old process goes
/// on: then it has to be restarted.
pub(super) const VERSION: u32 = 1;

/// The first one, from the old process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// The old program's own version, for the log.
    pub(super) program: String,
    pub(super) pid: u32,
}

/// Some of the sockets of one bound address, whose descriptors come with the
/// message.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sockets {
    /// The same for all messages about one address.
    pub(super) number: u32,
    #[serde(with = "address::optional")]
    pub(super) configured: Option<Address>,
    #[serde(with = "address")]
    pub(super) bound: Address,
    pub(super) activated: Option<String>,
}

/// A backend that an operator has disabled. An old process that knows of no such
/// message sends none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Disabled {
    pub(super) service: String,
    #[serde(with = "address")]
    pub(super) backend: Address,
}

/// The new process serves.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// At these, by their number.
    pub(super) taken: Vec<u32>,
    /// The new program's own version.
    pub(super) program: String,
}

/// Any message.
#[derive(Debug)]
pub(super) enum Message {
    Hello(Hello),
    Sockets(Sockets),
    /// What tickets are sealed with, and in what time that changes, in
    /// milliseconds.
    Keys(TicketKeys, u64),
    Disabled(Disabled),
    /// There is nothing more to come.
    End,
    /// The last message was taken.
    Taken,
    Ready(Ready),
    /// The new process gives up, for this reason.
    Failed(String),
    /// The new process is the one from now on.
    Go,
}

impl Message {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let json = |kind: u8, json: serde_json::Result<Vec<u8>>| {
            // Strings, numbers and lists of them cannot fail to be written.
            let mut bytes = json.unwrap_or_default();
            bytes.insert(0, kind);
            bytes
        };
        Zeroizing::new(match self {
            Self::Hello(hello) => json(b'H', serde_json::to_vec(hello)),
            Self::Sockets(sockets) => json(b'S', serde_json::to_vec(sockets)),
            Self::Keys(keys, millis) => {
                // Not moved while it grows, which would leave copies behind.
                let mut bytes = Vec::with_capacity(limits::UPGRADE_MESSAGE_MAX);
                bytes.push(b'K');
                bytes.extend_from_slice(&millis.to_be_bytes());
                for key in keys.to_send() {
                    bytes.push(u8::try_from(key.len()).unwrap_or(0));
                    bytes.extend_from_slice(key);
                }
                bytes
            }
            Self::Disabled(disabled) => json(b'D', serde_json::to_vec(disabled)),
            Self::End => vec![b'E'],
            Self::Taken => vec![b'T'],
            Self::Ready(ready) => json(b'R', serde_json::to_vec(ready)),
            Self::Failed(why) => {
                let mut end = why.len().min(limits::UPGRADE_REASON_MAX);
                while !why.is_char_boundary(end) {
                    end -= 1;
                }
                json(b'F', Ok(why.as_bytes()[..end].to_vec()))
            }
            Self::Go => vec![b'G'],
        })
    }

    /// What a message says, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("a message makes no sense: {error}");
        let (kind, rest) = bytes.split_first().ok_or("an empty message")?;
        Ok(match kind {
            b'H' => {
                let hello: Hello = serde_json::from_slice(rest).map_err(wrong)?;
                if hello.version != VERSION {
                    return Err(format!(
                        "adit {} speaks version {} of the protocol of upgrades, and this adit \
                         {VERSION}; restart it instead",
                        hello.program, hello.version
                    ));
                }
                Self::Hello(hello)
            }
            b'S' => Self::Sockets(serde_json::from_slice(rest).map_err(wrong)?),
            b'K' => {
                let (millis, rest) = rest
                    .split_first_chunk()
                    .ok_or("a message of keys is cut short")?;
                let keys = keys(rest).and_then(TicketKeys::received);
                let keys = keys.ok_or("a message of keys holds something else")?;
                Self::Keys(keys, u64::from_be_bytes(*millis))
            }
            b'D' => Self::Disabled(serde_json::from_slice(rest).map_err(wrong)?),
            b'E' => Self::End,
            b'T' => Self::Taken,
            b'R' => Self::Ready(serde_json::from_slice(rest).map_err(wrong)?),
            b'F' => Self::Failed(String::from_utf8_lossy(rest).into_owned()),
            b'G' => Self::Go,
            other => return Err(format!("a message of an unknown kind, {other}")),
        })
    }
}

/// Cuts keys apart.
fn keys(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut keys = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (key, after) = after.split_at_checked(usize::from(*length))?;
        keys.push(key);
        rest = after;
    }
    Some(keys)
}

/// Addresses as operators write them.
mod address {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::config::Address;

    pub(super) fn serialize<S: Serializer>(address: &Address, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(address)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Address, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

        use crate::config::Address;

        pub(crate) fn serialize<S: Serializer>(
            address: &Option<Address>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match address {
                Some(address) => to.collect_str(address),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
            from: D,
        ) -> Result<Option<Address>, D::Error> {
            let text = Option::<String>::deserialize(from)?;
            text.map(|text| text.parse().map_err(D::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(message: &Message) -> Message {
        Message::decode(&message.encode()).unwrap()
    }

    #[test]
    fn what_is_said_is_understood() {
        let hello = || Hello {
            version: VERSION,
            program: "0.1.0".into(),
            pid: 7,
        };
        let back = there_and_back(&Message::Hello(hello()));
        assert!(matches!(back, Message::Hello(back) if back == hello()));
        for configured in [None, Some("localhost:0"), Some("systemd:https")] {
            let sockets = || Sockets {
                number: 3,
                configured: configured.map(|text| text.parse().unwrap()),
                bound: "*:8443".parse().unwrap(),
                activated: Some("https".into()),
            };
            let back = there_and_back(&Message::Sockets(sockets()));
            assert!(matches!(back, Message::Sockets(back) if back == sockets()));
        }
        let disabled = || Disabled {
            service: "app".into(),
            backend: "unix:/run/app".parse().unwrap(),
        };
        let back = there_and_back(&Message::Disabled(disabled()));
        assert!(matches!(back, Message::Disabled(back) if back == disabled()));
        let why = "ö".repeat(limits::UPGRADE_REASON_MAX);
        let back = there_and_back(&Message::Failed(why.clone()));
        assert!(
            matches!(back, Message::Failed(back) if why.starts_with(&back)
            && back.len() + 2 > limits::UPGRADE_REASON_MAX)
        );
        for message in [Message::End, Message::Taken, Message::Go] {
            let kind = std::mem::discriminant(&message);
            assert_eq!(std::mem::discriminant(&there_and_back(&message)), kind);
        }
    }

    #[test]
    fn keys_keep_their_order() {
        let fresh = TicketKeys::fresh().unwrap();
        let keys = fresh
            .rotated(2 * limits::TICKET_KEY_ROTATION)
            .and_then(|keys| keys.rotated(2 * limits::TICKET_KEY_ROTATION))
            .unwrap();
        let Message::Keys(back, 1234) = there_and_back(&Message::Keys(keys.clone(), 1234)) else {
            panic!("no keys");
        };
        assert!(back.to_send().eq(keys.to_send()) && keys.to_send().count() == 3);
        // As many as there can be.
        let lifetime = limits::TICKET_LIFETIME_MAX;
        let rotations = lifetime.as_secs() / limits::TICKET_KEY_ROTATION.as_secs() + 2;
        let most = (0..rotations).fold(keys, |keys, _| keys.rotated(lifetime).unwrap());
        assert!(Message::Keys(most, 0).encode().len() <= limits::UPGRADE_MESSAGE_MAX);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (bytes, hint) in [
            (&b""[..], "empty"),
            (b"?", "unknown kind"),
            (b"H{}", "no sense"),
            (b"S{\"number\":1}", "no sense"),
            (b"D{\"service\":\"a\",\"backend\":\"b\"}", "no sense"),
            (b"K12345678", "holds something else"),
            (b"K12345678\x30short", "holds something else"),
            (b"K123", "cut short"),
        ] {
            let error = Message::decode(bytes).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
        let newer = br#"H{"version":99,"program":"9.9.9","pid":1}"#;
        let error = Message::decode(newer).unwrap_err();
        assert!(error.contains("adit 9.9.9 speaks version 99"), "{error}");
    }
}
