//! Where lines go: real receivers, and those that do not receive.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use adit::Server;
use adit::config::{AccessFormat, JournaldSink, LogSink, SyslogSink};

use crate::support::adit::Setup;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::place::Place;
use crate::support::{PATIENCE, backend, wait_for};
use crate::{config, json, trust, visit, wait_lines};

fn daemon(path: &std::path::Path) -> UnixDatagram {
    let daemon = UnixDatagram::bind(path).expect("a socket");
    daemon.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    daemon
}

fn receive(daemon: &UnixDatagram) -> Vec<u8> {
    let mut packet = vec![0; 65_536];
    let length = loop {
        match daemon.recv(&mut packet) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => break received.expect("a packet"),
        }
    };
    packet.truncate(length);
    packet
}

/// The fields of an entry, as the journal reads them.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|b| *b == b'\n').expect("a newline");
        let (line, rest) = entry.split_at(end);
        match line.iter().position(|b| *b == b'=') {
            Some(at) => {
                fields.insert(text(&line[..at]), text(&line[at + 1..]));
                entry = &rest[1..];
            }
            None => {
                let length = u64::from_le_bytes(rest[1..9].try_into().expect("eight")) as usize;
                fields.insert(text(line), text(&rest[9..9 + length]));
                entry = &rest[9 + length + 1..];
            }
        }
    }
    fields
}

#[test]
fn a_file_is_made_with_mode_0640_and_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    std::fs::write(&file, "what was there\n").expect("written");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &file);
    let place = Place::start(config.clone());
    visit(place.address, &trust(&certificate));
    assert_eq!(wait_lines(&file, 2)[0], "what was there");

    let fresh = folder.path().join("fresh.log");
    config.access_log.as_mut().expect("a log").sink = LogSink::File(fresh.clone());
    place.reload(config);
    let mode = fresh.metadata().expect("made").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o640, "{mode:o}");
}

#[test]
fn a_file_that_cannot_be_opened_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let file = folder.path().join("none/access.log");
    let bad = config(backend.address(), &certificate, &file);
    let error = Server::new(bad.clone()).expect_err("no folder").to_string();
    for part in ["access.log cannot be opened", "mkdir -p", "none"] {
        assert!(error.contains(part), "{error}");
    }
    // What is refused at a reload changes nothing.
    let good = folder.path().join("access.log");
    let good_config = config(backend.address(), &certificate, &good);
    let mut one = good_config.clone();
    one.shards.count = Some(1.try_into().expect("not zero"));
    let server = Server::new(one).expect("a server");
    let (address, handle) = (server.listeners()[0].address.clone(), server.handle());
    let running = server.start().expect("a shard");
    let mut bad = bad;
    bad.shards.count = Some(1.try_into().expect("not zero"));
    handle.reload(bad).expect_err("no folder");
    visit(address.parse().expect("an address"), &trust(&certificate));
    wait_lines(&good, 1);
    drop(running);
}

#[test]
fn what_is_queued_is_written_before_the_server_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let place = Place::start(config(backend.address(), &certificate, &file));
    let trust = trust(&certificate);
    for _ in 0..10 {
        visit(place.address, &trust);
    }
    wait_for("the ends", || {
        (place.stats().total.access_lines == 10).then_some(())
    });
    drop(place);
    assert_eq!(crate::lines(&file).len(), 10);
}

#[test]
fn a_syslog_daemon_gets_packets_that_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("log");
    let receiver = daemon(&socket);
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &socket);
    // However long the names are, the line is JSON.
    config.listeners[0].name = "\u{1}".repeat(128);
    config.services[0].name = "世".repeat(42);
    config.access_log.as_mut().expect("a log").sink = LogSink::Syslog(SyslogSink {
        socket: socket.clone(),
        ident: "adit-access".into(),
        ..SyslogSink::default()
    });
    let place = Place::start(config);
    visit(place.address, &trust(&certificate));
    let packet = String::from_utf8(receive(&receiver)).expect("text");
    // LOCAL1 and info (RFC 3164, section 4.1.1).
    let rest = packet.strip_prefix("<142>").expect("a priority");
    let tag = format!(" adit-access[{}]: ", std::process::id());
    let (_, line) = rest.split_once(&tag).expect("a tag");
    assert!(
        packet.len() <= adit::limits::LOG_LINE_MAX,
        "{}",
        packet.len()
    );
    let line = json(line);
    assert_eq!(line["cause"], "eof");
    assert!(
        line["listener"]
            .as_str()
            .is_some_and(|name| name.starts_with('\u{1}'))
    );
}

#[test]
fn the_journal_gets_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("journal");
    let receiver = daemon(&socket);
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &socket);
    // Fields of an entry end with a line: a name must not begin another.
    config.listeners[0].name = "door\nPRIORITY=0".into();
    let log = config.access_log.as_mut().expect("a log");
    log.format = AccessFormat::Text;
    log.sink = LogSink::Journald(JournaldSink {
        socket: socket.clone(),
        ident: "adit-access".into(),
    });
    let place = Place::start(config);
    visit(place.address, &trust(&certificate));
    let fields = fields(&receive(&receiver));
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "adit-access"),
        ("ADIT_ID", "0-1"),
        ("ADIT_LISTENER", "door\nPRIORITY=0"),
        ("ADIT_SNI", "localhost"),
        ("ADIT_TLS_VERSION", "TLSv1.3"),
        ("ADIT_BYTES_UP", "1"),
        ("ADIT_CAUSE", "eof"),
    ] {
        assert_eq!(
            fields.get(name).map(String::as_str),
            Some(value),
            "{name} in {fields:#?}"
        );
    }
    assert!(fields["MESSAGE"].starts_with("time=20"), "{fields:#?}");
    assert!(!fields.contains_key("ADIT_ALPN"), "none was agreed on");
}

#[test]
fn a_journal_that_is_away_costs_lines_until_it_is_there() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("access_log: (journald: (socket: \"journal\"))")
        .start();
    let trust = trust(adit.certificate());
    visit(adit.address(), &trust);
    adit.wait_stats("the loss", |stats| stats.access_lines_lost == 1);
    let line = adit.log().wait("1 access lines were lost: no daemon at");
    assert!(line.contains("WARN"), "{line}");
    let receiver = daemon(&adit.folder().join("journal"));
    visit(adit.address(), &trust);
    assert_eq!(fields(&receive(&receiver))["ADIT_ID"], "0-2");
}

#[test]
fn lines_go_to_standard_error_beside_the_log() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("access_log: (format: Json)")
        .start();
    drop(Client::connect(&adit));
    let line = adit.log().wait("\"handshake_ms\":");
    assert_eq!(json(&line)["sni"], "localhost");
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("access_log: (file: \"/dev/full\")")
        .start();
    let trust = trust(adit.certificate());
    for _ in 0..20 {
        visit(adit.address(), &trust);
    }
    let stats = adit.wait_stats("the loss", |stats| stats.access_lines_lost == 20);
    assert_eq!(stats.total.access_lines, 20);
    let warning = adit.log().wait("access lines were lost");
    assert!(
        warning.contains("WARN") && warning.contains("the disk is full"),
        "{warning}"
    );
}

/// Its queue is full after a few, and each line more takes the writer a tenth
/// of a second. The shard takes none of it.
#[test]
fn a_daemon_that_does_not_read_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("log");
    let _receiver = daemon(&socket);
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &socket);
    config.access_log.as_mut().expect("a log").sink = LogSink::Syslog(SyslogSink {
        socket: socket.clone(),
        ..SyslogSink::default()
    });
    let place = Place::start(config);
    let trust = trust(&certificate);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..300 {
        let visited = Instant::now();
        visit(place.address, &trust);
        slowest = slowest.max(visited.elapsed());
    }
    // The writer would take some 29 seconds.
    println!(
        "300 visits in {:?}, the slowest in {slowest:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let ended = Instant::now();
    drop(place);
    assert!(
        ended.elapsed() < 3 * adit::limits::LOG_FLUSH_TIMEOUT,
        "{:?}",
        ended.elapsed()
    );
}
