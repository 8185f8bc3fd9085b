//! Routes by what TLS says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use adit::config::{Route, ServerTls, TlsVersion};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::certificate::Certificate;
use crate::support::client;
use crate::support::place::Place;
use crate::{by_name, certificate, config, named, server_tls};

/// Says this name in the ClientHello, whatever name the certificate has.
fn answer(place: &Place, config: ClientConfig, name: &str) -> String {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut stream = StreamOwned::new(tls, place.connect());
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).expect("the backend's name");
    let _: &TcpStream = &stream.sock;
    String::from_utf8(answer.to_vec()).expect("text")
}

fn careless(certificate: &Certificate) -> ClientConfig {
    let mut config = client::config(certificate, rustls::ALL_VERSIONS);
    config
        .dangerous()
        .set_certificate_verifier(crate::support::client::anybody());
    config
}

/// Also where the ClientHello is looked at before rustls gets it.
#[test]
fn a_version_that_is_long_gone_is_refused_as_such() {
    let (_folder, certificate) = certificate();
    let backend = named("one");
    let mut config = config(server_tls(&certificate), &[backend.address()]);
    config.listeners[0].routes = vec![by_name(&["b.example"], 0)];
    let place = Place::start(config);
    let mut stream = place.connect();
    stream.write_all(&client::old_hello(1)).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    assert_eq!(place.reason(), "handshake/client/no-version");
}

/// TLS_AES_128_GCM_SHA256.
const OF_TLS13: [u8; 2] = [0x13, 0x01];
/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.
const OF_TLS12: [u8; 2] = [0xc0, 0x2b];
/// TLS_FALLBACK_SCSV (RFC 7507, section 2).
const FALLBACK: [u8; 2] = [0x56, 0x00];

/// A ClientHello with these cipher suites, and these extensions besides the
/// groups that it knows.
fn hello_with(suites: &[[u8; 2]], extensions: &[&[u8]]) -> Vec<u8> {
    let groups: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 29];
    let extensions = [groups, &extensions.concat()].concat();
    let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    // No session.
    hello.push(0);
    hello.extend(length(&suites.concat()));
    hello.extend(suites.concat());
    // One compression, which is none.
    hello.extend([1, 0]);
    hello.extend(length(&extensions));
    hello.extend(extensions);
    let message = [&[1, 0][..], &length(&hello), &hello].concat();
    [&[22, 3, 1][..], &length(&message), &message].concat()
}

/// Alerts that RFC 8446 demands, in sections 5.1 and 9.2, and what is left to
/// handshake_failure.
#[test]
fn what_is_wrong_with_a_hello_has_its_alert() {
    let versions: &[u8] = &[0, 43, 0, 3, 2, 3, 4];
    let shares: &[u8] = &[0, 51, 0, 2, 0, 0];
    let modes: &[u8] = &[0, 45, 0, 2, 1, 1];
    // One identity of one byte and its age, and one binder.
    let mut resumes = vec![0, 41, 0, 44, 0, 7, 0, 1, 9, 0, 0, 0, 0, 0, 33, 32];
    resumes.extend([5; 32]);
    let (overflow, missing, failure) = (22, 109, 40);
    let (_folder, certificate) = certificate();
    let backend = named("one");
    let backends = [backend.address(), backend.address()];
    // Also where the ClientHello is looked at before rustls gets it.
    for routes in [vec![], vec![by_name(&["b.example"], 1)]] {
        let mut config = config(server_tls(&certificate), &backends);
        config.listeners[0].routes = routes.clone();
        let place = Place::start(config);
        for (sent, alert) in [
            (vec![22, 3, 1, 0xff, 0xff, 1, 2, 3], overflow),
            (vec![22, 3, 1, 0x48, 0x01, 1, 2, 3], overflow),
            (
                hello_with(&[OF_TLS13, OF_TLS12], &[versions, shares]),
                missing,
            ),
            (
                hello_with(&[OF_TLS13, OF_TLS12], &[versions, shares, modes, &resumes]),
                failure,
            ),
            (hello_with(&[OF_TLS12], &[]), failure),
        ] {
            let mut stream = place.connect();
            stream.write_all(&sent).expect("sent");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert], "{routes:?} {sent:?}");
        }
    }
}

/// A client that has fallen back to TLS 1.2 is told that it need not (RFC 7507,
/// section 3), unless it could have nothing newer or does offer it.
#[test]
fn who_falls_back_without_need_is_told_so() {
    let signatures: &[u8] = &[0, 13, 0, 4, 0, 2, 4, 3];
    let versions: &[u8] = &[0, 43, 0, 5, 4, 3, 4, 3, 3];
    // Of X25519: any 32 bytes.
    let mut shares = vec![0, 51, 0, 38, 0, 36, 0, 29, 0, 32];
    shares.extend([9; 32]);
    let (_folder, certificate) = certificate();
    let backend = named("one");
    let beginning = |place: &Place, suites: &[[u8; 2]], extensions: &[&[u8]]| {
        let mut stream = place.connect();
        stream
            .write_all(&hello_with(suites, extensions))
            .expect("sent");
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).expect("an answer");
        answer
    };
    let old = [OF_TLS12, FALLBACK];
    let place = Place::start(config(server_tls(&certificate), &[backend.address()]));
    assert_eq!(
        beginning(&place, &old, &[signatures]),
        [21, 3, 3, 0, 2, 2, 86]
    );
    assert_eq!(place.reason(), "handshake/client/tls-error");
    // A ServerHello.
    assert_eq!(beginning(&place, &old[..1], &[signatures])[0], 22);
    let all = [OF_TLS13, OF_TLS12, FALLBACK];
    let extensions = [signatures, versions, &shares];
    assert_eq!(beginning(&place, &all, &extensions)[0], 22);
    let mut tls = ServerTls::new(&certificate.cert, &certificate.key);
    tls.policy.max = TlsVersion::Tls12;
    let place = Place::start(config(Some(tls), &[backend.address()]));
    assert_eq!(beginning(&place, &old, &[signatures])[0], 22);
}

#[test]
fn the_name_leads_to_its_service_and_any_other_to_the_default() {
    let (_folder, certificate) = certificate();
    let (first, second, third) = (named("one"), named("two"), named("tri"));
    let backends = [first.address(), second.address(), third.address()];
    let mut config = config(server_tls(&certificate), &backends);
    config.listeners[0].routes = vec![
        by_name(&["b.example", "B2.example"], 1),
        by_name(&["*.example"], 2),
    ];
    let place = Place::start(config);
    for (name, expected) in [
        ("b.example", "two"),
        ("b2.example", "two"),
        ("c.example", "tri"),
        ("d.c.example", "one"),
        ("example", "one"),
        ("127.0.0.1", "one"),
    ] {
        assert_eq!(
            answer(&place, careless(&certificate), name),
            expected,
            "{name}"
        );
    }
    // The second handshake resumes, and its name is heard all the same.
    let shared = careless(&certificate);
    for _ in 0..3 {
        assert_eq!(answer(&place, shared.clone(), "b.example"), "two");
    }
    assert!(place.stats().total.handshakes_resumed >= 1);
}

#[test]
fn what_was_agreed_on_leads_too() {
    let (_folder, certificate) = certificate();
    let (first, second) = (named("one"), named("two"));
    let backends = [first.address(), second.address()];
    let mut tls = server_tls(&certificate).expect("TLS");
    tls.alpn = vec!["h2".into(), "http/1.1".into()];
    let mut config = config(Some(tls), &backends);
    config.listeners[0].routes = vec![Route {
        sni: Vec::new(),
        alpn: vec!["h2".into()],
        client: Vec::new(),
        service: 1,
    }];
    let place = Place::start(config);
    let offering = |protocols: &[&str]| {
        let mut config = careless(&certificate);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    };
    assert_eq!(
        answer(&place, offering(&["http/1.1", "h2"]), "localhost"),
        "two"
    );
    assert_eq!(answer(&place, offering(&["http/1.1"]), "localhost"), "one");
    assert_eq!(answer(&place, offering(&[]), "localhost"), "one");
}
