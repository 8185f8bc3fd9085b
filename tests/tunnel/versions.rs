//! What is agreed on: versions, groups, sessions.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, ProtocolVersion};

use crate::support::adit::{Adit, Setup};
use crate::support::backend;
use crate::support::client::{self, Client, End};

#[test]
fn tls_1_2_and_1_3() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for (offered, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = client::config(adit.certificate(), &[offered]);
        let client = Client::connect_with(&adit, &Arc::new(config)).expect("a handshake");
        assert_eq!(client.version(), Some(expected));
        let length = 1 << 20;
        client.send_pattern(length / 8).expect("sent");
        client.close_notify();
        assert_eq!(client.receive_pattern(), (length / 8, End::CloseNotify));
    }
    let client = Client::connect(&adit);
    assert_eq!(client.version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn the_post_quantum_group_is_preferred() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    assert_eq!(client.group(), Some(NamedGroup::X25519MLKEM768));
    // Also when the client would rather have another.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.reverse();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(adit.certificate().roots())
        .with_no_client_auth();
    let client = Client::connect_with(&adit, &Arc::new(config)).expect("a handshake");
    client.send(b"hello").expect("sent");
    assert_eq!(client.receive_exact(5), b"hello");
    println!("a client that offers it last gets {:?}", client.group());
}

/// A session resumes on whichever shard it lands.
#[test]
fn sessions_resume_across_shards() {
    let backend = backend::echo();
    for version in [&TLS12, &TLS13] {
        let adit = Setup::new(backend.address()).shards(2).start();
        let mut config = client::config(adit.certificate(), &[version]);
        config.resumption = Resumption::in_memory_sessions(64);
        let config = Arc::new(config);
        // One connection at a time: each has the tickets of the one before.
        for round in 0..40 {
            let client = Client::connect_with(&adit, &config).expect("a handshake");
            client.send(b"hello").expect("sent");
            // Tickets come before the first data.
            assert_eq!(client.receive_exact(5), b"hello");
            assert_eq!(client.resumed(), round > 0, "{version:?}, round {round}");
            client.close_notify();
            client.receive_all();
        }
        let stats = adit.wait_stats("all ends", |stats| stats.total.tunnels_open == 0);
        assert_eq!(stats.total.handshakes, 40);
        assert_eq!(stats.total.handshakes_resumed, 39);
        for shard in &stats.shards {
            assert!(shard.totals.handshakes_resumed > 0, "{stats:#?}");
        }
    }
}

/// Tickets wait for the first data to go along with, but not for ever; and a
/// client that leaves before there is any gets them with the farewell.
#[test]
fn tickets_come_though_the_backend_says_nothing() {
    let backend = backend::sink();
    let adit = Adit::start(backend.address());
    for leaves_at_once in [false, true] {
        let mut config = client::config(adit.certificate(), &[&TLS13]);
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        let client = Client::connect_with(&adit, &config).expect("a handshake");
        if leaves_at_once {
            client.close_notify();
            assert_eq!(client.receive_all(), (Vec::new(), End::CloseNotify));
        } else {
            // The finished message is on its way with this.
            client.send(b"x").expect("sent");
            client.take_in().expect("tickets");
        }
        let next = Client::connect_with(&adit, &config).expect("a handshake");
        assert!(next.resumed(), "leaves at once: {leaves_at_once}");
    }
}

/// Most programs that use OpenSSL leave Nagle's algorithm on: then the first
/// bytes behind the handshake leave once all before them is acknowledged, and a
/// server that has nothing to send would do that after 40 ms.
#[test]
fn a_client_that_waits_to_be_heard_need_not_wait_long() {
    let backend = backend::echo();
    for (version, tickets) in [(&TLS13, 2), (&TLS13, 0), (&TLS12, 2)] {
        let adit = Setup::new(backend.address())
            .tls_setting(&format!("tickets: {tickets}"))
            .start();
        let mut config = client::config(adit.certificate(), &[version]);
        config.resumption = Resumption::in_memory_sessions(64);
        let config = Arc::new(config);
        // The quickest tells, whatever else the machine has to do.
        let quickest = (0..8).map(|_| {
            let tcp = client::tcp(adit.address());
            tcp.set_nodelay(false).expect("a socket");
            let client = Client::shake(tcp, &config).expect("a handshake");
            let sent = Instant::now();
            client.send(b"hello").expect("sent");
            assert_eq!(client.receive_exact(5), b"hello");
            let took = sent.elapsed();
            client.close_notify();
            client.receive_all();
            // The first of TLS 1.2 is not resumed.
            if client.resumed() || version.version == TLS13.version {
                took
            } else {
                Duration::MAX
            }
        });
        let quickest = quickest.min().expect("there are some");
        assert!(
            quickest < Duration::from_millis(20),
            "{version:?}, {tickets} tickets: {quickest:?}"
        );
    }
}

#[test]
fn without_tickets_nothing_resumes() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .tls_setting("tickets: 0")
        .start();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client::config(adit.certificate(), &[version]));
        for _ in 0..5 {
            let client = Client::connect_with(&adit, &config).expect("a handshake");
            client.send(b"hello").expect("sent");
            assert_eq!(client.receive_exact(5), b"hello");
            assert!(!client.resumed());
        }
    }
}

/// A client with no version in common is told so.
#[test]
fn no_version_in_common() {
    let backend = backend::echo();
    for (setting, spoken, other) in [
        ("preset: Modern", &TLS13, &TLS12),
        ("max_version: \"1.2\"", &TLS12, &TLS13),
    ] {
        let adit = Setup::new(backend.address()).tls_setting(setting).start();
        let config = client::config(adit.certificate(), &[other]);
        match Client::connect_with(&adit, &Arc::new(config)) {
            Err(End::Tls(rustls::Error::AlertReceived(
                rustls::AlertDescription::ProtocolVersion,
            ))) => {}
            Err(end) => panic!("{setting}: {end:?}"),
            Ok(_) => panic!("{setting}: a handshake"),
        }
        adit.assert_closes(1, "handshake/client/no-version");
        let config = client::config(adit.certificate(), &[spoken]);
        Client::connect_with(&adit, &Arc::new(config)).expect("a handshake");
    }
}

/// A client that speaks nothing newer than TLS 1.1 is told so, though it lacks
/// much else.
#[test]
fn a_version_that_is_long_gone() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for minor in 0..3 {
        let mut stream = client::tcp(adit.address());
        stream.write_all(&client::old_hello(minor)).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70], "3.{minor}");
    }
    adit.assert_closes(3, "handshake/client/no-version");
}

/// A client with no cipher suite in common is told so.
#[test]
fn no_cipher_in_common() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // An RSA suite, where the certificate is for ECDSA.
    provider.cipher_suites.retain(|suite| {
        suite.suite() == rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    });
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])
        .expect("versions")
        .with_root_certificates(adit.certificate().roots())
        .with_no_client_auth();
    match Client::connect_with(&adit, &Arc::new(config)) {
        Err(End::Tls(rustls::Error::AlertReceived(_))) => {}
        Err(end) => panic!("{end:?}"),
        Ok(_) => panic!("a handshake"),
    }
    adit.assert_closes(1, "handshake/client/no-cipher");
}
