//! Certificates by the name that a client asks for.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use adit::config::SniNoMatch;
use adit::tls::ServerParts;
use rustls::{AlertDescription, CipherSuite, Error, SignatureScheme};

use crate::authority::{Authority, write};
use crate::place::{Place, from};
use crate::visitor::{EACH, Visitor};

#[test]
fn exact_then_wildcard_then_the_first_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let first = ours.issue(&["first.test"]);
    let exact = ours.issue(&["A.test", "one.w.test"]);
    let wild = ours.issue(&["*.w.test"]);
    let files = [("1.pem", &first), ("2.pem", &exact), ("3.pem", &wild)]
        .map(|(name, issued)| write(folder.path(), name, issued.pem()));
    let mut tls = from(&[&files[0], &files[1], &files[2]]);
    let lenient = Place::start(tls.clone());
    tls.sni_nomatch = SniNoMatch::Abort;
    let strict = Place::start(tls);

    for versions in EACH {
        let shown = |place: &Place, name| {
            let visitor = Visitor {
                versions,
                ..Visitor::new(name)
            };
            visitor.visit(place.address).map(|shown| shown.leaf)
        };
        for (name, expected) in [
            (None, &first),
            (Some("first.test"), &first),
            (Some("a.test"), &exact),
            (Some("A.TEST"), &exact),
            (Some("a.test."), &exact),
            (Some("one.w.test"), &exact),
            (Some("two.w.test"), &wild),
        ] {
            for place in [&lenient, &strict] {
                assert_eq!(shown(place, name), Ok(expected.der()), "{name:?}");
            }
        }
        for name in ["w.test", "x.y.w.test", "b.test", "test"] {
            assert_eq!(shown(&lenient, Some(name)), Ok(first.der()), "{name}");
            let alert = Error::AlertReceived(AlertDescription::UnrecognisedName);
            assert_eq!(shown(&strict, Some(name)), Err(alert), "{name}");
        }
    }
}

#[test]
fn of_two_for_one_name_the_one_that_the_client_can_verify() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let rsa = ours.issue_with(&["a.test"], &rcgen::PKCS_RSA_SHA256, |_| {});
    let ecdsa = ours.issue(&["a.test"]);
    // The order of the files does not matter where there is a name.
    let rsa_file = write(folder.path(), "1.pem", rsa.pem());
    let ecdsa_file = write(folder.path(), "2.pem", ecdsa.pem());
    let place = Place::start(from(&[&rsa_file, &ecdsa_file]));

    let both = Visitor::new(Some("a.test"));
    let pss = Visitor {
        schemes: vec![SignatureScheme::RSA_PSS_SHA256],
        ..both.clone()
    };
    let p256 = Visitor {
        schemes: vec![SignatureScheme::ECDSA_NISTP256_SHA256],
        ..both.clone()
    };
    let old_suites = Visitor {
        versions: EACH[0],
        suites: vec![CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        ..both.clone()
    };
    let nameless = Visitor::new(None);
    let nameless_p256 = Visitor {
        name: None,
        ..p256.clone()
    };
    for (what, visitor, expected) in [
        ("both", &both, &ecdsa),
        ("PSS", &pss, &rsa),
        ("P-256", &p256, &ecdsa),
        ("suites with RSA", &old_suites, &rsa),
        ("no name", &nameless, &rsa),
        ("no name, P-256", &nameless_p256, &ecdsa),
    ] {
        let shown = visitor.visit(place.address).map(|shown| shown.leaf);
        assert_eq!(shown, Ok(expected.der()), "{what}");
    }
    let neither = Visitor {
        schemes: vec![SignatureScheme::ED25519],
        ..both
    };
    let alert = Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(neither.visit(place.address), Err(alert));
    let no_cipher = ("handshake/client/no-cipher".to_owned(), 1);
    assert!(
        place.reasons(7).contains(&no_cipher),
        "{:?}",
        place.reasons(7)
    );
}

#[test]
fn a_directory_is_read_as_its_files_lie_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let below = ours.intermediate("below", 7);
    let combined = ours.issue(&["combined.test"]);
    let split = ours.issue(&["split.test"]);
    let appended = ours.issue(&["appended.test"]);
    let linked = below.issue(&["linked.test"]);
    write(at, "a.pem", combined.pem());
    write(at, "b.crt", split.cert.pem());
    write(at, "b.key", split.key.serialize_pem());
    write(at, "c.pem", appended.cert.pem());
    write(at, "c.pem.key", appended.key.serialize_pem());
    write(at, "only-a-key.pem", split.key.serialize_pem());
    write(at, "README", "not read");
    write(at, ".hidden.pem", "not read");
    // As Kubernetes lays a secret out.
    fs::create_dir(at.join("..2026")).expect("a folder");
    symlink("..2026", at.join("..data")).expect("a link");
    write(
        &at.join("..2026"),
        "tls.crt",
        linked.cert.pem() + &below.pem(),
    );
    write(&at.join("..2026"), "tls.key", linked.key.serialize_pem());
    symlink("..data/tls.crt", at.join("tls.crt")).expect("a link");
    symlink("..data/tls.key", at.join("tls.key")).expect("a link");

    let place = Place::start(from(&[at]));
    for (name, expected, chain) in [
        (None, &combined, 1),
        (Some("split.test"), &split, 1),
        (Some("appended.test"), &appended, 1),
        (Some("linked.test"), &linked, 2),
    ] {
        let shown = Visitor::new(name).visit(place.address).expect("shown");
        assert_eq!(
            (shown.leaf, shown.chain),
            (expected.der(), chain),
            "{name:?}"
        );
    }
}

#[test]
fn what_is_wrong_in_a_directory_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (one, two) = (ours.issue(&["one.test"]), ours.issue(&["two.test"]));
    let now = SystemTime::now();
    let refused = |parts: &[&str]| {
        let error = ServerParts::load(&from(&[at]), now)
            .expect_err("refused")
            .to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    };
    refused(&["holds no certificate", "*.pem"]);
    write(at, "1.pem", one.pem());
    let without = write(at, "2.pem", two.cert.pem());
    refused(&["2.pem: ", "no private key", "2.key"]);
    write(at, "2.key", one.key.serialize_pem());
    refused(&["2.key: ", "does not belong", "2.pem"]);
    let cut = &two.pem()[..two.pem().len() - 40];
    fs::write(&without, cut).expect("a file");
    let begins = two
        .pem()
        .lines()
        .position(|line| line.contains("BEGIN CERT"));
    let line = begins.expect("a certificate") + 1;
    refused(&[&format!("2.pem:{line}: "), "does not end"]);
    write(at, "3.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    refused(&["2.pem:", "and 1 more"]);

    // One that has expired does not keep the others from being served.
    let old = ours.issue_with(&["old.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(2014, 1, 1);
        params.not_after = rcgen::date_time_ymd(2015, 1, 1);
    });
    for file in ["2.key", "3.pem"] {
        fs::remove_file(at.join(file)).expect("there");
    }
    write(at, "2.pem", old.pem());
    let (parts, infos) = ServerParts::load(&from(&[at]), now).expect("parts");
    assert_eq!((parts.certificates(), infos.len()), (1, 2));
    assert_eq!(infos[1].file, at.join("2.pem"));
    assert!(infos[1].left_out);
    assert!(infos[1].days_left(now) < 0);
    assert!(infos[1].warnings[0].contains("expired"), "{infos:?}");
    fs::remove_file(at.join("1.pem")).expect("there");
    refused(&["all have expired"]);

    // The second is never shown.
    write(at, "1.pem", one.pem());
    write(at, "2.pem", ours.issue(&["one.test"]).pem());
    let (_, infos) = ServerParts::load(&from(&[at]), now).expect("parts");
    assert!(infos[0].warnings.is_empty(), "{infos:?}");
    assert!(
        infos[1].warnings[0].contains("shown to nobody"),
        "{infos:?}"
    );

    // Soon to expire.
    let soon = ours.issue_with(&["one.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = (now + Duration::from_secs(9 * 24 * 3600 + 60)).into();
    });
    write(at, "1.pem", soon.pem());
    let (_, infos) = ServerParts::load(&from(&[at]), now).expect("parts");
    assert_eq!(infos[0].days_left(now), 9);
    assert!(
        infos[0].warnings[0].contains("expires in 9 days"),
        "{infos:?}"
    );
}
