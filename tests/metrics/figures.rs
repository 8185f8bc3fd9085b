//! What the figures say is what has happened.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit::config::Address;
use adit::http::client as http;
use adit::limits;

use crate::support::backend;
use crate::support::client::{self, Client, End};
use crate::support::{PATIENCE, adit::Adit};
use crate::text::{Format, Scrape};
use crate::{metrics_at, scrape, setup, wait_scrape};

/// Asks by hand, with these header fields; gives the head and the body.
pub(crate) fn ask(address: std::net::SocketAddr, first: &str, fields: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("{first} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.expect("a head") + 4);
    (String::from_utf8(answer).expect("text"), body)
}

/// One tunnel from end to end; whether it resumed a session.
fn echo(adit: &Adit, config: &std::sync::Arc<rustls::ClientConfig>) -> bool {
    let client = Client::connect_with(adit, config).expect("a handshake");
    client.send(b"12345").expect("sent");
    assert_eq!(client.receive_exact(5), b"12345");
    let resumed = client.resumed();
    client.close_notify();
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    resumed
}

#[test]
fn each_figure_is_what_has_happened() {
    let backend = backend::echo();
    let adit = setup(backend.address())
        .shards(2)
        .setting("max_handshakes: 50")
        .start();
    let at = metrics_at(&adit);
    let fresh = scrape(at);
    assert_eq!(fresh.value("adit_tunnels_open", &[]), 0.0);
    assert_eq!(fresh.value("adit_handshake_seconds_count", &[]), 0.0);
    assert_eq!(fresh.value("adit_ready", &[]), 1.0);

    let config = std::sync::Arc::new(client::config(adit.certificate(), rustls::ALL_VERSIONS));
    assert!(!echo(&adit, &config));
    assert!(echo(&adit, &config));
    assert!(echo(&adit, &config));
    let mut stranger = client::tcp(adit.address());
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let _ = stranger.read(&mut [0; 64]);
    let open = Client::connect(&adit);
    open.send(b"x").expect("sent");
    assert_eq!(open.receive_exact(1), b"x");

    let now = wait_scrape(at, "four tunnels' ends", |scrape| {
        let closed = scrape.all("adit_tunnel_closed_total", &[]);
        closed.iter().map(|sample| sample.value).sum::<f64>() == 4.0
    });
    let expect = [
        ("adit_tunnels_open", &[][..], 1.0),
        ("adit_connections_accepted_total", &[], 5.0),
        ("adit_handshakes_total", &[("result", "full")], 2.0),
        ("adit_handshakes_total", &[("result", "resumed")], 2.0),
        ("adit_handshakes_total", &[("result", "not-tls")], 1.0),
        ("adit_handshakes_in_progress", &[], 0.0),
        ("adit_handshakes_waiting", &[], 0.0),
        ("adit_handshake_seconds_count", &[], 4.0),
        ("adit_backend_connect_seconds_count", &[], 4.0),
        ("adit_tunnel_bytes_total", &[("direction", "up")], 16.0),
        ("adit_tunnel_bytes_total", &[("direction", "down")], 16.0),
        (
            "adit_tunnel_closed_total",
            &[
                ("phase", "handshake"),
                ("side", "client"),
                ("cause", "not-tls"),
            ],
            1.0,
        ),
        (
            "adit_handshake_versions_total",
            &[("side", "client"), ("version", "TLSv1.3")],
            4.0,
        ),
        ("adit_listener_tunnels_open", &[], 1.0),
        ("adit_listener_connections_accepted_total", &[], 5.0),
        ("adit_backend_tunnels_open", &[], 1.0),
        ("adit_backend_tunnels_total", &[], 4.0),
        ("adit_backend_up", &[], 1.0),
        ("adit_service_backends_up", &[], 1.0),
        ("adit_limit_max", &[("limit", "handshakes")], 100.0),
        ("adit_limit_used", &[("limit", "handshakes")], 0.0),
        ("adit_limit_used", &[("limit", "connections")], 1.0),
        ("adit_certificates", &[], 1.0),
        ("adit_reload_successful", &[], 1.0),
        ("adit_panics_total", &[], 0.0),
        ("adit_metrics_series_left_out", &[], 0.0),
    ];
    for (name, labels, value) in expect {
        assert_eq!(now.value(name, labels), value, "{name} {labels:?}");
    }
    // What each shard has is the whole.
    for (name, value) in [
        ("adit_shard_up", 2.0),
        ("adit_shard_tunnels_open", 1.0),
        ("adit_shard_connections_accepted_total", 5.0),
        ("adit_shard_handshakes_total", 4.0),
        ("adit_shard_bytes_total", 32.0),
    ] {
        let shards = now.all(name, &[]);
        assert_eq!(shards.len(), 2, "{name}");
        let sum: f64 = shards.iter().map(|sample| sample.value).sum();
        assert_eq!(sum, value, "{name}");
    }
    let sum = |name: &str| -> f64 { now.all(name, &[]).iter().map(|s| s.value).sum() };
    let (shards, all) = (
        sum("adit_shard_cpu_seconds_total"),
        now.value("process_cpu_seconds_total", &[]),
    );
    assert!(shards > 0.0 && shards < all, "{shards} of {all}");
    let took = now.value("adit_handshake_seconds_sum", &[]);
    assert!(took > 0.0 && took < 4.0 * PATIENCE.as_secs_f64(), "{took}");
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    for name in [
        "process_start_time_seconds",
        "adit_reload_success_timestamp_seconds",
        "adit_ticket_key_timestamp_seconds",
    ] {
        let ago = unix.as_secs_f64() - now.value(name, &[]);
        assert!((-2.0..120.0).contains(&ago), "{name}: {ago} s ago");
    }
    assert_eq!(
        now.value("process_open_fds", &[]),
        now.value("adit_limit_used", &[("limit", "descriptors")])
    );
    let connections = now.value("adit_limit_max", &[("limit", "connections")]);
    let descriptors = now.value("adit_limit_max", &[("limit", "descriptors")]);
    assert!(connections > 0.0 && connections <= descriptors / 2.0);
    assert_eq!(descriptors, now.value("process_max_fds", &[]));
}

#[test]
fn clients_get_the_format_that_they_like() {
    let backend = backend::echo();
    let adit = setup(backend.address()).start();
    let at = metrics_at(&adit);
    let (plain, open) = (
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
        "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
    );
    for (accept, expected) in [
        // Nobody's; curl's; a browser's; Prometheus 2's and 3's.
        ("", plain),
        ("Accept: */*\r\n", plain),
        (
            "Accept: text/html,application/xml;q=0.9,*/*;q=0.8\r\n",
            plain,
        ),
        (
            "Accept: application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n",
            open,
        ),
        (
            "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            open,
        ),
        (
            "Accept: text/plain\r\nAccept: application/openmetrics-text;q=0.1\r\n",
            plain,
        ),
        ("Accept: application/openmetrics-text\r\n", open),
        // A version that there will be some day.
        (
            "Accept: application/openmetrics-text;version=2.0.0\r\n",
            plain,
        ),
        ("Accept: application/json\r\n", plain),
    ] {
        let (head, body) = ask(at, "GET /metrics", accept);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(expected), "{accept}: {head}");
        assert!(head.contains("Vary: Accept\r\n"), "{head}");
        let format = if expected == open {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        };
        let scrape = Scrape::read(&body, format);
        assert!(scrape.families.len() > 50, "{}", scrape.families.len());
    }
}

/// Names are an operator's, and may hold what the format would take for its
/// own.
#[test]
fn names_are_escaped_in_labels() {
    let backend = backend::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = crate::support::certificate::Certificate::make(folder.path());
    let name = r#"a "door"} 1 \n{ä"#;
    let file = folder.path().join("adit.ron");
    let text = format!(
        "(listeners: [(name: {name:?}, address: \"127.0.0.1:0\", tls: (cert: {:?}, key: {:?}), \
         service: {name:?})], services: {{{name:?}: (backends: [\"{}\"])}})",
        certificate.cert,
        certificate.key,
        backend.address(),
    );
    std::fs::write(&file, text).expect("written");
    let mut config = adit::Config::from_file(&file).expect("a configuration");
    config.shards.count = Some(1.try_into().expect("not zero"));
    let server = adit::Server::new(config).expect("a server");
    let handle = server.handle();
    let _running = server.start().expect("a shard");
    let stats = handle.stats().expect("figures");
    let process = adit::sys::process::Process::now();
    for (format, as_read) in [
        (adit::metrics::TextFormat::OpenMetrics, Format::OpenMetrics),
        (adit::metrics::TextFormat::Prometheus, Format::Prometheus),
    ] {
        let text = adit::metrics::expose(&stats, &process, true, format);
        let scrape = Scrape::read(text.as_bytes(), as_read);
        let named = scrape.all(
            "adit_listener_info",
            &[("listener", name), ("service", name)],
        );
        assert_eq!(named.len(), 1, "{text}");
        assert_eq!(
            scrape.value("adit_service_backends_up", &[("service", name)]),
            1.0
        );
    }
}

/// Of many certificates those that expire first, and no more than so many.
#[test]
fn of_many_certificates_the_first_to_expire_are_shown() {
    let backend = backend::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let many = folder.path().join("many");
    std::fs::create_dir(&many).expect("made");
    let day = time::Duration::days(1);
    let now = time::OffsetDateTime::now_utc();
    for number in 0..30_i64 {
        let mut params =
            rcgen::CertificateParams::new(vec![format!("{number}.test")]).expect("a name");
        params.not_before = now - day;
        // Not in the order of their names; three have expired.
        params.not_after = now + day * i32::try_from((number * 7) % 30 - 3).expect("small");
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("signed");
        let file = many.join(format!("{number}.pem"));
        std::fs::write(&file, cert.pem() + &key.serialize_pem()).expect("written");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("its mode");
    }
    let config = format!(
        "(listeners: [(name: \"door\", address: \"127.0.0.1:0\", tls: (certs: [{many:?}]), \
         backend: \"{}\")])",
        backend.address()
    );
    let mut config = adit::Config::from_ron(&config, "adit.ron").expect("a configuration");
    config.shards.count = Some(1.try_into().expect("not zero"));
    let server = adit::Server::new(config).expect("a server");
    let handle = server.handle();
    let _running = server.start().expect("a shard");
    let text = adit::metrics::expose(
        &handle.stats().expect("figures"),
        &adit::sys::process::Process::now(),
        true,
        adit::metrics::TextFormat::OpenMetrics,
    );
    let scrape = Scrape::read(text.as_bytes(), Format::OpenMetrics);
    let door = [("listener", "door")];
    let left_out = scrape.value("adit_certificates_left_out", &door);
    assert_eq!(scrape.value("adit_certificates", &door) + left_out, 30.0);
    assert!((3.0..=4.0).contains(&left_out), "{left_out}");
    let shown = scrape.all("adit_certificate_expiry_timestamp_seconds", &door);
    assert_eq!(shown.len(), limits::CERTIFICATES_WATCHED_MAX);
    assert!(shown.is_sorted_by_key(|sample| sample.value), "{shown:?}");
    let soonest = shown[0].value - now.unix_timestamp() as f64;
    assert!((0.0..=86_500.0).contains(&soonest), "{soonest}");
    let name = &shown[0].labels["name"];
    assert!(shown[0].labels["file"].ends_with(&format!("/{}", name.replace(".test", ".pem"))));
}

#[test]
fn reloads_and_file_keys_show_when_they_were() {
    let backend = backend::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("tickets");
    let make = std::process::Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["ticket-keys", "new"])
        .arg(&keys)
        .status();
    assert!(make.expect("it starts").success());
    let written = SystemTime::now() - Duration::from_secs(5000);
    let file = std::fs::File::options().append(true).open(&keys);
    file.expect("the file")
        .set_modified(written)
        .expect("a time");
    let adit = setup(backend.address())
        .tls_setting(&format!("ticket_keys: {keys:?}"))
        .start();
    let at = metrics_at(&adit);
    let since = scrape(at).value("adit_ticket_key_timestamp_seconds", &[("source", "file")]);
    let unix = written
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs_f64();
    assert!((since - unix).abs() <= 1.0, "{since}, not {unix}");

    adit.signal("HUP");
    let reloads =
        |scrape: &Scrape, result| scrape.value("adit_reloads_total", &[("result", result)]);
    let now = wait_scrape(at, "a reload", |scrape| reloads(scrape, "success") == 1.0);
    assert_eq!(now.value("adit_reload_successful", &[]), 1.0);
    std::fs::write(adit.folder().join("adit.ron"), "(").expect("written");
    adit.signal("HUP");
    let now = wait_scrape(at, "a refusal", |scrape| reloads(scrape, "refused") == 1.0);
    assert_eq!(now.value("adit_reload_successful", &[]), 0.0);
    assert_eq!(reloads(&now, "success"), 1.0);
}

/// Of a handshake with a backend that fails, the cause is told.
#[test]
fn handshakes_with_backends_that_fail_are_told_by_cause() {
    let backend = backend::echo();
    let adit = setup(backend.address()).in_a_file().start();
    let file = adit.folder().join("adit.ron");
    let text = std::fs::read_to_string(&file).expect("the file");
    let text = text.replace(
        &format!("backend: \"{}\")", backend.address()),
        &format!(
            "backend: \"{}\", backend_tls: (verify: Off))",
            backend.address()
        ),
    );
    std::fs::write(&file, text).expect("written");
    adit.signal("HUP");
    adit.log().wait("reloaded: ");
    let at = metrics_at(&adit);
    let config = std::sync::Arc::new(client::config(adit.certificate(), rustls::ALL_VERSIONS));
    let client = Client::connect_with(&adit, &config).expect("a handshake");
    assert!(matches!(client.receive_all().1, End::Reset));
    let now = wait_scrape(at, "its end", |scrape| {
        !scrape.all("adit_tunnel_closed_total", &[]).is_empty()
    });
    let all = now.all("adit_backend_handshakes_total", &[]);
    let failed: Vec<_> = all.iter().filter(|sample| sample.value > 0.0).collect();
    assert_eq!(failed.len(), 1, "{all:?}");
    // The echo sends the ClientHello back.
    assert_eq!(failed[0].labels["result"], "tls-error", "{failed:?}");
    assert_eq!(now.value("adit_backend_connect_failures_total", &[]), 1.0);
    assert_eq!(now.value("adit_backend_connect_seconds_count", &[]), 0.0);
}

/// Metrics on a Unix socket, which is gone in the end.
#[test]
fn a_unix_socket_does_as_well() {
    let backend = backend::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics.sock");
    let mut adit = crate::support::adit::Setup::new(backend.address())
        .argument("--metrics")
        .argument(format!("unix:{}", path.display()))
        .start();
    adit.log().wait("metrics at unix:");
    let address = Address::Unix(path.clone());
    let answer = http::get(&address, "/readyz", PATIENCE).expect("an answer");
    assert_eq!(answer.status, 200);
    let answer = http::get(&address, "/metrics", PATIENCE).expect("an answer");
    Scrape::read(&answer.body, Format::Prometheus);
    assert_eq!(adit.terminate(), Some(0));
    assert!(!path.exists());
}
