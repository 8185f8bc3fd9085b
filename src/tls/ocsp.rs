//! OCSP responses (RFC 6960) as they are stapled (RFC 6066, section 8).
//!
//! Only what decides whether a response may be stapled is read, and its
//! signature is left to the clients, who have to check it anyhow. What is wrong
//! with a response is a warning, and it is not stapled: a client can do without
//! one, and right after a renewal the file beside a certificate is still the
//! old one's.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag, oid};
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

use super::certificate::moment;
use crate::limits;

/// What there is to know of an OCSP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OcspInfo {
    /// The file it is from.
    pub file: PathBuf,
    /// What is wrong with it, if anything; then it is not stapled.
    pub fault: Option<String>,
    /// When a newer one has to be there. `None`: it names no time, or could
    /// not be read.
    #[serde(serialize_with = "rfc3339")]
    pub next_update: Option<SystemTime>,
}

/// A response that is good for stapling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    pub(super) der: Box<[u8]>,
    /// When it stops being good. `None`: never.
    pub(super) until: Option<SystemTime>,
}

impl Staple {
    /// Judges the response in `bytes`, from `file`, for a chain's first
    /// certificate.
    pub(super) fn judge(
        file: &Path,
        bytes: &[u8],
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> (Option<Self>, OcspInfo) {
        let mut info = OcspInfo {
            file: file.to_owned(),
            fault: None,
            next_update: None,
        };
        let judged = Response::parse(bytes).and_then(|response| {
            let single = response.about(chain)?;
            info.next_update = single.next_update;
            single.check(now)
        });
        if let Err(fault) = judged {
            info.fault = Some(fault);
            return (None, info);
        }
        let staple = Self {
            der: bytes.into(),
            until: info.next_update,
        };
        (Some(staple), info)
    }
}

fn rfc3339<S: serde::Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => to.serialize_none(),
    }
}

const MALFORMED: &str = "it is no OCSP response in DER; `openssl ocsp -respout FILE` writes one";

/// A `BasicOCSPResponse` (RFC 6960, section 4.2.1).
struct Response<'a> {
    singles: Vec<Single<'a>>,
}

/// A `SingleResponse`: the status of one certificate.
struct Single<'a> {
    hash: Oid<'a>,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: Status,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

impl<'a> Response<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut outer = Reader(bytes).enter(Tag::Sequence).ok_or(MALFORMED)?;
        match outer.universal(Tag::Enumerated).ok_or(MALFORMED)? {
            [0] => {}
            [status] => {
                return Err(format!(
                    "the responder did not answer (status {status} of RFC 6960, section 4.2.1)"
                ));
            }
            _ => return Err(MALFORMED.into()),
        }
        Self::parse_basic(outer).ok_or_else(|| MALFORMED.into())
    }

    fn parse_basic(mut outer: Reader<'a>) -> Option<Self> {
        const BASIC: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.1);
        let mut bytes = Reader(outer.context(0)?).enter(Tag::Sequence)?;
        if bytes.universal(Tag::Oid)? != BASIC.as_bytes() {
            return None;
        }
        let basic = bytes.universal(Tag::OctetString)?;
        let mut data = Reader(basic).enter(Tag::Sequence)?.enter(Tag::Sequence)?;
        // The version, the responder's name [1] or key [2], and the time.
        let _ = data.context(0);
        data.context(1).or_else(|| data.context(2))?;
        data.universal(Tag::GeneralizedTime)?;
        let mut list = data.enter(Tag::Sequence)?;
        let mut singles = Vec::new();
        while !list.0.is_empty() {
            singles.push(Single::parse(list.enter(Tag::Sequence)?)?);
        }
        Some(Self { singles })
    }

    /// What it says about a chain's first certificate.
    fn about(&self, chain: &[CertificateDer<'_>]) -> Result<&Single<'a>, String> {
        let parse = |at: usize| {
            let der: &CertificateDer<'_> = chain.get(at)?;
            Some(X509Certificate::from_der(der).ok()?.1)
        };
        let leaf = parse(0).ok_or(MALFORMED)?;
        // Known only where the chain has it.
        let issuer = parse(1);
        let key = issuer
            .as_ref()
            .map(|issuer| &*issuer.public_key().subject_public_key.data);
        self.singles
            .iter()
            .find(|single| {
                single.serial == leaf.raw_serial()
                    && single.hashes(leaf.issuer().as_raw(), single.issuer_name)
                    && key.is_none_or(|key| single.hashes(key, single.issuer_key))
            })
            .ok_or_else(|| "it is for another certificate; fetch one for this".into())
    }
}

impl<'a> Single<'a> {
    fn parse(mut single: Reader<'a>) -> Option<Self> {
        let mut id = single.enter(Tag::Sequence)?;
        let mut algorithm = id.enter(Tag::Sequence)?;
        let hash = Oid::new(algorithm.universal(Tag::Oid)?.into());
        let (issuer_name, issuer_key) = (
            id.universal(Tag::OctetString)?,
            id.universal(Tag::OctetString)?,
        );
        let serial = id.universal(Tag::Integer)?;
        let status = [
            (0, Status::Good),
            (1, Status::Revoked),
            (2, Status::Unknown),
        ]
        .into_iter()
        .find_map(|(tag, status)| single.context(tag).map(|_| status))?;
        let this_update = time(single.raw(Class::Universal, Tag::GeneralizedTime)?)?;
        let next_update = match single.context(0) {
            Some(inside) => Some(time(inside)?),
            None => None,
        };
        Some(Self {
            hash,
            issuer_name,
            issuer_key,
            serial,
            status,
            this_update,
            next_update,
        })
    }

    fn hashes(&self, bytes: &[u8], hash: &[u8]) -> bool {
        const SHA1: Oid<'static> = oid!(1.3.14.3.2.26);
        const SHA256: Oid<'static> = oid!(2.16.840.1.101.3.4.2.1);
        const SHA384: Oid<'static> = oid!(2.16.840.1.101.3.4.2.2);
        const SHA512: Oid<'static> = oid!(2.16.840.1.101.3.4.2.3);
        let algorithm = match &self.hash {
            // It only tells certificates apart here, and RFC 5019 asks for it.
            oid if *oid == SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            oid if *oid == SHA256 => &digest::SHA256,
            oid if *oid == SHA384 => &digest::SHA384,
            oid if *oid == SHA512 => &digest::SHA512,
            _ => return false,
        };
        digest::digest(algorithm, bytes).as_ref() == hash
    }

    fn check(&self, now: SystemTime) -> Result<(), String> {
        match self.status {
            Status::Good => {}
            Status::Revoked => {
                return Err("it says that the certificate is revoked; replace the \
                            certificate"
                    .into());
            }
            Status::Unknown => {
                return Err("its responder does not know the certificate".into());
            }
        }
        let date = humantime::format_rfc3339_seconds;
        if self.this_update > now + limits::OCSP_CLOCK_SKEW {
            return Err(format!(
                "it is not good before {}; is the clock right?",
                date(self.this_update)
            ));
        }
        match self.next_update {
            Some(next) if next <= now => Err(format!(
                "it is out of date since {}; fetch a new one",
                date(next)
            )),
            _ => Ok(()),
        }
    }
}

fn time(der: &[u8]) -> Option<SystemTime> {
    let (_, time) = ASN1Time::from_der(der).ok()?;
    Some(moment(time.timestamp()))
}

/// What is left of a value in DER.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, if it is of this kind. Else nothing is
    /// taken.
    fn take(&mut self, class: Class, tag: Tag) -> Option<&'a [u8]> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        if any.header.class() != class || any.header.tag() != tag {
            return None;
        }
        self.0 = rest;
        Some(any.data)
    }

    fn universal(&mut self, tag: Tag) -> Option<&'a [u8]> {
        self.take(Class::Universal, tag)
    }

    fn context(&mut self, tag: u32) -> Option<&'a [u8]> {
        self.take(Class::ContextSpecific, Tag(tag))
    }

    fn enter(&mut self, tag: Tag) -> Option<Self> {
        self.universal(tag).map(Reader)
    }

    /// The next value with its tag and length.
    fn raw(&mut self, class: Class, tag: Tag) -> Option<&'a [u8]> {
        let from = self.0;
        self.take(class, tag)?;
        Some(&from[..from.len() - self.0.len()])
    }
}
