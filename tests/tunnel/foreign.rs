//! Clients of other people's making, where the machine has them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Backend};
use crate::support::pattern;
use crate::support::tools::has;

/// An HTTP server of one answer per connection.
fn web(length: usize) -> Backend<()> {
    Backend::start(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match std::io::Read::read(&mut stream, &mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = backend::write_pattern(&mut stream, length as u64);
    })
}

fn openssl(adit: &Adit, words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("timeout")
        .args(["-k", "1", "20", "openssl", "s_client", "-connect"])
        .arg(adit.address().to_string())
        .args([
            "-servername",
            "localhost",
            "-verify_return_error",
            "-CAfile",
        ])
        .arg(&adit.certificate().cert)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().expect("its input");
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("its end")
}

#[test]
fn curl() {
    if !has("curl", "--version") {
        return;
    }
    let length = 5_000_000;
    let backend = web(length);
    let adit = Adit::start(backend.address());
    for version in ["1.2", "1.3"] {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
            ])
            .args([
                &format!("--tlsv{version}"),
                "--tls-max",
                version,
                "--cacert",
            ])
            .arg(&adit.certificate().cert)
            .arg(format!("https://localhost:{}/", adit.address().port()))
            .args(["--ipv4"])
            .output()
            .expect("curl");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "TLS {version}: {complaint}");
        assert!(output.stdout == pattern::bytes(length), "TLS {version}");
    }
    adit.closes(2);
}

/// openssl reads to the end and compares it with what close_notify promises:
/// without one it complains.
#[test]
fn openssl_s_client() {
    if !has("openssl", "version") {
        return;
    }
    let backend = backend::source(200_000);
    let adit = Adit::start(backend.address());
    for version in ["-tls1_2", "-tls1_3"] {
        let output = openssl(&adit, &[version, "-quiet", "-ign_eof"], b"");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {complaint}");
        assert!(output.stdout == pattern::bytes(200_000), "{version}");
        assert!(!complaint.contains("unexpected eof"), "{complaint}");
    }
}

fn session_with_openssl(adit: &Adit, version: &str, words: &[&str]) -> String {
    let output = openssl(adit, &[&[version, "-ign_eof"], words].concat(), b"");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn openssl_resumes_across_shards() {
    if !has("openssl", "version") {
        return;
    }
    // The tickets of TLS 1.3 come with the first data.
    let backend = backend::source(100);
    for version in ["-tls1_2", "-tls1_3"] {
        let adit = Setup::new(backend.address()).shards(2).start();
        let file = adit.folder().join("session.pem");
        let file = file.to_str().expect("a path of text");
        let first = session_with_openssl(&adit, version, &["-sess_out", file]);
        assert!(first.contains("New, TLSv1."), "{first}");
        assert!(Path::new(file).exists());
        for _ in 0..12 {
            let next = session_with_openssl(&adit, version, &["-sess_in", file]);
            assert!(next.contains("Reused, TLSv1."), "{next}");
        }
        let stats = adit.stats();
        assert_eq!(stats.total.handshakes_resumed, 12);
    }
}

/// "K" asks for a key update in return, "k" does not, "R" renegotiates.
#[test]
fn openssl_updates_its_keys_and_may_not_renegotiate() {
    if !has("openssl", "version") {
        return;
    }
    let backend = Backend::start(|mut stream| {
        let mut seen = Vec::new();
        let ended = backend::read_all(&mut stream, |bytes| seen.extend_from_slice(bytes));
        let _ = stream.write_all(b"answer\n");
        (seen, ended)
    });
    let adit = Adit::start(backend.address());
    let mut child = Command::new("timeout")
        .args([
            "-k", "1", "20", "openssl", "s_client", "-tls1_3", "-connect",
        ])
        .arg(adit.address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().expect("its input");
    // Each command is a line of its own, read alone.
    for line in ["one\n", "K\n", "two\n", "k\n", "three\n"] {
        let before = adit.stats().total.bytes_up;
        stdin.write_all(line.as_bytes()).expect("sent");
        if line.len() > 2 {
            adit.wait_stats("the line", |stats| stats.total.bytes_up > before);
        }
    }
    stdin.write_all(b"Q\n").expect("sent");
    drop(stdin);
    assert!(child.wait().expect("its end").success());
    let (seen, _) = backend.result();
    assert_eq!(String::from_utf8_lossy(&seen), "one\ntwo\nthree\n");
}

#[test]
fn pythons_ssl() {
    if !has("python3", "--version") {
        return;
    }
    let script = r#"
import select, socket, ssl, sys
port, cafile = int(sys.argv[1]), sys.argv[2]
body = bytes(range(256)) * 8192
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = context.maximum_version = version
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    tls = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
    # Both directions at once, and in one thread: an SSL object of OpenSSL must
    # not be used by two, and Python before 3.13 does not prevent it.
    tls.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(body):
        wants_to_send = [tls] if sent < len(body) else []
        readable, writable, _ = select.select([tls], wants_to_send, [], 20)
        assert readable or writable, (sent, len(got))
        if writable:
            try:
                sent += tls.send(body[sent:sent + 65536])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
        try:
            # What is decrypted already makes no socket readable.
            while part := tls.recv(65536):
                got += part
            break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
    tls.setblocking(True)
    tls.settimeout(20)
    assert got == body, (len(got), len(body))
    # The answer of our close_notify is theirs; it raises without.
    tls.unwrap()
print("ok", end="")
"#;
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let output = Command::new("timeout")
        .args(["-k", "1", "40", "python3", "-c", script])
        .arg(adit.address().port().to_string())
        .arg(&adit.certificate().cert)
        .output()
        .expect("python");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("No module named") {
        println!("passed over: this python has no ssl");
        return;
    }
    assert_eq!(output.stdout, b"ok", "{complaint}");
    adit.assert_closes(2, "relay/backend/eof");
}

/// Keepalive on either side's socket, as the kernel tells of it.
#[test]
fn keepalive_is_set_on_both_sides() {
    if !has("ss", "--version") {
        return;
    }
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let client = crate::support::client::Client::connect(&adit);
    client.send(b"x").expect("sent");
    client.receive_exact(1);
    for (which, filter) in [
        ("client", format!("sport = :{}", adit.address().port())),
        ("backend", format!("dport = :{}", backend.address().port())),
    ] {
        // A retransmission timer may stand in its place for a moment.
        crate::support::wait_for(which, || {
            let output = Command::new("ss").args(["-Htno", &filter]).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let established = text.lines().find(|line| line.starts_with("ESTAB"))?;
            established.contains("timer:(keepalive,").then_some(())
        });
    }
}
