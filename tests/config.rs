//! The configuration as operators meet it: the files in configs/, and what is
//! said of bad ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit::config::{
    AccessFormat, AccessLog, Address, Admin, CertSource, ClientTls, ClientVerify, Config,
    ConfigError, JournaldSink, Listener, LogSink, Metrics, Placement, Privileges, Rate, SealWith,
    ServerTls, ServerVerify, Service, SniNoMatch, SubjectPattern, SyslogFacility, SyslogLevel,
    SyslogSink, TicketKeyFile, Tickets, Timeouts, TlsPolicy, TlsVersion, Truncation,
};
use adit::limits;
use rustls::{CipherSuite, NamedGroup};

const FULL: &str = include_str!("../configs/adit.ron");
const MINIMAL: &str = include_str!("../configs/minimal.ron");

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn read(text: &str) -> Config {
    Config::from_ron(text, "adit.ron").unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> ConfigError {
    match Config::from_ron(text, "adit.ron") {
        Err(error) => error,
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
    }
}

/// A configuration with that one line more.
fn with(line: &str) -> String {
    format!(
        "(\n    listeners: [(address: \"*:443\", tls: (cert: \"a.pem\"), backend: \"b:80\")],\n    {line}\n)"
    )
}

/// A configuration whose one listener is that line.
fn listener(line: &str) -> String {
    format!("(\n    listeners: [\n        {line}\n    ],\n)")
}

/// The TLS of a listener that speaks it.
fn tls(listener: &Listener) -> &ServerTls {
    listener.tls.as_ref().expect("it speaks TLS")
}

fn cert(listener: &Listener) -> &CertSource {
    &tls(listener).certs[0]
}

#[test]
fn the_minimal_file_is_one_listener_with_every_default() {
    let config = Config::from_file(Path::new("configs/minimal.ron")).expect("it is valid");
    let tls = ServerTls::new("configs/site.pem", "configs/site.key");
    assert_eq!(
        config,
        Config::single(address("*:8443"), tls, address("127.0.0.1:8080"))
    );
    assert_eq!(
        read(MINIMAL).listeners[0].tls,
        Some(ServerTls::new("site.pem", "site.key"))
    );
}

#[test]
fn the_full_file_says_what_it_means() {
    let config = Config::from_ron(FULL, "/etc/adit/adit.ron").expect("it is valid");
    let [https, own] = &config.listeners[..] else {
        panic!("{:?}", config.listeners);
    };
    assert_eq!(https.name, "https");
    assert_eq!(cert(https).key, Some(PathBuf::from("/etc/adit/site.key")));
    assert_eq!(config.services[https.service].name, "web");
    assert_eq!(own.name, "127.0.0.1:9443");
    assert_eq!(cert(own).cert, PathBuf::from("/etc/adit/admin.pem"));
    assert_eq!(cert(own).key, None);
    assert_eq!(
        config.services[own.service],
        Service::single(
            "unix:/run/app.sock",
            address("unix:/run/app.sock"),
            Some(ClientTls {
                verify: ServerVerify::Ca("/etc/adit/internal.pem".into()),
                server_name: Some("app.internal".into()),
                ..ClientTls::default()
            })
        )
    );
    let mail = config.services.iter().find(|s| s.name == "mail");
    assert_eq!(
        mail.and_then(|mail| mail.tls.clone()),
        Some(ClientTls {
            server_name: Some("mail.example.org".into()),
            identity: Some(CertSource::new(
                "/etc/adit/client.pem",
                "/etc/adit/client.key"
            )),
            policy: TlsPolicy {
                ciphers: Some(vec![
                    CipherSuite::TLS13_AES_128_GCM_SHA256,
                    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                ]),
                groups: tls(https).policy.groups.clone(),
                ..TlsPolicy::default()
            },
            alpn: vec!["imap".into()],
            ..ClientTls::default()
        })
    );
    assert_eq!(
        tls(https).client_verify,
        Some(ClientVerify {
            required: false,
            ca: "/etc/adit/clients.pem".into(),
            crls: vec!["/etc/adit/clients.crl".into()],
            allow: vec![
                SubjectPattern::Dns("*.clients.example.org".into()),
                SubjectPattern::Uri("spiffe://example.org/*".into()),
                SubjectPattern::Email("*@example.org".into()),
                SubjectPattern::Cn("probe".into()),
            ],
        })
    );
    assert_eq!(
        tls(https).tickets.keys,
        Some(TicketKeyFile {
            path: "/etc/adit/ticket.keys".into(),
            seal_with: SealWith::Last,
        })
    );
    assert_eq!(config.services[https.service].backends.len(), 2);
    assert_eq!(config.shards.cpus, Some(vec![0, 1, 2, 3, 8]));
    assert_eq!(config.shards.nodes, Some(vec![0]));
    assert_eq!(config.shards.caches, Some(vec![0, 1]));
    assert_eq!(config.shards.placement, Placement::PerCpu);
    assert_eq!(config.log.sink, LogSink::Syslog(SyslogSink::default()));
}

/// What adit.ron calls a default is one.
#[test]
fn the_full_file_holds_the_defaults() {
    let config = read(FULL);
    let bare = read(&listener(
        "(address: \"*:443\", tls: (cert: \"a.pem\"), backend: \"b:80\")",
    ));
    assert_eq!(config.listeners[0].backlog, bare.listeners[0].backlog);
    let (full_tls, bare_tls) = (tls(&config.listeners[0]), tls(&bare.listeners[0]));
    assert_eq!(
        Tickets {
            keys: None,
            ..full_tls.tickets.clone()
        },
        bare_tls.tickets
    );
    assert_eq!(full_tls.sni_nomatch, bare_tls.sni_nomatch);
    assert_eq!(full_tls.policy.min, bare_tls.policy.min);
    assert_eq!(full_tls.policy.max, bare_tls.policy.max);
    // A list where none need be is what there is without it.
    assert_eq!(
        full_tls.policy.ciphers,
        Some(adit::config::suites::cipher_suites().collect())
    );
    let default = rustls::crypto::aws_lc_rs::default_provider();
    assert_eq!(
        full_tls.policy.groups,
        Some(default.kx_groups.iter().map(|group| group.name()).collect())
    );
    let mail = config.services.iter().find(|s| s.name == "mail");
    let mail = mail.and_then(|mail| mail.tls.as_ref()).expect("it has TLS");
    assert_eq!(mail.verify, ClientTls::default().verify);
    assert_eq!(mail.resume, ClientTls::default().resume);
    assert_eq!(config.watch, bare.watch);
    assert_eq!(config.watch, Some(limits::WATCH_INTERVAL));
    assert_eq!(config.shards.count, bare.shards.count);
    assert_eq!(config.buffer_size, bare.buffer_size);
    assert_eq!(config.timeouts, bare.timeouts);
    assert_eq!(config.truncation, bare.truncation);
    assert_eq!(config.log.level, bare.log.level);
    assert_eq!(config.admin, bare.admin);
    assert_eq!(bare.metrics, None);
    let metrics = config.metrics.expect("it has metrics");
    assert_eq!(metrics, Metrics::new(address("127.0.0.1:9464")));
    assert_eq!(
        config.privileges,
        Privileges {
            user: Some("adit".into()),
            group: Some("adit".into()),
            ..bare.privileges
        }
    );
}

/// The keys are taken from the errors for unknown ones, so that a key added to
/// the code is missed here unless adit.ron has it.
#[test]
fn the_full_file_has_every_key() {
    let unknown = [
        "(zzzzzzzzzz: 1)",
        "(listeners: [(zzzzzzzzzz: 1)])",
        "(listeners: [(tls: (zzzzzzzzzz: 1))])",
        "(listeners: [(tls: Client(zzzzzzzzzz: 1))])",
        "(listeners: [(tls: (certs: [(zzzzzzzzzz: 1)]))])",
        "(listeners: [(tls: (ticket_keys: (zzzzzzzzzz: 1)))])",
        "(services: {\"a\": (zzzzzzzzzz: 1)})",
        "(services: {\"a\": (backends: [(zzzzzzzzzz: 1)])})",
        "(services: {\"a\": (health: (zzzzzzzzzz: 1))})",
        "(services: {\"a\": (eject: (zzzzzzzzzz: 1))})",
        "(services: {\"a\": (queue: (zzzzzzzzzz: 1))})",
        "(services: {\"a\": (proxy_protocol: (zzzzzzzzzz: 1))})",
        "(listeners: [(routes: [(zzzzzzzzzz: 1)])])",
        "(listeners: [(access: (zzzzzzzzzz: 1))])",
        "(listeners: [(rates: (zzzzzzzzzz: 1))])",
        "(listeners: [(rates: (connections: (zzzzzzzzzz: 1)))])",
        "(listeners: [(tcp: (zzzzzzzzzz: 1))])",
        "(timeouts: (zzzzzzzzzz: 1))",
        "(log: (zzzzzzzzzz: 1))",
        "(log: (syslog: (zzzzzzzzzz: 1)))",
        "(log: (journald: (zzzzzzzzzz: 1)))",
        "(access_log: (zzzzzzzzzz: 1))",
        "(connection_rate: (zzzzzzzzzz: 1))",
        "(metrics: (zzzzzzzzzz: 1))",
    ];
    // These cannot stand beside what is there: they are shown in comments.
    let code: String = FULL
        .lines()
        .map(|line| match line.trim_start().strip_prefix("// ") {
            Some(key)
                if [
                    "min_version: ",
                    "max_version: ",
                    "key_log: ",
                    "chroot: ",
                    "journald: ",
                ]
                .iter()
                .any(|shown| key.starts_with(shown)) =>
            {
                key
            }
            _ => line.split("//").next().unwrap_or_default(),
        })
        .collect();
    let mut count = 0;
    for text in unknown {
        let error = refused(text);
        let keys = error
            .hint()
            .and_then(|hint| hint.strip_prefix("its keys are "))
            .unwrap_or_else(|| panic!("{error}"));
        for key in keys.split(", ") {
            assert!(
                code.contains(&format!("{key}: ")),
                "{key} is not in adit.ron"
            );
            count += 1;
        }
    }
    assert!(count >= 130, "only {count} keys were found");
}

#[test]
fn values_are_read_as_they_are_meant() {
    let config = read(&with(
        "shards: 4, buffer_size: 65536, truncation: Reset, admin: \"unix:/run/a.sock\",
         timeouts: (handshake: \"1m 30s\", idle: Off, half_close: \"none\", drain: \"0s\", ready_grace: \"5s\"),
         log: (level: Debug, syslog: (ident: \"door\", facility: Daemon, level: Err)),",
    ));
    assert_eq!(config.shards.count.map(usize::from), Some(4));
    assert_eq!(config.buffer_size, 65536);
    assert_eq!(config.truncation, Truncation::Reset);
    assert_eq!(config.admin, Admin::Path("/run/a.sock".into()));
    assert_eq!(
        config.timeouts,
        Timeouts {
            handshake: Duration::from_secs(90),
            connect: limits::CONNECT_TIMEOUT,
            idle: Duration::ZERO,
            half_close: Duration::ZERO,
            drain: Duration::ZERO,
            ready_grace: Duration::from_secs(5),
        }
    );
    assert_eq!(config.log.level, log::LevelFilter::Debug);
    assert_eq!(
        config.log.sink,
        LogSink::Syslog(SyslogSink {
            socket: "/dev/log".into(),
            ident: "door".into(),
            facility: SyslogFacility::Daemon,
            up_to: SyslogLevel::Err,
        })
    );
    // What is not said keeps its default.
    let config = read(&with("timeouts: (connect: \"1s\"), log: (syslog: ()),"));
    assert_eq!(
        config.timeouts,
        Timeouts {
            connect: Duration::from_secs(1),
            ..Timeouts::default()
        }
    );
    assert_eq!(config.log.sink, LogSink::Syslog(SyslogSink::default()));
    for (typed, bytes) in [
        ("\"64KB\"", 64_000),
        ("\"1.5 KiB\"", 1536),
        ("\"1MiB\"", 1 << 20),
    ] {
        assert_eq!(
            read(&with(&format!("buffer_size: {typed}"))).buffer_size,
            bytes
        );
    }
    assert_eq!(read(&with("admin: Off")).admin, Admin::Off);
    let config = read(&with(
        "memory_budget: \"1GiB\", connection_rate: (per_second: 9)",
    ));
    assert_eq!(config.memory_budget, Some(1 << 30));
    let rate = Rate {
        per_second: 9,
        burst: 9,
    };
    assert_eq!(config.connection_rate, Some(rate));
    let text = FULL.replace("admin: Auto", "admin: \"a.sock\"");
    let config = Config::from_ron(&text, "/etc/adit/adit.ron").expect("it is valid");
    assert_eq!(config.admin, Admin::Path("/etc/adit/a.sock".into()));
}

#[test]
fn where_lines_go_is_read_as_it_is_meant() {
    let sink = |log: &str| read(&with(&format!("log: ({log})"))).log.sink;
    assert_eq!(sink(""), LogSink::Stderr);
    assert_eq!(sink("file: \"/a.log\""), LogSink::File("/a.log".into()));
    let journal = JournaldSink::default();
    assert_eq!(sink("journald: ()"), LogSink::Journald(journal.clone()));
    assert_eq!(
        sink("journald: (socket: \"/s\", ident: \"door\")"),
        LogSink::Journald(JournaldSink {
            socket: "/s".into(),
            ident: "door".into(),
        })
    );
    let text = with("log: (file: \"a.log\"), access_log: (file: \"b.log\")");
    let config = Config::from_ron(&text, "/etc/adit/adit.ron").expect("it is valid");
    assert_eq!(config.log.sink, LogSink::File("/etc/adit/a.log".into()));
    let access = config.access_log.expect("there is one");
    assert_eq!(access.sink, LogSink::File("/etc/adit/b.log".into()));

    assert_eq!(read(&with("shards: 1")).access_log, None);
    assert_eq!(
        read(&with("access_log: ()")).access_log,
        Some(AccessLog::default())
    );
    let typed = "format: Json, sample: 10, per_second: 100, journald: ()";
    assert_eq!(
        read(&with(&format!("access_log: ({typed})"))).access_log,
        Some(AccessLog {
            format: AccessFormat::Json,
            sink: LogSink::Journald(journal),
            sample: 10.try_into().expect("not zero"),
            per_second: Some(100.try_into().expect("not zero")),
        })
    );
}

/// What the notation allows beyond what adit.ron shows.
#[test]
fn other_ways_of_writing_mean_the_same() {
    let plain = read(&with("shards: 4, cpus: \"0\","));
    for text in [
        "\u{feff}(listeners: [(address: \"*:443\", tls: (cert: r\"a.pem\"), backend: \"b:80\")], shards: 4, cpus: \"0\")",
        "#![enable(implicit_some)]\n(listeners: [(address: \"*:\\u{34}43\", tls: (cert: \"a.pem\",), backend: (address: \"b:80\"),),], shards: 0x4, cpus: Some(\"0\"),)\r\n",
        "/* a /* b */ c */ (r#listeners: [(address: r##\"*:443\"##, tls: (cert: \"a.pem\", key: None, tickets: Some(2)), backend: \"b:80\", name: None)], shards: 4, cpus: \"0\") // end",
    ] {
        assert_eq!(read(text), plain, "{text}");
    }
}

#[test]
fn the_examples_say_what_they_mean() {
    let example = |name: &str| {
        let path = Path::new("configs").join(name);
        Config::from_file(&path).unwrap_or_else(|error| panic!("{error}"))
    };
    let client = example("client.ron");
    assert_eq!(client.listeners[0].tls, None);
    let tls_out = client.services[0].tls.as_ref().expect("TLS");
    assert_eq!(tls_out.verify, ServerVerify::Ca("configs/ca.pem".into()));
    assert!(tls_out.identity.is_some());

    let many = example("many-names.ron");
    assert_eq!(tls(&many.listeners[0]).certs.len(), 3);
    assert_eq!(tls(&many.listeners[0]).sni_nomatch, SniNoMatch::Abort);

    let mutual = example("mutual-tls.ron");
    let verify = tls(&mutual.listeners[0]).client_verify.as_ref();
    assert!(verify.is_some_and(|verify| verify.required && verify.allow.len() == 2));
    assert_eq!(tls(&mutual.listeners[0]).policy.min, TlsVersion::Tls13);

    let both = example("re-encrypt.ron");
    assert!(both.listeners[0].tls.is_some() && both.services[0].tls.is_some());

    let services = example("many-services.ron");
    assert_eq!(services.listeners[0].routes.len(), 2);
    assert!(services.listeners[1].passthrough);
    assert_eq!(services.services[0].backends.len(), 3);
    // No example of this directory goes untested.
    let mut files: Vec<_> = std::fs::read_dir("configs")
        .expect("a directory")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.ends_with(".ron"))
        .collect();
    files.sort();
    let known = "adit.ron client.ron many-names.ron many-services.ron minimal.ron \
                 mutual-tls.ron re-encrypt.ron";
    assert_eq!(files, known.split(' ').collect::<Vec<_>>());
}

/// What a listener says of its two sides, and where that goes.
#[test]
fn each_side_speaks_what_it_is_told_to() {
    let config = read(
        "(listeners: [
            (address: \"*:1\", tls: Off, backend: \"b:80\"),
            (address: \"*:2\", tls: Client(ca: System), backend: \"b:80\"),
            (address: \"*:3\", tls: Server(cert: \"a\"), backend: \"b:80\", backend_tls: (verify: Off)),
            (address: \"*:4\", tls: Client(resume: false), service: \"x\"),
            (address: \"*:5\", tls: Client(resume: false), service: \"x\"),
            (address: \"*:6\", tls: Off, service: \"x\"),
            (address: \"*:7\", tls: Off, service: \"y\"),
            (address: \"*:8\", tls: Client(), backend: \"b:80\"),
        ], services: {\"x\": (backends: [\"c:1\"]), \"y\": (backends: [\"d:1\"], tls: ())})",
    );
    let is_server: Vec<_> = config.listeners.iter().map(|l| l.tls.is_some()).collect();
    assert_eq!(
        is_server,
        [false, false, true, false, false, false, false, false]
    );
    let services: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| &config.services[listener.service])
        .collect();
    let full = Some(ClientTls::default());
    let once = Some(ClientTls {
        resume: false,
        ..ClientTls::default()
    });
    let anybody = Some(ClientTls {
        verify: ServerVerify::Off,
        ..ClientTls::default()
    });
    let spoken: Vec<_> = services.iter().map(|service| service.tls.clone()).collect();
    assert_eq!(
        spoken,
        [
            None,
            full.clone(),
            anybody,
            once.clone(),
            once,
            None,
            full.clone(),
            full
        ]
    );
    let names: Vec<_> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["b:80", "b:80", "b:80", "x", "x", "x", "y", "b:80"]);
    // One for each way of speaking, and no more.
    assert_eq!(config.services.len(), 6);
}

#[test]
fn tls_is_read_as_it_is_meant() {
    let of = |keys: &str| {
        let text = format!(
            "(listeners: [(address: \"*:1\", tls: (cert: \"a\", {keys}), backend: \"b:80\")])"
        );
        tls(&read(&text).listeners[0]).clone()
    };
    let policy = |keys: &str| of(keys).policy;
    let versions = |keys: &str| (policy(keys).min, policy(keys).max);
    use TlsVersion::{Tls12, Tls13};
    assert_eq!(versions("preset: Modern"), (Tls13, Tls13));
    assert_eq!(versions("preset: Intermediate"), (Tls12, Tls13));
    assert_eq!(versions("min_version: \"1.3\""), (Tls13, Tls13));
    assert_eq!(versions("max_version: \"TLSv1.2\""), (Tls12, Tls12));
    assert_eq!(
        policy(
            "preset: Modern, ciphers: [\"TLS_AES_128_GCM_SHA256\"], groups: [\"P-256\", \"X25519\"]"
        ),
        TlsPolicy {
            min: Tls13,
            max: Tls13,
            ciphers: Some(vec![CipherSuite::TLS13_AES_128_GCM_SHA256]),
            groups: Some(vec![NamedGroup::secp256r1, NamedGroup::X25519]),
        }
    );
    assert_eq!(
        of("key: \"a\", ocsp: \"o\", certs: [\"d/\", (cert: \"c\", key: \"k\")]").certs,
        [
            CertSource {
                ocsp: Some("o".into()),
                ..CertSource::new("a", "a")
            },
            CertSource::new("d/", "d/"),
            CertSource::new("c", "k"),
        ]
    );
    assert_eq!(
        of("tickets: 0, ticket_lifetime: \"7days\", ticket_keys: \"f\"").tickets,
        Tickets {
            count: 0,
            lifetime: limits::TICKET_LIFETIME_MAX,
            keys: Some(TicketKeyFile {
                path: "f".into(),
                seal_with: SealWith::Last
            }),
        }
    );
    let keys = of("ticket_keys: (file: \"f\", seal_with: First)")
        .tickets
        .keys;
    assert_eq!(keys.map(|keys| keys.seal_with), Some(SealWith::First));
    assert_eq!(of("alpn: [\"h2\", \"http/1.1\"]").alpn, ["h2", "http/1.1"]);
    assert_eq!(of("key_log: \"k\"").key_log, Some("k".into()));
    assert_eq!(of("client_verify: None").client_verify, None);
    assert_eq!(
        of("client_verify: Required, client_ca: \"ca\"").client_verify,
        Some(ClientVerify {
            required: true,
            ca: "ca".into(),
            crls: Vec::new(),
            allow: Vec::new(),
        })
    );
    assert_eq!(
        read(&with(
            "user: 7, group: \"g\", chroot: \"jail\", core_dumps: true, landlock: false"
        ))
        .privileges,
        Privileges {
            user: Some("7".into()),
            group: Some("g".into()),
            chroot: Some("jail".into()),
            core_dumps: true,
            landlock: false,
        }
    );
    assert_eq!(read(&with("watch: Off")).watch, None);
    assert_eq!(
        read(&with("watch: \"100ms\"")).watch,
        Some(limits::WATCH_INTERVAL_MIN)
    );
}

/// Each entry: a key of TLS towards clients, what is said of it, and the text
/// that is pointed at.
#[test]
fn what_is_wrong_with_tls_is_said_at_its_place() {
    let server = |keys: &str| {
        listener(&format!(
            "(address: \"*:443\", backend: \"b:80\", tls: ({keys}))"
        ))
    };
    let cert = |keys: &str| server(&format!("cert: \"a\", {keys}"));
    let client = |keys: &str| {
        listener(&format!(
            "(address: \"*:443\", backend: \"b:80\", tls: Client({keys}))"
        ))
    };
    let whole = |tls: &str, rest: &str| {
        format!(
            "(\n    listeners: [(address: \"*:443\", tls: {tls}, {rest})],\n    services: {{\"w\": (backends: [\"b:1\"], tls: ())}},\n)"
        )
    };
    let table: Vec<(String, &str, &str)> = vec![
        (
            server("key: \"k\""),
            "key",
            "key belongs to cert, which is missing; add cert:",
        ),
        (server("ocsp: \"k\""), "ocsp", "ocsp belongs to cert"),
        (server("certs: []"), "[]", "no certificate"),
        (
            server("cert: \"d/\", key: \"k\""),
            "key",
            "a directory of certificates has no key",
        ),
        (
            server("certs: [(key: \"k\")]"),
            "(",
            "the key \"cert\" is missing in a certificate",
        ),
        (
            server("certs: [(crt: \"k\")]"),
            "crt",
            "did you mean \"cert\"?",
        ),
        (
            cert("sni_nomatch: Refuse"),
            "Refuse",
            "write one of Default, Abort",
        ),
        (
            cert("preset: Old"),
            "Old",
            "TLS 1.0 and CBC ciphers, which are broken",
        ),
        (cert("preset: Moden"), "Moden", "did you mean Modern?"),
        (
            cert("preset: \"modern\""),
            "\"modern\"",
            "without quotes here; write Modern",
        ),
        (
            cert("preset: Modern, min_version: \"1.2\""),
            "min_version",
            "the preset says the versions already",
        ),
        (cert("min_version: \"1.0\""), "\"1.0\"", "RFC 8996"),
        (cert("min_version: \"TLSv1.1\""), "\"TLSv1.1\"", "is broken"),
        (cert("max_version: \"SSLv3\""), "\"SSLv3\"", "is broken"),
        (
            cert("min_version: \"1.4\""),
            "\"1.4\"",
            "no version of TLS; write \"1.2\" or \"1.3\"",
        ),
        (
            cert("min_version: 1.2"),
            "1.2",
            "a version stands in quotes",
        ),
        (
            cert("min_version: \"1.3\", max_version: \"1.2\""),
            "min_version",
            "higher than max_version",
        ),
        (cert("ciphers: []"), "[]", "the list is empty"),
        (
            cert("ciphers: [\"TLS_AES_128_GCM_SHA265\"]"),
            "\"TLS_AES_128_GCM_SHA265\"",
            "did you mean TLS_AES_128_GCM_SHA256? There are TLS_AES_256",
        ),
        (
            cert("ciphers: [\"RC4-MD5\"]"),
            "\"RC4-MD5\"",
            "unknown cipher suite \"RC4-MD5\"; there are TLS_AES_256_GCM_SHA384, ",
        ),
        (
            cert("ciphers: [\"TLS_AES_128_GCM_SHA256\"]"),
            "[\"TLS_AES_128_GCM_SHA256\"]",
            "no cipher suite for TLS 1.2",
        ),
        (
            cert("ciphers: [\"ECDHE-RSA-AES128-GCM-SHA256\"]"),
            "[\"ECDHE-RSA-AES128-GCM-SHA256\"]",
            "max_version: \"1.2\"",
        ),
        (
            cert(
                "preset: Modern, ciphers: [\"TLS_AES_128_GCM_SHA256\", \"tls_aes_128_gcm_sha256\"]",
            ),
            "\"tls_aes_128_gcm_sha256\"",
            "a second time",
        ),
        (
            cert("groups: [\"sect571k1\"]"),
            "\"sect571k1\"",
            "there are X25519MLKEM768, ",
        ),
        (
            cert("groups: [\"X25518\"]"),
            "\"X25518\"",
            "did you mean x25519?",
        ),
        (
            cert("groups: [\"X25519MLKEM768\"]"),
            "[\"X25519MLKEM768\"]",
            "for TLS 1.3 alone",
        ),
        (cert("alpn: [\"\"]"), "\"\"", "name is empty"),
        (cert("alpn: [\"h2\", \"h2\"]"), "\"h2\"", "a second time"),
        (cert("alpn: \"h2\""), "\"h2\"", "expected a list"),
        (
            cert("ticket_lifetime: \"8days\""),
            "\"8days\"",
            "at most \"7days\"",
        ),
        (
            cert("ticket_lifetime: \"500ms\""),
            "\"500ms\"",
            "at least \"1s\"",
        ),
        (
            cert("ticket_keys: (seal_with: First)"),
            "(",
            "the key \"file\" is missing in ticket_keys",
        ),
        (
            cert("client_verify: Maybe"),
            "Maybe",
            "write one of None, Optional, Required",
        ),
        (
            cert("client_verify: Required"),
            "client_verify",
            "add client_ca: \"ca.pem\"",
        ),
        (
            cert("client_ca: \"ca\""),
            "client_ca",
            "add client_verify: Required",
        ),
        (
            cert("client_verify: None, client_crls: []"),
            "client_crls",
            "means nothing unless",
        ),
        (
            cert("client_allow: []"),
            "client_allow",
            "means nothing unless",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: []"),
            "[]",
            "nobody would be let in",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [Dsn(\"a\")]"),
            "Dsn",
            "did you mean Dns?",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [\"a\"]"),
            "\"a\"",
            "write one of Dns, Uri, Email, Cn",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [Dns]"),
            "Dns",
            "write Dns( … )",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [Dns(5)]"),
            "5",
            "expected a string",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [Dns(\"a*.b\")]"),
            "Dns(\"a*.b\")",
            "* is a whole label",
        ),
        (
            cert("client_verify: Required, client_ca: \"c\", client_allow: [Uri(\"x\")]"),
            "Uri(\"x\")",
            "no URI",
        ),
        (
            client("sni_nomatch: Abort"),
            "sni_nomatch",
            "unknown key \"sni_nomatch\" in tls towards backends",
        ),
        (client("verify: No"), "No", "write one of Full, Off"),
        (
            client("verify: Off, ca: \"c\""),
            "ca",
            "takes any certificate",
        ),
        (client("ca: Sytem"), "Sytem", "expected System, or a path"),
        (client("key: \"k\""), "key", "key belongs to cert"),
        (
            client("server_name: \"a:443\""),
            "\"a:443\"",
            "without a port",
        ),
        (client("resume: Yes"), "Yes", "expected true or false"),
        (
            listener("(address: \"*:443\", tls: Clint(), backend: \"b:80\")"),
            "Clint",
            "did you mean Client?",
        ),
        (
            listener("(address: \"*:443\", tls: Client, backend: \"b:80\")"),
            "Client",
            "write Client( … )",
        ),
        (
            listener("(address: \"*:443\", tls: On, backend: \"b:80\")"),
            "On",
            "unknown word On",
        ),
        (
            listener("(address: \"*:443\", tls: \"a.pem\", backend: \"b:80\")"),
            "\"a.pem\"",
            "expected tls, ( cert: …, … ), Client( … ), Passthrough, or Off",
        ),
        (
            whole("Client()", "service: \"w\""),
            "Client()",
            "write tls: Off here, or remove tls there",
        ),
        (
            whole("Off", "service: \"w\", backend_tls: ()"),
            "backend_tls",
            "in the service \"w\"",
        ),
        (
            whole("Client()", "backend: \"b:1\", backend_tls: ()"),
            "backend_tls",
            "remove one of the two",
        ),
        (
            with("services: {\"w\": (backends: [\"b:1\", \"unix:/s\"], tls: ())}"),
            "\"unix:/s\"",
            "add server_name: \"app.internal\" to its tls",
        ),
        (
            listener("(address: \"*:443\", backend: \"unix:/s\", tls: Client())"),
            "\"unix:/s\"",
            "no host name",
        ),
        (
            with("watch: \"1ms\""),
            "\"1ms\"",
            "at least \"100ms\", or Off",
        ),
        (with("watch: Never"), "Never", "write Off, or a duration"),
        (
            with("log: (file: \"a\", syslog: ())"),
            "syslog",
            "lines go to one place, and file is given too",
        ),
        (
            with("access_log: (syslog: (), journald: ())"),
            "journald",
            "remove one of the two",
        ),
        (
            with("access_log: (syslog: (level: Info))"),
            "level",
            "all have the priority Info",
        ),
        (with("access_log: (format: Xml)"), "Xml", "Json"),
        (
            with("access_log: (sample: 0)"),
            "0",
            "write a number from 1",
        ),
        (
            with("memory_budget: \"1KiB\""),
            "\"1KiB\"",
            "write 256KiB at least for each",
        ),
        (
            with("connection_rate: (per_second: 0)"),
            "0",
            "write a number from 1",
        ),
        (with("user: \"\""), "\"\"", "the name is empty"),
        (with("user: Adit"), "Adit", "a name in quotes"),
        (with("group: 4294967295"), "4294967295", "a name in quotes"),
        (with("chroot: Off"), "Off", "a path in quotes"),
        (with("core_dumps: \"yes\""), "\"yes\"", "true or false"),
        (with("landlock: Off"), "Off", "true or false"),
    ];
    let mut wrong = Vec::new();
    for (text, offender, said) in &table {
        let error = refused(text);
        let shown = error.to_string();
        if error.offending() != *offender || !shown.contains(said) {
            wrong.push(format!("wanted {offender}: {said}\n{shown}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn services_may_go_unused_and_be_shared() {
    let config = read(
        "(listeners: [
            (address: \"*:1\", tls: (cert: \"a\"), backend: \"b:80\"),
            (address: \"*:2\", tls: (cert: \"a\"), backend: \"b:80\"),
            (address: \"*:3\", tls: (cert: \"a\"), service: \"x\"),
            (address: \"*:0\", tls: (cert: \"a\"), service: \"x\", name: \"n\"),
            (address: \"127.0.0.1:0\", tls: (cert: \"a\"), service: \"x\"),
        ], services: {\"unused\": (backends: [\"c:1\"]), \"x\": (backends: [\"d:1\"])})",
    );
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| config.services[listener.service].name.as_str())
        .collect();
    assert_eq!(names, ["b:80", "b:80", "x", "x", "x"]);
    assert_eq!(config.services.len(), 3);
}

/// Each entry: the text, the offending line and column, what is said of it.
#[test]
fn what_is_wrong_is_said_with_its_place_and_what_to_write() {
    let ok = "address: \"*:443\", tls: (cert: \"a.pem\"), backend: \"b:80\"";
    let two = |one: &str, other: &str| {
        format!(
            "(\n listeners: [\n  (address: {one}, tls: (cert: \"a\"), backend: \"b:1\"),\n  (address: {other}, tls: (cert: \"a\"), backend: \"b:1\"),\n ],\n)"
        )
    };
    let table: Vec<(String, usize, usize, &str)> = vec![
        // The notation.
        ("".into(), 1, 1, "write ( … )"),
        ("// nothing\n".into(), 2, 1, "holds no configuration"),
        ("listeners: []".into(), 1, 1, "write ( before the first key"),
        ("(\n listeners: [\n  (address: \"*:443\"\n)".into(), 2, 13, "this `[` is never closed"),
        ("(\n listeners: [],\n".into(), 1, 1, "this `(` is never closed"),
        ("(\n listeners: [)\n)".into(), 2, 14, "does not close the `[` of line 2; write `]`"),
        (with("shards: 4 cpus: \"0\""), 3, 14, "a comma is missing here, before `cpus`"),
        (with("shards: 4,, "), 3, 15, "a comma too many"),
        (with("shards = 4"), 3, 12, "write : after a key"),
        (with("shards, cpus: \"0\""), 3, 5, "this key has no value"),
        (with("shards: ,"), 3, 13, "a value is missing"),
        (with("\"shards\": 4"), 3, 5, "without quotes here; write shards"),
        ("(\"shards\": 4)".into(), 1, 2, "without quotes here; write shards"),
        (with("# shards: 4"), 3, 5, "write // before a comment"),
        (with("cpus: \"0"), 3, 11, "no end on its line"),
        (with("/* cpus"), 3, 5, "this comment has no end"),
        (with("cpus: \"\\q\""), 3, 11, "escape"),
        (with("shards: @"), 3, 13, "`@` begins no value"),
        (with("") + ")", 4, 2, "closes nothing"),
        (with("") + "\n shards: 4", 5, 2, "has ended before this"),
        (with("shards: 4__x"), 3, 13, "`4__x` is no number"),
        // Keys.
        (with("shrads: 4"), 3, 5, "unknown key \"shrads\" in the configuration; did you mean \"shards\"?"),
        (with("workers: 4"), 3, 5, "did you mean \"shards\"?"),
        (with("zzzz: 4"), 3, 5, "its keys are listeners, services, shards"),
        (listener("(address: \"*:443\", backned: \"b:80\", tls: (cert: \"a\"))"), 3, 28, "unknown key \"backned\" in a listener; did you mean \"backend\"?"),
        (listener("(address: \"*:443\", tls: (certificate: \"a\"), backend: \"b:80\")"), 3, 34, "did you mean \"cert\"?"),
        (with("shards: 4, shards: 4"), 3, 16, "a second time"),
        (with("services: {\"a\": (backends: [\"b:1\"]), \"a\": (backends: [\"b:1\"])}"), 3, 42, "the name \"a\" stands here a second time"),
        ("(\n)".into(), 1, 1, "the key \"listeners\" is missing in the configuration; add listeners: ["),
        (listener("(tls: (cert: \"a\"), backend: \"b:80\")"), 3, 9, "the key \"address\" is missing in a listener; add address:"),
        (listener("(address: \"*:443\", backend: \"b:80\")"), 3, 9, "add tls: (cert:"),
        (listener("(address: \"*:443\", tls: (), backend: \"b:80\")"), 3, 33, "the key \"cert\" is missing in tls"),
        (with("services: {\"a\": ()}"), 3, 21, "the key \"backends\" is missing in a service"),
        (with("log: (level: Info, sylog: ())"), 3, 24, "did you mean \"syslog\"?"),
        // Kinds of value.
        ("[]".into(), 1, 1, "expected the configuration, ( listeners: …, … ), found a list"),
        ("Config(listeners: [])".into(), 1, 1, "remove Config"),
        ("(listeners: ())".into(), 1, 13, "expected a list, [ …, … ], found ()"),
        ("(listeners: [5])".into(), 1, 14, "expected a listener, ( name: …, … ), found the number 5"),
        (with("services: (web: (backends: []))"), 3, 15, "expected a map"),
        (with("services: {web: (backends: [\"b:1\"])}"), 3, 16, "expected a name in quotes, found the word web"),
        (with("services: {\"web\": [\"b:1\"]}"), 3, 23, "expected a service"),
        (with("services: {\"web\": (backends: [80])}"), 3, 35, "or a text in quotes, found the number 80"),
        (with("services: {\"web\": (backends: \"b:1\")}"), 3, 34, "expected a list"),
        (with("timeouts: \"10s\""), 3, 15, "expected timeouts"),
        (listener("(address: 443, tls: (cert: \"a\"), backend: \"b:80\")"), 3, 19, "expected an address such as \"*:443\""),
        (listener("(address: \"*:443\", tls: (cert: [\"a\"]), backend: \"b:80\")"), 3, 40, "expected a path in quotes, such as \"site.pem\", found a list"),
        // Durations.
        (with("timeouts: (handshake: 30)"), 3, 27, "the number 30 has no unit; write \"30s\""),
        (with("timeouts: (handshake: \"30\")"), 3, 27, "\"30\" has no unit; write \"30s\""),
        (with("timeouts: (idle: 1.5)"), 3, 22, "no unit"),
        (with("timeouts: (handshake: \"soon\")"), 3, 27, "\"soon\" is no duration"),
        (with("timeouts: (handshake: \"0s\")"), 3, 27, "cannot be zero"),
        (with("timeouts: (connect: Off)"), 3, 25, "cannot be without a limit"),
        (with("timeouts: (drain: Off)"), 3, 23, "\"0s\" to cut at once"),
        (with("timeouts: (ready_grace: Never)"), 3, 29, "\"0s\" for none"),
        (with("timeouts: (ready_grace: 5)"), 3, 29, "write \"5s\""),
        (with("metrics: \"127.0.0.1:9464\""), 3, 14, "expected metrics"),
        (with("metrics: ()"), 3, 14, "address"),
        (with("metrics: (address: \"9464\")"), 3, 24, "has no port"),
        (with("metrics: (address: \"*:1\", ready_backends: All)"), 3, 47, "Any"),
        (with("metrics: (address: \"127.0.0.1:443\")"), 3, 24, "conflicts with the listener"),
        (with("timeouts: (idle: Never)"), 3, 22, "write Off for no limit"),
        (with("timeouts: (idle: \"400days\")"), 3, 22, "at most \"366days\""),
        (with("timeouts: (idle: \"3ns\")"), 3, 22, "at least \"1ms\""),
        // Sizes.
        (with("buffer_size: \"512B\""), 3, 18, "too small for a buffer; write a size from 1KiB to 1MiB"),
        (with("buffer_size: \"2MiB\""), 3, 18, "too large for a buffer"),
        (with("buffer_size: -1"), 3, 18, "too small"),
        (with("buffer_size: \"48 furlongs\""), 3, 18, "no size"),
        (with("buffer_size: Auto"), 3, 18, "expected a size such as \"48KiB\", found the word Auto"),
        // Numbers.
        (with("shards: 0"), 3, 13, "write a number from 1 to 1024"),
        (with("shards: 1025"), 3, 13, "out of range"),
        (with("shards: 99999999999999999999999"), 3, 13, "out of range"),
        (with("shards: 1.5"), 3, 13, "no whole one"),
        (with("shards: \"4\""), 3, 13, "without quotes here; write 4"),
        (with("shards: Many"), 3, 13, "expected Auto or a whole number, found the word Many"),
        (listener(&format!("({ok}, backlog: 0)")), 3, 76, "write a number from 1 to 1048576"),
        (listener("(address: \"*:443\", tls: (cert: \"a\", tickets: 17), backend: \"b:80\")"), 3, 54, "from 0 to 16"),
        (with("cpus: \"0-3,2\""), 3, 11, "CPU 2 is named twice"),
        (with("cpus: \"3-0\""), 3, 11, "write 0-3"),
        (with("cpus: 0"), 3, 11, "a list of CPUs in quotes"),
        (with("nodes: 0"), 3, 12, "a list of NUMA nodes in quotes, such as \"0\""),
        (with("nodes: \"1-x\""), 3, 12, "\"x\" is no NUMA node; write numbers from 0"),
        (with("nodes: \"1,1\""), 3, 12, "NUMA node 1 is named twice"),
        (with("caches: \"\""), 3, 13, "\"\" is no cache domain"),
        (with("caches: [0]"), 3, 13, "a list of cache domains in quotes"),
        (with("placement: PerCores"), 3, 16, "did you mean PerCore?"),
        (with("placement: Spread"), 3, 16, "write one of Auto, PerCpu, PerCore, PerCache, PerNode"),
        (listener("(address: \"unix:/a\", tls: Off, backend: \"b:80\", accept: SameCpu)"), 3, 65, "on no CPU of their own; write Spread or Balanced"),
        // Words.
        (with("truncation: Rst"), 3, 17, "unknown word Rst; write one of Fin, Reset"),
        (with("truncation: Rset"), 3, 17, "did you mean Reset?"),
        (with("truncation: \"Fin\""), 3, 17, "without quotes here; write Fin"),
        (with("log: (level: 3)"), 3, 18, "expected one of the words Off, Error"),
        (with("log: (syslog: (facility: Local9))"), 3, 30, "did you mean Local"),
        (with("admin: No"), 3, 12, "expected Auto, Off, or a path in quotes"),
        (with("admin: \"\""), 3, 12, "the path is empty"),
        // Addresses.
        (listener("(address: \"8443\", tls: (cert: \"a\"), backend: \"b:80\")"), 3, 19, "has no port: write HOST:PORT"),
        (listener("(address: \"*:443\", tls: (cert: \"a\"), backend: \"*:80\")"), 3, 55, "write 127.0.0.1:80"),
        (listener("(address: \"*:443\", tls: (cert: \"a\"), backend: \"b:0\")"), 3, 55, "no port 0"),
        (listener("(address: \"*:443\", tls: (cert: \"a\"), backend: (address: \"unix:b\"))"), 3, 65, "no absolute path"),
        (with("services: {\"w\": (backends: [\"b:1\", (address: \"::1:80\")])}"), 3, 50, "in brackets, [::1]:80"),
        (two("\"*:443\"", "\"*:443\""), 4, 13, "conflicts with \"*:443\" of listener 1"),
        (two("\"*:443\"", "\"127.0.0.1:443\""), 4, 13, "conflicts with \"*:443\""),
        (two("\"127.0.0.1:443\"", "\"0.0.0.0:443\""), 4, 13, "conflicts"),
        (two("\"localhost:443\"", "\"LOCALHOST:443\""), 4, 13, "conflicts"),
        (two("\"unix:/a\"", "\"unix:/a\""), 4, 13, "conflicts"),
        // Names.
        (with("services: {\"web\": (backends: [])}"), 3, 34, "the service \"web\" has no backend"),
        (listener("(address: \"*:443\", tls: (cert: \"a\"), service: \"web\")"), 3, 55, "there are no services"),
        ("(services: {\"web\": (backends: [\"b:1\"])},\nlisteners: [(address: \"*:1\", tls: (cert: \"a\"), service: \"wbe\")])".into(), 2, 57, "unknown service \"wbe\"; did you mean \"web\"?"),
        ("(services: {\"web\": (backends: [\"b:1\"])},\nlisteners: [(address: \"*:1\", tls: (cert: \"a\"), service: \"imap\")])".into(), 2, 57, "the services are web"),
        (listener(&format!("({ok}, service: \"x\")")), 3, 50, "not to both"),
        (listener("(address: \"*:443\", tls: (cert: \"a\"))"), 3, 9, "leads nowhere"),
        (listener(&format!("({ok}, name: \"\")")), 3, 73, "the name is empty"),
        (listener(&format!("({ok}, name: \"a\\nb\")")), 3, 73, "control character"),
        ("(listeners: [])".into(), 1, 13, "there is no listener"),
        (with(&format!("log: (syslog: (socket: \"{}\"))", "a".repeat(108))), 3, 28, "at most 107"),
    ];
    assert!(table.len() > 90);
    let mut wrong = Vec::new();
    for (text, line, column, said) in &table {
        let error = refused(text);
        let shown = error.to_string();
        if error.line() != Some(*line) || error.column() != Some(*column) || !shown.contains(said) {
            wrong.push(format!("wanted {line}:{column} {said}\n{shown}\n"));
        }
        assert!(shown.starts_with(&format!(
            "adit.ron:{}:{}: ",
            error.line().unwrap_or(0),
            error.column().unwrap_or(0)
        )));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_shows_the_line_and_points_at_the_offender() {
    let error = refused("(\n    listeners: [\n        (adress: \"*:443\"),\n    ],\n)");
    assert_eq!(
        error.to_string(),
        "adit.ron:3:10: unknown key \"adress\" in a listener; did you mean \"address\"?\n  \
           3 |         (adress: \"*:443\"),\n    \
             |          ^^^^^^"
    );
    assert_eq!(error.file(), Path::new("adit.ron"));
    assert_eq!(error.offending(), "adress");
    assert_eq!(error.problem(), "unknown key \"adress\" in a listener");
    assert_eq!(error.hint(), Some("did you mean \"address\"?"));
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("adit.ron");
    let shown = |path: &Path| {
        let error = Config::from_file(path).expect_err("it cannot be read");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}:", path.display())), "{text}");
        (text, error.line())
    };

    let (text, line) = shown(&path);
    assert!(
        text.contains("No such file") && text.contains("check the path"),
        "{text}"
    );
    assert_eq!(line, None);

    let (text, _) = shown(directory.path());
    assert!(text.contains("Is a directory"), "{text}");

    std::fs::write(&path, b"(\n  // caf\xe9\n)").expect("write");
    let (text, line) = shown(&path);
    assert!(
        text.contains("byte 0xe9 is no UTF-8 text; save the file as UTF-8"),
        "{text}"
    );
    assert_eq!(line, Some(2));

    let file = std::fs::File::create(&path).expect("create");
    file.set_len(limits::FILE_SIZE_MAX + 1)
        .expect("a sparse file");
    let (text, _) = shown(&path);
    assert!(text.contains("larger than 16 MiB"), "{text}");
}

#[test]
fn deep_nesting_ends_in_an_error_on_a_small_stack() {
    let run = || {
        for open in [
            "(",
            "[",
            "{",
            "Some(",
            "(listeners: [",
            "(a: {\"b\": ",
            "/*",
        ] {
            refused(&open.repeat(100_000));
        }
        let some = format!("cpus: {}\"0\"{}", "Some(".repeat(200), ")".repeat(200));
        assert!(refused(&with(&some)).to_string().contains("nested deeper"));
    };
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no overflow, no panic");
}

/// A large file takes seconds at most, whatever is in it.
#[test]
fn large_files_are_refused_or_read_in_linear_time() {
    let started = std::time::Instant::now();
    let size = 512 * 1024;
    let many = |one: &str| one.repeat(size / one.len());
    for text in [
        many("//\n") + &with(""),
        with(&format!("cpus: [{}]", many("0,"))),
        with(&format!("services: {{{}}}", many("\"a\": (),"))),
        with(&many("a: 1,")),
        format!(
            "(listeners: [{}])",
            many("(address: \"*:0\", tls: (cert: \"a\"), backend: \"b:1\"),")
        ),
        with(&format!("cpus: \"{}\"", many("0,"))),
        with(&format!("cpus: {}", many("#"))),
        with(&format!("{}: 1", many("a"))),
        with(&format!("/*{}*/", many("/**/"))),
        with(&format!("timeouts: (idle: \"{}\")", many("1s "))),
    ] {
        match Config::from_ron(&text, "adit.ron") {
            Ok(config) => assert_eq!(config.listeners.len(), 1),
            Err(error) => assert!(error.to_string().len() < 1000),
        }
    }
    // A quadratic step would take hours.
    assert!(started.elapsed() < Duration::from_secs(60));
}

/// Whatever happens to a file, reading it ends in a configuration or in an
/// error that points into it.
#[test]
fn a_damaged_file_never_panics_and_errors_point_into_it() {
    let mut rng = fastrand::Rng::with_seed(0x5eed_ad17);
    let scraps: &[&[u8]] = &[
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"",
        b"\\",
        b"'",
        b"//",
        b"/*",
        b"*/",
        b"r#\"",
        b"\n",
        b"\t",
        b"Some(",
        b"None",
        b"0",
        b"-",
        b"1e999",
        b"\xc3\xa9",
        b"\xff",
        b"#",
        b"b\"",
        b"_",
        b"\0",
    ];
    // Without comments damage hits what is read.
    let code: Vec<u8> = FULL
        .lines()
        .map(|line| line.split(" //").next().unwrap_or_default())
        .filter(|line| !line.trim().is_empty() && !line.starts_with("//"))
        .flat_map(|line| line.bytes().chain([b'\n']))
        .collect();
    read(&String::from_utf8(code.clone()).expect("it was text"));
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut bytes = if round % 10 == 0 {
            FULL.as_bytes().to_vec()
        } else {
            code.clone()
        };
        for _ in 0..rng.usize(1..=3) {
            let at = rng.usize(..bytes.len());
            let end = bytes.len().min(at + rng.usize(1..=12));
            match rng.u8(..5) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy).for_each(drop);
                }
                2 => bytes[at] = rng.u8(32..127),
                3 => bytes.truncate(at + 1),
                _ => {
                    let scrap = rng.choice(scraps).copied().unwrap_or_default();
                    bytes.splice(at..at, scrap.iter().copied()).for_each(drop);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match Config::from_ron(&text, "adit.ron") {
            Ok(config) => {
                accepted += 1;
                assert!(!config.listeners.is_empty());
            }
            Err(error) => {
                refused += 1;
                let (line, column) = (
                    error.line().expect("a line"),
                    error.column().expect("a column"),
                );
                let lines: Vec<_> = text.split('\n').collect();
                assert!((1..=lines.len()).contains(&line), "{error}\n{text}");
                let width = lines[line - 1].chars().count();
                assert!((1..=width + 1).contains(&column), "{error}\n{text}");
            }
        }
    }
    assert!(
        accepted > 100 && refused > 2000,
        "{accepted} accepted, {refused} refused"
    );
}
