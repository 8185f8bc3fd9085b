//! To the syslog daemon, from the first line to the last.

use std::os::unix::net::UnixDatagram;

use crate::program::{self, Program, listener};
use crate::support::certificate::Certificate;
use crate::support::client::End;
use crate::support::{PATIENCE, backend};

/// LOCAL1 (RFC 3164, section 4.1.1), the default facility.
const LOCAL1: u8 = 17 * 8;
const NOTICE: u8 = 5;
const INFO: u8 = 6;

#[test]
fn start_and_stop_arrive_at_notice_and_a_connection_does_not() {
    let (lines, pid) = life("");
    let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
    for (severity, text) in &lines {
        assert_eq!(*severity, NOTICE, "{text}");
        // RFC 3164, section 5.3: the tag, the process id in brackets, a colon.
        assert!(text.contains(&format!(" adit-test[{pid}]: ")), "{text}");
    }
    assert!(texts[0].contains("listening on 127.0.0.1:"), "{texts:#?}");
    assert!(texts[texts.len() - 1].contains("stopped"), "{texts:#?}");
    for text in texts {
        assert!(!text.contains("tunnel to"), "{text}");
    }
}

#[test]
fn a_normal_connection_logs_nothing_above_info() {
    let (lines, _) = life(", level: Debug");
    let start = lines
        .iter()
        .position(|(_, text)| text.contains("serving with"));
    let stop = lines.iter().position(|(_, text)| text.contains("SIGTERM"));
    let between = &lines[start.expect("a start") + 1..stop.expect("a stop")];
    for (severity, text) in between {
        assert!(*severity >= INFO, "{text}");
    }
    // It is logged, to whoever wants to see it.
    let tunnel = between
        .iter()
        .find(|(_, text)| text.contains("relay/backend/eof"));
    assert!(tunnel.is_some(), "{lines:#?}");
}

/// Starts, carries one connection, stops; gives all lines, with severity.
#[track_caller]
fn life(syslog: &str) -> (Vec<(u8, String)>, u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let daemon = UnixDatagram::bind(folder.path().join("log")).expect("a socket");
    daemon.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let config = format!(
        "(listeners: [{}], shards: 1, log: (level: Debug, \
         syslog: (socket: \"log\", ident: \"adit-test\"{syslog})))",
        listener("127.0.0.1:0", &certificate, backend.address()),
    );
    program::configure(folder.path(), &config);
    let file = folder.path().join("adit.ron");
    let words = ["run", "--syslog", "-c", file.to_str().expect("text")];
    let program = Program::start(folder.path(), &words);
    let address = program.listeners()[0];
    let client = program::echo_at(address, &program::trust(&certificate));
    client.close_notify();
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    drop(client);
    crate::support::wait_for("the tunnel's end", || {
        (program.stats().total.tunnels_open == 0).then_some(())
    });
    let pid = program.pid();
    program.signal("TERM");
    let mut lines = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = daemon.recv(&mut buffer).expect("a line");
        let line = String::from_utf8(buffer[..n].to_vec()).expect("text");
        let (priority, text) = line
            .strip_prefix('<')
            .and_then(|line| line.split_once('>'))
            .expect("a priority");
        let priority: u8 = priority.parse().expect("a number");
        assert_eq!(priority & !7, LOCAL1, "{line}");
        lines.push((priority & 7, text.to_owned()));
        if text.contains("stopped") {
            break;
        }
    }
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "", "what syslog has is not said twice");
    (lines, pid)
}
