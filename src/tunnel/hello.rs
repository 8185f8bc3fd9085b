//! ClientHellos that rustls does not answer, but a backend may: of TLS that is
//! passed through, in whatever version, for whatever name. Or nobody, and it
//! matters what they lack.

/// What a ClientHello says that routes and alerts go by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    /// The name that is asked for, in lower case (RFC 6066, section 3).
    pub(super) name: Option<String>,
    /// The application protocols that are offered (RFC 7301, section 3.1).
    pub(super) protocols: Vec<Vec<u8>>,
    /// It offers TLS 1.3 (RFC 8446, section 4.2.1).
    pub(super) tls13: bool,
    /// It offers to resume a session of TLS 1.3 (section 4.2.11).
    pub(super) resumes: bool,
}

/// Reads a ClientHello that lies at the beginning of these records, and all of
/// it. `None` if it does not.
pub(super) fn read(mut records: &[u8]) -> Option<Spoken> {
    let mut message = Vec::new();
    // RFC 8446, section 5.1.
    while let [22, 3, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (content, rest) = rest.split_at_checked(length)?;
        message.extend_from_slice(content);
        records = rest;
    }
    // RFC 8446, section 4.1.2; the same since SSL 3.0.
    let mut message = Bytes(&message);
    let [1] = message.take(1)? else {
        return None;
    };
    let mut hello = message.sized(3)?;
    let _version_and_random = hello.take(2 + 32)?;
    let _session = hello.sized(1)?;
    let _suites = hello.sized(2)?;
    let _compressions = hello.sized(1)?;
    let mut spoken = Spoken::default();
    if hello.0.is_empty() {
        return Some(spoken);
    }
    let mut extensions = hello.sized(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.take(2)?;
        let mut content = extensions.sized(2)?;
        match kind {
            [0, 0] => spoken.name = content.sized(2)?.name()?,
            [0, 16] => {
                let mut names = content.sized(2)?;
                while !names.0.is_empty() {
                    spoken.protocols.push(names.sized(1)?.0.to_vec());
                }
            }
            [0, 41] => spoken.resumes = true,
            [0, 43] => {
                // A backend may make something of one that is malformed.
                let versions = content.sized(1).map_or(&[][..], |versions| versions.0);
                spoken.tls13 = versions.chunks(2).any(|version| version == [3, 4]);
            }
            _ => {}
        }
    }
    Some(spoken)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// What comes behind its own length, which has so many bytes.
    fn sized(&mut self, bytes: usize) -> Option<Self> {
        let length = self.take(bytes)?;
        let length = length
            .iter()
            .fold(0, |all, byte| all << 8 | usize::from(*byte));
        self.take(length).map(Self)
    }

    /// The host name in a list of names, if it is one that can be.
    fn name(&mut self) -> Option<Option<String>> {
        let [0] = self.take(1)? else {
            return Some(None);
        };
        let name = std::str::from_utf8(self.sized(2)?.0).ok();
        let good = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
        Some(good.map(str::to_ascii_lowercase))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn hello() -> Vec<u8> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        let name = "A.example".try_into().expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).expect("memory");
        hello
    }

    #[test]
    fn name_and_protocols_are_read_however_the_records_are_cut() {
        let hello = hello();
        let expected = Spoken {
            name: Some("a.example".into()),
            protocols: vec![b"h2".into(), b"http/1.1".into()],
            tls13: true,
            resumes: false,
        };
        assert_eq!(read(&hello).as_ref(), Some(&expected));
        let cut: Vec<u8> = hello[5..]
            .chunks(100)
            .flat_map(|part| [&[22, 3, 1, 0, part.len() as u8], part].concat())
            .collect();
        assert_eq!(read(&cut).as_ref(), Some(&expected));
    }

    #[test]
    fn whatever_is_cut_short_or_damaged_is_no_hello() {
        let hello = hello();
        for length in 0..hello.len() {
            assert_eq!(read(&hello[..length]), None, "{length}");
        }
        let mut random = fastrand::Rng::with_seed(6066);
        for _ in 0..20_000 {
            let mut damaged = hello.clone();
            for _ in 0..random.usize(1..5) {
                let place = random.usize(..damaged.len());
                damaged[place] = random.u8(..);
            }
            // Any answer will do.
            let _ = read(&damaged);
        }
    }
}
