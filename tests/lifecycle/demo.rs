//! The demonstration: what the program does when it is told nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use adit::metrics::Stats;

use crate::program::{self, Program};
use crate::support::{tools, wait_for};

#[test]
fn without_a_word_it_serves_a_page_and_says_how_to_fetch_it() {
    if !tools::has("curl", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let Some((program, shown)) = demonstration(home) else {
        return;
    };

    // As pasted into a shell.
    let line = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("try"))
        .expect("a line to try")
        .trim();
    let page = sh(home, &format!("{line} -sS"));
    let text = String::from_utf8_lossy(&page.stdout);
    assert!(page.status.success(), "{line}: {page:?}");
    assert!(text.contains("<html") && text.contains("</html>"), "{text}");

    let json = sh(home, &format!("{line}stats.json -sS"));
    let stats: Stats = serde_json::from_slice(&json.stdout).expect("statistics");
    assert_eq!(stats.pid, program.pid());
    assert!(stats.total.handshakes >= 2, "{stats:#?}");

    // The same bytes, past the tunnel and through it.
    let plain = shown
        .split_whitespace()
        .skip_while(|word| *word != "plaintext")
        .nth(2)
        .expect("the backend's address");
    let length = 3_000_001;
    let direct = sh(home, &format!("curl -sS 'http://{plain}/bytes?n={length}'"));
    let through = sh(
        home,
        &format!(
            "{} -sS",
            line.replace("8443/", &format!("8443/bytes?n={length}"))
        ),
    );
    assert_eq!(through.stdout.len(), length, "{:?}", through.stderr);
    assert!(direct.stdout == through.stdout, "the bytes differ");
    // Not all alike, or a cut and a doubling would not be seen.
    assert!(through.stdout.windows(2).any(|pair| pair[0] != pair[1]));

    let transfer = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("transfer"))
        .expect("a line to try")
        .trim();
    let transfer = sh(home, &format!("{transfer} -sS -w '%{{size_download}}'"));
    assert_eq!(transfer.stdout, b"100000000", "{transfer:?}");

    let keys: Vec<_> = files(home)
        .into_iter()
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY")))
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mode = fs::metadata(&keys[0]).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read(&keys[0]).expect("a key");

    // A second one says what is the matter, and leaves the first alone.
    let second = program::run(home, &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("127.0.0.1:8443"), "{second:?}");
    assert!(sh(home, &format!("{line} -sS")).status.success());

    program.signal("TERM");
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");

    // The certificate is kept, so that a browser need not ask again.
    if let Some((program, _)) = demonstration(home) {
        assert_eq!(fs::read(&keys[0]).expect("a key"), key);
        assert!(sh(home, &format!("{line} -sS")).status.success());
        program.signal("INT");
        assert_eq!(program.wait().code, Some(0));
    }
}

/// Starts it, unless its port is taken on this machine; gives what it shows.
fn demonstration(home: &Path) -> Option<(Program, String)> {
    if TcpListener::bind("127.0.0.1:8443").is_err() {
        println!("passed over: port 8443 is in use");
        return None;
    }
    let mut program = Program::start(home, &[]);
    let ready = wait_for("a demonstration", || {
        let serves = program.log().contains("listening on");
        (serves || !program.is_running()).then_some(serves)
    });
    if !ready {
        let ended = program.wait();
        assert!(ended.err.contains("8443 is in use"), "{ended:?}");
        println!("passed over: port 8443 was taken meanwhile");
        return None;
    }
    let shown = program.out();
    Some((program, shown))
}

fn sh(home: &Path, line: &str) -> Output {
    program::command(home, &["sh", "-c", line])
        .output()
        .expect("a shell")
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}
