//! Who comes in, how fast, how many, and by which shard; and where connections
//! to backends come from. One module per matter.

#[path = "../support/mod.rs"]
mod support;

mod balance;
mod budget;
mod lists;
mod pace;
mod rooms;
mod source;
mod steering;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use adit::Config;
use adit::config::{Listener, Network, Service};
use adit::metrics::Stats;
use adit::{Handle, Running, Server};
use support::PATIENCE;
use support::place::{anywhere, at};

/// Plaintext in, plaintext out.
fn config(backend: SocketAddr) -> Config {
    let tls = adit::config::ServerTls::new("no.pem", "no.pem");
    let mut config = Config::single(anywhere(), tls, at(backend));
    config.listeners = vec![Listener::new(anywhere(), None, 0)];
    config.services = vec![Service::single("backend", at(backend), None)];
    config
}

fn networks(texts: &[&str]) -> Vec<Network> {
    let parse = |text: &&str| text.parse().expect("a network");
    texts.iter().map(parse).collect()
}

/// A server of this process, with as many shards as its configuration says.
struct Door {
    address: SocketAddr,
    handle: Handle,
    _running: Running,
}

impl Door {
    fn start(config: Config) -> Self {
        let server = Server::new(config).expect("a server");
        Self {
            address: server.listeners()[0].address.parse().expect("an address"),
            handle: server.handle(),
            _running: server.start().expect("shards"),
        }
    }

    fn stats(&self) -> Stats {
        self.handle.stats().expect("statistics")
    }

    fn closed(&self, reason: &str) -> u64 {
        let closed = self.stats().total.closed;
        let fits = closed.iter().filter(|c| c.reason.to_string() == reason);
        fits.map(|c| c.count).sum()
    }

    /// A client from that address of loopback.
    fn connect_from(&self, source: [u8; 4]) -> TcpStream {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source = SocketAddr::from((source, 0));
        socket.bind(&source.into()).expect("an address");
        socket.connect(&self.address.into()).expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn connect(&self) -> TcpStream {
        self.connect_from([127, 0, 0, 1])
    }
}

/// Sends a byte and takes it back.
fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

/// The server resets it.
fn assert_reset(mut stream: TcpStream) {
    // As read(2) does not, it goes on after a signal.
    let error = stream.read_exact(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
