//! What version 2 says beside the addresses: types, lengths and values
//! (sections 2.2.1 to 2.2.8).

use super::error::{ParseError, TlvFault, WriteError};
use crate::limits;

/// Something said of a connection.
///
/// Texts are given as the bytes that came: the specification names their
/// encoding, but senders copy them from certificates and from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tlv<'a> {
    /// The application protocol, as ALPN names it (RFC 7301).
    Alpn(&'a [u8]),
    /// The host name that the client asked for, in TLS by SNI; UTF-8.
    Authority(&'a [u8]),
    /// The CRC-32C of the header. Read, it was found to be right; written, it
    /// is computed.
    Crc32c(u32),
    /// That many bytes without a meaning.
    Noop(usize),
    /// What the sender calls the connection, in at most 128 bytes.
    UniqueId(&'a [u8]),
    /// What is known of the client's TLS.
    Ssl(Ssl<'a>),
    /// The name of a network namespace; ASCII.
    Netns(&'a [u8]),
    /// A type that has no meaning here. 0xE0 to 0xEF are for applications.
    Other {
        /// The type.
        kind: u8,
        /// The value.
        value: &'a [u8],
    },
}

/// What is known of the client's TLS (section 2.2.6). Of a part that is stated
/// twice, the first counts; unknown parts are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Whether it uses TLS, and whether it has shown a certificate.
    pub client: ClientFlags,
    /// 0 if the client's certificate was verified, and anything else if not or
    /// if there was none.
    pub verify: u32,
    /// The version, such as `TLSv1.3`; ASCII.
    pub version: Option<&'a [u8]>,
    /// The common name of the client's certificate; UTF-8.
    pub cn: Option<&'a [u8]>,
    /// The cipher, such as `TLS_AES_128_GCM_SHA256`; ASCII.
    pub cipher: Option<&'a [u8]>,
    /// What signed the sender's own certificate, such as `RSA-SHA256`; ASCII.
    pub sig_alg: Option<&'a [u8]>,
    /// The key of the sender's own certificate, such as `RSA2048`; ASCII.
    pub key_alg: Option<&'a [u8]>,
    /// The group of the key exchange, such as `secp256r1`; ASCII.
    pub group: Option<&'a [u8]>,
    /// What the sender signed the handshake with, such as
    /// `rsa_pss_rsae_sha256`; ASCII.
    pub sig_scheme: Option<&'a [u8]>,
    /// The client's certificate, in DER.
    pub client_cert: Option<&'a [u8]>,
}

/// The bits of [`Ssl::client`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientFlags(pub u8);

impl ClientFlags {
    /// The client uses TLS.
    pub const SSL: Self = Self(0x01);
    /// It has shown a certificate on this connection.
    pub const CERT_CONN: Self = Self(0x02);
    /// It has shown a certificate in the session that this connection resumes.
    pub const CERT_SESS: Self = Self(0x04);

    /// Whether all the bits of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for ClientFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The TLVs of a header, in their order. They are known to be well-formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
}

/// Goes through [`Tlvs`].
#[derive(Clone, Debug)]
pub struct TlvIter<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// Takes what lies behind the addresses, if it is well-formed. Gives the
    /// place of the checksum's four bytes in it too.
    pub(super) fn check(bytes: &'a [u8]) -> Result<(Self, Option<usize>), ParseError> {
        let mut checksum_at = None;
        let mut rest = bytes;
        while let Some(&kind) = rest.first() {
            let fault = |fault| ParseError::Tlv { kind, fault };
            let (_, value, behind) = split(rest).ok_or(fault(TlvFault::Cut))?;
            if let Tlv::Crc32c(_) = Tlv::read(kind, value).map_err(fault)? {
                let at = bytes.len() - behind.len() - value.len();
                if checksum_at.replace(at).is_some() {
                    return Err(fault(TlvFault::Repeated));
                }
            }
            rest = behind;
        }
        Ok((Self { bytes }, checksum_at))
    }

    /// Each, one after the other.
    pub fn iter(&self) -> TlvIter<'a> {
        TlvIter { rest: self.bytes }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> IntoIterator for Tlvs<'a> {
    type Item = Tlv<'a>;
    type IntoIter = TlvIter<'a>;

    fn into_iter(self) -> TlvIter<'a> {
        self.iter()
    }
}

impl<'a> Iterator for TlvIter<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (kind, value, behind) = split(self.rest)?;
        self.rest = behind;
        // Never an error, after `Tlvs::check`.
        Tlv::read(kind, value).ok()
    }
}

impl std::iter::FusedIterator for TlvIter<'_> {}

/// The first TLV: its type, its value, and what is behind it. `None` if the
/// bytes end before it does.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = rest.split_at_checked(len)?;
    Some((kind, value, behind))
}

mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const NOOP: u8 = 0x04;
    pub(super) const UNIQUE_ID: u8 = 0x05;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CN: u8 = 0x22;
    pub(super) const SSL_CIPHER: u8 = 0x23;
    pub(super) const SSL_SIG_ALG: u8 = 0x24;
    pub(super) const SSL_KEY_ALG: u8 = 0x25;
    pub(super) const SSL_GROUP: u8 = 0x26;
    pub(super) const SSL_SIG_SCHEME: u8 = 0x27;
    pub(super) const SSL_CLIENT_CERT: u8 = 0x28;
    pub(super) const NETNS: u8 = 0x30;
}

impl<'a> Tlv<'a> {
    fn read(kind: u8, value: &'a [u8]) -> Result<Self, TlvFault> {
        Ok(match kind {
            kind::ALPN => Self::Alpn(value),
            kind::AUTHORITY => Self::Authority(value),
            kind::CRC32C => {
                let value = value.try_into().map_err(|_| TlvFault::Length)?;
                Self::Crc32c(u32::from_be_bytes(value))
            }
            kind::NOOP => Self::Noop(value.len()),
            kind::UNIQUE_ID if value.len() > limits::PROXY_UNIQUE_ID_MAX => {
                return Err(TlvFault::Length);
            }
            kind::UNIQUE_ID => Self::UniqueId(value),
            kind::SSL => Self::Ssl(Ssl::read(value)?),
            kind::NETNS => Self::Netns(value),
            _ => Self::Other { kind, value },
        })
    }

    fn write(&self, room: &mut Room<'_>) -> Result<(), WriteError> {
        match *self {
            Self::Alpn(value) => room.put_tlv(kind::ALPN, value),
            Self::Authority(value) => room.put_tlv(kind::AUTHORITY, value),
            Self::Crc32c(_) => room.put_tlv(kind::CRC32C, &[0; 4]),
            Self::Noop(len) => {
                room.put_head(kind::NOOP, len)?;
                room.put_zeros(len)
            }
            Self::UniqueId(value) if value.len() > limits::PROXY_UNIQUE_ID_MAX => {
                Err(WriteError::UniqueId)
            }
            Self::UniqueId(value) => room.put_tlv(kind::UNIQUE_ID, value),
            Self::Ssl(ssl) => ssl.write(room),
            Self::Netns(value) => room.put_tlv(kind::NETNS, value),
            Self::Other {
                kind: kind @ (kind::ALPN..=kind::UNIQUE_ID | kind::SSL | kind::NETNS),
                ..
            } => Err(WriteError::Kind(kind)),
            Self::Other { kind, value } => room.put_tlv(kind, value),
        }
    }
}

impl<'a> Ssl<'a> {
    fn read(value: &'a [u8]) -> Result<Self, TlvFault> {
        let (&[client, a, b, c, d], mut rest) =
            value.split_first_chunk::<5>().ok_or(TlvFault::Length)?;
        let mut ssl = Self {
            client: ClientFlags(client),
            verify: u32::from_be_bytes([a, b, c, d]),
            ..Self::default()
        };
        while !rest.is_empty() {
            let (kind, value, behind) = split(rest).ok_or(TlvFault::Cut)?;
            if let Some(part) = ssl.part(kind) {
                part.get_or_insert(value);
            }
            rest = behind;
        }
        Ok(ssl)
    }

    fn part(&mut self, kind: u8) -> Option<&mut Option<&'a [u8]>> {
        Some(match kind {
            kind::SSL_VERSION => &mut self.version,
            kind::SSL_CN => &mut self.cn,
            kind::SSL_CIPHER => &mut self.cipher,
            kind::SSL_SIG_ALG => &mut self.sig_alg,
            kind::SSL_KEY_ALG => &mut self.key_alg,
            kind::SSL_GROUP => &mut self.group,
            kind::SSL_SIG_SCHEME => &mut self.sig_scheme,
            kind::SSL_CLIENT_CERT => &mut self.client_cert,
            _ => return None,
        })
    }

    fn write(mut self, room: &mut Room<'_>) -> Result<(), WriteError> {
        let parts = kind::SSL_VERSION..=kind::SSL_CLIENT_CERT;
        let len = |ssl: &mut Self, kind| match ssl.part(kind) {
            Some(Some(value)) => 3 + value.len(),
            _ => 0,
        };
        let len = 5 + parts
            .clone()
            .map(|kind| len(&mut self, kind))
            .sum::<usize>();
        room.put_head(kind::SSL, len)?;
        room.put(&[self.client.0])?;
        room.put(&self.verify.to_be_bytes())?;
        for kind in parts {
            if let Some(Some(value)) = self.part(kind) {
                room.put_tlv(kind, value)?;
            }
        }
        Ok(())
    }
}

/// Writes the TLVs, and gives the place of the checksum's four bytes, which are
/// zero, counted from the front of the room.
pub(super) fn write_all(
    tlvs: &[Tlv<'_>],
    room: &mut Room<'_>,
) -> Result<Option<usize>, WriteError> {
    let mut checksum_at = None;
    for tlv in tlvs {
        tlv.write(room)?;
        if let Tlv::Crc32c(_) = tlv {
            let at = room.len - 4;
            if checksum_at.replace(at).is_some() {
                return Err(WriteError::TwoChecksums);
            }
        }
    }
    Ok(checksum_at)
}

/// The room that a header is written to.
pub(super) struct Room<'a> {
    bytes: &'a mut [u8],
    /// Written, from the front. At most `bytes.len()`.
    len: usize,
}

impl<'a> Room<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.next(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// What is written.
    pub(super) fn written(self) -> &'a mut [u8] {
        &mut self.bytes[..self.len]
    }

    fn put_zeros(&mut self, len: usize) -> Result<(), WriteError> {
        self.next(len)?.fill(0);
        Ok(())
    }

    fn put_tlv(&mut self, kind: u8, value: &[u8]) -> Result<(), WriteError> {
        self.put_head(kind, value.len())?;
        self.put(value)
    }

    fn put_head(&mut self, kind: u8, len: usize) -> Result<(), WriteError> {
        let [high, low] = u16::try_from(len)
            .map_err(|_| WriteError::TooLong)?
            .to_be_bytes();
        self.put(&[kind, high, low])
    }

    /// The next so many bytes, which then count as written.
    fn next(&mut self, len: usize) -> Result<&mut [u8], WriteError> {
        let end = self.len.checked_add(len).ok_or(WriteError::NoRoom)?;
        let next = self.bytes.get_mut(self.len..end);
        let next = next.ok_or(WriteError::NoRoom)?;
        self.len = end;
        Ok(next)
    }
}
