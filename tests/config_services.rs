//! Services, routes and access, as the configuration file has them.

use std::time::Duration;

use adit::config::{
    Accept, Balance, CheckKind, Config, ConfigError, ProxyTlv, ProxyVersion, Source, SubjectPattern,
};

fn read(text: &str) -> Config {
    Config::from_ron(text, "adit.ron").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str) -> ConfigError {
    match Config::from_ron(text, "adit.ron") {
        Ok(config) => panic!("taken: {config:#?}"),
        Err(error) => error,
    }
}

/// One listener with these settings beside its address and its service.
fn listener(settings: &str) -> String {
    format!(
        "(listeners: [(address: \"*:443\", service: \"a\", {settings})],\n \
         services: {{ \"a\": (backends: [\"a:1\"]), \"b\": (backends: [\"b:1\"]) }})"
    )
}

/// One service with these settings beside its backend.
fn service(settings: &str) -> String {
    format!(
        "(listeners: [(address: \"*:443\", tls: Off, service: \"a\")],\n \
         services: {{ \"a\": (backends: [\"a:1\"], {settings}) }})"
    )
}

#[test]
fn a_listener_with_everything() {
    let config = read(&listener(
        "tls: (cert: \"a.pem\", alpn: [\"h2\"], client_verify: Required, client_ca: \"ca.pem\"),
         routes: [
            (sni: [\"WWW.example.org\", \"*.example.net\"], service: \"b\"),
            (alpn: [\"h2\"], client: [Uri(\"spiffe://x/y\")], backend: \"c:1\"),
         ],
         proxy_from: [\"10.0.0.0/8\"], accept: Balanced,
         access: (allow: [\"192.0.2.0/24\", \"2001:db8::/32\"], deny: [\"192.0.2.7\"]),
         rates: (connections: (per_second: 100), handshakes: (per_second: 10, burst: 50), prefix_v4: 24),
         timeouts: (idle: Off, connect: \"1s\"), tcp: (fast_open: true, congestion: \"bbr\"),",
    ));
    let listener = &config.listeners[0];
    let [first, second] = &listener.routes[..] else {
        panic!("{:?}", listener.routes);
    };
    assert_eq!(first.sni, ["www.example.org", "*.example.net"]);
    assert_eq!(config.services[first.service].name, "b");
    assert_eq!(second.client, [SubjectPattern::Uri("spiffe://x/y".into())]);
    assert_eq!(config.services[second.service].name, "c:1");
    assert_eq!(config.services[listener.service].name, "a");
    assert_eq!(listener.accept, Accept::Balanced);
    assert!(listener.access.admits([192, 0, 2, 8].into()));
    assert!(!listener.access.admits([192, 0, 2, 7].into()));
    let rates = listener.rates;
    assert_eq!(rates.connections.map(|rate| rate.burst), Some(100));
    assert_eq!(rates.handshakes.map(|rate| rate.burst), Some(50));
    assert_eq!((rates.prefix_v4, rates.prefix_v6), (24, 56));
    let timeouts = listener.timeouts.as_ref().expect("its own");
    assert_eq!(timeouts.connect, Duration::from_secs(1));
    assert_eq!(timeouts.idle, Duration::ZERO);
    assert_eq!(timeouts.handshake, config.timeouts.handshake);
    assert!(listener.tcp.fast_open);
}

/// What a listener does not say for itself is the process's.
#[test]
fn a_listeners_timeouts_begin_with_those_of_all() {
    let text = "(timeouts: (handshake: \"3s\", idle: \"7s\"), listeners: [
        (address: \"*:1\", tls: Off, backend: \"a:1\", timeouts: (idle: \"9s\"))])";
    let config = read(text);
    let own = config.listeners[0].timeouts.as_ref().expect("its own");
    assert_eq!(own.handshake, Duration::from_secs(3));
    assert_eq!(own.idle, Duration::from_secs(9));
}

#[test]
fn a_service_with_everything() {
    let config = read(
        "(listeners: [(address: \"*:443\", tls: Passthrough, service: \"a\")],
          services: { \"a\": (
            backends: [\"a:1\", (address: \"b:1\", weight: 3, backup: true, max_connections: 9)],
            tls: (server_name: \"x\"), balance: SourceHash,
            health: (check: Http, path: \"/up?x=1\", host: \"h\", status: \"200-299\",
                     interval: \"1s\", timeout: \"500ms\", rise: 1, fall: 2),
            eject: (failures: 0, pause: \"2s\"), slow_start: \"30s\",
            queue: (length: 7, timeout: \"1s\"), hold: \"4s\", resolve: \"10s\",
            proxy_protocol: (version: 2, tlvs: [Authority, Crc32c]),
            source: \"192.0.2.1\", tcp: (congestion: \"cubic\"),
          ) })",
    );
    assert!(config.listeners[0].passthrough);
    let service = &config.services[0];
    let backend = &service.backends[1];
    assert_eq!((backend.weight, backend.backup), (3, true));
    assert_eq!(backend.max_connections.map(u32::from), Some(9));
    assert_eq!(service.balance, Balance::SourceHash);
    let health = service.health.as_ref().expect("checks");
    assert_eq!(
        health.kind,
        CheckKind::Http {
            path: "/up?x=1".into(),
            host: Some("h".into()),
            status: (200, 299)
        }
    );
    assert_eq!((health.rise, health.fall), (1, 2));
    assert_eq!(service.eject.failures, 0);
    assert_eq!(
        (service.queue.length, service.hold),
        (7, Duration::from_secs(4))
    );
    let header = service.proxy_protocol.as_ref().expect("a header");
    assert_eq!(header.version, ProxyVersion::Two);
    assert_eq!(header.tlvs, [ProxyTlv::Authority, ProxyTlv::Crc32c]);
    assert_eq!(service.source, Source::Fixed([192, 0, 2, 1].into()));
    assert_eq!(service.tcp.congestion.as_deref(), Some("cubic"));
    let bare = read(&service_text());
    assert_eq!(bare.services[0].balance, Balance::TwoChoices);
    assert_eq!(bare.services[0].health, None);
}

fn service_text() -> String {
    service("")
}

#[test]
fn what_is_wrong_is_said_with_what_to_write() {
    let tls = "tls: (cert: \"a.pem\")";
    for (text, part) in [
        (
            listener(&format!("{tls}, routes: [(service: \"b\")]")),
            "asks for nothing",
        ),
        (
            listener("tls: Off, routes: [(sni: [\"x\"], service: \"b\")]"),
            "tls: Passthrough",
        ),
        (
            listener(&format!(
                "{tls}, routes: [(alpn: [\"h2\"], service: \"b\")]"
            )),
            "add it to alpn",
        ),
        (
            listener(&format!(
                "{tls}, routes: [(client: [Cn(\"x\")], service: \"b\")]"
            )),
            "add client_verify",
        ),
        (
            listener("tls: Passthrough, routes: [(client: [Cn(\"x\")], service: \"b\")]"),
            "passed through",
        ),
        (
            listener(&format!("{tls}, routes: [(sni: [\"x\"], service: \"bb\")]")),
            "unknown service",
        ),
        (
            listener(&format!(
                "{tls}, routes: [(sni: [\"*.*.x\"], service: \"b\")]"
            )),
            "no name that a client could ask for",
        ),
        (
            listener(&format!("{tls}, access: (allow: [\"10.0.0.0/33\"])")),
            "from 0 to 32",
        ),
        (
            listener(&format!("{tls}, access: (allow: [\"x\"])")),
            "no network",
        ),
        (
            listener(&format!("{tls}, timeouts: (drain: \"1s\")")),
            "whole process",
        ),
        (
            listener(&format!("{tls}, timeouts: (ready_grace: \"1s\")")),
            "ready_grace is the whole process's",
        ),
        (
            listener(&format!("{tls}, rates: (connections: (per_second: 0))")),
            "out of range",
        ),
        (service("balance: Random"), "TwoChoices"),
        (service("health: (check: Tcp, path: \"/\")"), "check: Http"),
        (service("health: (check: Tls)"), "in plaintext"),
        (
            service("health: (check: Http, status: \"600\")"),
            "no HTTP statuses",
        ),
        (
            service("health: (check: Http, path: \"x\")"),
            "begins with /",
        ),
        (
            service("proxy_protocol: (version: 1, tlvs: [Alpn])"),
            "version: 2",
        ),
        (service("proxy_protocol: (version: 3)"), "from 1 to 2"),
        (service("source: \"x\""), "Transparent"),
        (service("slow_start: 3"), "no unit"),
    ] {
        let error = refused(&text).to_string();
        assert!(error.contains(part), "{part:?} not in:\n{error}");
        assert!(error.starts_with("adit.ron:"), "{error}");
    }
}
