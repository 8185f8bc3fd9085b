//! A peer that is slow is not a peer that is gone.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adit::config::ServerTls;
use adit::{Config, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

/// Well within the time that the client takes for all of it.
const HALF_CLOSE: Duration = Duration::from_millis(500);

/// What the client takes at a time, and how long it is busy with it.
const SIP: usize = 100_000;
const BUSY: Duration = Duration::from_millis(100);

const SIPS: usize = 40;

#[test]
fn a_slow_download_outlives_the_half_close_time_while_bytes_move() {
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
    let client_config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let backend = TcpListener::bind("127.0.0.1:0").expect("bound");
    let backend_address = backend.local_addr().expect("an address").to_string();
    let mut config = Config::single(
        "127.0.0.1:0".parse().expect("an address"),
        ServerTls::new(&cert, &key),
        backend_address.parse().expect("an address"),
    );
    config.shards.count = NonZeroUsize::new(1);
    config.timeouts.half_close = HALF_CLOSE;
    let server = Server::new(config).expect("bound");
    let address: SocketAddr = server.listeners()[0].address.parse().expect("an address");
    let _running = server.start().expect("started");
    let serving = thread::spawn(move || {
        let (mut served, _) = backend.accept().expect("accepted");
        served.write_all(&vec![7; SIP * SIPS]).expect("sent");
        // And closes, long before the client has all of it.
    });

    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(SIP).expect("set");
    socket.connect(&address.into()).expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::new(client_config), name).expect("a client");
    let mut client = StreamOwned::new(tls, TcpStream::from(socket));
    let mut sip = vec![0; SIP];
    for number in 0..SIPS {
        if let Err(error) = client.read_exact(&mut sip) {
            panic!("after {number} of {SIPS}: {error}");
        }
        thread::sleep(BUSY);
    }
    // Its end is a clean one.
    assert_eq!(client.read(&mut sip).expect("the end"), 0);
    serving.join().expect("served");
}
