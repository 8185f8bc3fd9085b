//! What the ClientHello of any version of TLS says that routes go by.
//!
//! rustls reads those of clients that it could serve, and refuses the others:
//! ones of TLS 1.1 and before, without signature algorithms, among them. Where
//! TLS is passed through, that is for the backend to refuse.

use rustls::pki_types::DnsName;

/// The name and the protocols.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// server_name (RFC 6066, section 3), in lower case.
    pub(crate) name: Option<String>,
    /// application_layer_protocol_negotiation (RFC 7301, section 3.1).
    pub(crate) protocols: Vec<Vec<u8>>,
}

/// Reads the ClientHello (RFC 8446, section 4.1.2, and RFC 2246, section
/// 7.4.1.2) at the front of a stream of records. `None`: it is not there
/// whole, or it is none.
pub(crate) fn read(mut records: &[u8]) -> Option<ClientHello> {
    let mut message = Vec::new();
    let body = loop {
        let mut whole = message.as_slice();
        if let (Some(kind), Some(body)) = (take(&mut whole, 1), vector(&mut whole, 3)) {
            break (kind == [1]).then_some(body)?;
        }
        let head = take(&mut records, 3)?;
        let part = vector(&mut records, 2)?;
        if !matches!(head, [22, 3, _]) || part.is_empty() {
            return None;
        }
        message.extend_from_slice(part);
    };
    let mut body = body;
    let (_version, _random) = (take(&mut body, 2)?, take(&mut body, 32)?);
    let (_session, _suites) = (vector(&mut body, 1)?, vector(&mut body, 2)?);
    let _compression = vector(&mut body, 1)?;
    let mut hello = ClientHello::default();
    if body.is_empty() {
        // It has no extensions.
        return Some(hello);
    }
    let mut extensions = vector(&mut body, 2)?;
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let extension = vector(&mut extensions, 2)?;
        match kind {
            [0, 0] => hello.name = name(extension)?,
            [0, 16] => hello.protocols = protocols(extension)?,
            _ => {}
        }
    }
    Some(hello)
}

/// One that is no DNS name, such as an address, is as good as none.
fn name(mut extension: &[u8]) -> Option<Option<String>> {
    let mut names = vector(&mut extension, 2)?;
    while !names.is_empty() {
        let kind = take(&mut names, 1)?;
        let name = vector(&mut names, 2)?;
        if kind == [0] {
            let name = DnsName::try_from(name).ok();
            return Some(name.map(|name| name.to_lowercase_owned().as_ref().to_owned()));
        }
    }
    Some(None)
}

fn protocols(mut extension: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut names = vector(&mut extension, 2)?;
    let mut protocols = Vec::new();
    while !names.is_empty() {
        protocols.push(vector(&mut names, 1)?.to_vec());
    }
    Some(protocols)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

/// Bytes with their length in front, in so many bytes.
fn vector<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let length = take(bytes, length)?;
    let length = length
        .iter()
        .fold(0, |all, byte| all << 8 | usize::from(*byte));
    take(bytes, length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn of_rustls() -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        let name = ServerName::try_from("App.Example").unwrap();
        let mut hello = Vec::new();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    fn said() -> Option<ClientHello> {
        Some(ClientHello {
            name: Some("app.example".into()),
            protocols: vec![b"h2".into(), b"http/1.1".into()],
        })
    }

    #[test]
    fn it_is_read_in_whatever_records_it_comes() {
        let hello = of_rustls();
        assert_eq!(read(&hello), said());
        let mut pieces = Vec::new();
        for byte in &hello[5..] {
            pieces.extend_from_slice(&[22, 3, 1, 0, 1, *byte]);
        }
        assert_eq!(read(&pieces), said());
        for cut in 0..hello.len() {
            assert_eq!(read(&hello[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn one_without_extensions_says_nothing() {
        let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0, 47, 1, 0]);
        assert_eq!(read(&hello), Some(ClientHello::default()));
    }

    /// Whatever it is, it is read to the end or not at all.
    #[test]
    fn damage_does_no_harm() {
        let whole = of_rustls();
        let mut chance = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..chance.usize(1..4) {
                let at = chance.usize(..bytes.len());
                bytes[at] = chance.u8(..);
            }
            let _ = read(&bytes);
        }
    }
}
