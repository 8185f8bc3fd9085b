//! TLS 1.3 records that no TLS library would send, sealed with the keys of a
//! real connection (RFC 8446, section 5.2).

use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA384, KeyType, Prk};
use rustls::KeyLog;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};

use super::adit::Adit;
use super::client::{Client, End, tcp};

/// Content types (RFC 8446, section 5.1).
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

/// A KeyUpdate that asks for one in return (RFC 8446, section 4.6.3).
pub const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
/// A KeyUpdate that does not.
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// A client that writes its records by hand once it has shaken hands. It
/// receives as any other.
pub struct Forger {
    client: Client,
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<u8>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().expect("no panic") = secret.to_vec();
        }
    }
}

impl Forger {
    /// Connects, and shakes hands for TLS_AES_256_GCM_SHA384.
    #[track_caller]
    pub fn connect(adit: &Adit) -> Self {
        let secrets = Arc::new(Secrets::default());
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(adit.certificate().roots())
            .with_no_client_auth();
        config.key_log = secrets.clone();
        let client = Client::shake(tcp(adit.address()), &Arc::new(config)).expect("a handshake");
        let secret = secrets.0.lock().expect("no panic").clone();
        let (key, iv) = keys(&secret);
        Self {
            client,
            secret,
            key,
            iv,
            sequence: 0,
        }
    }

    /// The connection that it sends on.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One record, with that much padding behind its content.
    pub fn record(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = content.to_vec();
        inner.push(kind);
        inner.resize(inner.len() + padding, 0);
        let length = u16::try_from(inner.len() + AES_256_GCM.tag_len()).expect("a length");
        let mut record = vec![DATA, 3, 3];
        record.extend_from_slice(&length.to_be_bytes());
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(record.clone());
        self.key
            .seal_in_place_append_tag(nonce, aad, &mut inner)
            .expect("sealed");
        record.extend_from_slice(&inner);
        record
    }

    /// A KeyUpdate, after which the next key is in use.
    pub fn key_update(&mut self, requested: bool) -> Vec<u8> {
        let message = if requested {
            KEY_UPDATE_REQUESTED
        } else {
            KEY_UPDATE
        };
        let record = self.record(HANDSHAKE, &message, 0);
        self.secret = expand(&self.secret, "traffic upd", 48);
        (self.key, self.iv) = keys(&self.secret);
        self.sequence = 0;
        record
    }

    /// Sends one record without padding.
    pub fn send(&mut self, kind: u8, content: &[u8]) -> Result<(), End> {
        let record = self.record(kind, content, 0);
        self.client.send_raw(&record)
    }
}

fn keys(secret: &[u8]) -> (LessSafeKey, [u8; 12]) {
    let key = UnboundKey::new(&AES_256_GCM, &expand(secret, "key", 32)).expect("32 bytes");
    let iv = expand(secret, "iv", 12).try_into().expect("12 bytes");
    (LessSafeKey::new(key), iv)
}

/// HKDF-Expand-Label without context (RFC 8446, section 7.1).
fn expand(secret: &[u8], label: &str, length: u16) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = format!("tls13 {label}");
    let mut info = length.to_be_bytes().to_vec();
    info.push(u8::try_from(label.len()).expect("a short label"));
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    let mut out = vec![0; usize::from(length)];
    Prk::new_less_safe(HKDF_SHA384, secret)
        .expand(&[&info], Length(out.len()))
        .and_then(|okm| okm.fill(&mut out))
        .expect("a length that HKDF can do");
    out
}
