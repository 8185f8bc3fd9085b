//! Who may ask, and with what.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use crate::place::Place;
use crate::program::echo_at;
use crate::support::{backend, tools};

/// What curl gets, and the status below it.
fn curl(socket: &Path, words: &[&str], path: &str) -> Output {
    Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_code}",
        ])
        .arg("--unix-socket")
        .arg(socket)
        .args(words)
        .arg(format!("http://localhost{path}"))
        .output()
        .expect("curl runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_asks_and_orders() {
    if !tools::has("curl", "--version") {
        eprintln!("passed over: there is no curl");
        return;
    }
    let backend = backend::echo();
    let place = Place::start(
        &format!("backend: \"{}\"", backend.address()),
        "  shards: 1,",
    );
    let client = echo_at(place.address, &place.trust);
    let socket = place.program.admin_socket();
    for (words, path, status, part) in [
        (&[][..], "/tunnels", 200, "\"state\":\"relay\""),
        (
            &[],
            "/tunnels?limit=5&sort=rate&filter=state%3Drelay",
            200,
            "\"bytes_per_second\":",
        ),
        (
            &["--get", "--data-urlencode", "filter=sni=*host"],
            "/tunnels",
            200,
            "\"matching\":1",
        ),
        (
            &["--get", "--data-urlencode", "filter=sni!=*host"],
            "/tunnels",
            200,
            "\"matching\":0",
        ),
        (&[], "/tunnels?filter=x%3D1", 400, "nothing to filter by"),
        (&[], "/shards", 200, "\"cpu_seconds\":"),
        (&[], "/backends", 200, "\"state\":\"up\""),
        (&["-X", "POST"], "/close?id=0-1", 200, "\"id\":\"0-1\""),
        (&["-X", "POST"], "/close?id=0-1000", 404, "no tunnel 0-1000"),
        (
            &["-X", "POST"],
            "/backends/disable?service=x&backend=y",
            404,
            "no service",
        ),
        (&[], "/drain", 409, "not told to stop"),
        (&[], "/close?id=0-1", 405, "POST"),
        (&["-X", "DELETE"], "/close?id=0-1", 405, ""),
    ] {
        let answer = text(&curl(&socket, words, path));
        assert!(answer.ends_with(&format!("\n{status}")), "{path}: {answer}");
        assert!(answer.contains(part), "{path}: {answer}");
    }
    client.receive_all();
    let answer = text(&curl(&socket, &["-X", "POST"], "/drain"));
    assert!(answer.ends_with("\n200"), "{answer}");
}

#[test]
fn the_socket_is_its_owners_alone() {
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let socket = fs::metadata(place.program.admin_socket()).expect("a socket");
    assert_eq!(socket.mode() & 0o777, 0o600);
}

/// Even where somebody has opened the socket to all.
#[test]
fn another_user_is_refused_and_named() {
    let setpriv = tools::has("setpriv", "--version") && tools::has("curl", "--version");
    let root = fs::metadata("/proc/self").expect("a process").uid() == 0;
    if !setpriv || !root {
        eprintln!("passed over: it takes root, setpriv and curl to ask as another user");
        return;
    }
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let socket = place.program.admin_socket();
    for (path, mode) in [
        (place.folder(), 0o755),
        (socket.parent().expect("a folder"), 0o755),
        (&socket, 0o666),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    }
    let as_other = |words: &[&str], path: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "curl"])
            .args([
                "--silent",
                "--max-time",
                "20",
                "--write-out",
                "\n%{http_code}",
            ])
            .arg("--unix-socket")
            .arg(&socket)
            .args(words)
            .arg(format!("http://localhost{path}"))
            .output()
            .expect("setpriv runs");
        text(&output)
    };
    for (words, path) in [
        (&[][..], "/stats"),
        (&[], "/tunnels"),
        (&["-X", "POST"], "/drain"),
    ] {
        let answer = as_other(words, path);
        assert!(
            answer.contains("only root and the user"),
            "{path}: {answer}"
        );
        assert!(answer.ends_with("\n403"), "{path}: {answer}");
    }
    let line = place.program.wait_log("asked for POST /drain, and may not");
    assert!(
        line.contains("WARN") && line.contains(" of user 65534 "),
        "{line}"
    );
    let answer = text(&curl(&socket, &[], "/stats"));
    assert!(answer.contains("\"state\":\"serving\""), "{answer}");
}
