use std::net::TcpStream;

use super::super::client;
use super::*;
use crate::config::Address;

fn echo_path(request: &Request) -> Response {
    match request.path.as_str() {
        "/panic" => panic!("on purpose"),
        "/gone" => Response::not_found(),
        "/stream" => Response::new(
            200,
            "application/octet-stream",
            Body::Stream {
                length: 300_000,
                reader: Box::new(io::repeat(b'x')),
            },
        ),
        "/short" => Response::new(
            200,
            "application/octet-stream",
            Body::Stream {
                length: 300_000,
                reader: Box::new(io::empty()),
            },
        ),
        path => Response::text(200, format!("{} {path}", request.method.as_str())),
    }
}

fn tcp() -> (Running, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let running = serve(listener, "test", echo_path).expect("a thread");
    let address = running.local_addr().expect("bound").to_string();
    (running, address.parse().expect("an address"))
}

fn connect(address: &Address) -> TcpStream {
    let stream = TcpStream::connect(address.to_string()).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket");
    stream
}

fn talk(address: &Address, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn client_and_server_meet_over_tcp() {
    let (_running, address) = tcp();
    let answer = client::get(&address, "/x?y=1", TIMEOUT).expect("an answer");
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &b"GET /x"[..])
    );
    let answer = client::send(&address, Method::Post, "/x", TIMEOUT).expect("an answer");
    assert_eq!(answer.body, b"POST /x");
    let answer = client::get(&address, "/gone", TIMEOUT).expect("an answer");
    assert_eq!(answer.status, 404);
    let answer = client::get(&address, "/stream", TIMEOUT).expect("an answer");
    assert_eq!(answer.body, vec![b'x'; 300_000]);
}

#[test]
fn client_and_server_meet_over_unix_and_leave_no_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    let running = serve(listener, "test", echo_path)
        .expect("a thread")
        .unlink_at_end(&path);
    let address = Address::Unix(path.clone());
    let answer = client::get(&address, "/x", TIMEOUT).expect("an answer");
    assert_eq!(answer.body, b"GET /x");
    drop(running);
    assert!(!path.exists());
}

#[test]
fn a_stream_cut_short_is_an_error_at_the_client() {
    let (_running, address) = tcp();
    let error = client::get(&address, "/short", TIMEOUT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
}

#[test]
fn requests_follow_one_another_on_one_connection() {
    let (_running, address) = tcp();
    let answer = talk(
        &address,
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let a = answer.find("GET /a").expect("the first answer");
    let b = answer.find("GET /b").expect("the second answer");
    assert!(a < b);
    assert_eq!(answer.matches("Connection: close").count(), 1);
}

#[test]
fn head_has_no_body_and_a_length() {
    let (_running, address) = tcp();
    let answer = talk(
        &address,
        b"HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.contains("Content-Length: 7\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn hostile_bytes_are_answered_and_the_server_goes_on() {
    let (_running, address) = tcp();
    // More than was read when the answer is made: it must still arrive.
    let long = [&b"GET /"[..], &[b'x'; 60_000]].concat();
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\0\x01\0\x01"[..], "HTTP/1.1 400 "),
        (b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 "),
        (
            b"GET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 500 ",
        ),
        (&long, "HTTP/1.1 431 "),
    ] {
        let answer = talk(&address, bytes);
        assert!(answer.starts_with(status), "{answer}");
    }
    drop(connect(&address));
    let answer = client::get(&address, "/x", TIMEOUT).expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn more_connections_than_are_served_wait_their_turn() {
    let (_running, address) = tcp();
    let streams: Vec<_> = (0..limits::ADMIN_CONNECTIONS_MAX + 20)
        .map(|_| connect(&address))
        .collect();
    for mut stream in streams {
        stream
            .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("GET /x"), "{answer}");
    }
}

#[test]
fn silent_connections_make_room_for_one_that_asks() {
    let (_running, address) = tcp();
    let silent: Vec<_> = (0..limits::ADMIN_CONNECTIONS_MAX + 20)
        .map(|_| connect(&address))
        .collect();
    let begun = Instant::now();
    let answer = client::get(&address, "/x", TIMEOUT).expect("an answer");
    let took = begun.elapsed();
    assert_eq!(answer.status, 200);
    assert!(took < limits::ADMIN_TIMEOUT / 2, "{took:?}");
    // Those that came first went, and no more than had to.
    let is_open = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        match stream.read(&mut [0]) {
            Ok(0) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            outcome => panic!("{outcome:?}"),
        }
    };
    assert!(silent[..20].iter().all(|stream| !is_open(stream)));
    assert!(silent[limits::ADMIN_CONNECTIONS_MAX..].iter().all(is_open));
}

/// Whoever orders a server to stop is told so.
#[test]
fn dropping_lets_an_answer_be_given() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (answer, may_answer) = std::sync::mpsc::channel::<()>();
    let (asked, may_answer) = (Mutex::new(asked), Mutex::new(may_answer));
    let running = serve(listener, "test", move |_| {
        asked.lock().expect("no panic").send(()).expect("heard");
        may_answer.lock().expect("no panic").recv().expect("told");
        Response::text(200, "late")
    })
    .expect("a thread");
    let address = running.local_addr().expect("bound").to_string();
    let address: Address = address.parse().expect("an address");
    let client = thread::spawn(move || client::get(&address, "/x", TIMEOUT));
    is_asked.recv().expect("asked");
    let shared = Arc::clone(&running.shared);
    let dropping = thread::spawn(move || drop(running));
    while !shared.lock().stopping {
        thread::yield_now();
    }
    answer.send(()).expect("waited for");
    let answer = client.join().expect("no panic").expect("an answer");
    assert_eq!(answer.body, b"late");
    dropping.join().expect("no panic");
}

#[test]
fn dropping_cuts_idle_connections_and_joins() {
    let (running, address) = tcp();
    let mut idle = connect(&address);
    idle.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("written");
    let mut first = [0; 16];
    idle.read_exact(&mut first).expect("an answer");
    let told = Instant::now();
    drop(running);
    assert!(
        told.elapsed() < limits::ADMIN_TIMEOUT,
        "it waited for the idle one"
    );
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("the end, in order");
    assert!(TcpStream::connect(address.to_string()).is_err());
}
