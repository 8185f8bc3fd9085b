//! `adit top` on a terminal.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::place::Place;
use crate::program::{self, echo_at};
use crate::support::{backend, tools};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// How adit with these words ended, to which that was done. `None`: there is no
/// python3 to do it.
#[track_caller]
fn on_terminal(folder: &Path, words: &[&str], steps: Value) -> Option<Value> {
    if !tools::has("python3", "--version") {
        eprintln!("passed over: there is no python3");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/terminal.py");
    let steps = steps.to_string();
    let all = [
        &["python3", script, &steps, env!("CARGO_BIN_EXE_adit")],
        words,
    ]
    .concat();
    let mut command: Command = program::command(folder, &all);
    let output = command
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env_remove("NO_COLOR")
        .env_remove("LC_ALL")
        .stderr(Stdio::inherit())
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{words:?}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn server() -> (Place, backend::Backend<()>) {
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    (place, backend)
}

/// It ended well, and nothing of it is left on the terminal.
#[track_caller]
fn assert_left(ended: &Value) {
    let wrote = ended["wrote"].as_str().expect("text");
    assert_eq!(ended["code"], 0, "{wrote}");
    assert_eq!(ended["restored"], true, "{wrote}");
    let entered = wrote.rfind(ENTER).expect("a screen");
    let left = wrote.rfind(LEAVE).expect("its end");
    assert!(entered < left, "{wrote:?}");
    assert!(wrote[left..].contains(SHOW_CURSOR), "{wrote:?}");
}

#[test]
fn it_shows_quits_and_leaves_the_terminal_as_it_was() {
    let (place, _backend) = server();
    let client = echo_at(place.address, &place.trust);
    let address = client.tcp().local_addr().expect("an address").to_string();
    for last in [
        json!(["send", "q"]),
        json!(["send", "\x03"]),
        json!(["kill", "SIGTERM"]),
        json!(["kill", "SIGHUP"]),
        json!(["kill", "SIGINT"]),
    ] {
        let steps = json!([
            ["wait", ENTER],
            ["wait", " tunnels by rate  1 open"],
            ["wait", address],
            ["size", 60, 12],
            // Drawn anew. A key that comes in the very moment of the change
            // waits for the next one: crossterm 0.29 passes it over.
            ["wait", "serving"],
            last
        ]);
        let words = ["top", "--interval", "0.2"];
        let Some(ended) = on_terminal(place.folder(), &words, steps) else {
            return;
        };
        assert_left(&ended);
    }
}

/// `kill -USR2 $(pidof adit)` is meant for servers, and finds it too.
#[test]
fn signals_for_servers_leave_it_alone() {
    let (place, _backend) = server();
    let steps = json!([
        ["wait", " tunnels by rate"],
        ["kill", "SIGUSR1"],
        ["kill", "SIGUSR2"],
        ["send", "?"],
        ["wait", " keys"],
        ["send", "2q"]
    ]);
    let words = ["top", "--interval", "0.2"];
    if let Some(ended) = on_terminal(place.folder(), &words, steps) {
        assert_left(&ended);
    }
}

#[test]
fn keys_change_what_is_asked_for() {
    let (place, _backend) = server();
    let client = echo_at(place.address, &place.trust);
    let steps = json!([
        ["wait", " tunnels by rate"],
        ["send", "/sni=nobody\r"],
        // What is there already is not written again.
        ["wait", "sni=nobody"],
        ["send", "\x1b"],
        ["send", "?"],
        ["wait", " keys"],
        ["send", "2q"]
    ]);
    let words = ["top", "--interval", "0.2"];
    if let Some(ended) = on_terminal(place.folder(), &words, steps) {
        assert_left(&ended);
    }
    drop(client);
}

#[test]
fn a_server_that_goes_is_missed_and_looked_for() {
    let (place, _backend) = server();
    let pid = place.program.pid();
    let socket = place.program.admin_socket();
    let steps = json!([
        ["wait", " tunnels by rate"],
        ["signal", pid, "SIGKILL"],
        ["wait", "no answer for"],
        ["send", "q"]
    ]);
    let words = ["top", "--admin", socket.to_str().expect("text")];
    if let Some(ended) = on_terminal(place.folder(), &words, steps) {
        assert_left(&ended);
    }
}

/// Nothing can be given back then. It must not go on for nobody, and read an
/// end of input without end.
#[test]
fn it_ends_with_its_terminal() {
    let (place, _backend) = server();
    let steps = json!([["wait", " tunnels by rate"], ["hang up"]]);
    let words = ["top", "--interval", "0.2"];
    if let Some(ended) = on_terminal(place.folder(), &words, steps) {
        let code = ended["code"].as_i64().expect("a number");
        assert!((0..=1).contains(&code), "{ended}");
    }
}

#[test]
fn without_a_server_or_a_terminal_it_says_so_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = program::run(folder.path(), &["top"]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("needs a terminal"), "{}", ended.err);
    if let Some(ended) = on_terminal(folder.path(), &["top"], json!([])) {
        let wrote = ended["wrote"].as_str().expect("text");
        assert_eq!(ended["code"], 1);
        assert!(wrote.contains("no running server"), "{wrote}");
        assert!(!wrote.contains(ENTER), "{wrote}");
    }
}
