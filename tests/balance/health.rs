//! Active checks of each kind.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use adit::config::{CheckKind, HealthCheck, ProxyHeader, ProxyVersion, ServerVerify};
use adit::metrics::BackendState;
use adit::proxy_protocol::{self, Parsed};

use crate::fleet::{Numbered, Tunnel, backend, config, fleet, tally, wait_state};
use crate::support::backend::{Backend, Silent, echo};
use crate::support::certificate::Certificate;
use crate::support::place::{Place, accepting, at, tls_backend, trusting};
use crate::support::{tools, wait_for};

fn check(kind: CheckKind) -> HealthCheck {
    HealthCheck {
        kind,
        interval: Duration::from_millis(40),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 2,
    }
}

fn http(path: &str) -> CheckKind {
    CheckKind::Http {
        path: path.into(),
        host: Some("app.example".into()),
        status: (200, 399),
    }
}

/// A service with this check of one backend, as it is after the first result.
fn checked(
    address: std::net::SocketAddr,
    check: HealthCheck,
    change: impl FnOnce(&mut adit::config::Service),
) -> Place {
    let mut config = config(&fleet(1));
    config.services[0].backends[0].address = at(address);
    config.services[0].health = Some(check);
    change(&mut config.services[0]);
    let place = Place::start(config);
    wait_for("a check's result", || backend(&place, 0).last_check);
    place
}

fn assert_bad(place: &Place, what: &str) {
    wait_state(place, 0, BackendState::Down);
    let detail = backend(place, 0).last_check.expect("a check").detail;
    assert!(detail.contains(what), "{detail:?} does not say {what:?}");
}

fn assert_good(place: &Place) {
    wait_state(place, 0, BackendState::Up);
    let check = backend(place, 0).last_check.expect("a check");
    assert!(check.passed, "{}", check.detail);
}

#[test]
fn connects_take_one_out_and_bring_it_back() {
    let mut backends = fleet(2);
    let mut config = config(&backends);
    config.services[0].health = Some(check(CheckKind::Tcp));
    let place = Place::start(config);
    // The tunnel that is open is none of the checks' business.
    let mut open = loop {
        let tunnel = Tunnel::open(&place);
        if tunnel.number == 0 {
            break tunnel;
        }
    };
    backends[0].kill();
    wait_state(&place, 0, BackendState::Down);
    assert_eq!(tally(&place, 2, 10), [0, 10]);
    // Not by tunnels: they did not even try.
    assert_eq!(backend(&place, 0).connect_failures, 0);
    assert!(open.works());
    assert_bad(&place, "nothing listens there");
    backends[0].revive();
    wait_state(&place, 0, BackendState::Up);
    let counts = tally(&place, 2, 20);
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    assert_eq!(backend(&place, 0).last_check.expect("one").transitions, 2);
}

/// The first check finds one down, and no other is due for long: what is known
/// of it after a reload is what was known before.
#[test]
fn a_reload_keeps_what_is_known() {
    let mut backends = vec![Numbered::dead(0), Numbered::start(1)];
    let mut config = config(&backends);
    let mut rare = check(CheckKind::Tcp);
    rare.interval = Duration::from_secs(600);
    config.services[0].health = Some(rare);
    let place = Place::start(config.clone());
    wait_state(&place, 0, BackendState::Down);
    let mut open = Tunnel::open(&place);
    backends[0].revive();
    config.services[0].backends.reverse();
    place.reload(config);
    assert_eq!(tally(&place, 2, 10), [0, 10]);
    let known = backend(&place, 1);
    assert_eq!(known.state, BackendState::Down);
    assert!(!known.last_check.expect("the check before").passed);
    assert!(open.works());
    wait_for("only that one to be open", || {
        (backend(&place, 0).tunnels_open == 1).then_some(())
    });
}

/// A check that is another one begins anew.
#[test]
fn a_reload_without_checks_forgets_them() {
    let backends = vec![Numbered::dead(0)];
    let mut config = config(&backends);
    config.services[0].health = Some(check(CheckKind::Tcp));
    let place = Place::start(config.clone());
    wait_state(&place, 0, BackendState::Down);
    config.services[0].health = None;
    place.reload(config);
    assert_eq!(backend(&place, 0).state, BackendState::Up);
    assert_eq!(backend(&place, 0).last_check, None);
}

#[test]
fn a_tls_handshake() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let other_folder = tempfile::tempdir().expect("a folder");
    let other = Certificate::make(other_folder.path());
    let good = tls_backend(accepting(&certificate, rustls::ALL_VERSIONS), |mut s| {
        let _ = s.read(&mut [0]);
    });
    let plain = echo();
    let with = |trusted: &Certificate, address| {
        let tls = trusting(trusted);
        checked(address, check(CheckKind::Tls), |service| {
            service.tls = Some(tls);
        })
    };
    assert_good(&with(&certificate, good.address()));
    assert_bad(&with(&other, good.address()), "no TLS handshake");
    assert_bad(&with(&certificate, plain.address()), "no TLS handshake");
}

#[test]
fn a_tls_check_without_tls_is_refused() {
    let mut config = config(&fleet(1));
    config.services[0].health = Some(check(CheckKind::Tls));
    let error = adit::Server::new(config).expect_err("no TLS").to_string();
    assert!(error.contains("give the service tls"), "{error}");
}

/// Reads a request's head and answers with the status of the moment.
fn answer(mut stream: impl Read + Write, status: &AtomicU16) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    let status = status.load(Ordering::SeqCst);
    let answer = format!("HTTP/1.1 {status} so\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.flush();
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn a_page() {
    let status = Arc::new(AtomicU16::new(204));
    let now = status.clone();
    let server = Backend::start(move |stream: TcpStream| answer(stream, &now));
    let place = checked(server.address(), check(http("/health?deep=1")), |_| {});
    assert_good(&place);
    let asked = server.result();
    assert!(
        asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\nHost: app.example\r\n"), "{asked}");
    status.store(503, Ordering::SeqCst);
    assert_bad(&place, "it answers 503, not 200 to 399");
    status.store(302, Ordering::SeqCst);
    assert_good(&place);
}

#[test]
fn a_page_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let status = Arc::new(AtomicU16::new(200));
    let now = status.clone();
    let accepts = accepting(&certificate, rustls::ALL_VERSIONS);
    let server = tls_backend(accepts, move |stream| answer(stream, &now));
    let tls = trusting(&certificate);
    let place = checked(server.address(), check(http("/")), |service| {
        service.tls = Some(tls);
    });
    assert_good(&place);
    status.store(500, Ordering::SeqCst);
    assert_bad(&place, "it answers 500");
}

#[test]
fn whoever_says_nothing_or_nonsense_is_down() {
    let mut impatient = check(http("/"));
    impatient.timeout = Duration::from_millis(200);
    let mute = Backend::start(|mut stream: TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let place = checked(mute.address(), impatient.clone(), |_| {});
    assert_bad(&place, "its answer does not come");
    let silent = Silent::start();
    let place = checked(silent.address(), impatient, |_| {});
    assert_bad(&place, "it does not answer");
    let babbling = Backend::start(|mut stream: TcpStream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let place = checked(babbling.address(), check(http("/")), |_| {});
    assert_bad(&place, "no HTTP");
}

#[test]
fn the_header_of_the_proxy_protocol_says_that_it_is_nobodys() {
    for version in [ProxyVersion::One, ProxyVersion::Two] {
        let server = Backend::start(|mut stream: TcpStream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            all
        });
        let place = checked(server.address(), check(CheckKind::Tcp), |service| {
            service.proxy_protocol = Some(ProxyHeader {
                version,
                tlvs: Vec::new(),
            });
        });
        assert_good(&place);
        let all = server.result();
        let Ok(Parsed::Whole(header)) = proxy_protocol::parse(&all) else {
            panic!("no header: {all:?}");
        };
        assert_eq!(header.command.addresses(), None);
        assert_eq!(header.len, all.len());
    }
}

/// A foreign server, ended with the test.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pythons_web_server() {
    if !tools::has("python3", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("health"), "fine").expect("a page");
    let child = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3");
    let mut server = Foreign(child);
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    // "Serving HTTP on 127.0.0.1 port 12345 (…"
    let port = line
        .split(' ')
        .nth(5)
        .expect("a port")
        .parse()
        .expect("one");
    let address = ([127, 0, 0, 1], port).into();
    assert_good(&checked(address, check(http("/health")), |_| {}));
    assert_bad(&checked(address, check(http("/nowhere")), |_| {}), "404");
}

#[test]
fn openssls_server() {
    if !tools::has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    // A port that was free; openssl does not tell what 0 has become.
    let port = Numbered::dead(0).address().port();
    let child = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(&certificate.cert)
        .arg("-key")
        .arg(&certificate.key)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let _server = Foreign(child);
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    wait_for("openssl", || TcpStream::connect(address).ok());
    for kind in [CheckKind::Tls, http("/")] {
        for verify in [
            ServerVerify::Off,
            ServerVerify::Ca(certificate.cert.clone()),
        ] {
            let mut tls = trusting(&certificate);
            tls.verify = verify;
            let place = checked(address, check(kind.clone()), |service| {
                service.tls = Some(tls);
            });
            assert_good(&place);
        }
    }
}
