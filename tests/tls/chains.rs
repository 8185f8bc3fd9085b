//! What an operator is told of chains and keys.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use adit::config::CertSource;
use adit::tls::{CertificateInfo, Identity, ServerParts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, SigningKey as _,
};

use crate::authority::{Authority, write};
use crate::place::{Place, from};
use crate::support::tools::has;
use crate::visitor::Visitor;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Authority information access with one caIssuers, `http://i/` (RFC 5280,
/// section 4.2.2.1).
fn tells_of_issuer() -> CustomExtension {
    let access = [
        &[0x30, 0x17, 0x30, 0x15][..],
        &[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2],
        &[0x86, 9],
        b"http://i/",
    ];
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access.concat())
}

#[test]
fn what_clients_would_miss_in_a_chain_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let root = Authority::new("root");
    let below = root.intermediate("below", 7);
    let issue = |public: bool| {
        below.issue_with(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.custom_extensions = Vec::from_iter(public.then(tells_of_issuer));
        })
    };
    let (public, private) = (issue(true), issue(false));
    let now = SystemTime::now();
    let warnings = |pem: String, now: SystemTime| {
        let tls = from(&[&write(at, "site.pem", pem)]);
        let (_, infos) = ServerParts::load(&tls, now).expect("parts");
        infos[0].warnings.clone()
    };
    let told = |pem: String, parts: &[&str]| {
        let warnings = warnings(pem, now);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for part in parts {
            assert!(warnings[0].contains(part), "{part:?} not in: {warnings:?}");
        }
    };
    told(public.pem(), &["site.pem: ", "alone", "CN=below"]);
    told(
        public.pem() + &root.pem(),
        &["certificate 2", "CN=root", "not the issuer"],
    );
    told(
        public.pem() + &below.pem() + &below.pem(),
        &["certificate 3", "CN=below"],
    );
    for pem in [
        public.pem() + &below.pem(),
        public.pem() + &below.pem() + &root.pem(),
        // Its authority may be known to all of its clients.
        private.pem(),
        // And this one is its own.
        below.pem() + &below.0.key().serialize_pem(),
        root.pem() + &root.0.key().serialize_pem(),
    ] {
        assert_eq!(warnings(pem, now), Vec::<String>::new());
    }

    let ends = now + 9 * DAY + Duration::from_secs(60);
    let soon = root.intermediate_until("soon", ends);
    let lasting = soon.issue(&["a.test"]);
    let pem = lasting.pem() + &soon.pem();
    let said = warnings(pem.clone(), now);
    assert!(said[0].contains("certificate 2"), "{said:?}");
    assert!(said[0].contains("expires in 9 days"), "{said:?}");
    let said = warnings(pem, now + 12 * DAY);
    assert!(said[0].contains("expired 2 days ago"), "{said:?}");
}

#[test]
fn a_certificate_for_clients_is_no_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let issue = |purposes: &[ExtendedKeyUsagePurpose]| {
        ours.issue_with(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.extended_key_usages = purposes.to_vec();
        })
    };
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    for (purposes, good) in [
        (&[][..], true),
        (&[ServerAuth], true),
        (&[ClientAuth, ServerAuth], true),
        (&[Any], true),
        (&[ClientAuth], false),
    ] {
        let path = write(folder.path(), "site.pem", issue(purposes).pem());
        let (_, infos) = ServerParts::load(&from(&[&path]), SystemTime::now()).expect("parts");
        assert_eq!(infos[0].for_servers, good, "{purposes:?}");
        let warned = infos[0].warnings.iter().any(|w| w.contains("serverAuth"));
        assert_eq!(warned, !good, "{:?}", infos[0].warnings);
        // It is shown to backends all the same.
        let source = CertSource {
            cert: path,
            key: None,
            ocsp: None,
        };
        let identity = Identity::load(&source, SystemTime::now()).expect("an identity");
        assert_eq!(identity.info().warnings, Vec::<String>::new());
    }
}

/// Kinds of keys as OpenSSL makes them, and what is said of those that cannot
/// be used.
#[test]
fn every_kind_of_key_is_named() {
    if !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("site.pem");
    let make = |kind: &[&str]| -> Result<CertificateInfo, String> {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-days",
                "90",
                "-subj",
                "/CN=a.test",
            ])
            .arg("-newkey")
            .args(kind)
            .arg("-keyout")
            .arg(folder.path().join("site.key"))
            .arg("-out")
            .arg(&path)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
        match ServerParts::load(&from(&[&path]), SystemTime::now()) {
            Ok((_, infos)) => Ok(infos[0].clone()),
            Err(error) => Err(error.to_string()),
        }
    };
    let on = |curve: &'static str| ["ec", "-pkeyopt", curve];
    for (kind, name) in [
        (&["rsa:2048"][..], "RSA 2048"),
        (&on("ec_paramgen_curve:P-256"), "ECDSA P-256"),
        (&on("ec_paramgen_curve:P-384"), "ECDSA P-384"),
        (&on("ec_paramgen_curve:P-521"), "ECDSA P-521"),
        (&["ed25519"], "Ed25519"),
    ] {
        assert_eq!(make(kind).expect("a good key").key_type, name);
    }
    for (kind, name) in [
        (&["rsa:1024"][..], "has RSA 1024."),
        (
            &["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
            "has RSA-PSS.",
        ),
        (&on("ec_paramgen_curve:secp256k1"), "has ECDSA secp256k1."),
        (&["ed448"], "has Ed448."),
    ] {
        let error = make(kind).expect_err("refused");
        for part in ["site.key: ", "site.pem", name, "P-384", "2048"] {
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    }
}

#[test]
fn der_is_told_from_what_is_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let issued = Authority::new("ours").issue(&["a.test"]);
    let path = folder.path().join("site.pem");
    fs::write(&path, issued.der()).expect("a file");
    let load = || ServerParts::load(&from(&[&path]), SystemTime::now());
    let error = load().expect_err("refused").to_string();
    assert!(error.contains("openssl x509 -inform DER"), "{error}");
    fs::write(&path, "0 nothing").expect("a file");
    let error = load().expect_err("refused").to_string();
    assert!(error.contains("holds no certificate"), "{error}");
}

/// One value in DER (X.690, section 8.1), whose content is shorter than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    // In as few bytes as it takes (section 10.1).
    let length = match content.len() {
        0..0x80 => vec![length[7]],
        0x80..0x100 => vec![0x81, length[7]],
        _ => vec![0x82, length[6], length[7]],
    };
    [&[tag][..], &length, content].concat()
}

/// The values that lie side by side in this content, each with its header.
fn values(mut content: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [_, first, rest @ ..] = content {
        let (header, length) = match usize::from(*first) {
            long @ 0x81.. => (long - 0x80, &rest[..long - 0x80]),
            _ => (0, std::slice::from_ref(first)),
        };
        let length = length.iter().fold(0, |all, b| all << 8 | usize::from(*b));
        let (value, after) = content.split_at(2 + header + length);
        found.push(value);
        content = after;
    }
    found
}

fn inside(value: &[u8]) -> &[u8] {
    let long = usize::from(value[1]);
    &value[if long > 0x80 { 2 + long - 0x80 } else { 2 }..]
}

/// A self-signed certificate of X.509 version 1, as `openssl x509 -req -signkey`
/// of OpenSSL 3.0 makes it, in DER: no version and no extensions (RFC 5280,
/// section 4.1).
fn version_1(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(vec!["a.test".into()]).expect("a name");
    let made = params.self_signed(key).expect("a certificate");
    let parts = values(inside(made.der()));
    let fields = values(inside(parts[0]));
    let kept = fields
        .iter()
        .filter(|field| ![0xa0, 0xa3].contains(&field[0]));
    let signed = der(0x30, &kept.copied().collect::<Vec<_>>().concat());
    let signature = [&[0][..], &key.sign(&signed).expect("a signature")].concat();
    der(0x30, &[&signed, parts[1], &der(3, &signature)].concat())
}

/// OpenSSL and those who build on it take it; webpki does not even read it.
#[test]
fn a_certificate_of_version_1_is_shown_and_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, other) = (
        KeyPair::generate().expect("a key"),
        KeyPair::generate().expect("a key"),
    );
    let text = STANDARD.encode(version_1(&key));
    let cert = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let path = write(folder.path(), "1.pem", key.serialize_pem() + &cert);
    let tls = from(&[&path]);
    let (_, infos) = ServerParts::load(&tls, SystemTime::now()).expect("parts");
    let warnings = &infos[0].warnings;
    assert!(warnings[0].contains("X.509 version 1,"), "{warnings:?}");
    assert!(warnings[0].contains("openssl req -x509"), "{warnings:?}");
    // A client of ours sees it, and gives up on it.
    let refused = Visitor::new(None).visit(Place::start(tls).address);
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("UnsupportedCertVersion"), "{refused}");

    let path = write(folder.path(), "2.pem", other.serialize_pem() + &cert);
    let refused = ServerParts::load(&from(&[&path]), SystemTime::now());
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("does not belong"), "{refused}");
}
