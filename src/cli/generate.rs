//! What the program writes about itself: completions and the manual page.

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::args::{Args, DEMONSTRATION};
use super::exit::{Exit, Failure};
use super::output;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "adit", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Clean)
}

pub(crate) fn man() -> Result<Exit, Failure> {
    let page = page().map_err(|error| Failure::runtime(format!("manual page: {error}")))?;
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Clean)
}

/// One page for all commands.
fn page() -> std::io::Result<Vec<u8>> {
    let about = Args::command()
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut command = Args::command().long_about(format!("{about}.\n\n{DEMONSTRATION}"));
    command.build();
    let man = Man::new(command.clone()).manual("adit");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    commands(&command).to_writer(&mut page)?;
    exit_status().to_writer(&mut page)?;
    listing("SIGNALS", SIGNALS).to_writer(&mut page)?;
    listing("FILES", FILES).to_writer(&mut page)?;
    listing("ENVIRONMENT", ENVIRONMENT).to_writer(&mut page)?;
    examples().to_writer(&mut page)?;
    Ok(page)
}

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "Stop accepting, once ready_grace is over (none by default), let open tunnels end within \
         the drain timeout, and exit. A second one cuts them and exits at once, with status 1.",
    ),
    (
        "SIGHUP",
        "Read the configuration again and take it up. If anything is wrong with it, that is \
         logged and nothing changes. adit reload does the same and tells the outcome; a change \
         of any file that is read does so too, unless --no-watch is given.",
    ),
    (
        "SIGUSR1",
        "Open the files of the log and the access log anew, for those who have renamed them.",
    ),
    (
        "SIGUSR2",
        "Leave the work to a new process of the program, which takes over every listening socket, \
         as adit upgrade has it.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "$XDG_RUNTIME_DIR/adit/admin-PID.sock",
        "The admin socket of a running server, by which adit stats finds it. Without \
         XDG_RUNTIME_DIR it is in /run/adit for root, and in /tmp/adit-UID for others.",
    ),
    (
        "$XDG_STATE_HOME/adit/demo.crt, demo.key",
        "The demonstration's certificate and key. Without XDG_STATE_HOME they are in \
         ~/.local/state/adit.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "XDG_RUNTIME_DIR",
        "Where admin sockets are made and looked for.",
    ),
    (
        "SSLKEYLOGFILE",
        "The file that session secrets are appended to, if --key-log is given without a value; \
         without --key-log it is not looked at.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "The authorities that backends are verified by, in place of the system's, where neither \
         --ca nor the configuration names any.",
    ),
    (
        "LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES",
        "Which sockets the process was handed, for systemd:NAME (sd_listen_fds(3)).",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "Whom a server tells that it is ready, reloads, stops and is alive, and how often \
         (sd_notify(3), sd_watchdog_enabled(3)).",
    ),
    (
        "XDG_STATE_HOME, HOME, TMPDIR",
        "Where the demonstration keeps its certificate; in TMPDIR, or /tmp, for as long as it \
         runs, where it can keep none.",
    ),
    (
        "NO_COLOR, TERM",
        "No colours are shown if NO_COLOR is set and not empty, or if TERM is dumb.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "adit top draws with ASCII unless the first of them that is set says UTF-8.",
    ),
    (
        "TZ",
        "The time zone of lines to a terminal and to syslog; all others are in UTC.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("Run the demonstration:", "adit"),
    (
        "One port to one backend, on every CPU:",
        "adit --listen '*:443' --backend 127.0.0.1:8080 --cert site.pem --key site.key",
    ),
    (
        "Every certificate of a directory, chosen by the name that clients ask for:",
        "adit --listen '*:443' --backend 127.0.0.1:8080 --cert /etc/adit/certs/",
    ),
    (
        "The other way round, plaintext in and TLS out:",
        "adit --client --listen 127.0.0.1:6379 --backend redis.example.org:6380 --ca ca.pem",
    ),
    (
        "Check a configuration, then serve it:",
        "adit check -c adit.ron && adit run -c adit.ron",
    ),
    ("Watch a running server:", "adit stats --watch"),
    ("Have it read its files again:", "adit reload"),
    (
        "Rotate the keys that a fleet seals session tickets with:",
        "adit ticket-keys rotate /etc/adit/tickets",
    ),
    (
        "Measure a server, with 64 tunnels for ten seconds:",
        "adit bench rr --tunnels 64 --pid $(pidof adit) --html report.html localhost:443",
    ),
    (
        "Bring hitch's configuration along:",
        "adit convert /etc/hitch/hitch.conf > adit.ron",
    ),
];

/// Every command with its own options; those of run stand above already.
fn commands(command: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    let above = |arg: &clap::Arg| has(command, arg);
    for sub in command.get_subcommands() {
        roff.control("SS", [format!("adit {}", sub.get_name()).as_str()]);
        if let Some(about) = sub.get_about() {
            roff.text([roman(format!("{about}."))]);
        }
        if is_help(sub) {
            continue;
        }
        let options = sub.get_arguments().filter(|arg| is_shown(arg));
        let (shared, own): (Vec<_>, Vec<_>) = options.partition(|arg| above(arg));
        arguments(&mut roff, own);
        if !shared.is_empty() {
            roff.control("PP", []);
            roff.text([roman(takes_as_well(command, sub))]);
        }
        parts(&mut roff, sub);
        let after = sub.get_after_help().map(ToString::to_string);
        if let Some(text) = after.filter(|_| shared.is_empty()) {
            as_it_stands(&mut roff, &text);
        }
    }
    roff
}

/// Which of the command's options its subcommand takes.
fn takes_as_well(command: &clap::Command, sub: &clap::Command) -> String {
    let not: Vec<String> = command
        .get_arguments()
        .filter(|arg| is_shown(arg) && !has(sub, arg))
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect();
    match not.as_slice() {
        [] => "It takes the options above as well.".into(),
        not => format!(
            "It takes the options above as well, but for {}.",
            not.join(" and ")
        ),
    }
}

/// The commands of a command. What most of them take is listed once.
fn parts(roff: &mut Roff, command: &clap::Command) {
    let subs: Vec<_> = command
        .get_subcommands()
        .filter(|sub| !is_help(sub))
        .collect();
    let is_common = |arg: &clap::Arg| {
        let takers = subs.iter().filter(|sub| has(sub, arg)).count();
        takers > subs.len() / 2
    };
    let mut common: Vec<&clap::Arg> = Vec::new();
    for sub in &subs {
        roff.control("PP", []);
        roff.text([bold(format!(
            "adit {} {}",
            command.get_name(),
            sub.get_name()
        ))]);
        roff.control("PP", []);
        if let Some(about) = sub.get_about() {
            roff.text([roman(format!("{about}."))]);
        }
        let options = sub.get_arguments().filter(|arg| is_shown(arg));
        let (shared, own): (Vec<_>, Vec<_>) = options.partition(|arg| is_common(arg));
        arguments(roff, own);
        for arg in shared {
            if !common.iter().any(|known| known.get_id() == arg.get_id()) {
                common.push(arg);
            }
        }
    }
    if !common.is_empty() {
        roff.control("PP", []);
        roff.text([roman("What is common to them:")]);
        arguments(roff, common);
    }
}

/// The command that clap adds, which is not told of in every place again.
fn is_help(command: &clap::Command) -> bool {
    command.get_name() == "help"
}

fn is_shown(arg: &clap::Arg) -> bool {
    !arg.is_hide_set() && arg.get_id() != "help"
}

fn has(command: &clap::Command, arg: &clap::Arg) -> bool {
    command
        .get_arguments()
        .any(|other| other.get_id() == arg.get_id() && other.get_help() == arg.get_help())
}

fn arguments(roff: &mut Roff, arguments: Vec<&clap::Arg>) {
    for arg in arguments {
        roff.control("TP", []);
        roff.text(heading(arg));
        let help = arg.get_help().map(ToString::to_string);
        let texts: Vec<String> = help.into_iter().chain(possible_values(arg)).collect();
        roff.text([roman(texts.join(" "))]);
    }
}

/// As `--help` has it: `-w, --watch [<SECONDS>] [default: 1]`, `[FILTER]...`.
fn heading(arg: &clap::Arg) -> Vec<Inline> {
    let shown = arg.to_string();
    let (name, value) = shown.split_at(arg.get_long().map_or(0, |long| "--".len() + long.len()));
    let mut heading = Vec::new();
    if let Some(short) = arg.get_short() {
        heading.extend([bold(format!("-{short}")), roman(", ")]);
    }
    for (text, font) in [(name, bold as fn(_) -> _), (value, italic)] {
        if !text.is_empty() {
            heading.push(font(text.to_owned()));
        }
    }
    if arg.get_action().takes_values() && !arg.get_default_values().is_empty() {
        let values: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        heading.push(roman(format!(" [default: {}]", values.join(","))));
    }
    heading
}

/// Those that there are, with what they mean if it is said.
fn possible_values(arg: &clap::Arg) -> Option<String> {
    let values = arg.get_possible_values();
    let texts: Vec<String> = values
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("{}: {help}", value.get_name()),
            None => value.get_name().to_owned(),
        })
        .collect();
    let between = if values.iter().any(|value| value.get_help().is_some()) {
        "; "
    } else {
        ", "
    };
    (!texts.is_empty()).then(|| format!("[possible values: {}]", texts.join(between)))
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(exit.meaning())]);
    }
    roff
}

fn listing(title: &str, rows: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
    roff
}

fn examples() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (what, typed) in EXAMPLES {
        roff.control("PP", []);
        roff.text([roman(*what)]);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        as_it_stands(&mut roff, typed);
        roff.control("RE", []);
    }
    roff
}

/// Lines that are not to be filled.
fn as_it_stands(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
