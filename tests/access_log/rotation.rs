//! Files that are renamed under load, and opened anew at SIGUSR1.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::adit::Setup;
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::{backend, wait_for};
use crate::{json, lines, trust, visit, wait_lines};

const CLIENTS: usize = 6;
const ROTATIONS: usize = 8;

#[test]
fn no_line_is_lost_or_cut_when_files_are_rotated_under_load() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .shards(2)
        .setting("access_log: (format: Json, file: \"access.log\")")
        .setting("log: (level: Debug, file: \"adit.log\")")
        .start_logging_to("adit.log");
    let file = |name: String| adit.folder().join(name);
    let trust = trust(adit.certificate());
    let (stop, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    visit(adit.address(), &trust);
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for rotation in 0..ROTATIONS {
            let due = (rotation + 1) * 40;
            wait_for("some visits", || {
                (visits.load(Ordering::Relaxed) >= due).then_some(())
            });
            for name in ["access.log", "adit.log"] {
                fs::rename(file(name.into()), file(format!("{name}.{rotation}"))).expect("renamed");
            }
            adit.signal("USR1");
            for name in ["access.log", "adit.log"] {
                wait_for("the new file", || file(name.into()).exists().then_some(()));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let visits = visits.load(Ordering::Relaxed);
    adit.wait_stats("every end", |stats| {
        stats.total.access_lines == visits as u64 && stats.total.tunnels_open == 0
    });
    let files = |name: &'static str| {
        let rotated = (0..ROTATIONS).map(move |n| format!("{name}.{n}"));
        rotated
            .chain([name.to_owned()])
            .map(file)
            .collect::<Vec<_>>()
    };
    let all = || {
        files("access.log")
            .iter()
            .flat_map(|f| lines(f))
            .collect::<Vec<_>>()
    };
    wait_for("every line", || (all().len() >= visits).then_some(()));
    let ids: BTreeSet<String> = all()
        .iter()
        .map(|line| json(line)["id"].to_string())
        .collect();
    assert_eq!(
        (ids.len(), all().len()),
        (visits, visits),
        "each once, and whole"
    );
    let used = files("access.log");
    let used = used.iter().filter(|file| !lines(file).is_empty()).count();
    assert!(used > ROTATIONS / 2, "{used} files were written to");
    for file in files("access.log") {
        let text = fs::read_to_string(&file).expect("text");
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{file:?} ends in a cut line"
        );
    }
    for file in files("adit.log") {
        for line in fs::read_to_string(&file).expect("text").lines() {
            assert!(line.starts_with("20") && line.contains("Z "), "{line}");
        }
    }
    let stats = adit.stats();
    assert_eq!((stats.access_lines_lost, stats.log_lines_dropped), (0, 0));
}

/// A reload opens files anew as well, and where one cannot be made the old one
/// is kept.
#[test]
fn a_file_that_cannot_be_made_anew_is_kept() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("access_log: (format: Json, file: \"logs/access.log\")")
        .with_folder("logs")
        .start();
    let folder = adit.folder().join("logs");
    let trust = trust(adit.certificate());
    visit(adit.address(), &trust);
    let moved = adit.folder().join("moved");
    fs::rename(&folder, &moved).expect("renamed");
    adit.signal("USR1");
    let line = adit.log().wait("access lines go on to the old one");
    assert!(
        line.contains("ERROR") && line.contains("mkdir -p"),
        "{line}"
    );
    visit(adit.address(), &trust);
    wait_for("two lines", || {
        (lines(&moved.join("access.log")).len() == 2).then_some(())
    });

    fs::create_dir(&folder).expect("made");
    adit.signal("HUP");
    wait_for("the new file", || {
        folder.join("access.log").exists().then_some(())
    });
    let client = Client::shake(client::tcp(adit.address()), &trust).expect("a handshake");
    drop(client);
    wait_for("a line", || {
        (lines(&folder.join("access.log")).len() == 1).then_some(())
    });
}

/// Started as root, it makes files that belong to the user whom it becomes,
/// who can make them anew, confined though it is.
#[test]
fn the_user_that_it_becomes_opens_files_anew() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().expect("a folder");
    if chown(folder.path(), Some(NOBODY), Some(NOBODY)).is_err() {
        println!("passed over: only root can become somebody else");
        return;
    }
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("access_log: (format: Json, file: \"access.log\")")
        .argument("--user")
        .argument(NOBODY.to_string())
        .start_in(folder, certificate);
    let trust = trust(adit.certificate());
    let (file, rotated) = (
        adit.folder().join("access.log"),
        adit.folder().join("1.log"),
    );
    for _ in 0..2 {
        visit(adit.address(), &trust);
        wait_lines(&file, 1);
        let made = file.metadata().expect("there");
        assert_eq!((made.uid(), made.mode() & 0o7777), (NOBODY, 0o640));
        fs::rename(&file, &rotated).expect("renamed");
        adit.signal("USR1");
        wait_for("the new file", || file.exists().then_some(()));
    }
}
