//! Certificates of clients.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit::config::{ClientVerify, ServerTls, SubjectPattern};
use adit::tls::{ServerParts, Subject};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore};

use crate::authority::{Authority, Issued, write};
use crate::place::{Place, from};
use crate::support::client::{self, Client, End};
use crate::support::wait_for;
use crate::visitor::{EACH, Visitor};

/// A server's certificate, and clients judged by the authority.
fn asking(folder: &Path, authority: &Authority, required: bool) -> (ServerTls, ClientVerify) {
    let site = authority.issue(&["a.test"]);
    let tls = from(&[&write(folder, "site.pem", site.pem())]);
    let verify = ClientVerify {
        required,
        ca: write(folder, "ca.pem", authority.pem()),
        crls: Vec::new(),
        allow: Vec::new(),
    };
    (tls, verify)
}

fn judging(tls: &ServerTls, verify: &ClientVerify) -> ServerTls {
    ServerTls {
        client_verify: Some(verify.clone()),
        ..tls.clone()
    }
}

fn alert(alert: AlertDescription) -> Option<Error> {
    Some(Error::AlertReceived(alert))
}

#[test]
fn none_optional_and_required_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (tls, required) = asking(folder.path(), &ours, true);
    let optional = ClientVerify {
        required: false,
        ..required.clone()
    };
    let (good, stranger) = (ours.client(1, "good"), theirs.client(1, "good"));
    let places = [
        Place::start(tls.clone()),
        Place::start(judging(&tls, &optional)),
        Place::start(judging(&tls, &required)),
    ];
    let unknown = alert(AlertDescription::UnknownCA);
    for versions in EACH {
        // TLS 1.2 has no alert of its own for it (RFC 5246, section 7.4.6).
        let missing = alert(if versions == EACH[0] {
            AlertDescription::HandshakeFailure
        } else {
            AlertDescription::CertificateRequired
        });
        let visitors = [
            Visitor::new(Some("a.test")),
            Visitor::showing(&good),
            Visitor::showing(&stranger),
        ];
        let expected = [
            [None, None, None],
            [None, None, unknown.clone()],
            [missing, None, unknown.clone()],
        ];
        for (place, expected) in places.iter().zip(expected) {
            for (visitor, expected) in visitors.iter().zip(expected) {
                let visitor = Visitor {
                    versions,
                    ..visitor.clone()
                };
                assert_eq!(visitor.visit(place.address).err(), expected);
            }
        }
    }
}

#[test]
fn a_revoked_certificate_is_refused_wherever_in_the_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (below, gone) = (
        ours.intermediate("below", 21),
        ours.intermediate("gone", 22),
    );
    let (tls, mut verify) = asking(at, &ours, true);
    verify.crls = vec![write(at, "ours.crl", ours.revoke(&[2, 22], 2099))];
    let place = Place::start(judging(&tls, &verify));
    let revoked = alert(AlertDescription::CertificateRevoked);
    for (issuer, serial, expected) in [
        (&ours, 1, None),
        (&ours, 2, revoked.clone()),
        // No list of its issuer is there, which is no reason to refuse it.
        (&below, 2, None),
        (&gone, 1, revoked),
    ] {
        let client = issuer.client(serial, "client");
        let visitor = Visitor {
            identity: Some((&client, vec![issuer.0.der().clone()])),
            ..Visitor::new(None)
        };
        let refused = visitor.visit(place.address).err();
        assert_eq!(refused, expected, "{serial}");
    }
}

/// What `openssl req -x509` makes is an authority's by default, and is trusted as
/// a client's own where the file of authorities has it.
#[test]
fn a_clients_own_certificate_may_be_the_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (tls, mut verify) = asking(at, &ours, true);
    let listed = Authority::new_with("listed", |params| {
        params.serial_number = Some(5u64.into());
    });
    let out_of_date = Authority::new("out of date");
    let expired = Authority::new_with("expired", |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let for_servers = Authority::new_with("for servers", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let for_clients = Authority::new_with("for clients", |params| {
        params.serial_number = Some(7u64.into());
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let trusted = [
        &ours,
        &listed,
        &out_of_date,
        &expired,
        &for_servers,
        &for_clients,
    ];
    let pem: String = trusted.iter().map(|authority| authority.pem()).collect();
    verify.ca = write(at, "all.pem", pem);
    verify.crls = vec![
        write(at, "a.crl", listed.revoke(&[5], 2099)),
        write(at, "b.crl", out_of_date.revoke(&[2], 2021)),
        write(at, "c.crl", for_clients.revoke(&[8], 2099)),
    ];
    let place = Place::start(judging(&tls, &verify));
    // The same name, and another key.
    let stranger = Authority::new("ours");
    for versions in EACH {
        for (who, expected) in [
            (&ours, None),
            (&for_clients, None),
            (&listed, alert(AlertDescription::CertificateRevoked)),
            (&out_of_date, alert(AlertDescription::UnknownCA)),
            (&expired, alert(AlertDescription::CertificateExpired)),
            (
                &for_servers,
                alert(AlertDescription::UnsupportedCertificate),
            ),
            (&stranger, alert(AlertDescription::CertificateUnknown)),
        ] {
            let client = Issued::itself(who);
            let visitor = Visitor {
                versions,
                ..Visitor::showing(&client)
            };
            let name = Subject::of(&client.der()).expect("a subject");
            assert_eq!(visitor.visit(place.address).err(), expected, "{name}");
        }
    }
    // The list of subjects is for them, too.
    verify.allow = vec![SubjectPattern::Cn("for clients".into())];
    let place = Place::start(judging(&tls, &verify));
    for (who, expected) in [
        (&for_clients, None),
        (&ours, alert(AlertDescription::AccessDenied)),
    ] {
        let client = Issued::itself(who);
        let visitor = Visitor::showing(&client);
        assert_eq!(visitor.visit(place.address).err(), expected);
    }
}

#[test]
fn a_list_out_of_date_is_warned_of_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (tls, mut verify) = asking(at, &ours, false);
    verify.crls = vec![write(at, "ours.crl", ours.revoke(&[2], 2021))];
    let tls = judging(&tls, &verify);
    let (parts, _) = ServerParts::load(&tls, SystemTime::now()).expect("parts");
    let warnings = parts.warnings();
    assert!(warnings[0].contains("ours.crl:1: "), "{warnings:?}");
    assert!(warnings[0].contains("out of date"), "{warnings:?}");
    let place = Place::start(tls);
    let client = ours.client(1, "client");
    let refused = Visitor::showing(&client).visit(place.address);
    assert!(
        matches!(refused, Err(Error::AlertReceived(_))),
        "{refused:?}"
    );
    Visitor::new(None).visit(place.address).expect("not asked");
}

/// A session does not outlive the certificate that it was made with, though
/// each resumption gives a new ticket.
#[test]
fn a_session_ends_with_the_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let (_, verify) = asking(folder.path(), &ours, true);
    let site = ours.issue(&["localhost"]);
    let tls = from(&[&write(folder.path(), "localhost.pem", site.pem())]);
    let place = Place::start(judging(&tls, &verify));
    let mut roots = RootCertStore::empty();
    roots.add(ours.0.der().clone()).expect("an authority");
    let brief = ours.issue_with(&["brief"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = (SystemTime::now() + Duration::from_secs(3)).into();
    });
    let visit = |config: &Arc<ClientConfig>| -> Result<bool, End> {
        let client = Client::shake(client::tcp(place.address), config)?;
        client.send(b"!").expect("sent");
        assert_eq!(client.receive_exact(1), b"!");
        Ok(client.resumed())
    };
    let configs = EACH.map(|versions| {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(vec![brief.der()], brief.private())
            .expect("an identity");
        let config = Arc::new(config);
        assert_eq!(visit(&config), Ok(false));
        config
    });
    for config in configs {
        let end = wait_for("its end", || match visit(&config) {
            Ok(resumed) => {
                assert!(resumed);
                None
            }
            Err(end) => Some(end),
        });
        let expired = Error::AlertReceived(AlertDescription::CertificateExpired);
        assert_eq!(end, End::Tls(expired));
    }
    assert!(place.stats().total.handshakes_resumed > 0);
    let refused = "handshake/client/bad-certificate";
    wait_for("both refusals", || {
        let closed = place.stats().total.closed;
        closed
            .iter()
            .any(|close| close.reason.to_string() == refused && close.count == 2)
            .then_some(())
    });
}

#[test]
fn only_those_on_the_list_are_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let (tls, mut verify) = asking(folder.path(), &ours, true);
    verify.allow = vec![
        SubjectPattern::Dns("*.web.test".into()),
        SubjectPattern::Uri("spiffe://example.org/api-*".into()),
        SubjectPattern::Cn("admin".into()),
    ];
    let place = Place::start(judging(&tls, &verify));
    let denied = alert(AlertDescription::AccessDenied);
    for versions in EACH {
        for (name, expected) in [
            ("one.web.test", None),
            ("one.two.web.test", denied.clone()),
            ("api-7", None),
            ("admin", None),
            ("administrator", denied.clone()),
        ] {
            let client = ours.client(1, name);
            let visitor = Visitor {
                versions,
                ..Visitor::showing(&client)
            };
            assert_eq!(visitor.visit(place.address).err(), expected, "{name}");
            let subject = Subject::of(&client.der()).expect("a subject");
            assert_eq!(subject.common_name.as_deref(), Some(name));
        }
    }
}

#[test]
fn a_policy_is_known_by_its_digest() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (tls, verify) = asking(at, &ours, true);
    let binding = |verify: Option<&ClientVerify>| {
        let tls = ServerTls {
            client_verify: verify.cloned(),
            ..tls.clone()
        };
        let (parts, _) = ServerParts::load(&tls, SystemTime::now()).expect("parts");
        parts.binding().to_vec()
    };
    assert!(binding(None).is_empty());
    let first = binding(Some(&verify));
    assert_eq!(first.len(), 32);
    // The same by other names.
    let mut same = verify.clone();
    same.ca = write(at, "again.pem", format!("# ours\n{}", ours.pem()));
    assert_eq!(binding(Some(&same)), first);
    let changes: [&dyn Fn(&mut ClientVerify); 5] = [
        &|v| v.required = false,
        &|v| v.allow = vec![SubjectPattern::Dns("a".into())],
        &|v| v.allow = vec![SubjectPattern::Cn("a".into())],
        &|v| v.ca = write(at, "other.pem", Authority::new("other").pem()),
        &|v| v.crls = vec![write(at, "a.crl", ours.revoke(&[1], 2099))],
    ];
    let mut seen = vec![first];
    for change in changes {
        let mut changed = verify.clone();
        change(&mut changed);
        let next = binding(Some(&changed));
        assert!(!seen.contains(&next), "{changed:?}");
        seen.push(next);
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let (tls, verify) = asking(at, &ours, true);
    let key = write(at, "key.pem", ours.issue(&["a"]).key.serialize_pem());
    let broken = write(at, "broken.pem", format!("{}-----BEGIN X", ours.pem()));
    let refused = |change: &dyn Fn(&mut ClientVerify), parts: &[&str]| {
        let mut changed = verify.clone();
        change(&mut changed);
        let loaded = ServerParts::load(&judging(&tls, &changed), SystemTime::now());
        let error = loaded.expect_err("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    };
    refused(&|v| v.ca = at.join("none"), &["none: ", "cannot be read"]);
    refused(&|v| v.ca = key.clone(), &["key.pem: ", "no certificate"]);
    refused(
        &|v| v.crls = vec![key.clone()],
        &["key.pem: ", "X509 CRL", "openssl crl"],
    );
    let cut = ours.revoke(&[], 2099).replace("-----END X509 CRL-----", "");
    let cut = write(at, "cut.crl", cut);
    refused(
        &|v| v.crls = vec![cut.clone()],
        &["cut.crl:1: ", "does not end"],
    );
    // Text that is no block is passed over, as everybody does.
    let mut changed = verify.clone();
    changed.ca = broken;
    ServerParts::load(&judging(&tls, &changed), SystemTime::now()).expect("parts");
}
