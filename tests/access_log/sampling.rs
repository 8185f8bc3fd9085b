//! Which tunnels get a line, and that the others are counted.

use std::io::Write as _;

use crate::support::certificate::Certificate;
use crate::support::client;
use crate::support::place::Place;
use crate::support::{backend, wait_for};
use crate::{config, json, lines, trust, visit, wait_lines};

#[test]
fn one_in_so_many_of_the_ordinary_and_all_of_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &file);
    let log = config.access_log.as_mut().expect("a log");
    log.sample = 5.try_into().expect("not zero");
    let place = Place::start(config);
    let trust = trust(&certificate);
    for _ in 0..20 {
        visit(place.address, &trust);
    }
    for _ in 0..3 {
        client::tcp(place.address)
            .write_all(b"no TLS, this")
            .expect("sent");
    }
    let lines = wait_lines(&file, 7);
    let ordinary = lines.iter().filter(|line| json(line)["phase"] == "relay");
    assert_eq!(ordinary.count(), 4);
    let total = place.stats().total;
    assert_eq!((total.access_lines, total.access_lines_left_out), (7, 16));
    assert_eq!(total.access_lines_dropped, 0);
}

#[test]
fn so_many_a_second_of_each_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address(), &certificate, &file);
    let log = config.access_log.as_mut().expect("a log");
    // None of either comes back within the test.
    log.per_second = Some(2.try_into().expect("not zero"));
    let place = Place::start(config);
    let began = std::time::Instant::now();
    for _ in 0..40 {
        client::tcp(place.address)
            .write_all(b"no TLS, this")
            .expect("sent");
    }
    visit(place.address, &trust(&certificate));
    let total = wait_for("the ends", || {
        let total = place.stats().total;
        (total.access_lines + total.access_lines_left_out == 41).then_some(total)
    });
    let most = 3 + 2 * (1 + began.elapsed().as_secs());
    assert!((3..=most).contains(&total.access_lines), "{total:?}");
    let lines = wait_lines(&file, total.access_lines as usize);
    assert!(
        lines.iter().any(|line| json(line)["cause"] == "eof"),
        "{lines:#?}"
    );
}

#[test]
fn where_there_is_no_access_log_nothing_is_written_or_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut with = config(backend.address(), &certificate, &file);
    let mut without = with.clone();
    without.access_log = None;
    let trust = trust(&certificate);

    // It is turned on, and elsewhere, and off, while it runs.
    let place = Place::start(without.clone());
    visit(place.address, &trust);
    wait_for("the end", || {
        (place.stats().total.tunnels_open == 0).then_some(())
    });
    assert!(!file.exists());
    assert_eq!(place.stats().total.access_lines, 0);

    place.reload(with.clone());
    visit(place.address, &trust);
    wait_lines(&file, 1);

    let other = folder.path().join("other.log");
    let log = with.access_log.as_mut().expect("a log");
    log.sink = adit::config::LogSink::File(other.clone());
    place.reload(with.clone());
    visit(place.address, &trust);
    wait_lines(&other, 1);
    assert_eq!(lines(&file).len(), 1);

    place.reload(without);
    visit(place.address, &trust);
    wait_for("the end", || {
        (place.stats().total.tunnels_open == 0).then_some(())
    });
    assert_eq!(place.stats().total.access_lines, 2);
}
