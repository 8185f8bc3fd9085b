//! What is in a line.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use adit::config::{Access, AccessFormat, ClientVerify, Listener};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::client;
use crate::support::place::{Place, at};
use crate::{config, json, trust, visit, wait_lines};

/// Who reads these lines relies on them: names are added at the end alone.
const FIELDS: &str = "time id shard listener client sni alpn tls_version cipher resumed \
                      client_cert service backend handshake_ms connect_ms duration_ms bytes_up \
                      bytes_down phase side cause detail";

/// A client that shows a certificate for this name, of an authority that is
/// left in `clients.pem`.
fn certified(
    folder: &std::path::Path,
    server: &Certificate,
    name: SanType,
    common: &str,
) -> Arc<ClientConfig> {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("no names");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).expect("an authority");
    std::fs::write(folder.join("clients.pem"), ca_cert.pem()).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.subject_alt_names = vec![name];
    params.distinguished_name.push(DnType::CommonName, common);
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_root_certificates(server.roots())
        .with_client_auth_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("an identity");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Who has no certificate of these authorities is refused.
fn by(authorities: &std::path::Path) -> ClientVerify {
    ClientVerify {
        required: true,
        ca: authorities.to_owned(),
        crls: Vec::new(),
        allow: Vec::new(),
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI"))
}

fn number(line: &Value, field: &str) -> f64 {
    line[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} in {line}"))
}

#[test]
fn a_tunnel_that_ends_in_order_is_told_of_in_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let client = certified(
        folder.path(),
        &certificate,
        uri("spiffe://example.org/probe"),
        "probe",
    );
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &file);
    let tls = config.listeners[0].tls.as_mut().expect("TLS");
    tls.alpn = vec!["http/1.1".into(), "h2".into()];
    tls.client_verify = Some(by(&folder.path().join("clients.pem")));
    let place = Place::start(config);
    visit(place.address, &client);
    visit(place.address, &client);

    let lines = wait_lines(&file, 2);
    let line = json(&lines[0]);
    let names: Vec<&str> = lines[0]
        .trim_matches(['{', '}'])
        .split(",\"")
        .filter_map(|member| member.split_once("\":"))
        .map(|(name, _)| name.trim_matches('"'))
        .collect();
    assert_eq!(names, FIELDS.split_whitespace().collect::<Vec<_>>());
    for (field, expected) in [
        ("id", json!("0-1")),
        ("shard", json!(0)),
        ("listener", json!("door")),
        ("sni", json!("localhost")),
        ("alpn", json!("h2")),
        ("tls_version", json!("TLSv1.3")),
        ("resumed", json!(false)),
        ("client_cert", json!("URI:spiffe://example.org/probe")),
        ("service", json!("echo")),
        ("backend", json!(backend.address().to_string())),
        ("bytes_up", json!(1)),
        ("bytes_down", json!(1)),
        ("phase", json!("relay")),
        ("side", json!("backend")),
        ("cause", json!("eof")),
        ("detail", Value::Null),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(
        line["client"]
            .as_str()
            .is_some_and(|c| c.starts_with("127.0.0.1:"))
    );
    assert!(
        line["cipher"]
            .as_str()
            .is_some_and(|c| c.starts_with("TLS_"))
    );
    let time = line["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    let parts = number(&line, "handshake_ms") + number(&line, "connect_ms");
    assert!(number(&line, "handshake_ms") > 0.0 && number(&line, "connect_ms") > 0.0);
    assert!(parts <= number(&line, "duration_ms"), "{line}");

    // What the session has is known of one that resumes it.
    let line = json(&lines[1]);
    assert_eq!(
        (&line["id"], &line["resumed"]),
        (&json!("0-2"), &json!(true))
    );
    assert_eq!(line["client_cert"], "URI:spiffe://example.org/probe");
}

#[test]
fn what_did_not_come_to_pass_is_null() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let refusing = backend::Refusing::start();
    let mut config = config(refusing.address(), &certificate, &file);
    let mut denying = Listener::new("127.0.0.2:0".parse().expect("an address"), None, 0);
    denying.name = "shut".into();
    denying.access = Access {
        deny: vec!["127.0.0.0/8".parse().expect("a network")],
        ..Access::default()
    };
    config.listeners.push(denying);
    let place = Place::start(config);

    // No TLS at all.
    client::tcp(place.address)
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("sent");
    let line = json(&wait_lines(&file, 1)[0]);
    let told = |line: &Value| {
        let part = |field: &str| line[field].as_str().expect("a word").to_owned();
        format!("{}/{}/{}", part("phase"), part("side"), part("cause"))
    };
    assert_eq!(told(&line), "handshake/client/not-tls");
    for field in [
        "sni",
        "alpn",
        "tls_version",
        "cipher",
        "resumed",
        "client_cert",
        "service",
        "backend",
        "handshake_ms",
        "connect_ms",
    ] {
        assert_eq!(line[field], Value::Null, "{field} in {line}");
    }

    // No backend.
    let trust = trust(&certificate);
    let _ = client::Client::shake(client::tcp(place.address), &trust);
    let line = json(&wait_lines(&file, 2)[1]);
    assert_eq!(told(&line), "connect/backend/refused");
    assert_eq!(
        (&line["sni"], &line["service"]),
        (&json!("localhost"), &json!("echo"))
    );
    assert_eq!(
        (&line["backend"], &line["connect_ms"]),
        (&Value::Null, &Value::Null)
    );
    assert!(number(&line, "handshake_ms") > 0.0);
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|d| d.contains("nothing listens")),
        "{line}"
    );

    // Not let in: no tunnel, and a line all the same.
    let shut = place.stats().listeners[1]
        .address
        .parse()
        .expect("an address");
    drop(client::tcp(shut));
    let line = json(&wait_lines(&file, 3)[2]);
    assert_eq!(told(&line), "handshake/client/denied");
    assert_eq!(line["listener"], "shut");
    assert_eq!(line["id"], "0-3");
}

/// A certificate says what its holder likes, as far as an authority signs it.
#[test]
fn a_client_cannot_forge_a_line_nor_a_field() {
    let hostile = "a\" cause=\"eof\"\n{\"id\":\"0-0\"}\u{1b}[2J";
    for format in [AccessFormat::Json, AccessFormat::Text] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("access.log");
        let certificate = Certificate::make(folder.path());
        // A name that says less than the common name is not there.
        let address = SanType::IpAddress([192, 0, 2, 1].into());
        let client = certified(folder.path(), &certificate, address, hostile);
        let backend = backend::echo();
        let mut config = config(backend.address(), &certificate, &file);
        config.access_log.as_mut().expect("a log").format = format;
        config.listeners[0].name = "a b=\"c".into();
        let tls = config.listeners[0].tls.as_mut().expect("TLS");
        tls.alpn = vec!["h2".into()];
        tls.client_verify = Some(by(&folder.path().join("clients.pem")));
        let place = Place::start(config);
        visit(place.address, &client);
        let lines = wait_lines(&file, 1);
        assert!(
            lines[0].bytes().all(|b| (0x20..0x7f).contains(&b)),
            "{lines:?}"
        );
        match format {
            AccessFormat::Json => {
                let line = json(&lines[0]);
                assert_eq!(line["client_cert"], format!("CN:{hostile}"));
                assert_eq!(line["listener"], "a b=\"c");
                assert_eq!(line["id"], "0-1");
            }
            AccessFormat::Text => {
                let cert = r#"client_cert="CN:a\" cause=\"eof\"\n{\"id\":\"0-0\"}\x1b[2J" "#;
                assert!(lines[0].contains(cert), "{}", lines[0]);
                assert!(
                    lines[0].contains(r#"listener="a b=\"c" client="#),
                    "{}",
                    lines[0]
                );
            }
        }
    }
}

/// Two listeners and a service in the middle: the header says who the client
/// is, and what is passed through is told by its name alone.
#[test]
fn passed_through_and_announced_clients_are_told_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let inner = Place::server(backend.address(), &certificate);
    let mut config = config(inner.address, &certificate, &file);
    let listener = &mut config.listeners[0];
    listener.tls = None;
    listener.passthrough = true;
    listener.proxy_from = vec!["127.0.0.0/8".parse().expect("a network")];
    config.services[0].backends[0].address = at(inner.address);
    let place = Place::start(config);
    let mut tcp = client::tcp(place.address);
    tcp.write_all(b"PROXY TCP4 192.0.2.66 192.0.2.1 4711 443\r\n")
        .expect("sent");
    let client = client::Client::shake(tcp, &trust(&certificate)).expect("a handshake");
    client.close_notify();
    client.fin();
    client.receive_all();
    let line = json(&wait_lines(&file, 1)[0]);
    assert_eq!(line["client"], "192.0.2.66:4711");
    assert_eq!(line["sni"], "localhost");
    assert_eq!(
        (&line["tls_version"], &line["cipher"]),
        (&Value::Null, &Value::Null)
    );
}

/// A listener for both families: whoever reads the lines, or bans by them, has
/// no use for `::ffff:127.0.0.1`.
#[test]
fn an_ipv4_client_of_a_listener_for_both_families_is_told_as_ipv4() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &file);
    let tls = config.listeners[0].tls.clone();
    let mut both = Listener::new("*:0".parse().expect("an address"), tls, 0);
    both.access = Access {
        deny: vec!["127.0.0.9".parse().expect("a network")],
        ..Access::default()
    };
    config.listeners.push(both);
    let place = Place::start(config);
    let shown = &place.stats().listeners[1].address;
    let port = shown.strip_prefix("*:").expect("both families");
    let door: SocketAddr = ([127, 0, 0, 1], port.parse().expect("a port")).into();

    visit(door, &trust(&certificate));
    let line = json(&wait_lines(&file, 1)[0]);
    let client = line["client"].as_str().expect("an address");
    assert!(client.starts_with("127.0.0.1:"), "{client}");

    let from: SocketAddr = ([127, 0, 0, 9], 0).into();
    let denied =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    denied.bind(&from.into()).expect("an address");
    let _ = denied.connect(&door.into());
    let line = json(&wait_lines(&file, 2)[1]);
    assert_eq!(line["cause"], "denied");
    let client = line["client"].as_str().expect("an address");
    assert!(client.starts_with("127.0.0.9:"), "{client}");
}
