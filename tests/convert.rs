//! Other programs' configurations, read as ours.

use std::path::Path;
use std::time::Duration;

use adit::config::convert::{Conversion, Source, convert, detect};
use adit::config::{
    Address, CertSource, ClientVerify, Config, ConfigError, LogSink, NetworkSet, ProxyHeader,
    ProxyTlv, ProxyVersion, ServerTls, SniNoMatch, SyslogFacility, SyslogLevel, TlsPolicy,
    TlsVersion,
};
use adit::limits;
use rustls::{CipherSuite, NamedGroup};

const TUNNEL: &str = include_str!("fixtures/tunnel.ini");
const HITCH: &str = include_str!("fixtures/hitch.conf");

/// The least that each format can be converted from.
const TUNNEL_LEAST: &str = "[main]\nssl_server_port=443\ndestination_name=b\ndestination_port=80\n[ssl]\ncertificate_file=c\nPrivateKey_file=k\n";
const HITCH_LEAST: &str = "pem-file = \"a.pem\"\n";

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn converted(text: &str, source: Source) -> (Config, Conversion) {
    let conversion = convert(text, "/etc/old.conf", source).unwrap_or_else(|e| panic!("{e}"));
    let config = Config::from_ron(&conversion.ron, "/etc/adit.ron")
        .unwrap_or_else(|e| panic!("{e}\n{}", conversion.ron));
    (config, conversion)
}

fn refused(text: &str, source: Source) -> ConfigError {
    match convert(text, "old.conf", source) {
        Err(error) => error,
        Ok(conversion) => panic!("accepted:\n{text}\n{}", conversion.ron),
    }
}

fn has_note(conversion: &Conversion, line: usize, words: &str) {
    assert!(
        conversion
            .notes
            .iter()
            .any(|note| note.line == line && note.text.contains(words)),
        "no note for line {line} with {words:?} in {:#?}",
        conversion.notes
    );
}

/// Every line that sets something is named in the RON, wherever it went.
fn names_every_line(conversion: &Conversion, text: &str, comment: &[char]) {
    for (index, line) in text.lines().enumerate() {
        let line = line.split(comment).next().unwrap_or_default().trim();
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if value.trim() == "{" {
            continue;
        }
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            conversion.ron.contains(&line),
            "line {} ({key}) is missing in\n{}",
            index + 1,
            conversion.ron
        );
    }
}

/// The first listener's certificate.
fn cert(config: &Config) -> &Path {
    let tls = config.listeners[0].tls.as_ref().expect("it speaks TLS");
    &tls.certs[0].cert
}

#[test]
fn a_tunnel_ini_becomes_the_same_tunnel() {
    let (config, conversion) = converted(TUNNEL, Source::Tunnel);
    let [listener] = &config.listeners[..] else {
        panic!("{config:?}");
    };
    assert_eq!(listener.address, address("*:8443"));
    assert_eq!(
        listener.tls,
        Some(ServerTls::new(
            "/etc/./server-cert.pem",
            "/etc/./server-key.pem"
        ))
    );
    let backends = &config.services[listener.service].backends;
    assert_eq!(backends.len(), 1);
    assert_eq!(backends[0].address, address("localhost:8080"));
    assert_eq!(config.shards.count.map(usize::from), Some(4));
    assert_eq!(config.buffer_size, limits::BUFFER_SIZE_MIN);
    let LogSink::Syslog(syslog) = &config.log.sink else {
        panic!("{:?}", config.log);
    };
    assert_eq!(syslog.facility, SyslogFacility::Local1);
    assert_eq!(syslog.up_to, SyslogLevel::Notice);

    names_every_line(&conversion, TUNNEL, &[';', '#']);
    has_note(&conversion, 8, "became \"1KiB\"");
    has_note(
        &conversion,
        11,
        "client_verify: Required, client_ca: \"./ca-cert.pem\"",
    );
    assert!(
        conversion
            .ron
            .contains("// line 4: ssl_server_port = 8443\n")
    );
}

#[test]
fn a_tunnel_ini_is_read_as_the_ancestor_read_it() {
    for (host, listened) in [
        ("", "*:443"),
        ("ssl_server_name=", "*:443"),
        ("ssl_server_name = 0.0.0.0", "*:443"),
        ("ssl_server_name: 127.0.0.1", "127.0.0.1:443"),
        (
            "ssl_server_name = 10.0.0.1\r\nssl_server_name = 127.0.0.1 # last",
            "127.0.0.1:443",
        ),
    ] {
        let text = TUNNEL_LEAST.replace("[main]\n", &format!("[main]\n{host}\n"));
        let (config, _) = converted(&text, Source::Tunnel);
        assert_eq!(config.listeners[0].address, address(listened), "{host}");
        assert_eq!(config.shards.count, None);
    }
    let text = TUNNEL_LEAST.replace("=c\n", "=\"a \\ \u{1b} b.pem\"\n");
    let (config, _) = converted(&text, Source::Tunnel);
    assert_eq!(cert(&config), Path::new("/etc/a \\ \u{1b} b.pem"));
    let text = TUNNEL_LEAST.replace("[ssl]", "thread_count = 0\nbuffer_size = 99999999\n[ssl]");
    let (config, conversion) = converted(&text, Source::Tunnel);
    assert_eq!(config.shards.count.map(usize::from), Some(1));
    assert_eq!(config.buffer_size, limits::BUFFER_SIZE_MAX);
    has_note(&conversion, 5, "became 1,");
    has_note(&conversion, 6, "became \"1MiB\"");
}

#[test]
fn a_hitch_conf_becomes_the_same_front_door() {
    let (config, conversion) = converted(HITCH, Source::Hitch);
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| (listener.address.to_string(), listener.tls.clone()))
        .collect();
    let alpn: Vec<String> = ["h2", "http/1.1"].map(String::from).into();
    // The last one is hitch's default.
    let default = Some(ServerTls {
        alpn: alpn.clone(),
        ..ServerTls::of(
            ["/etc/hitch/default.pem", "/etc/hitch/first.pem"]
                .map(|pem| CertSource::new(pem, pem))
                .into(),
        )
    });
    assert_eq!(
        listeners,
        [
            ("*:443".into(), default.clone()),
            ("[::1]:8443".into(), default),
            (
                "192.0.2.1:9443".into(),
                Some(ServerTls {
                    sni_nomatch: SniNoMatch::Abort,
                    alpn,
                    ..ServerTls::new("/etc/hitch/other.pem", "/etc/hitch/other.key")
                })
            ),
        ]
    );
    for listener in &config.listeners {
        assert_eq!(listener.backlog, 1024);
        let service = &config.services[listener.service];
        let header = service.proxy_protocol.as_ref().expect("write-proxy-v2");
        assert_eq!(header.version, ProxyVersion::Two);
        let backends = &service.backends;
        assert_eq!(backends.len(), 1);
        assert_eq!(backends[0].address, address("127.0.0.1:6086"));
    }
    assert_eq!(config.shards.count.map(usize::from), Some(4));
    assert_eq!(config.timeouts.handshake, Duration::from_secs(30));
    assert_eq!(config.timeouts.connect, Duration::from_secs(90));
    assert_eq!(config.log.level, log::LevelFilter::Error);
    let LogSink::Syslog(syslog) = &config.log.sink else {
        panic!("{:?}", config.log);
    };
    assert_eq!(syslog.facility, SyslogFacility::Local3);
    let rights = &config.privileges;
    assert_eq!(rights.user.as_deref(), Some("hitch"));
    assert_eq!(rights.group.as_deref(), Some("hitch"));
    assert_eq!(rights.chroot, None);

    names_every_line(&conversion, HITCH, &['#']);
    for (line, words) in [
        (22, "foreground"),
        (27, "none of these is the name of a cipher suite"),
        (31, "keepalive"),
        (38, "fetches no OCSP responses"),
    ] {
        has_note(&conversion, line, words);
    }
    // What adit does anyway is a comment, and no note.
    for line in [26, 28, 37] {
        let text = HITCH.lines().nth(line - 1).expect("a line");
        assert!(
            conversion
                .ron
                .contains(&format!("//   line {line}: {text}\n"))
        );
        assert!(!conversion.notes.iter().any(|note| note.line == line));
    }
}

#[test]
fn hitch_defaults_and_short_forms_are_read() {
    let (config, _) = converted(HITCH_LEAST, Source::Hitch);
    assert_eq!(config.listeners[0].address, address("*:8443"));
    assert_eq!(
        config.services[0].backends[0].address,
        address("127.0.0.1:8000")
    );
    assert_eq!(config.log.sink, LogSink::Stderr);

    let file = format!("{HITCH_LEAST}\nlog-filename = \"/var/log/hitch.log\"\n");
    let (config, _) = converted(&file, Source::Hitch);
    assert_eq!(config.log.sink, LogSink::File("/var/log/hitch.log".into()));
    let both = format!("{file}syslog = on\n");
    let (config, conversion) = converted(&both, Source::Hitch);
    assert!(matches!(config.log.sink, LogSink::Syslog(_)));
    let notes = &conversion.notes;
    assert!(notes.iter().any(|note| note.text.contains("to one place")));

    let (config, conversion) = converted(
        "pem-file = \"a.pem\"\nuser = \"u\" chroot = \"/jail\"",
        Source::Hitch,
    );
    assert_eq!(config.privileges.user.as_deref(), Some("u"));
    assert_eq!(config.privileges.chroot, Some("/jail".into()));
    assert_eq!(conversion.notes.len(), 0, "{:?}", conversion.notes);
    let (config, conversion) = converted(
        "pem-file = \"a.pem\"\ngroup = \"g\"\nchroot = \"\"",
        Source::Hitch,
    );
    assert_eq!(config.privileges.group, None);
    has_note(&conversion, 2, "with a user alone");

    let (config, conversion) = converted(
        "frontend=\"[*]:443+/etc/own.pem\" backend = \"/run/app.sock\" workers = auto\n\
         tls-protos = TLSv1.1 TLSv1.2 quiet = YES syslog-facility = local0",
        Source::Hitch,
    );
    assert_eq!(cert(&config), Path::new("/etc/own.pem"));
    assert_eq!(
        config.services[0].backends[0].address,
        address("unix:/run/app.sock")
    );
    assert_eq!(config.shards.count, None);
    assert_eq!(config.log.level, log::LevelFilter::Error);
    has_note(&conversion, 2, "versions before TLS 1.2 are broken");
    let policy = config.listeners[0].tls.as_ref().map(|tls| &tls.policy);
    assert_eq!(policy.map(|p| p.max), Some(TlsVersion::Tls12));
    has_note(&conversion, 2, "syslog is not on");

    let (config, conversion) = converted(
        &format!(
            "{HITCH_LEAST}syslog = on\nsyslog-facility = \"mail\"\nbackend-connect-timeout = 0"
        ),
        Source::Hitch,
    );
    assert_eq!(config.timeouts.connect, limits::CONNECT_TIMEOUT);
    has_note(&conversion, 3, "became Daemon");
    has_note(&conversion, 4, "always has this limit");
}

#[test]
fn what_hitch_is_told_of_tls_becomes_settings() {
    let (config, conversion) = converted(
        "frontend = { host = \"*\" port = \"443\" tls-protos = TLSv1.3 client-verify = none }
         frontend = {
             host = \"*\"
             port = \"444\"
             pem-file = { cert = \"own.pem\" private-key = \"own.key\" ocsp-resp-file = \"own.der\" }
             match-global-certs = on
             sni-nomatch-abort = off
         }
         pem-dir = \"certs\"
         ciphers = \"ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA\"
         ciphersuites = \"TLS_AES_128_GCM_SHA256\"
         ecdh-curve = \"X25519:prime256v1:secp521r1\"
         sni-nomatch-abort = on
         client-verify = optional
         client-verify-ca = \"ca.pem\"\n",
        Source::Hitch,
    );
    let [new, old] = &config.listeners[..] else {
        panic!("{config:?}");
    };
    let (new, old) = (
        new.tls.as_ref().expect("TLS"),
        old.tls.as_ref().expect("TLS"),
    );
    let folder = CertSource::new("/etc/certs/", "/etc/certs/");
    assert_eq!(new.certs, std::slice::from_ref(&folder));
    assert_eq!(
        old.certs,
        [
            CertSource {
                ocsp: Some("/etc/own.der".into()),
                ..CertSource::new("/etc/own.pem", "/etc/own.key")
            },
            folder
        ]
    );
    let groups = Some(vec![NamedGroup::X25519, NamedGroup::secp256r1]);
    assert_eq!(
        new.policy,
        TlsPolicy {
            min: TlsVersion::Tls13,
            max: TlsVersion::Tls13,
            ciphers: Some(vec![CipherSuite::TLS13_AES_128_GCM_SHA256]),
            groups: groups.clone(),
        }
    );
    assert_eq!(
        old.policy,
        TlsPolicy {
            ciphers: Some(vec![
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ]),
            groups,
            ..TlsPolicy::default()
        }
    );
    // A frontend's own word wins over that for all.
    assert_eq!(new.sni_nomatch, SniNoMatch::Abort);
    assert_eq!(old.sni_nomatch, SniNoMatch::Default);
    assert_eq!(new.client_verify, None);
    assert_eq!(
        old.client_verify,
        Some(ClientVerify {
            required: false,
            ca: "/etc/ca.pem".into(),
            crls: Vec::new(),
            allow: Vec::new(),
        })
    );
    has_note(&conversion, 10, "AES128-SHA left out");
    has_note(&conversion, 12, "secp521r1 left out");
    // One half of the suites says nothing of the other.
    let (config, _) = converted(
        &format!("{HITCH_LEAST}ciphersuites = \"TLS_AES_128_GCM_SHA256\"\n"),
        Source::Hitch,
    );
    let tls = config.listeners[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.policy.ciphers.as_ref().map(Vec::len), Some(7));
}

#[test]
fn what_hitch_tells_backends_of_the_client_is_told() {
    use ProxyTlv::{Alpn, Authority, Ssl};
    let header = |version, tlvs: &[ProxyTlv]| {
        let tlvs = tlvs.to_vec();
        Some(ProxyHeader { version, tlvs })
    };
    let (one, two) = (ProxyVersion::One, ProxyVersion::Two);
    for (lines, wanted) in [
        ("", None),
        ("write-proxy-v2 = off proxy-tlv = on", None),
        ("write-proxy-v1 = on proxy-authority = on", header(one, &[])),
        ("write-proxy = on", header(two, &[Alpn, Authority, Ssl])),
        (
            "proxy-tlv = on write-proxy-v2 = on",
            header(two, &[Alpn, Authority, Ssl]),
        ),
        (
            "write-proxy-v2 = on\nproxy-tlv = off",
            header(two, &[Alpn, Authority]),
        ),
        (
            "proxy-authority = \"off\"\nwrite-proxy-v2 = on\nproxy-tlv = off proxy-client-cert = off",
            header(two, &[Alpn]),
        ),
    ] {
        let text = format!("{HITCH_LEAST}{lines}\n");
        let (config, conversion) = converted(&text, Source::Hitch);
        assert_eq!(config.services[0].proxy_protocol, wanted, "{lines}");
        assert_eq!(config.listeners[0].proxy_from, []);
        assert_eq!(conversion.notes, [], "{lines}");
        for line in lines.lines().filter(|line| line.matches('=').count() == 1) {
            assert!(
                conversion.ron.contains(line),
                "{line} not in\n{}",
                conversion.ron
            );
        }
    }
    let (config, conversion) = converted(
        &format!("{HITCH_LEAST}write-proxy-v2 = on\nproxy-client-cert = on\n"),
        Source::Hitch,
    );
    let tlvs = [Alpn, Authority, Ssl];
    assert_eq!(config.services[0].proxy_protocol, header(two, &tlvs));
    has_note(&conversion, 3, "Ssl, among the tlvs of proxy_protocol");

    let (config, conversion) =
        converted(&format!("{HITCH_LEAST}proxy-proxy = on\n"), Source::Hitch);
    assert_eq!(config.services[0].proxy_protocol, header(two, &[]));
    let from: NetworkSet = config.listeners[0].proxy_from.iter().collect();
    for anybody in ["192.0.2.1", "2001:db8::1"] {
        assert!(from.contains(anybody.parse().expect("an address")));
    }
    has_note(&conversion, 2, "proxy_from");

    let (_, conversion) = converted(
        &format!("{HITCH_LEAST}write-proxy = on\nwrite-proxy-v2 = off\nwrite-ip = on\n"),
        Source::Hitch,
    );
    has_note(&conversion, 2, "a later line sets it again");
    has_note(&conversion, 4, "proxy_protocol");
}

#[test]
fn what_hitch_asks_of_tcp_and_of_names_is_asked() {
    let (config, conversion) = converted(
        &format!("{HITCH_LEAST}tcp-fastopen = on\nbackend-refresh = 90\n"),
        Source::Hitch,
    );
    assert!(config.listeners[0].tcp.fast_open);
    assert!(!config.services[0].tcp.fast_open);
    assert_eq!(config.services[0].resolve, Some(Duration::from_secs(90)));
    assert_eq!(conversion.notes, []);
    let (config, conversion) = converted(
        &format!("{HITCH_LEAST}backend-refresh = 0\ntcp-fastopen = off\n"),
        Source::Hitch,
    );
    assert_eq!(config.services[0].resolve, None);
    assert!(!config.listeners[0].tcp.fast_open);
    has_note(&conversion, 2, "resolve in the service");
}

#[test]
fn of_repeated_hitch_keys_the_last_counts() {
    let (config, conversion) = converted(
        &format!(
            "{HITCH_LEAST}workers = 2\nworkers = 3\nquiet = on\nlog-level = 2\nsyslog = off\n"
        ),
        Source::Hitch,
    );
    assert_eq!(config.shards.count.map(usize::from), Some(3));
    assert_eq!(config.log.level, log::LevelFilter::Info);
    has_note(&conversion, 2, "a later line sets it again");
    has_note(&conversion, 4, "log-level says it already");
    assert!(conversion.ron.contains("line 6: syslog = off"));
}

#[test]
fn what_cannot_be_converted_is_said_with_its_place() {
    use Source::{Hitch, Tunnel};
    let tunnel = |from: &str, to: &str| {
        assert!(TUNNEL_LEAST.contains(from), "{from}");
        TUNNEL_LEAST.replace(from, to)
    };
    let mut wrong = Vec::new();
    for (source, text, line, column, said) in [
        (
            Tunnel,
            String::new(),
            1,
            1,
            "\"ssl_server_port\" is missing",
        ),
        (Tunnel, "[main\n".into(), 1, 1, "write ] after it"),
        (Tunnel, "[main]\n  port\n".into(), 2, 3, "write key = value"),
        (Tunnel, "[main]\n = 5\n".into(), 2, 2, "no key"),
        (Tunnel, tunnel("[ssl]", "[ssl"), 5, 1, "write ] after it"),
        (
            Tunnel,
            tunnel("destination_port", "destinaton_port"),
            4,
            1,
            "did you mean destination_port?",
        ),
        (
            Tunnel,
            tunnel("[ssl]", "[tls]"),
            6,
            1,
            "stands in the section [ssl], not in [tls]",
        ),
        (
            Tunnel,
            tunnel("[main]\n", ""),
            1,
            1,
            "not before every section",
        ),
        (
            Tunnel,
            tunnel("=443", "= 66000"),
            2,
            18,
            "not a number from 0 to 65535",
        ),
        (
            Tunnel,
            tunnel("=80\n", "=http\n"),
            4,
            18,
            "not service names",
        ),
        (Tunnel, tunnel("=80\n", "=0\n"), 4, 18, "no port 0"),
        (
            Tunnel,
            tunnel("name=b", "name=*"),
            3,
            18,
            "cannot be every address",
        ),
        (Tunnel, tunnel("name=b", "name=a b"), 3, 18, "no host name"),
        (Tunnel, tunnel("=c\n", "=\n"), 6, 18, "the path is empty"),
        (
            Tunnel,
            tunnel("[ssl]", "thread_count = many\n[ssl]"),
            5,
            16,
            "no whole number",
        ),
        (Hitch, String::new(), 1, 1, "without a pem-file"),
        (
            Hitch,
            "pem-file = \"certs/\"".into(),
            1,
            12,
            "write pem-dir",
        ),
        (
            Hitch,
            format!("{HITCH_LEAST}client-verify = required"),
            2,
            1,
            "add client-verify-ca",
        ),
        (
            Hitch,
            format!("{HITCH_LEAST}client-verify = yes"),
            2,
            17,
            "write none, optional or required",
        ),
        (
            Hitch,
            format!("{HITCH_LEAST}alpn-protos = \"{}\"", "a".repeat(256)),
            2,
            15,
            "longer than 255 bytes",
        ),
        (
            Hitch,
            "frontend = { cipers = \"x\" }".into(),
            1,
            14,
            "did you mean ciphers?",
        ),
        (Hitch, "backlog".into(), 1, 1, "no value"),
        (Hitch, "backlog =".into(), 1, 1, "no value"),
        (Hitch, "\"x\" = 1".into(), 1, 1, "a key should stand here"),
        (Hitch, "}".into(), 1, 1, "closes no block"),
        (
            Hitch,
            "frontend = {\n host = \"*\"".into(),
            1,
            12,
            "this block has no end",
        ),
        (
            Hitch,
            "frontend = {\n host = \"*\" }".into(),
            1,
            1,
            "has no port",
        ),
        (Hitch, "pem-file = \"a".into(), 1, 12, "no end on its line"),
        (Hitch, "pem-file = \"\"".into(), 1, 12, "the path is empty"),
        (
            Hitch,
            "pem-file = { private-key = \"k\" }".into(),
            1,
            1,
            "has no cert",
        ),
        (Hitch, "workers = { a = 1 }".into(), 1, 1, "takes no block"),
        (Hitch, "workers = -1".into(), 1, 11, "no whole number"),
        (
            Hitch,
            "frontend = \"443\"".into(),
            1,
            12,
            "write [HOST]:PORT",
        ),
        (
            Hitch,
            "frontend = \"[*]:99999\"".into(),
            1,
            12,
            "not a number from 0",
        ),
        (
            Hitch,
            "frontend = { port = \"x\" host = \"*\" }".into(),
            1,
            21,
            "not a number",
        ),
        (
            Hitch,
            "backend = \"[*]:80\"".into(),
            1,
            11,
            "cannot be every address",
        ),
        (
            Hitch,
            "\n  backnd = \"[b]:80\"".into(),
            2,
            3,
            "did you mean backend?",
        ),
        (
            Hitch,
            "frontend = { prot = \"443\" }".into(),
            1,
            14,
            "did you mean port?",
        ),
        (Hitch, "syslog = maybe".into(), 1, 10, "neither on nor off"),
        (Hitch, "log-level = 7".into(), 1, 13, "write 0, 1 or 2"),
        (
            Hitch,
            "tls-protos = \"TLSv9\"".into(),
            1,
            14,
            "unknown protocol",
        ),
        (
            Hitch,
            "pem-file = \"a\" frontend = \"[*]:443\" frontend = \"[::1]:443\"".into(),
            1,
            37,
            "[::1]:443 conflicts with *:443 of an earlier",
        ),
        (
            Hitch,
            format!("{HITCH_LEAST}write-proxy-v1 = on\nproxy-proxy = on"),
            3,
            1,
            "hitch takes one of",
        ),
        (Hitch, "a = {".repeat(100_000), 1, 15, "nested deeper"),
    ] {
        let error = refused(&text, source);
        let place = (error.line(), error.column());
        let shown = error.to_string();
        if place != (Some(line), Some(column)) || !shown.contains(said) {
            wrong.push(format!("wanted {line}:{column} {said}\n{shown}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_is_known_by_its_name_or_its_text() {
    for (name, text, source) in [
        ("/etc/tunnel.ini", "", Some(Source::Tunnel)),
        ("/etc/hitch/hitch.conf", "", Some(Source::Hitch)),
        (
            "/etc/hitch/x.conf",
            "workers = 4\nbackend = \"[b]:80\"",
            Some(Source::Hitch),
        ),
        ("old", TUNNEL, Some(Source::Tunnel)),
        ("old", HITCH, Some(Source::Hitch)),
        ("nginx.conf", "http {\n listen 80;\n}", None),
    ] {
        assert_eq!(detect(name, text), source, "{name}");
    }
}

/// Damage ends in a conversion that can be read, or in an error with a place.
#[test]
fn a_damaged_file_never_panics() {
    let mut rng = fastrand::Rng::with_seed(0xc0_4e17);
    let scraps = [
        "{", "}", "=", "\"", "[", "]", "#", ";", ":", "\n", "\0", "é", "\u{1b}", " ",
    ];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3000 {
        for (text, source) in [(TUNNEL, Source::Tunnel), (HITCH, Source::Hitch)] {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..rng.usize(1..=3) {
                let at = rng.usize(..bytes.len());
                let end = bytes.len().min(at + rng.usize(1..=8));
                match rng.u8(..3) {
                    0 => drop(bytes.drain(at..end)),
                    1 => bytes[at] = rng.u8(32..127),
                    _ => {
                        let scrap = rng.choice(scraps).unwrap_or_default().bytes();
                        bytes.splice(at..at, scrap).for_each(drop);
                    }
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            match convert(&text, "old.conf", source) {
                Ok(conversion) => {
                    good += 1;
                    Config::from_ron(&conversion.ron, "adit.ron").expect("it was read back");
                }
                Err(error) => {
                    bad += 1;
                    assert!(error.line().is_some(), "{error}");
                    // It is the operator's own file that is pointed into.
                    assert_eq!(error.file(), Path::new("old.conf"), "{error}\n{text}");
                }
            }
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}
