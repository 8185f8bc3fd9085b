//! What the unbuffered connection demands of its caller, seen by a real client
//! at the other end of a socket.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::*;
use crate::runtime::{self, Socket};
use crate::tunnel::Scratch;

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The side under test.
struct Server {
    end: TlsEnd<UnbufferedServerConnection>,
    scratch: Scratch,
}

/// What a turn takes.
const TAKE: usize = limits::BUFFER_SIZE_MIN;

impl Server {
    async fn shake(&mut self) -> Result<Session, HandshakeError> {
        poll_fn(|cx| self.end.poll_handshake(cx, &mut self.scratch.wire)).await
    }

    fn poll_pull(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Vec<u8>>, EndError>> {
        let Scratch { wire, plain, .. } = &mut self.scratch;
        let pulled = ready!(self.end.wired(cx.waker(), wire, TAKE).pull(plain))?;
        Poll::Ready(Ok(match pulled {
            Pulled::Bytes(n) => Some(plain[..n].to_vec()),
            Pulled::Eof => None,
        }))
    }

    async fn pull(&mut self) -> Result<Option<Vec<u8>>, EndError> {
        poll_fn(|cx| self.poll_pull(cx)).await
    }

    async fn pull_all(&mut self) -> Result<Vec<u8>, EndError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.pull().await? {
            all.extend(bytes);
        }
        Ok(all)
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), EndError> {
        poll_fn(|cx| {
            let mut wired = self.end.wired(cx.waker(), &mut self.scratch.wire, TAKE);
            Poll::Ready(wired.push(bytes))
        })
        .await?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), EndError> {
        poll_fn(|cx| {
            self.end
                .wired(cx.waker(), &mut self.scratch.wire, TAKE)
                .flush()
        })
        .await
    }

    async fn finish(&mut self) -> Result<(), EndError> {
        poll_fn(|cx| {
            self.end
                .wired(cx.waker(), &mut self.scratch.wire, TAKE)
                .finish()
        })
        .await
    }
}

/// The side that it speaks with: a thread that may wait.
struct Client {
    tls: ClientConnection,
    socket: UnixStream,
}

impl Client {
    fn shake(&mut self) {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.socket).expect("a handshake");
        }
    }

    /// The same, but for the last it has to say, which waits to be sent.
    fn shake_silently(&mut self) {
        let hello = self.records();
        self.send(&hello);
        while self.tls.is_handshaking() {
            self.tls.read_tls(&mut self.socket).expect("read");
            self.tls.process_new_packets().expect("TLS");
        }
    }

    /// The records of these bytes, to be sent by the caller.
    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(bytes).expect("taken");
        self.records()
    }

    /// The records that the connection wants to send.
    fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("written");
        }
        records
    }

    fn send(&mut self, records: &[u8]) {
        self.socket.write_all(records).expect("sent");
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.socket);
        stream.read_exact(&mut read).expect("read");
        read
    }
}

fn between<T: Send + 'static>(
    version: Version,
    truncation: Truncation,
    client: impl FnOnce(Client) -> T + Send + 'static,
    server: impl AsyncFnOnce(Server),
) -> T {
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .expect("an identity");
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a root");
    let mut client_config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client_config.enable_secret_extraction = true;
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::new(client_config), name).expect("a connection");
    let client = thread::spawn(move || {
        client(Client {
            tls,
            socket: theirs,
        })
    });
    let executor = runtime::executor(None).expect("an executor");
    executor.run(async {
        let end = TlsEnd::server(
            Link::new(Socket::new(ours.into())),
            crate::tunnel::held::Kept::default(),
            Arc::new(config),
            truncation,
        );
        server(Server {
            end: end.expect("a connection"),
            scratch: Scratch::new(TAKE),
        })
        .await;
    });
    match client.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Bytes of which no two stretches are alike.
fn body(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(len as u64);
    (0..len).map(|_| rng.u8(..)).collect()
}

#[test]
fn records_of_all_lengths_are_opened_in_order() {
    for version in VERSIONS {
        let sent = body(500_000);
        let expected = sent.clone();
        between(
            version,
            Truncation::Fin,
            move |mut client| {
                client.shake();
                let mut rest = &sent[..];
                for len in [1, 2, 100, 1400, 16_383, 16_384, 1, 1].into_iter().cycle() {
                    let (now, later) = rest.split_at(len.min(rest.len()));
                    let records = client.seal(now);
                    client.send(&records);
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                client.tls.send_close_notify();
                let records = client.records();
                client.send(&records);
            },
            async |mut server| {
                server.shake().await.expect("a handshake");
                assert!(server.pull_all().await.expect("all") == expected);
                assert!(!server.end.was_truncated());
            },
        );
    }
}

#[test]
fn a_hello_in_many_records_and_in_many_pieces_is_put_together() {
    for version in VERSIONS {
        between(
            version,
            Truncation::Fin,
            |mut client| {
                let hello = client.records();
                let (head, fragment) = hello.split_at(5);
                assert_eq!(head[0], 22);
                for byte in fragment {
                    let record = [22, 3, 1, 0, 1, *byte];
                    // Two pieces, neither of which is a record.
                    client.send(&record[..4]);
                    client.send(&record[4..]);
                }
                client.shake();
                assert_eq!(client.read(5), b"hello");
            },
            async |mut server| {
                server.shake().await.expect("a handshake");
                server.push(b"hello").await.expect("pushed");
            },
        );
    }
}

#[test]
fn what_comes_right_behind_the_handshake_is_kept_for_the_relay() {
    for version in VERSIONS {
        let last = between(
            version,
            Truncation::Fin,
            |mut client| {
                // Its last flight is not sent yet, where it has one.
                while client.tls.is_handshaking() {
                    if client.tls.wants_write() {
                        let records = client.records();
                        client.send(&records);
                    }
                    client.tls.read_tls(&mut client.socket).expect("read");
                    client.tls.process_new_packets().expect("TLS");
                }
                client.tls.writer().write_all(b"early").expect("taken");
                client.tls.send_close_notify();
                let records = client.records();
                client.send(&records);
                let mut all = Vec::new();
                let mut stream = rustls::Stream::new(&mut client.tls, &mut client.socket);
                // Its end is a close_notify: without one this would fail.
                stream.read_to_end(&mut all).expect("a clean end");
                all
            },
            async |mut server| {
                server.shake().await.expect("a handshake");
                assert_eq!(server.pull_all().await.expect("all"), b"early");
                // The other direction goes on.
                server.push(b"late").await.expect("pushed");
                server.finish().await.expect("finished");
            },
        );
        assert_eq!(last, b"late");
    }
}

#[test]
fn a_key_update_behind_the_last_data_of_a_read_is_not_seen_twice() {
    between(
        &rustls::version::TLS13,
        Truncation::Fin,
        |mut client| {
            client.shake();
            assert_eq!(client.read(5), b"ready");
            let mut records = client.seal(b"before");
            client.tls.refresh_traffic_keys().expect("an update");
            let mut update = client.seal(b"after");
            let after = update.split_off(5 + usize::from(update[3]) * 256 + usize::from(update[4]));
            records.extend(update);
            client.send(&records);
            assert_eq!(client.read(6), b"answer");
            client.send(&after);
            client.tls.send_close_notify();
            let records = client.records();
            client.send(&records);
        },
        async |mut server| {
            server.shake().await.expect("a handshake");
            server.push(b"ready").await.expect("pushed");
            assert_eq!(server.pull().await.expect("bytes").unwrap(), b"before");
            assert!(server.end.carry.is_empty(), "{:?}", server.end.carry);
            server.push(b"answer").await.expect("pushed");
            assert_eq!(server.pull_all().await.expect("all"), b"after");
        },
    );
}

/// What is asked of the end between the bytes before a bad record and the
/// record itself must not come upon the record once more.
#[test]
fn a_bad_record_is_met_once_and_answered_with_one_alert() {
    for version in VERSIONS {
        for finishing in [false, true] {
            let answer = between(
                version,
                Truncation::Fin,
                |mut client| {
                    client.shake();
                    let mut records = client.seal(b"good");
                    records.extend(client.seal(b"bad"));
                    *records.last_mut().expect("a record") ^= 1;
                    client.send(&records);
                    let mut all = Vec::new();
                    let mut stream = rustls::Stream::new(&mut client.tls, &mut client.socket);
                    let error = stream.read_to_end(&mut all).expect_err("no clean end");
                    (error.to_string(), all)
                },
                async |mut server| {
                    server.shake().await.expect("a handshake");
                    assert_eq!(server.pull().await.expect("bytes").unwrap(), b"good");
                    if finishing {
                        let _ = server.finish().await;
                    } else {
                        assert!(server.push(b"more").await.is_err());
                    }
                    let error = server.pull().await.expect_err("a bad record");
                    assert!(
                        matches!(&error, EndError::Tls(e) if **e == rustls::Error::DecryptError),
                        "{error:?}"
                    );
                    let _ = server.flush().await;
                },
            );
            // FIN, if it was sent, has left no way for the alert.
            let expected = match finishing {
                true => "without sending TLS close_notify",
                false => "BadRecordMac",
            };
            assert!(answer.0.contains(expected), "{answer:?}");
            assert_eq!(answer.1, b"");
        }
    }
}

/// The connection counts from the start of what it was shown, so that it must
/// be shown the front part of a message again whenever it is asked anything.
#[test]
fn a_message_in_two_records_may_be_cut_by_what_we_send() {
    between(
        &rustls::version::TLS13,
        Truncation::Fin,
        |mut client| {
            client.shake();
            assert_eq!(client.read(5), b"ready");
            let suite = client.tls.negotiated_cipher_suite();
            let Some(SupportedCipherSuite::Tls13(suite)) = suite else {
                panic!("{suite:?}");
            };
            let secrets = client.tls.dangerous_extract_secrets().expect("secrets");
            let (mut number, secret) = secrets.tx;
            let mut sealer = match secret {
                ConnectionTrafficSecrets::Aes128Gcm { key, iv }
                | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
                | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                    suite.aead_alg.encrypter(key, iv)
                }
                _ => panic!("an unknown cipher"),
            };
            // A key update that asks for none in return (RFC 8446, 4.6.3).
            for part in [&[24, 0][..], &[0, 1, 0]] {
                let message = OutboundPlainMessage {
                    typ: ContentType::Handshake,
                    version: ProtocolVersion::TLSv1_2,
                    payload: OutboundChunks::Single(part),
                };
                let record = sealer.encrypt(message, number).expect("sealed").encode();
                client.socket.write_all(&record).expect("sent");
                number += 1;
                // Answered by a record that only this side has keys for.
                let mut answer = [0; 1];
                client.socket.read_exact(&mut answer).expect("an answer");
                let mut rest = [0; 64];
                let _ = client.socket.read(&mut rest).expect("an answer");
            }
        },
        async |mut server| {
            server.shake().await.expect("a handshake");
            server.push(b"ready").await.expect("pushed");
            let mut carried = 0;
            for _ in 0..2 {
                poll_fn(|cx| {
                    assert!(server.poll_pull(cx).is_pending());
                    let now = server.end.carry.len();
                    if std::mem::replace(&mut carried, now) == now {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
                server.push(b"x").await.expect("pushed");
            }
            assert_eq!(carried, 0);
            assert_eq!(server.pull().await.expect("the end"), None);
        },
    );
}

#[test]
fn an_end_without_close_notify_is_what_the_operator_calls_it() {
    for truncation in [Truncation::Fin, Truncation::Reset] {
        between(
            &rustls::version::TLS13,
            truncation,
            |mut client| {
                client.shake();
                assert_eq!(client.read(5), b"ready");
                let records = client.seal(b"half a");
                client.send(&records);
            },
            async move |mut server| {
                server.shake().await.expect("a handshake");
                server.push(b"ready").await.expect("pushed");
                let all = server.pull().await.expect("bytes");
                assert_eq!(all.as_deref(), Some(&b"half a"[..]));
                match (truncation, server.pull().await) {
                    (Truncation::Fin, Ok(None)) | (Truncation::Reset, Err(EndError::Truncated)) => {
                    }
                    (_, other) => panic!("{truncation:?}: {other:?}"),
                }
                assert!(server.end.was_truncated());
            },
        );
    }
}

#[test]
fn tickets_come_at_once_to_a_client_that_says_nothing_yet() {
    between(
        &rustls::version::TLS13,
        Truncation::Fin,
        |mut client| {
            client.shake();
            while client.tls.tls13_tickets_received() < 2 {
                client.tls.read_tls(&mut client.socket).expect("read");
                client.tls.process_new_packets().expect("TLS");
            }
            let records = client.seal(b"go on");
            client.send(&records);
        },
        async |mut server| {
            server.shake().await.expect("a handshake");
            assert!(!server.end.holds_tickets);
            let word = server.pull().await.expect("bytes");
            assert_eq!(word.as_deref(), Some(&b"go on"[..]));
        },
    );
}

#[test]
fn tickets_wait_for_the_answer_to_what_came_with_the_handshake() {
    let (held, wait) = mpsc::channel();
    let (looked, look) = mpsc::channel();
    between(
        &rustls::version::TLS13,
        Truncation::Fin,
        move |mut client| {
            client.shake_silently();
            // The last of the handshake is in front of it.
            let records = client.seal(b"go on");
            client.send(&records);
            wait.recv().expect("word from the server");
            client.socket.set_nonblocking(true).expect("set");
            let early = client.socket.read(&mut [0; 1]);
            assert_eq!(early.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            client.socket.set_nonblocking(false).expect("set");
            looked.send(()).expect("sent");
            assert_eq!(client.read(5), b"hello");
            assert_eq!(client.tls.tls13_tickets_received(), 2);
        },
        async move |mut server| {
            server.shake().await.expect("a handshake");
            assert!(server.end.holds_tickets);
            assert!(!server.end.is_stalled());
            server.flush().await.expect("nothing to flush");
            held.send(()).expect("sent");
            look.recv().expect("word from the client");
            let word = server.pull().await.expect("bytes");
            assert_eq!(word.as_deref(), Some(&b"go on"[..]));
            server.push(b"hello").await.expect("pushed");
            assert!(!server.end.holds_tickets);
        },
    );
}

#[test]
fn what_a_client_sent_is_there_though_it_takes_no_tickets() {
    between(
        &rustls::version::TLS13,
        Truncation::Fin,
        |mut client| {
            client.shake_silently();
            // From here on sending to it fails.
            client.socket.shutdown(Shutdown::Read).expect("shut");
            let records = client.seal(b"a message");
            client.send(&records);
        },
        async |mut server| {
            server.shake().await.expect("a handshake");
            server.end.release();
            assert!(server.flush().await.is_err());
            assert_eq!(server.pull_all().await.expect("all"), b"a message");
        },
    );
}
