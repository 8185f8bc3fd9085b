//! A server that is dropped leaves nothing behind. The one test of its
//! process, since it counts the process's descriptors.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use adit::config::ServerTls;
use adit::{Config, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const SHARDS: usize = 2;
const HANDSHAKING: usize = 20;

/// How long a peer waits before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

fn descriptors() -> usize {
    // The one that reads the folder is there each time.
    fs::read_dir("/proc/self/fd").expect("a folder").count()
}

#[test]
fn a_dropped_server_cuts_its_tunnels_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client_config = Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );

    let backend = TcpListener::bind("127.0.0.1:0").expect("bound");
    let backend_address = backend.local_addr().expect("an address").to_string();
    let before = descriptors();
    let mut config = Config::single(
        "127.0.0.1:0".parse().expect("an address"),
        ServerTls::new(&cert, &key),
        backend_address.parse().expect("an address"),
    );
    config.shards.count = NonZeroUsize::new(SHARDS);
    let server = Server::new(config).expect("bound");
    let address = server.listeners()[0].address.clone();
    let handle = server.handle();
    let running = server.start().expect("started");

    let mut handshaking: Vec<TcpStream> = (0..HANDSHAKING).map(|_| connect(&address)).collect();
    for client in &mut handshaking {
        client.write_all(&[22, 3, 1]).expect("sent");
    }
    let socket = connect(&address);
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(client_config, name).expect("a client");
    let mut client = StreamOwned::new(tls, socket);
    client.write_all(b"half a mess").expect("sent");
    let (mut served, _) = backend.accept().expect("accepted");
    served.set_read_timeout(Some(PATIENCE)).expect("set");
    served.read_exact(&mut [0; 11]).expect("arrived");
    while handle.stats().expect("stats").total.tunnels_open < HANDSHAKING as u64 + 1 {}

    drop(running);
    let error = served
        .read(&mut [0; 1])
        .expect_err("a cut is no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    for client in &mut handshaking {
        // An end or a reset; not silence.
        if let Err(error) = client.read(&mut [0; 1]) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    let refused = TcpStream::connect(&address).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(handle.stats().is_err());
    drop((client, served, handshaking));
    // glommio 0.9.0 leaks an eventfd with each executor, even an idle one.
    let after = descriptors();
    assert!(after <= before + SHARDS, "{before} before, {after} after");
}
