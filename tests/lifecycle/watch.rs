//! Files that change, and nobody who says so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::program::{self, Program, listener};
use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::{client, wait_for};

fn serve(folder: &Path, ron: &str) -> Program {
    program::configure(folder, ron);
    let file = folder.join("adit.ron");
    let program = Program::start(folder, &["run", "-c", file.to_str().expect("text")]);
    program.wait_log("listening on ");
    program
}

/// Waits until the server shows this certificate.
#[track_caller]
fn wait_shown(program: &Program, certificate: &Certificate) {
    let trust = program::trust(certificate);
    let address = program.listeners()[0];
    wait_for("the new certificate", || {
        Client::shake(client::tcp(address), &trust).ok()
    });
}

fn counted(program: &Program) -> (u64, u64) {
    let stats = program.stats();
    (stats.reloads, stats.reloads_failed)
}

#[test]
fn a_certificate_and_its_key_are_taken_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let echo = backend::echo();
    let old = Certificate::make(folder.path());
    let ron = format!(
        "(listeners: [{}], shards: 2)",
        listener("127.0.0.1:0", &old, echo.address())
    );
    let program = serve(folder.path(), &ron);
    let held = program::echo_at(program.listeners()[0], &program::trust(&old));

    // Two files, one after the other, in place.
    let new = Certificate::make(folder.path());
    wait_shown(&program, &new);
    program.wait_log("has changed: reloading");
    assert_eq!(counted(&program), (1, 0));
    program::assert_echo(&held);

    // The configuration itself.
    program::configure(
        folder.path(),
        &ron.replace("shards: 2", "shards: 2, buffer_size: \"4KiB\""),
    );
    program.wait_log_times("reloaded: the new configuration is in use", 2);
    assert_eq!(counted(&program), (2, 0));
}

#[test]
fn a_bad_change_is_refused_once_and_a_good_one_taken_up_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let echo = backend::echo();
    let old = Certificate::make(folder.path());
    let ron = format!(
        "(listeners: [{}], shards: 1)",
        listener("127.0.0.1:0", &old, echo.address())
    );
    let mut program = serve(folder.path(), &ron);
    let trust = program::trust(&old);
    let address = program.listeners()[0];
    let pem = fs::read(&old.cert).expect("the certificate");

    // Were one of them tried twice, there would be more than two in the end.
    let refused = "not reloaded, the old configuration stays in use";
    for (turn, bad) in ["", "-----BEGIN CERTIFICATE-----\nnot so\n"]
        .iter()
        .enumerate()
    {
        fs::write(&old.cert, bad).expect("a bad certificate");
        program.wait_log_times(refused, turn + 1);
        program.wait_log(&old.cert.display().to_string());
        assert!(program.is_running());
        program::echo_at(address, &trust);
        assert_eq!(counted(&program), (0, turn as u64 + 1));
    }
    // As it was before is a change, too.
    fs::write(&old.cert, pem).expect("the certificate");
    program.wait_log("reloaded: the new configuration is in use");
    assert_eq!(counted(&program), (1, 2));
    assert_eq!(program.log().matches(refused).count(), 2);
    program::echo_at(address, &trust);
}

/// A secret as Kubernetes mounts it: the files are links through one link that
/// is replaced.
#[test]
fn a_swap_of_links_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let echo = backend::echo();
    let secret = folder.path().join("secret");
    let version = |name: &str| {
        let made = secret.join(name);
        fs::create_dir_all(&made).expect("a folder");
        Certificate::make(&made)
    };
    let (old, new) = (version("..1"), version("..2"));
    symlink("..1", secret.join("..data")).expect("a link");
    for name in ["site.pem", "site.key"] {
        symlink(Path::new("..data").join(name), secret.join(name)).expect("a link");
    }
    let mut by_links = old.clone();
    by_links.cert = secret.join("site.pem");
    by_links.key = secret.join("site.key");
    let ron = format!(
        "(listeners: [{}], shards: 1)",
        listener("127.0.0.1:0", &by_links, echo.address())
    );
    let program = serve(folder.path(), &ron);
    wait_shown(&program, &old);

    let next: PathBuf = secret.join("..data_tmp");
    symlink("..2", &next).expect("a link");
    fs::rename(&next, secret.join("..data")).expect("the swap");
    wait_shown(&program, &new);
    assert_eq!(counted(&program), (1, 0));
}
