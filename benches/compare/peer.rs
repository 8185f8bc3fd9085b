//! A program that is measured.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::child::{Call, Child};
use crate::settings::{self, Place};
use crate::{procfs, role};

/// How long a peer may take until it accepts.
const START_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a program may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);
/// What the plain TCP proxy is called.
pub(crate) const FLOOR: &str = "plain-tcp";

/// What a peer is, and so how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Adit,
    Haproxy,
    Hitch,
    Nginx,
    Stunnel,
    Floor,
}

impl Kind {
    /// Those that can be named, with the program's own name and the argument
    /// that makes it tell its version.
    const PROGRAMS: [(Self, &'static str, &'static str); 5] = [
        (Self::Adit, "adit", "--version"),
        (Self::Haproxy, "haproxy", "-vv"),
        (Self::Hitch, "hitch", "--version"),
        (Self::Nginx, "nginx", "-V"),
        (Self::Stunnel, "stunnel", "-version"),
    ];

    fn version_arg(self) -> Option<&'static str> {
        let mut programs = Self::PROGRAMS.iter();
        programs.find_map(|(kind, _, arg)| (*kind == self).then_some(*arg))
    }

    /// By the beginning of the peer's name, or by what the program says of
    /// itself.
    fn find(name: &str, program: &Path, folder: &Path) -> Option<Self> {
        let named = |text: &str| {
            let found = Self::PROGRAMS
                .iter()
                .find(|(_, word, _)| text.starts_with(word));
            found.map(|(kind, ..)| *kind)
        };
        named(name).or_else(|| {
            ["-v", "--version", "-version"].iter().find_map(|arg| {
                let text = tell(program, arg, folder)?.to_lowercase();
                text.lines()
                    .find_map(|line| named(line.trim_start_matches("[.] ")))
            })
        })
    }
}

/// A build of one of the programs, as it is found on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The line in which it tells its version.
    pub(crate) version: String,
    /// What else it tells of how it was built.
    pub(crate) build: Vec<String>,
    /// On what its settings rest.
    pub(crate) notes: String,
    /// Its configuration in the first scenario that it ran.
    #[serde(default)]
    pub(crate) configuration: String,
    #[serde(skip)]
    program: PathBuf,
    #[serde(skip)]
    told: String,
}

impl Peer {
    /// adit, what the machine has, what the arguments add, and the floor, in
    /// this order. What cannot be used is told on standard error and left out.
    pub(crate) fn find_all(args: &Args, folder: &Path) -> Result<Vec<Self>, String> {
        let mut builds: Vec<(String, PathBuf, bool)> =
            vec![("adit".into(), env!("CARGO_BIN_EXE_adit").into(), true)];
        for (_, word, _) in &Kind::PROGRAMS[1..] {
            match on_path(word) {
                Some(path) => builds.push(((*word).into(), path, false)),
                None if args.peer.iter().any(|(name, _)| name == word) => {}
                None => eprintln!("{word}: not on this machine; left out (ci/deps-peers)"),
            }
        }
        for (name, path) in &args.peer {
            match builds.iter_mut().find(|(taken, ..)| taken == name) {
                Some(build) => *build = (name.clone(), path.clone(), true),
                None => builds.push((name.clone(), path.clone(), true)),
            }
        }
        let wanted = |name: &str| args.peers.is_empty() || args.peers.iter().any(|n| n == name);
        let mut found = Vec::new();
        for (name, path, asked_for) in builds.into_iter().filter(|(name, ..)| wanted(name)) {
            match Self::find(&name, &path, folder) {
                Ok(peer) => found.push(peer),
                Err(error) if asked_for => return Err(error),
                Err(error) => eprintln!("{error}; left out"),
            }
        }
        if wanted(FLOOR) {
            found.push(Self::floor()?);
        }
        for name in &args.peers {
            if !found.iter().any(|peer| peer.name == *name) {
                return Err(format!("there is no peer {name} here"));
            }
        }
        Ok(found)
    }

    fn find(name: &str, program: &Path, folder: &Path) -> Result<Self, String> {
        let shown = program.display();
        let program = program
            .canonicalize()
            .map_err(|error| format!("{name}: {shown}: {error}"))?;
        let kind = Kind::find(name, &program, folder).ok_or_else(|| {
            format!("{name}: {shown} is none of adit, haproxy, hitch, nginx and stunnel")
        })?;
        let told = kind
            .version_arg()
            .and_then(|arg| tell(&program, arg, folder))
            .unwrap_or_default();
        let mut lines = told
            .lines()
            .map(str::trim)
            .filter(|line| is_about_build(line));
        let version = lines
            .next()
            .ok_or_else(|| format!("{name}: {shown} does not tell its version"))?;
        Ok(Self {
            name: name.into(),
            kind,
            version: version.into(),
            build: lines.map(Into::into).collect(),
            notes: settings::notes(kind).into(),
            configuration: String::new(),
            program,
            told,
        })
    }

    fn floor() -> Result<Self, String> {
        Ok(Self {
            name: FLOOR.into(),
            kind: Kind::Floor,
            version: "plain TCP proxy".into(),
            build: Vec::new(),
            notes: settings::notes(Kind::Floor).into(),
            configuration: String::new(),
            program: role::program()?,
            told: String::new(),
        })
    }

    /// Starts it on these CPUs and waits until it serves.
    pub(crate) fn start(&self, place: &Place<'_>, cpus: &[usize]) -> Result<Child, String> {
        let settings = settings::of(self.kind, &self.told, place);
        let file = settings::file(place.folder);
        std::fs::write(&file, &settings.configuration)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let call = Call::new(&self.program, cpus).args(&settings.args);
        let mut child = call.start(place.folder, "peer")?;
        child.wait_until(START_TIMEOUT, |child| {
            TcpStream::connect_timeout(&place.listen, START_TIMEOUT).is_ok()
                && procfs::children(child.pid()).len() >= settings.workers
        })?;
        Ok(child)
    }

    /// What is in its configuration file, with the paths and ports of this one
    /// measurement made general.
    pub(crate) fn configuration(&self, place: &Place<'_>) -> String {
        settings::of(self.kind, &self.told, place)
            .configuration
            .replace(&place.folder.display().to_string(), "FOLDER")
            .replace(&folder_of(&place.certificate.cert), "FOLDER")
            .replace(&place.listen.port().to_string(), "PORT")
            .replace(&place.backend.port().to_string(), "BACKEND")
    }
}

/// A loopback address that nobody listens at.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

fn folder_of(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// What a program says when it is asked for its version.
fn tell(program: &Path, arg: &str, folder: &Path) -> Option<String> {
    let call = Call::new(program, &all_cpus()).arg(arg);
    let ended = call.run(folder, "version", VERSION_TIMEOUT).ok()?;
    let text = ended.out + &ended.err;
    (!text.trim().is_empty()).then_some(text)
}

/// Every CPU of the machine.
pub(crate) fn all_cpus() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Whether a line tells of version and build, rather than of settings.
fn is_about_build(line: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "adit ",
        "haproxy version",
        "built with openssl",
        "built with ssl",
        "running on openssl",
        "running on ssl",
        "cc ",
        "cflags",
        "opt_cflags",
        "nginx version",
        "hitch ",
        "stunnel ",
        "compiled with",
        "running  with",
    ];
    let line = line.trim_start_matches("[.] ").to_lowercase();
    let nginx_tls = line.starts_with("built with") && line.contains("running with");
    nginx_tls || BEGINNINGS.iter().any(|begin| line.starts_with(begin))
}

fn on_path(word: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are where the path of an ordinary user does not lead.
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(word))
        .find(|file| file.is_file())
}
