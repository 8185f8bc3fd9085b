//! The command line from outside: what it says, where, and its exit codes.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How one run of the program ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program in an environment that has nothing of the tester's own.
fn adit_in(folder: &Path, words: &[&str]) -> Run {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(words)
        .env_clear()
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn adit(words: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    adit_in(folder.path(), words)
}

/// Exit code 2, nothing on standard output, every part on standard error.
fn assert_usage(words: &[&str], parts: &[&str]) {
    let run = adit(words);
    assert_eq!(run.code, Some(2), "{words:?}: {}", run.err);
    assert_eq!(run.out, "", "{words:?}");
    // clap breaks lines where it likes.
    let err = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(err.contains(part), "{words:?}: {part} not in: {err}");
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_write() {
    assert_usage(
        &["--listen", "*:8443"],
        &[
            "--listen needs",
            "--backend ADDR",
            "--cert FILE",
            "--key FILE",
        ],
    );
    assert_usage(
        &["--listen", "*:8443", "--backend", "localhost:80"],
        &["--listen needs --cert FILE"],
    );
    assert_usage(&["--cert", "c.pem"], &["--cert needs --listen ADDR"]);
    assert_usage(&["--key", "k.pem"], &["--key needs --listen ADDR"]);
    assert_usage(
        &["run"],
        &["nothing to serve", "--config FILE", "demonstration"],
    );
    assert_usage(&["check"], &["nothing to serve"]);
    assert_usage(&["--test"], &["nothing to serve"]);
    assert_usage(&["convert"], &["<FILE>"]);
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (flag, value) in [
        ("--listen", "*:1"),
        ("--backend", "b:1"),
        ("--cert", "c"),
        ("--key", "k"),
        ("--ca", "a"),
        ("--server-name", "n"),
        ("--alpn", "h2"),
        ("--key-log", "l"),
    ] {
        assert_usage(
            &["--config", "x.ron", flag, value],
            &[&format!("{flag} cannot be used with --config"), "x.ron"],
        );
    }
    assert_usage(
        &["stats", "--pid", "1", "--admin", "/x"],
        &["cannot be used with"],
    );
    assert_usage(&["--syslog", "stats"], &["stats"]);
}

#[test]
fn a_client_and_a_server_each_have_their_flags() {
    let server = ["-l", "*:1", "-b", "b:1", "--cert", "c"];
    let with = |more: &[&'static str]| [&server[..], more].concat();
    assert_usage(
        &["--config", "x.ron", "--client"],
        &["--client cannot be used with --config"],
    );
    assert_usage(&with(&["--ca", "a"]), &["--ca", "goes with --client"]);
    assert_usage(
        &with(&["--server-name", "n"]),
        &["--server-name", "goes with --client"],
    );
    assert_usage(
        &with(&["--cert", "d", "--key", "k"]),
        &["--key", "one --cert", "into each certificate's file"],
    );
    assert_usage(
        &["-l", "*:1", "-b", "b:1", "--cert", "/", "--key", "k"],
        &["--key", "directory"],
    );
    assert_usage(
        &["--client"],
        &["--client needs", "--listen ADDR", "--backend ADDR"],
    );
    assert_usage(
        &["--client", "-l", "*:1"],
        &["--client needs --backend ADDR"],
    );
    let client = ["--client", "-l", "*:1", "-b", "b:1"];
    let with = |more: &[&'static str]| [&client[..], more].concat();
    assert_usage(&with(&["--key", "k"]), &["--key needs --cert"]);
    assert_usage(
        &with(&["--cert", "a", "--cert", "b"]),
        &["--client shows one certificate"],
    );
    assert_usage(&with(&["--cert", "/"]), &["directory"]);
    assert_usage(
        &["--client", "-l", "*:1", "-b", "unix:/s"],
        &["--server-name NAME"],
    );
    assert_usage(&with(&["--server-name", "a:1"]), &["without a port"]);
    assert_usage(&with(&["--alpn", "h2,,x"]), &["h2,http/1.1"]);
    assert_usage(&with(&["--alpn", "h2,h2"]), &["h2 is named twice"]);
    // The tester's environment is not the program's.
    assert_usage(&with(&["--key-log"]), &["SSLKEYLOGFILE", "--key-log FILE"]);
}

#[test]
fn check_takes_the_flags_of_a_client() {
    let run = adit(&[
        "check",
        "--client",
        "-l",
        "127.0.0.1:1",
        "-b",
        "app.example.org:443",
        "--ca",
        "/nonexistent/ca.pem",
    ]);
    assert!(run.out.contains("app.example.org:443"), "{}", run.err);
}

#[test]
fn a_bad_value_is_shown_with_its_remedy() {
    let whole = ["--backend", "b:1", "--cert", "c"];
    let listen = |address: &'static str| [&["--listen", address], &whole[..]].concat();
    assert_usage(&listen("8443"), &["has no port", "HOST:PORT"]);
    assert_usage(&listen("::1:443"), &["[::1]:443"]);
    assert_usage(
        &["-l", "*:1", "-b", "*:1", "--cert", "c"],
        &["no place to connect to"],
    );
    assert_usage(&["-l", "*:1", "-b", "b:0", "--cert", "c"], &["port 0"]);
    assert_usage(&["--shards", "0"], &["from 1 to 1024, or auto"]);
    assert_usage(&["--shards", "many"], &["from 1 to 1024, or auto"]);
    assert_usage(&["--cpus", "0-"], &["0-3,8"]);
    assert_usage(&["--log-level", "loud"], &["error, warn, info"]);
    assert_usage(&["--drain-timeout", "30"], &["30s"]);
    assert_usage(&["stats", "--watch", "0"], &["from 0.1"]);
    assert_usage(&["--lisen", "*:1"], &["--listen"]);
    assert_usage(&["serve"], &["serve"]);
    assert_usage(&["completions", "csh"], &["bash", "zsh", "fish"]);
}

#[test]
fn a_configuration_that_is_not_there_is_a_configuration_error() {
    for words in [
        &["-c", "/nonexistent/adit.ron"][..],
        &["run", "-c", "/nonexistent/adit.ron"],
        &["check", "-c", "/nonexistent/adit.ron"],
        &["--test", "-c", "/nonexistent/adit.ron"],
        &["convert", "/nonexistent/adit.ron"],
    ] {
        assert_usage(words, &["/nonexistent/adit.ron"]);
    }
}

#[test]
fn check_reports_in_json_what_is_wrong() {
    let run = adit(&["check", "--json", "-c", "/nonexistent/adit.ron"]);
    assert_eq!(run.code, Some(2));
    let report: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(report["ok"], false);
    let error = report["error"].as_str().expect("an error");
    assert!(error.contains("/nonexistent/adit.ron"), "{error}");
}

#[test]
fn check_names_a_certificate_that_is_not_there() {
    let words = [
        "check",
        "-l",
        "*:443",
        "-b",
        "app:80",
        "--cert",
        "/nonexistent/c.pem",
    ];
    let run = adit(&words);
    assert_eq!(run.code, Some(2), "{}", run.err);
    for part in ["listener *:443", "app:80", "ERROR", "/nonexistent/c.pem"] {
        assert!(run.out.contains(part), "{part} not in:\n{}", run.out);
    }
}

/// What only a route leads to is looked at as well, and so is what would not go
/// round among the shards.
#[test]
fn check_looks_at_every_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("adit.ron");
    let check = |services: &str| {
        let listener = "address: \"*:1\", tls: Passthrough, service: \"a\", \
                        routes: [(sni: [\"b.example\"], service: \"b\")]";
        let text = format!("(listeners: [({listener})], shards: 3, services: {{{services}}})");
        std::fs::write(&file, text).expect("written");
        adit(&["check", "-c", file.to_str().expect("a path")])
    };
    let plain = "\"a\": (backends: [\"h:1\"])";
    for (b, parts) in [
        (
            "(backends: [\"h:2\"], tls: (ca: \"/nonexistent/ca.pem\"))",
            &["name b.example to b", "unopened", "/nonexistent/ca.pem"][..],
        ),
        (
            "(backends: [(address: \"h:2\", max_connections: 2)])",
            &["b: h:2: max_connections is 2", "3 shards"],
        ),
    ] {
        let run = check(&format!("{plain}, \"b\": {b}"));
        assert_eq!(run.code, Some(2), "{}", run.err);
        for part in parts {
            assert!(run.out.contains(part), "{part} not in:\n{}", run.out);
        }
    }
}

/// Where a start would write and listen is looked at, and left as it is.
#[test]
fn check_finds_what_is_not_there_as_a_start_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("adit.ron");
    let check = |listener: &str, service: &str, rest: &str| {
        let text = format!(
            "(listeners: [(address: \"127.0.0.1:0\", {listener}, service: \"a\")], \
             services: {{\"a\": (backends: [\"127.0.0.1:1\"]{service})}}, \
             shards: 1{rest})"
        );
        std::fs::write(&file, text).expect("written");
        adit(&["check", "-c", file.to_str().expect("a path")])
    };
    let cert = folder.path().join("c.pem");
    let made = rcgen::generate_simple_self_signed(vec!["a.example".into()]).expect("made");
    std::fs::write(&cert, made.cert.pem() + &made.signing_key.serialize_pem()).expect("written");
    let tls = |log: &str| format!("tls: (certs: [{cert:?}]{log})");
    let plain = "tls: Off";
    for (listener, service, rest, said) in [
        (
            plain,
            "",
            ", metrics: (address: \"unix:/nonexistent/m.sock\")",
            "metrics: unix:/",
        ),
        (
            plain,
            "",
            ", admin: \"/nonexistent/a.sock\"",
            "admin socket /",
        ),
        (
            &tls(", key_log: \"/nonexistent/k.log\""),
            "",
            "",
            "key_log: the log file /",
        ),
        (
            plain,
            ", tls: (verify: Off, key_log: \"/nonexistent/k.log\")",
            "",
            "key_log: the",
        ),
        (
            plain,
            "",
            ", user: 1, group: 1, chroot: \"/nonexistent\"",
            "chroot",
        ),
        (
            &tls(", ticket_keys: \"/nonexistent/t.keys\""),
            "",
            "",
            "/nonexistent/t.keys",
        ),
    ] {
        let run = check(listener, service, rest);
        assert_eq!(run.code, Some(2), "{said}\n{}{}", run.out, run.err);
        for part in [said, "/nonexistent", "ERROR"] {
            assert!(run.out.contains(part), "{part} not in:\n{}", run.out);
        }
        // What a start says, and how it ends.
        let run = adit(&[
            "run",
            "--user",
            "root",
            "-c",
            file.to_str().expect("a path"),
        ]);
        assert_eq!(run.code, Some(2), "{said}\n{}{}", run.out, run.err);
    }
    let odd = folder.path().join("odd");
    std::fs::write(&odd, "").expect("written");
    for rest in [
        format!(", admin: {odd:?}"),
        format!(", metrics: (address: \"unix:{}\")", odd.display()),
    ] {
        let run = check(plain, "", &rest);
        assert_eq!(run.code, Some(2), "{}{}", run.out, run.err);
        assert!(run.out.contains("no socket is there"), "{}", run.out);
    }
    let shown = folder.path().display();
    let rest = format!(", metrics: (address: \"unix:{shown}/m.sock\"), admin: \"{shown}/a.sock\"");
    let log = format!(", key_log: \"{shown}/k.log\"");
    let run = check(&tls(&log), "", &rest);
    assert_ne!(run.code, Some(2), "{}{}", run.out, run.err);
    // However it was asked for.
    let said = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["key_log out of", "--key-log off the command line"] {
        assert!(said.contains(part), "{part} not in:\n{}", run.out);
    }
    for left in ["m.sock", "a.sock", "k.log"] {
        assert!(!folder.path().join(left).exists(), "{left} was made");
    }
    // systemd alone knows what it will pass.
    let run = check(plain, "", ", metrics: (address: \"systemd:figures\")");
    assert_ne!(run.code, Some(2), "{}{}", run.out, run.err);
    assert!(
        run.out.contains("FileDescriptorName=figures"),
        "{}",
        run.out
    );
}

#[test]
fn help_and_version_end_well() {
    let help = adit(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for part in [
        "run",
        "check",
        "stats",
        "convert",
        "completions",
        "man",
        "--config",
        "--listen",
        "--backend",
        "--cert",
        "--key",
        "--client",
        "--ca",
        "--server-name",
        "--alpn",
        "--key-log",
        "SSLKEYLOGFILE",
        "--shards",
        "--cpus",
        "--log-level",
        "--syslog",
        "--admin",
        "--drain-timeout",
        "--user",
        "--group",
        "--chroot",
        "--core-dumps",
        "--no-watch",
        "reload",
        "ticket-keys",
        "--test",
        "systemd:NAME",
        "Exit codes:\n  0  success",
        "\n  1  runtime failure",
        "\n  2  usage",
        "[v6]:PORT",
        "demonstration",
    ] {
        assert!(help.out.contains(part), "{part} not in:\n{}", help.out);
    }
    let version = adit(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert_eq!(version.out, format!("adit {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_is_a_command_too() {
    let at = |words: &[&str]| {
        let help = adit(words);
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{words:?}");
        help.out
    };
    assert_eq!(at(&["help"]), at(&["--help"]));
    let run = at(&["help", "run"]);
    assert_eq!(run, at(&["run", "--help"]));
    for part in [
        "win over the configuration file",
        "--listen '*:443' --backend",
        "Exit codes:\n  0  success",
    ] {
        assert!(run.contains(part), "{part} not in:\n{run}");
    }
    assert_eq!(
        at(&["backend", "help", "list"]),
        at(&["backend", "list", "--help"])
    );
    assert_usage(&["help", "serve"], &["serve"]);
}

#[test]
fn completions_are_for_the_shell_asked_for() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef adit"),
        ("fish", "complete -c adit"),
    ] {
        let run = adit(&["completions", shell]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(run.out.contains(mark), "{shell}");
        assert!(run.out.contains("drain-timeout"), "{shell}");
    }
}

#[test]
fn bash_accepts_its_completions() {
    let script = adit(&["completions", "bash"]).out;
    let Ok(mut bash) = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn() else {
        // There is no bash to ask here.
        return;
    };
    let mut input = bash.stdin.take().expect("piped");
    input.write_all(script.as_bytes()).expect("written");
    drop(input);
    assert!(bash.wait().expect("ended").success());
}

#[test]
fn the_manual_page_has_its_sections() {
    let run = adit(&["man"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "\"EXIT STATUS\"",
        "SIGNALS",
        "FILES",
        "ENVIRONMENT",
        "EXAMPLES",
    ] {
        assert!(
            run.out.contains(&format!(".SH {section}\n")),
            "{section} not in:\n{}",
            run.out
        );
    }
    for part in [
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "ready_grace",
        "admin\\-PID.sock",
        "adit convert",
        "\\-\\-watch",
        "\\-\\-drain\\-timeout",
    ] {
        assert!(run.out.contains(part), "{part} not in:\n{}", run.out);
    }
    for variable in [
        "XDG_RUNTIME_DIR",
        "NO_COLOR",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "SSL_CERT_FILE",
    ] {
        assert!(run.out.contains(variable), "{variable}");
    }
}

/// As much as `--help` tells of it.
#[test]
fn the_manual_page_tells_of_each_command_what_help_tells() {
    let page = adit(&["man"]).out.replace("\\-", "-");
    let about = |command: &str| {
        let head = format!(".SS \"adit {command}\"\n");
        let (_, rest) = page.split_once(&head).expect("a part of its own");
        let end = rest.find("\n.S").unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    for (command, parts) in [
        (
            "tunnels",
            &[
                "\\fB-n\\fR, \\fB--limit\\fR\\fI <N>\\fR",
                "[default: 100]",
                "[possible values: age, bytes, up,",
                "\\fI[FILTER]...\\fR",
                "client              an address, a network",
                "adit tunnels --sort rate --limit 10",
            ][..],
        ),
        ("stats", &["\\fB--watch\\fR\\fI [<SECONDS>]\\fR"]),
        (
            "convert",
            &["[possible values: tunnel: Tunnel, the C program"],
        ),
        ("completions", &["bash, elvish, fish"]),
        ("bench", &["\\fB-q\\fR, \\fB--quiet\\fR"]),
        ("check", &["above as well, but for --test and --version."]),
        ("run", &["above as well, but for --version."]),
    ] {
        let text = about(command);
        for part in parts {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }
}

#[test]
fn stats_without_a_server_says_where_it_looked() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("none.sock");
    let socket = socket.to_str().expect("text");
    for words in [
        &["stats", "--pid", "4194305"][..],
        &["stats", "--admin", socket],
    ] {
        let run = adit_in(folder.path(), words);
        assert_eq!(run.code, Some(1), "{words:?}: {}", run.err);
        let place = folder.path().to_str().expect("text");
        assert!(run.err.contains(place), "{words:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn stats_refuses_an_answer_that_it_does_not_understand() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("odd.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let _odd = adit::http::serve(listener, "odd", |_| {
        adit::http::Response::text(200, "{\"version\": 1}")
    })
    .expect("a thread");
    let run = adit_in(
        folder.path(),
        &["stats", "--admin", path.to_str().expect("text")],
    );
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("does not understand"), "{}", run.err);
}

#[test]
fn stats_shows_what_the_socket_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let _server = adit::http::serve(listener, "stats", |request| {
        assert_eq!(request.path, "/stats");
        adit::http::Response::json(&serde_json::json!({
            "version": "0.1.0", "pid": 77, "started_unix_seconds": 1, "uptime_seconds": 61.0,
            "state": "serving", "reloads": 0, "reloads_failed": 0, "log_lines_dropped": 0,
            "listeners": [{"name": "*:443", "address": "*:443", "service": "app:80"}],
            "total": totals(2), "silent_shards": [3],
            "shards": [shard(0), shard(1)],
        }))
    })
    .expect("a thread");
    let socket = path.to_str().expect("text");
    let run = adit_in(folder.path(), &["stats", "--admin", socket]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    for part in [
        "pid 77  serving  up 1 min 1 s",
        "*:443 → app:80",
        "2,000",
        "50 %",
        "handshakes with backends  10, 70 % resumed",
        "TLSv1.3",
        "x25519",
        "relay/client/eof",
        "shard 3 did not answer",
    ] {
        assert!(run.out.contains(part), "{part} not in:\n{}", run.out);
    }
    let run = adit_in(folder.path(), &["stats", "--json", "--admin", socket]);
    let json: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(json["total"]["closed"][0]["cause"], "eof");
}

fn totals(scale: u64) -> serde_json::Value {
    serde_json::json!({
        "accepted": 1000 * scale, "tunnels_open": scale, "handshakes_in_progress": 0,
        "handshakes": 900 * scale, "handshakes_resumed": 450 * scale, "bytes_up": 5, "bytes_down": 6,
        "backend_handshakes": 10, "backend_handshakes_resumed": 7,
        "negotiated": {"versions": [{"name": "TLSv1.3", "count": 900}], "ciphers": [],
            "groups": [{"name": "x25519", "count": 450}]},
        "accept_pauses": 0, "panics": 0,
        "closed": [{"phase": "relay", "side": "client", "cause": "eof", "count": 9}],
    })
}

fn shard(number: usize) -> serde_json::Value {
    let mut shard = totals(1);
    shard["shard"] = number.into();
    shard["cpu"] = number.into();
    shard["answer_micros"] = 120.into();
    shard
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}
