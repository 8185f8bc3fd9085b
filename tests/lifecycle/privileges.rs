//! Rights given up: as whom it serves once it has bound and read what takes
//! root, and what it can still do then. All of it takes root, and is passed
//! over otherwise.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::program::{self, Ended, Program, borrowed, listener, trust, words};
use crate::support::backend::{self, Backend};
use crate::support::certificate::Certificate;
use crate::support::{is_root, tools};

/// A user and a group that no machine has.
const UID: u32 = 4_200_111;
const GID: u32 = 4_200_112;

/// Says that a test is passed over.
fn without_root() -> bool {
    if !is_root() {
        println!("passed over: it takes root to give its rights up");
    }
    !is_root()
}

/// A folder that the user may enter, with a certificate whose key it may not
/// read, and `run`, which is the user's own.
struct Scene {
    folder: TempDir,
    certificate: Certificate,
    backend: Backend<()>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its mode");
        let certificate = Certificate::make(folder.path());
        fs::set_permissions(&certificate.key, Permissions::from_mode(0o600)).expect("its mode");
        let scene = Self {
            folder,
            certificate,
            backend: backend::echo(),
        };
        scene.make("run", UID, 0o700);
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let folder = self.at(name);
        fs::create_dir(&folder).expect("a folder");
        chown(&folder, Some(owner), Some(owner)).expect("its owner");
        fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("its mode");
        folder
    }

    /// One listener there, and these settings.
    fn ron(&self, address: &str, settings: &str) -> String {
        format!(
            "(listeners: [{}], shards: 2, log: (level: Debug), admin: {:?}, {settings})",
            listener(address, &self.certificate, self.backend.address()),
            self.at("run/admin.sock"),
        )
    }

    /// Starts it as the user of these tests.
    fn serve(&self, ron: &str) -> Program {
        program::configure(self.folder.path(), ron);
        let program = self.start(&["--user", &UID.to_string(), "--group", &GID.to_string()]);
        program.wait_log("serving with");
        program
    }

    fn start(&self, words: &[&str]) -> Program {
        let file = self.at("adit.ron");
        let file = file.to_str().expect("text");
        let all = [&["run", "--no-watch", "--config", file], words].concat();
        Program::start(self.folder.path(), &all)
    }

    fn refused(&self, words: &[&str]) -> Ended {
        self.start(words).wait()
    }

    fn trust(&self) -> std::sync::Arc<ClientConfig> {
        trust(&self.certificate)
    }

    fn reload(&self) -> Ended {
        let socket = self.at("run/admin.sock");
        let socket = socket.to_str().expect("text");
        program::run(self.folder.path(), &["reload", "--admin", socket])
    }
}

/// Fields of every thread's status.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| {
            let fields = status.lines().filter_map(|line| line.split_once(':'));
            fields
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect()
        })
        .collect()
}

/// A port that takes a privilege to bind, and that is free.
fn low_port() -> u16 {
    (600..1000)
        .rev()
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Where it listens, from its log: the admin socket is not where the default
/// naming has it.
fn address(program: &Program) -> SocketAddr {
    let line = program.wait_log("listening on ");
    let rest = line.split_once("listening on ").expect("there").1;
    let word = rest.split_whitespace().next().expect("an address");
    word.parse().expect("an address")
}

#[test]
fn every_thread_serves_a_low_port_as_the_user_with_no_right_but_that() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let low = format!("127.0.0.1:{}", low_port());
    for (listen, capabilities) in [(low.as_str(), 1 << 10), ("127.0.0.1:0", 0u64)] {
        let program = scene.serve(&scene.ron(listen, ""));
        program::echo_at(address(&program), &scene.trust());
        let threads = threads(program.pid());
        let names: Vec<_> = threads.iter().map(|t| t["Name"].as_str()).collect();
        for name in ["adit", "adit-0", "adit-1", "adit-admin", "adit-log"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for thread in &threads {
            let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
            assert_eq!(thread["Uid"], four(UID), "{thread:?}");
            assert_eq!(thread["Gid"], four(GID), "{thread:?}");
            assert_eq!(thread["Groups"], GID.to_string(), "{thread:?}");
            assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let held = u64::from_str_radix(&thread[set], 16).expect("a set");
                assert_eq!(held & !capabilities, 0, "{set}: {thread:?}");
                if thread["Name"].starts_with("adit-0") {
                    assert_eq!(held, capabilities, "{set}: {thread:?}");
                }
            }
        }
        program.signal("TERM");
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!scene.at("run/admin.sock").exists(), "it is left");
    }
}

#[test]
fn its_memory_is_for_nobody_unless_asked() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("a pattern");
    // Little of it, and in a folder of the user's.
    let line = format!("ulimit -c 8 && cd {:?} && exec \"$@\"", scene.at("run"));
    let wrapper = ["sh", "-c", &line, "sh"];
    let file = scene.at("adit.ron");
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let file = ["--config", file.to_str().expect("text")];
    let user = ["--user", &uid, "--group", &gid];
    for (words, dumpable) in [
        ([&["run"], &file[..], &user].concat(), false),
        (
            [&["run"], &file[..], &user, &["--core-dumps"]].concat(),
            true,
        ),
        ([&["run"], &file[..], &["--user", "root"]].concat(), false),
    ] {
        program::configure(scene.folder.path(), &scene.ron("127.0.0.1:0", ""));
        let program = Program::start_as(scene.folder.path(), &wrapper, &words);
        program.wait_log("serving with");
        let memory = fs::metadata(format!("/proc/{}/mem", program.pid())).expect("there");
        // proc(5): root's, if the process is not dumpable.
        assert_eq!(memory.uid(), if dumpable { UID } else { 0 }, "{words:?}");
        program.signal("ABRT");
        let ended = program.wait();
        // Where cores go to another program, that one may not be there.
        if !dumpable || !pattern.starts_with('|') {
            assert_eq!(ended.dumped_core, dumpable, "{words:?}");
        }
    }
}

#[test]
fn reloads_go_on_with_what_the_user_can_read() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let program = scene.serve(&scene.ron("127.0.0.1:0", ""));
    let key = scene.certificate.key.to_str().expect("text").to_owned();
    let warning = program.wait_log("cannot read it");
    for part in [
        "WARN",
        &key,
        &UID.to_string(),
        "a reload will be refused",
        "chown",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    let held = program::echo_at(address(&program), &scene.trust());
    let refused = scene.reload();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(&key), "{refused:?}");
    assert!(refused.err.contains("Permission denied"), "{refused:?}");
    program::assert_echo(&held);

    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    let done = scene.reload();
    assert_eq!(done.code, Some(0), "{done:?}");
    program::echo_at(address(&program), &scene.trust());

    // With nothing to warn of, there is no warning.
    drop(program);
    let program = scene.serve(&scene.ron("127.0.0.1:0", ""));
    assert!(
        !program.log().contains("cannot read it"),
        "{}",
        program.log()
    );
    // Whom to be is settled.
    program::configure(
        scene.folder.path(),
        &scene.ron("127.0.0.1:0", "core_dumps: true"),
    );
    let refused = scene.reload();
    assert!(refused.err.contains("restart it"), "{refused:?}");
}

#[test]
fn a_low_port_can_be_added_while_one_is_served() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    let port = low_port();
    let program = scene.serve(&scene.ron(&format!("127.0.0.1:{port}"), ""));
    let moved = format!("127.0.0.2:{port}");
    program::configure(scene.folder.path(), &scene.ron(&moved, ""));
    let done = scene.reload();
    assert_eq!(done.code, Some(0), "{done:?}");
    program::echo_at(moved.parse().expect("an address"), &scene.trust());
    drop(program);
}

#[test]
fn a_file_that_has_become_unreadable_is_no_change_to_it() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let ron = scene.ron("127.0.0.1:0", "watch: \"100ms\"");
    program::configure(scene.folder.path(), &ron);
    let file = scene.at("adit.ron");
    let (user, group) = (UID.to_string(), GID.to_string());
    let words = [
        "-c",
        file.to_str().expect("text"),
        "--user",
        &user,
        "--group",
        &group,
    ];
    let program = Program::start(scene.folder.path(), &words);
    program.wait_log("serving with");
    // A change made now is the first that it sees: those of files whose names
    // come before would be told first.
    let cert = &scene.certificate.cert;
    let text = fs::read_to_string(cert).expect("a certificate");
    fs::write(cert, text + "\n").expect("written");
    let line = program.wait_log("has changed: reloading");
    assert!(line.contains("site.pem"), "{line}");
}

#[test]
fn a_chroot_is_the_root_of_every_path() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let jail = scene.make("jail", 0, 0o755);
    scene.make("jail/run", UID, 0o700);
    let ron = format!(
        "(listeners: [{}], shards: 2, admin: \"/run/a.sock\", chroot: {jail:?})",
        listener("127.0.0.1:0", &scene.certificate, scene.backend.address()),
    );
    let program = scene.serve(&ron);
    for task in fs::read_dir(format!("/proc/{}/task", program.pid())).expect("a process") {
        let task = task.expect("a thread").path();
        assert_eq!(fs::read_link(task.join("root")).expect("a link"), jail);
        assert_eq!(fs::read_link(task.join("cwd")).expect("a link"), jail);
    }
    program::echo_at(address(&program), &scene.trust());
    // The key is not in there.
    let warning = program.wait_log("a reload will be refused");
    assert!(warning.contains("put a copy there"), "{warning}");
    let socket = jail.join("run/a.sock");
    let words = ["reload", "--admin", socket.to_str().expect("text")];
    let refused = program::run(scene.folder.path(), &words);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("No such file"), "{refused:?}");
    // Once everything is, at the same path, it is taken up.
    let inner = jail.join(scene.folder.path().strip_prefix("/").expect("whole"));
    fs::create_dir_all(&inner).expect("a folder");
    for file in [
        &scene.certificate.cert,
        &scene.certificate.key,
        &scene.at("adit.ron"),
    ] {
        let copy = inner.join(file.file_name().expect("a name"));
        fs::copy(file, &copy).expect("a copy");
        chown(&copy, Some(UID), None).expect("its owner");
    }
    let done = program::run(scene.folder.path(), &words);
    assert_eq!(done.code, Some(0), "{done:?}");
    program::echo_at(address(&program), &scene.trust());
    program.signal("TERM");
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!socket.exists(), "it is left");
}

#[test]
fn it_writes_only_where_it_was_told_to() {
    if without_root() {
        return;
    }
    if adit::sys::landlock::abi().is_none_or(|abi| abi < adit::sys::landlock::ABI_MIN) {
        println!("passed over: this kernel has no Landlock");
        return;
    }
    let scene = Scene::new();
    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    // Both are open to the user as far as permissions go. One is where it may
    // write; a link there leads to the other.
    let inside = scene.make("inside", UID, 0o700);
    let outside = scene.make("outside", UID, 0o700);
    symlink(&outside, inside.join("link")).expect("a link");
    let with = |more: &Path, setting: &str| {
        let socket = |path: &Path| {
            let address = format!("unix:{}", path.display());
            listener(&address, &scene.certificate, scene.backend.address())
        };
        format!(
            "(listeners: [{}, {}, {}], admin: {:?}, log: (level: Debug), {setting})",
            listener("127.0.0.1:0", &scene.certificate, scene.backend.address()),
            socket(&inside.join("one")),
            socket(more),
            scene.at("run/admin.sock"),
        )
    };
    for landlock in [true, false] {
        let setting = format!("landlock: {landlock}");
        let program = scene.serve(&with(&inside.join("two"), &setting));
        let reload = |path: PathBuf| {
            program::configure(scene.folder.path(), &with(&path, &setting));
            scene.reload()
        };
        let done = reload(inside.join("three"));
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(inside.join("three").exists());
        let named = reload(outside.join("four"));
        let linked = reload(inside.join("link/five"));
        if landlock {
            assert_eq!((named.code, linked.code), (Some(1), Some(1)));
            for part in ["outside/four", "Landlock", "restart it", "landlock: false"] {
                assert!(named.err.contains(part), "{named:?}");
            }
            // Nobody foresaw this but the kernel.
            assert!(linked.err.contains("ermission"), "{linked:?}");
            assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0);
        } else {
            assert_eq!(
                (named.code, linked.code),
                (Some(0), Some(0)),
                "{named:?} {linked:?}"
            );
            assert!(outside.join("five").exists());
        }
        program.signal("TERM");
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(
            fs::read_dir(&inside).expect("a folder").count(),
            1,
            "the link"
        );
    }
}

#[test]
fn root_stays_root_by_a_file_only_if_told_so() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let bare = scene.ron("127.0.0.1:0", "");
    program::configure(scene.folder.path(), &bare);
    let file = scene.at("adit.ron");
    let file = file.to_str().expect("text");
    let ended = Program::start_as(scene.folder.path(), &[], &["run", "-c", file]).wait();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in [
        "stay root",
        "user: \"adit\"",
        "user: \"root\"",
        "--user root",
        file,
    ] {
        assert!(ended.err.contains(part), "{ended:?}");
    }
    // A check may be root's for a service that is not.
    for (words, code, said) in [
        (&["run", "--test", "-c", file][..], 2, "ERROR"),
        (&["check", "-c", file], 0, "but for a start as root"),
    ] {
        let ended = Program::start_as(scene.folder.path(), &[], words).wait();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.out.contains(said), "{ended:?}");
    }
    for ron in [
        scene.ron("127.0.0.1:0", "user: \"root\""),
        scene.ron("127.0.0.1:0", "user: 0"),
    ] {
        program::configure(scene.folder.path(), &ron);
        let program = Program::start_as(scene.folder.path(), &[], &["run", "-c", file]);
        program.wait_log("serving with");
        assert!(!program.log().contains("runs as root"), "{}", program.log());
        assert!(threads(program.pid())[0]["Uid"].starts_with("0\t"));
    }
    // Typed by hand it is an order, and a warning.
    let words = words("127.0.0.1:0", &scene.certificate, scene.backend.address());
    let program = Program::start_as(scene.folder.path(), &[], &borrowed(&words));
    program.wait_log("serving with");
    let warning = program.wait_log("runs as root");
    assert!(
        warning.contains("WARN") && warning.contains("--user NAME"),
        "{warning}"
    );
    program::echo_at(program.listeners()[0], &scene.trust());
}

#[test]
fn what_cannot_be_become_is_refused_before_anything_is_bound() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    program::configure(scene.folder.path(), &scene.ron("127.0.0.1:0", ""));
    for (words, said) in [
        (&["--user", "nobody-such"][..], "no user \"nobody-such\""),
        (
            &["--user", "root", "--group", "none-such"],
            "no group \"none-such\"",
        ),
        (&["--user", "4200111"], "name the group"),
        (
            &["--user", "root", "--chroot", "/"],
            "holds nobody who stays root",
        ),
        (&["--user", "4294967295", "--group", "0"], "4294967295"),
    ] {
        let ended = scene.refused(words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(said), "{said}: {ended:?}");
        assert!(!ended.err.contains("listening"), "{ended:?}");
    }
    let gone = [
        "--user",
        "4200111",
        "--group",
        "1",
        "--chroot",
        "/nonexistent",
    ];
    let ended = scene.refused(&gone);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("/nonexistent"), "{ended:?}");
}

#[test]
fn another_user_than_root_becomes_nobody_else() {
    if without_root() || !tools::has("setpriv", "--version") {
        return;
    }
    let scene = Scene::new();
    let ids = [
        format!("--reuid={UID}"),
        format!("--regid={GID}"),
        "--clear-groups".to_owned(),
    ];
    let mut wrapper = vec!["setpriv"];
    wrapper.extend(ids.iter().map(String::as_str));
    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    program::configure(scene.folder.path(), &scene.ron("127.0.0.1:0", ""));
    let file = scene.at("adit.ron");
    let file = file.to_str().expect("text");
    let start = |user: &str, group: &str| {
        // The program itself must be within the user's reach.
        let program = scene.at("adit");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_adit"), &program).expect("a copy");
        }
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(program);
        command.args([
            "run",
            "--no-watch",
            "-c",
            file,
            "--user",
            user,
            "--group",
            group,
        ]);
        command
    };
    let refused = start("root", "root").output().expect("its end");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("started as user {UID}")), "{said}");
    assert!(said.contains("cannot become root"), "{said}");
    // To be whom it is, it need not become anybody.
    let mut served = start(&UID.to_string(), &GID.to_string())
        .spawn()
        .expect("the program starts");
    let socket = adit::config::Address::Unix(scene.at("run/admin.sock"));
    crate::support::wait_for("an answer", || {
        adit::http::client::get(&socket, "/stats", crate::support::PATIENCE).ok()
    });
    let threads = threads(served.id());
    assert!(threads.iter().all(|t| t["NoNewPrivs"] == "1"));
    program::signal(served.id(), "TERM");
    assert_eq!(served.wait().expect("its end").code(), Some(0));
}

#[test]
fn what_root_made_is_the_users_from_then_on() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    let key_log = scene.at("run/keys");
    let socket = scene.at("run/tls.sock");
    let tls = format!("tls: (key_log: {key_log:?}, ");
    let address = format!("unix:{}", socket.display());
    let ron = scene.ron(&address, "").replacen("tls: (", &tls, 1);
    let owner = |path: &Path| fs::metadata(path).expect("there").uid();
    let program = scene.serve(&ron);
    assert_eq!((owner(&key_log), owner(&socket)), (UID, UID));
    let log = program.log();
    assert!(!log.contains("cannot write there"), "{log}");
    program.signal("TERM");
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!socket.exists(), "it is left");

    // Its folder, here, is root's: it can be written to, but not made anew.
    let elsewhere = ron.replacen("run/keys", "keys", 1);
    let program = scene.serve(&elsewhere);
    assert_eq!(owner(&scene.at("keys")), UID);
    let warning = program.wait_log("cannot write there");
    let folder = scene.folder.path().to_str().expect("text");
    assert!(
        warning.contains(&format!("WARN  adit: {folder}: ")),
        "{warning}"
    );
    program.signal("TERM");
    program.wait();

    // What the user has put in its place is not given away.
    let precious = scene.at("precious");
    fs::write(&precious, "root's").expect("written");
    for link in [
        fs::hard_link::<&Path, &Path>,
        std::os::unix::fs::symlink::<&Path, &Path>,
    ] {
        fs::remove_file(&key_log).expect("removed");
        link(&precious, &key_log).expect("a link");
        let program = scene.serve(&ron);
        assert_eq!(owner(&precious), 0);
        program.signal("TERM");
        program.wait();
    }
}

#[test]
fn the_check_tells_as_whom_it_would_act() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    program::configure(scene.folder.path(), &scene.ron("127.0.0.1:0", ""));
    let file = scene.at("adit.ron");
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let check = |words: &[&str]| {
        let all = [&["check", "-c", file.to_str().expect("text")], words].concat();
        program::run(scene.folder.path(), &all)
    };
    let key = scene.certificate.key.to_str().expect("text");
    let told = check(&["--user", &uid, "--group", &gid]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for part in [
        &format!("user         {UID} ({UID}), group {GID}"),
        &format!("{key}: user {UID} cannot read it"),
    ] {
        assert!(told.out.contains(part.as_str()), "{part}: {}", told.out);
    }
    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    let well = check(&["--user", &uid, "--group", &gid]);
    assert!(!well.out.contains("cannot read it"), "{}", well.out);
    // Nobody is named: the check may be made for a service that is not root.
    let bare = check(&[]);
    assert_eq!(bare.code, Some(0), "{bare:?}");
    assert!(bare.out.contains("would stay root"), "{}", bare.out);
    let none = check(&["--user", "nobody-such"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.out.contains("no user \"nobody-such\""), "{}", none.out);
    let jail = scene.make("jail", 0, 0o755);
    let jail = jail.to_str().expect("text");
    let jailed = check(&["--user", &uid, "--group", &gid, "--chroot", jail]);
    assert!(jailed.out.contains("put a copy there"), "{}", jailed.out);
}

/// It is started by one that is the user already: it can bind nothing low, and
/// reads what that user may read.
#[test]
fn a_new_process_takes_over_with_the_rights_that_are_left() {
    if without_root() {
        return;
    }
    let scene = Scene::new();
    // Where that user may execute it.
    let program = scene.make("bin", 0, 0o755).join("adit");
    fs::copy(env!("CARGO_BIN_EXE_adit"), &program).expect("a copy");
    let ron = scene.ron(&format!("127.0.0.1:{}", low_port()), "");
    program::configure(scene.folder.path(), &ron);
    let (file, user, group) = (scene.at("adit.ron"), UID.to_string(), GID.to_string());
    let called = format!("shift; exec {} \"$@\"", program.display());
    let first = Program::start_under(
        scene.folder.path(),
        &["sh", "-c", &called, "sh"],
        &[
            "run",
            "--no-watch",
            "--config",
            file.to_str().expect("text"),
            "--user",
            &user,
            "--group",
            &group,
        ],
    );
    first.wait_log("serving with 2 shards");
    let at = address(&first);
    let socket = scene.at("run/admin.sock");
    let ask = |command| {
        let socket = socket.to_str().expect("text");
        program::run(scene.folder.path(), &[command, "--admin", socket])
    };
    // More shards than there are sockets.
    program::configure(scene.folder.path(), &ron.replace("shards: 2", "shards: 3"));

    // The key is root's alone.
    let ended = ask("upgrade");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let key = scene.certificate.key.display().to_string();
    assert!(ended.err.contains(&key), "{ended:?}");
    program::echo_at(at, &scene.trust());

    chown(&scene.certificate.key, Some(UID), None).expect("its owner");
    let ended = ask("upgrade");
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", first.log());
    let ended = first.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("3 shards share 2 sockets"), "{ended:?}");
    for _ in 0..6 {
        program::echo_at(at, &scene.trust());
    }
    let stats = ask("stats");
    assert!(stats.out.contains("serving"), "{stats:?}");
    let told = ended.err.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("upgraded: process ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let second: u32 = told.expect("a process id");
    for thread in threads(second) {
        assert_eq!(thread["Uid"], [UID; 4].map(|id| id.to_string()).join("\t"));
    }
    program::signal(second, "TERM");
    crate::support::wait_for("the end of the admin socket", || {
        (!socket.exists()).then_some(())
    });
}
