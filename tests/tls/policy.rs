//! Versions, cipher suites, application protocols, and the key log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use adit::config::{ServerTls, TlsVersion};
use rustls::{AlertDescription, CipherSuite, Error, ProtocolVersion};

use crate::authority::{Authority, write};
use crate::place::{Place, from};
use crate::visitor::{EACH, Visitor};

fn site(folder: &std::path::Path) -> ServerTls {
    let site = Authority::new("ours").issue(&["a.test"]);
    from(&[&write(folder, "site.pem", site.pem())])
}

#[test]
fn the_protocol_is_the_servers_choice_of_those_in_common() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tls = site(folder.path());
    let plain = Place::start(tls.clone());
    tls.alpn = vec!["h2".into(), "http/1.1".into()];
    let some = Place::start(tls);
    for versions in EACH {
        let offering = |alpn: &[&'static str], place: &Place| {
            let visitor = Visitor {
                versions,
                alpn: alpn.to_vec(),
                ..Visitor::new(Some("a.test"))
            };
            visitor.visit(place.address).map(|shown| shown.alpn)
        };
        assert_eq!(offering(&["http/1.1", "h2"], &some), Ok(Some(b"h2".into())));
        assert_eq!(
            offering(&["x", "http/1.1"], &some),
            Ok(Some(b"http/1.1".into()))
        );
        assert_eq!(offering(&[], &some), Ok(None));
        let none = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(offering(&["x", "y"], &some), Err(none));
        assert_eq!(offering(&["x"], &plain), Ok(None));
    }
}

#[test]
fn versions_are_within_the_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = site(folder.path());
    let refused = Err(Error::AlertReceived(AlertDescription::ProtocolVersion));
    for (min, max, old, new) in [
        (TlsVersion::Tls12, TlsVersion::Tls13, true, true),
        (TlsVersion::Tls12, TlsVersion::Tls12, true, false),
        (TlsVersion::Tls13, TlsVersion::Tls13, false, true),
    ] {
        let mut tls = tls.clone();
        (tls.policy.min, tls.policy.max) = (min, max);
        let place = Place::start(tls);
        let speak = |versions| {
            let visitor = Visitor {
                versions,
                ..Visitor::new(Some("a.test"))
            };
            visitor.visit(place.address).map(|shown| shown.version)
        };
        let expected = |takes, version| if takes { Ok(version) } else { refused.clone() };
        assert_eq!(speak(EACH[0]), expected(old, ProtocolVersion::TLSv1_2));
        assert_eq!(speak(EACH[1]), expected(new, ProtocolVersion::TLSv1_3));
    }
}

#[test]
fn an_order_of_ciphers_that_is_written_down_is_meant() {
    const SMALL: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;
    const LARGE: CipherSuite = CipherSuite::TLS13_AES_256_GCM_SHA384;
    let folder = tempfile::tempdir().expect("a folder");
    let mut tls = site(folder.path());
    tls.policy.min = TlsVersion::Tls13;
    let clients = Place::start(tls.clone());
    tls.policy.ciphers = Some(vec![SMALL, LARGE]);
    let ours = Place::start(tls);
    let wanting = |suites: [CipherSuite; 2], place: &Place| {
        let visitor = Visitor {
            versions: EACH[1],
            suites: suites.to_vec(),
            ..Visitor::new(Some("a.test"))
        };
        visitor.visit(place.address).expect("shown").suite
    };
    for order in [[SMALL, LARGE], [LARGE, SMALL]] {
        assert_eq!(wanting(order, &clients), order[0]);
        assert_eq!(wanting(order, &ours), SMALL);
    }
}

#[test]
fn secrets_are_logged_only_where_the_configuration_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tls = site(folder.path());
    let path = folder.path().join("secrets");
    let silent = Place::start(tls.clone());
    tls.key_log = Some(path.clone());
    Visitor::new(Some("a.test"))
        .visit(silent.address)
        .expect("shown");
    assert!(!path.exists());
    let telling = Place::with_shards(tls, 2);
    for versions in EACH {
        let visitor = Visitor {
            versions,
            ..Visitor::new(Some("a.test"))
        };
        visitor.visit(telling.address).expect("shown");
    }
    let text = fs::read_to_string(&path).expect("a file");
    for label in [
        "CLIENT_RANDOM ",
        "CLIENT_TRAFFIC_SECRET_0 ",
        "SERVER_TRAFFIC_SECRET_0 ",
    ] {
        let found = text.lines().filter(|line| line.starts_with(label)).count();
        assert_eq!(found, 1, "{label} in:\n{text}");
    }
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
