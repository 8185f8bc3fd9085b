//! Sessions across servers: one file of ticket keys, read by several, and
//! rotated while they run.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use support::adit::{Adit, Setup};
use support::backend::{self, Backend};
use support::certificate::Certificate;
use support::client::{self, Client, End};
use support::tools::has;
use tempfile::TempDir;

/// Servers that show one certificate and read one file of keys.
struct Fleet {
    folder: TempDir,
    certificate: Certificate,
    backend: Backend<()>,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            certificate: Certificate::make(folder.path()),
            backend: backend::echo(),
            folder,
        }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("tickets")
    }

    fn server(&self, setup: Setup) -> Adit {
        let folder = tempfile::tempdir().expect("a folder");
        setup.start_in(folder, self.certificate.clone())
    }

    fn member(&self) -> Adit {
        let keys = format!("ticket_keys: {:?}", self.keys());
        self.server(
            Setup::new(self.backend.address())
                .shards(2)
                .tls_setting(&keys),
        )
    }

    fn client(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        Arc::new(client::config(&self.certificate, &[version]))
    }
}

/// Says something and hears it, so that tickets have come; gives whether the
/// session was resumed.
#[track_caller]
fn visit(server: &Adit, config: &Arc<ClientConfig>) -> bool {
    let client = Client::connect_with(server, config).expect("a handshake");
    client.send(b"hello").expect("sent");
    assert_eq!(client.receive_exact(5), b"hello");
    let resumed = client.resumed();
    client.close_notify();
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    resumed
}

fn adit(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

#[track_caller]
fn succeeds(words: &[&str]) -> String {
    let output = adit(words);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {err}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn refused(words: &[&str], parts: &[&str]) {
    let output = adit(words);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {err}");
    for part in parts {
        assert!(err.contains(part), "{part:?} not in {err}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[track_caller]
fn reload(server: &Adit) {
    let socket = server.folder().join("admin.sock");
    succeeds(&["reload", "--admin", text(&socket)]);
}

#[test]
fn a_session_resumes_elsewhere_and_after_two_rotations_but_not_after_three() {
    for (words, version) in [
        (vec![], &rustls::version::TLS13),
        (vec!["--bytes", "48"], &rustls::version::TLS12),
        (vec!["--binary", "--keys", "3"], &rustls::version::TLS13),
        (vec!["--binary", "--bytes", "48"], &rustls::version::TLS13),
    ] {
        let fleet = Fleet::new();
        let keys = fleet.keys();
        succeeds(&[&["ticket-keys", "new", text(&keys)], words.as_slice()].concat());
        let (one, other) = (fleet.member(), fleet.member());
        let clients: Vec<_> = (0..4).map(|_| fleet.client(version)).collect();
        for client in &clients {
            assert!(!visit(&one, client), "a session out of nowhere");
        }
        for (rotations, client) in clients.iter().enumerate() {
            if rotations > 0 {
                succeeds(&["ticket-keys", "rotate", text(&keys)]);
                reload(&other);
            }
            assert_eq!(
                visit(&other, client),
                rotations < 3,
                "{words:?}, {rotations}"
            );
            // What was made with the newest key resumes in any case.
            assert!(visit(&other, client));
        }
        // The first server has the old keys still, and gets the new ones.
        let client = fleet.client(version);
        visit(&other, &client);
        reload(&one);
        assert!(visit(&one, &client));
    }
}

#[test]
fn running_servers_see_a_rotation_by_themselves() {
    let fleet = Fleet::new();
    let keys = fleet.keys();
    succeeds(&["ticket-keys", "new", text(&keys)]);
    let file = fleet.folder.path().join("adit.ron");
    let ron = format!(
        "(listeners: [(address: \"127.0.0.1:0\", backend: \"{}\", tls: (cert: {:?}, key: {:?}, \
         ticket_keys: \"tickets\"))], shards: 1, admin: \"a.sock\")",
        fleet.backend.address(),
        fleet.certificate.cert,
        fleet.certificate.key
    );
    fs::write(&file, ron).expect("the configuration");
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["run", "-c", text(&file)])
        .args(support::same_rights())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let socket = fleet.folder.path().join("a.sock");
    let stats = || -> Option<adit::metrics::Stats> {
        let address = adit::config::Address::Unix(socket.clone());
        let answer = adit::http::client::get(&address, "/stats", support::PATIENCE).ok()?;
        serde_json::from_slice(&answer.body).ok()
    };
    support::wait_for("the server", stats);
    succeeds(&["ticket-keys", "rotate", text(&keys)]);
    let seen = support::wait_for("the reload", || stats().filter(|s| s.reloads > 0));
    assert_eq!((seen.reloads, seen.reloads_failed), (1, 0));
    child.kill().expect("killed");
    child.wait().expect("its end");
}

#[test]
fn openssl_resumes_elsewhere() {
    if !has("openssl", "version") {
        return;
    }
    let fleet = Fleet::new();
    succeeds(&["ticket-keys", "new", text(&fleet.keys())]);
    let source = backend::source(10);
    let keys = format!("ticket_keys: {:?}", fleet.keys());
    let server = || fleet.server(Setup::new(source.address()).tls_setting(&keys));
    let (one, other) = (server(), server());
    let session = fleet.folder.path().join("session");
    for version in ["-tls1_3", "-tls1_2"] {
        let connect = |server: &Adit, option: &str| {
            let output = Command::new("timeout")
                .args(["-k", "1", "20", "openssl", "s_client", version, "-ign_eof"])
                .args(["-servername", "localhost", "-connect"])
                .arg(server.address().to_string())
                .arg(option)
                .arg(&session)
                .stdin(Stdio::null())
                .output()
                .expect("openssl");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let first = connect(&one, "-sess_out");
        assert!(first.contains("New, TLSv1."), "{first}");
        assert!(first.contains("ticket lifetime hint: 43200"), "{first}");
        let second = connect(&other, "-sess_in");
        assert!(second.contains("Reused, TLSv1."), "{second}");
        // And no other server's.
        let stranger = fleet.server(Setup::new(source.address()));
        let third = connect(&stranger, "-sess_in");
        assert!(third.contains("New, TLSv1."), "{third}");
    }
}

#[test]
fn a_lifetime_is_the_listeners_own() {
    if !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let source = backend::source(10);
    let mut tls = adit::config::ServerTls::new(&certificate.cert, &certificate.key);
    tls.tickets.lifetime = Duration::from_secs(77);
    let backend = source.address().to_string().parse().expect("an address");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut config = adit::Config::single(listen, tls, backend);
    config.shards.count = NonZeroUsize::new(1);
    let server = adit::Server::new(config).expect("a server");
    let address = server.listeners()[0].address.clone();
    let _running = server.start().expect("running");
    let output = Command::new("timeout")
        .args(["-k", "1", "20", "openssl", "s_client", "-ign_eof"])
        .args(["-connect", &address])
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("ticket lifetime hint: 77 "), "{out}");
}

/// Gives out these bytes as tickets.
#[derive(Debug)]
struct Forged(Vec<u8>);

impl ProducesTickets for Forged {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Serves one client that comes for tickets.
fn forge(listener: &TcpListener, certificate: &Certificate, ticket: Vec<u8>) {
    let mut config = accepting(certificate);
    config.ticketer = Arc::new(Forged(ticket));
    greet(listener, config);
}

fn accepting(certificate: &Certificate) -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(&certificate.cert).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration")
}

/// Says `!` to one client.
fn greet(listener: &TcpListener, config: ServerConfig) {
    let mut tls = ServerConnection::new(Arc::new(config)).expect("a connection");
    let (mut tcp, _): (TcpStream, _) = listener.accept().expect("a client");
    std::io::Write::write_all(&mut tls.writer(), b"!").expect("memory");
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut tcp).expect("a handshake");
    }
    // Until the client has gone.
    let _ = tls.complete_io(&mut tcp);
}

#[test]
fn what_is_no_ticket_of_ours_makes_a_full_handshake() {
    let fleet = Fleet::new();
    let keys = fleet.keys();
    succeeds(&["ticket-keys", "new", text(&keys), "--keys", "1", "--binary"]);
    let name = fs::read(&keys).expect("the keys")[..16].to_vec();
    let member = fleet.member();
    let stranger = fleet.server(Setup::new(fleet.backend.address()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let noise = support::pattern::bytes(4000);
    let mut forgeries = vec![vec![0], name.clone(), noise.clone(), noise[..64].to_vec()];
    for version in [0, 1, 2] {
        for rest in [0, 11, 12, 27, 28, 36, 37, 200] {
            forgeries.push([&name[..], &[version], &noise[..rest]].concat());
        }
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for forged in &forgeries {
            let client = fleet.client(version);
            std::thread::scope(|scope| {
                scope.spawn(|| forge(&listener, &fleet.certificate, forged.clone()));
                let address = listener.local_addr().expect("an address");
                let visitor = Client::shake(client::tcp(address), &client).expect("a handshake");
                assert_eq!(visitor.receive_exact(1), b"!");
            });
            assert!(!visit(&member, &client));
            assert!(
                visit(&member, &client),
                "its own tickets are as good as ever"
            );
        }
        // Another server's, that has other keys.
        let client = fleet.client(version);
        visit(&stranger, &client);
        assert!(!visit(&member, &client));
    }
}

/// Early data is not taken, from nobody; but who has a ticket of another server
/// that takes it, under the same name, is served all the same (RFC 8446,
/// section 4.2.10).
#[test]
fn early_data_is_passed_over() {
    const EARLY: usize = 16_000;
    let fleet = Fleet::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let with = fleet.server(Setup::new(fleet.backend.address()));
    let without = fleet.server(Setup::new(fleet.backend.address()).tls_setting("tickets: 0"));
    for server in [&with, &without] {
        // All at once, and in many segments.
        for size in [usize::MAX, 1000] {
            let mut config = client::config(&fleet.certificate, &[&rustls::version::TLS13]);
            config.enable_early_data = true;
            let config = Arc::new(config);
            let mut other = accepting(&fleet.certificate);
            other.max_early_data_size = EARLY as u32;
            other.send_tls13_tickets = 1;
            std::thread::scope(|scope| {
                scope.spawn(|| greet(&listener, other));
                let address = listener.local_addr().expect("an address");
                let visitor = Client::shake(client::tcp(address), &config).expect("a handshake");
                assert_eq!(visitor.receive_exact(1), b"!");
            });
            let visitor = Client::begin(client::tcp(server.address()), &config);
            let early = visitor.with(|tls| {
                let mut early = tls.early_data().expect("a ticket for it");
                std::io::Write::write(&mut early, &[b'e'; EARLY]).expect("memory")
            });
            assert_eq!(early, EARLY);
            for part in visitor.sealed().chunks(size) {
                visitor.send_raw(part).expect("sent");
            }
            visitor.finish_handshake().expect("a handshake");
            assert!(!visitor.with(|tls| tls.is_early_data_accepted()));
            visitor.send(b"hello").expect("sent");
            assert_eq!(visitor.receive_exact(5), b"hello", "in parts of {size}");
            // Nor does a ticket of ours allow any.
            visitor.close_notify();
            assert_eq!(visitor.receive_all(), (vec![], End::CloseNotify));
            let again = Client::begin(client::tcp(server.address()), &config);
            assert!(again.with(|tls| tls.early_data().is_none()));
        }
    }
}

#[test]
fn files_of_keys_are_made_private_and_rotated_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (file, link) = (at("keys"), at("link"));
    let mode = || fs::metadata(&file).expect("the file").mode() & 0o7777;
    let shown = || succeeds(&["ticket-keys", "show", text(&file)]);

    let out = succeeds(&["ticket-keys", "new", text(&file)]);
    assert!(out.contains("3 keys"), "{out}");
    assert_eq!(mode(), 0o600);
    let before = fs::read_to_string(&file).expect("text");
    assert_eq!(before.lines().count(), 3);
    refused(
        &["ticket-keys", "new", text(&file)],
        &[text(&file), "rotate"],
    );
    assert_eq!(fs::read_to_string(&file).expect("text"), before);

    // Through a link, with its comment and its mode.
    fs::write(&file, format!("# ours\n{before}")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("keys", &link).expect("a link");
    let listed = shown();
    succeeds(&["ticket-keys", "rotate", text(&link)]);
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert_eq!(mode(), 0o640);
    let after = fs::read_to_string(&file).expect("text");
    let lines: Vec<&str> = after.lines().collect();
    assert_eq!(lines[0], "# ours");
    assert_eq!(lines[1..3], before.lines().collect::<Vec<_>>()[1..]);
    assert!(!before.contains(lines[3]) && lines.len() == 4);
    let now = shown();
    assert_ne!(listed, now);
    for line in after.lines().skip(1) {
        assert!(!now.contains(line) && !now.contains(&line[..20]), "{now}");
    }

    let out = succeeds(&["ticket-keys", "rotate", text(&file), "--keep", "1"]);
    assert!(out.contains("1 key,") && out.contains("3 retired"), "{out}");
    // A single key, as nginx has it, gets others beside it.
    let out = succeeds(&["ticket-keys", "rotate", text(&file)]);
    assert!(
        out.contains("2 keys,") && out.contains("0 retired"),
        "{out}"
    );
    // Nothing is left behind.
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);

    fs::write(&file, "garbage\n").expect("written");
    refused(
        &["ticket-keys", "rotate", text(&file)],
        &["keys:1:", "base64"],
    );
    assert_eq!(fs::read(&file).expect("there"), b"garbage\n");
    refused(
        &["ticket-keys", "rotate", text(&at("no"))],
        &["cannot be read"],
    );
    refused(
        &["ticket-keys", "new", text(&at("x")), "--bytes", "64"],
        &["48 or 80"],
    );
    refused(
        &["ticket-keys", "new", text(&at("x")), "--keys", "0"],
        &["from 1"],
    );
    let other = at("x");
    let five = [
        "ticket-keys",
        "new",
        text(&other),
        "--keys",
        "5",
        "--bytes",
        "48",
        "--binary",
    ];
    refused(&five, &["base64"]);
    assert!(!other.exists());
}

#[test]
fn a_bad_file_of_keys_keeps_a_server_from_starting_and_a_loose_one_is_warned_of() {
    let fleet = Fleet::new();
    let keys = fleet.keys();
    succeeds(&["ticket-keys", "new", text(&keys)]);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).expect("a mode");
    let server = fleet.member();
    server.log().wait("chmod 600");
    server.log().wait("serving with");

    let good = fs::read_to_string(&keys).expect("text");
    fs::write(&keys, format!("{good}oops\n")).expect("written");
    let socket = server.folder().join("admin.sock");
    let output = adit(&["reload", "--admin", text(&socket)]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("tickets:4: "), "{err}");
    assert!(!err.contains("oops"), "{err}");
    assert_eq!(server.stats().reloads_failed, 1);
    // Sessions go on.
    let client = fleet.client(&rustls::version::TLS13);
    visit(&server, &client);
    assert!(visit(&server, &client));
}
