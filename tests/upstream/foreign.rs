//! Services and servers of other people's making, where the machine has them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::certificate::Certificate;
use crate::support::pattern;
use crate::support::place::Place;
use crate::support::tools::has;
use crate::support::wait_for;

/// A program that is killed when this is dropped.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the program starts"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn answering(port: u16) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for("a port that answers", || TcpStream::connect(address).ok());
    address
}

fn redis(folder: &Path, words: &[&str]) -> Program {
    Program::start(
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder)
            .args(words),
    )
}

/// A conversation with Redis: an inline command, pipelined ones, a value of
/// some megabytes, and its own good-bye.
fn converse_with_redis(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("another handle"));
    let mut line = String::new();
    let mut expect = |reader: &mut BufReader<TcpStream>, expected: &str| {
        line.clear();
        reader.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), expected);
    };
    (&stream).write_all(b"PING\r\n").expect("sent");
    expect(&mut reader, "+PONG");
    let value = pattern::bytes(3_000_000);
    let mut order = format!("*3\r\n$3\r\nSET\r\n$1\r\nv\r\n${}\r\n", value.len()).into_bytes();
    order.extend_from_slice(&value);
    order.extend_from_slice(b"\r\n");
    for _ in 0..200 {
        order.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n");
    }
    (&stream).write_all(&order).expect("sent");
    expect(&mut reader, "+OK");
    for number in 1..=200 {
        expect(&mut reader, &format!(":{number}"));
    }
    (&stream)
        .write_all(b"GET v\r\nDEL n\r\nQUIT\r\n")
        .expect("sent");
    expect(&mut reader, &format!("${}", value.len()));
    let mut back = vec![0; value.len() + 2];
    reader.read_exact(&mut back).expect("the value");
    assert!(back[..value.len()] == value);
    expect(&mut reader, ":1");
    expect(&mut reader, "+OK");
    assert_eq!(reader.read(&mut [0; 1]).expect("an end"), 0);
}

/// Redis without TLS, with adit at both ends of the way to it.
#[test]
fn redis_behind_two_of_us() {
    if !has("redis-server", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let port = free_port();
    let _redis = redis(folder.path(), &["--port", &port.to_string()]);
    let far = Place::server(answering(port), &certificate);
    let near = Place::client(far.address, &certificate);
    converse_with_redis(near.connect());
    assert_eq!(near.reason(), "relay/client/eof");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut stream = near.connect();
                for _ in 0..100 {
                    stream.write_all(b"PING\r\n").expect("sent");
                    let mut answer = [0; 7];
                    stream.read_exact(&mut answer).expect("an answer");
                    assert_eq!(&answer, b"+PONG\r\n");
                }
            });
        }
    });
}

/// Redis that speaks TLS itself, and asks for a certificate.
#[test]
fn redis_that_speaks_tls() {
    let has_redis = has("redis-server", "--version");
    if !has_redis {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let port = free_port();
    let (cert, key) = (
        certificate.cert.to_str().expect("text"),
        certificate.key.to_str().expect("text"),
    );
    let words = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        "yes",
    ];
    let mut redis = redis(folder.path(), &words);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let up = wait_for("Redis, or its end", || {
        let ended = redis.0.try_wait().expect("a child").is_some();
        (ended || TcpStream::connect(address).is_ok()).then_some(!ended)
    });
    if !up {
        println!("passed over: this machine's redis-server is built without TLS");
        return;
    }
    let mut tls = crate::support::place::trusting(&certificate);
    tls.identity = Some(adit::config::CertSource::new(
        &certificate.cert,
        &certificate.key,
    ));
    let near = Place::client_with(address, tls);
    converse_with_redis(near.connect());
    assert_eq!(near.stats().total.backend_handshakes, 1);
}

/// OpenSSL's own server, in both versions; sessions are resumed there too.
#[test]
fn openssl_s_server() {
    if !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let page = pattern::bytes(500_000);
    std::fs::write(folder.path().join("page"), &page).expect("a file");
    for version in ["-tls1_2", "-tls1_3"] {
        let port = free_port();
        let _server = Program::start(
            Command::new("timeout")
                .args(["-k", "1", "60", "openssl", "s_server", "-HTTP", version])
                .args(["-accept", &format!("127.0.0.1:{port}"), "-cert"])
                .arg(&certificate.cert)
                .arg("-key")
                .arg(&certificate.key)
                .current_dir(folder.path()),
        );
        let near = Place::client(answering(port), &certificate);
        for _ in 0..3 {
            let mut stream = near.connect();
            // -HTTP takes the file's bytes for the whole answer.
            stream
                .write_all(b"GET /page HTTP/1.0\r\n\r\n")
                .expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an end");
            assert!(answer == page, "{version}: {} bytes", answer.len());
            let _ = stream.shutdown(Shutdown::Both);
        }
        let total = near.stats().total;
        assert_eq!(total.backend_handshakes, 3, "{version}");
        assert_eq!(total.backend_handshakes_resumed, 2, "{version}");
    }
}
