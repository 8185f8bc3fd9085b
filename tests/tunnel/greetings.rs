//! What comes first on a connection: TLS in odd shapes, and what is no TLS.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

use crate::support::adit::Adit;
use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client, tcp};

/// Everything until the end, whether by FIN or by RST.
fn answer_to(adit: &Adit, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tcp(adit.address());
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn plain_http_gets_an_alert() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let answer = answer_to(&adit, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // A fatal alert, in a record of its own.
    assert_eq!(answer.len(), 7, "{answer:x?}");
    assert_eq!((answer[0], answer[1], answer[5]), (21, 3, 2), "{answer:x?}");
    adit.assert_closes(1, "handshake/client/not-tls");
}

#[test]
fn random_bytes() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let mut bytes = vec![0; random.usize(1..5000)];
        random.fill(&mut bytes);
        // No luck wanted.
        bytes[0] |= 0x80;
        let mut stream = tcp(adit.address());
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let closes = adit.closes(50);
    // With fewer bytes than a header has, it ends before it is judged.
    let not_tls = closes.get("handshake/client/not-tls").copied();
    assert!(not_tls >= Some(48), "{closes:?}");
}

/// Bytes that begin as TLS does and go on otherwise.
#[test]
fn nonsense_in_records() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let mut random = fastrand::Rng::with_seed(8);
    for kind in [20, 21, 22, 22, 22, 22, 23, 24] {
        let mut bytes = vec![kind, 3, 1, 0, 200];
        bytes.resize(205, 0);
        random.fill(&mut bytes[5..]);
        let mut stream = tcp(adit.address());
        stream.write_all(&bytes).expect("sent");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let closes = adit.closes(8);
    assert!(
        closes
            .keys()
            .all(|reason| reason.starts_with("handshake/client/")),
        "{closes:?}"
    );
}

#[test]
fn an_immediate_close() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    drop(tcp(adit.address()));
    adit.assert_closes(1, "handshake/client/eof");
}

#[test]
fn an_immediate_reset() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let stream = tcp(adit.address());
    // Else the reset may find it in the queue, where it vanishes unseen.
    adit.wait_stats("a tunnel", |stats| stats.total.handshakes_in_progress == 1);
    backend::reset(stream);
    adit.assert_closes(1, "handshake/client/reset");
}

#[test]
fn a_handshake_sent_a_byte_at_a_time() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client::config(adit.certificate(), &[version]);
        let client = Client::begin(tcp(adit.address()), &Arc::new(config));
        while client.is_handshaking() {
            for byte in client.sealed() {
                client.send_raw(&[byte]).expect("sent");
            }
            if client.is_handshaking() {
                client.take_in().expect("an answer");
            }
        }
        for byte in client.seal(b"hello") {
            client.send_raw(&[byte]).expect("sent");
        }
        assert_eq!(client.receive_exact(5), b"hello");
    }
}

/// A ClientHello in records of a few bytes each (RFC 8446, section 5.1).
#[test]
fn a_client_hello_over_many_records() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for size in [1, 7, 100] {
        let config = client::config(adit.certificate(), rustls::ALL_VERSIONS);
        let client = Client::begin(tcp(adit.address()), &Arc::new(config));
        let hello = client.sealed();
        let mut cut = Vec::new();
        for part in hello[5..].chunks(size) {
            cut.extend_from_slice(&hello[..3]);
            cut.extend_from_slice(&(part.len() as u16).to_be_bytes());
            cut.extend_from_slice(part);
        }
        client.send_raw(&cut).expect("sent");
        client.finish_handshake().expect("a handshake");
        client.send(b"hello").expect("sent");
        assert_eq!(client.receive_exact(5), b"hello", "records of {size}");
    }
}

/// The first bytes of the application come with the last of the handshake.
#[test]
fn data_right_behind_the_handshake() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let config = client::config(adit.certificate(), &[&rustls::version::TLS13]);
    let client = Client::begin(tcp(adit.address()), &Arc::new(config));
    client.send_sealed().expect("sent");
    while client.is_handshaking() {
        client.take_in().expect("an answer");
    }
    // Finished, data and close_notify in one packet.
    let mut bytes = client.seal(b"hello");
    client.with(|tls| tls.send_close_notify());
    bytes.extend(client.sealed());
    client.send_raw(&bytes).expect("sent");
    assert_eq!(
        client.receive_all(),
        (b"hello".to_vec(), client::End::CloseNotify)
    );
    adit.assert_closes(1, "relay/backend/eof");
}

/// A handshake has to end some time, in bytes too.
#[test]
fn a_handshake_without_end_is_cut_off() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    // A ClientHello of 16 MiB less one byte, by its header.
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    let mut stream = tcp(adit.address());
    record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    for _ in 0..64 {
        if stream.write_all(&record).is_err() {
            break;
        }
        record[5..9].fill(0);
    }
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
    adit.assert_closes(1, "handshake/client/tls-error");
}

/// Who is refused is told so, also where rustls has no alert for it.
#[test]
fn what_is_no_handshake_gets_the_alert_for_it() {
    const UNEXPECTED_MESSAGE: u8 = 10;
    const DECODE_ERROR: u8 = 50;
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).expect("a record");
        [&[kind, 3, 1], &length.to_be_bytes()[..], content].concat()
    };
    let warning = record(21, &[1, 90]);
    let config = client::config(
        &Certificate::make(tempfile::tempdir().expect("a folder").path()),
        rustls::ALL_VERSIONS,
    );
    let adit = Adit::start(backend::echo().address());
    let hello = Client::begin(tcp(adit.address()), &Arc::new(config)).sealed();
    // More of them than rustls lets be a message.
    let mut endless = record(22, &[&[1, 0, 0xff, 0xff][..], &[0; 16_000]].concat());
    for _ in 0..4 {
        endless.extend(record(22, &[0; 16_000]));
    }
    for (bytes, expected) in [
        // An alert between two parts of a ClientHello.
        (
            [record(22, &hello[5..100]), warning.clone()].concat(),
            UNEXPECTED_MESSAGE,
        ),
        // Warnings without end.
        (warning.repeat(20), UNEXPECTED_MESSAGE),
        // Data first; a handshake message that has no place there.
        (record(23, b"GET / HTTP/1.0\r\n\r\n"), UNEXPECTED_MESSAGE),
        (record(22, &[20, 0, 0, 0]), UNEXPECTED_MESSAGE),
        (endless, DECODE_ERROR),
    ] {
        let answer = answer_to(&adit, &bytes);
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, expected], "{bytes:x?}");
    }
}
