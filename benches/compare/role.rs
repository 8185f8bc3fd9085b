//! What this program does when it calls itself: a child in another role than
//! its parent, told by its first argument.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

use crate::{crypto, floor};

/// Becomes another program, pinned: `CPUS PROGRAM ARGUMENTS…`.
pub(crate) const PINNED: &str = "--as-pinned";
/// The plain TCP proxy: `LISTEN BACKEND`.
pub(crate) const FLOOR: &str = "--as-floor";
/// The cryptography alone, printed as JSON.
pub(crate) const CRYPTO: &str = "--as-crypto";

/// Plays the role that the arguments name; `None` if they name none.
pub(crate) fn play() -> Option<Result<(), String>> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        PINNED => Some(become_pinned(args.collect())),
        FLOOR => Some(floor::run(&args.collect::<Vec<_>>())),
        CRYPTO => Some(crypto::run()),
        _ => None,
    }
}

/// This very program, to call in a role.
pub(crate) fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))
}

/// Sets what a child inherits, and becomes the program: it runs on these CPUs
/// alone, may open as many files as anyone may, and ends with its parent.
fn become_pinned(args: Vec<OsString>) -> Result<(), String> {
    let [cpus, program, rest @ ..] = args.as_slice() else {
        return Err("a pinned child needs CPUs and a program".into());
    };
    prepare(&cpus.to_string_lossy()).map_err(|error| format!("cannot pin a child: {error}"))?;
    let error = Command::new(program).args(rest).exec();
    Err(format!("{} cannot be run: {error}", program.display()))
}

fn prepare(cpus: &str) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut set = CpuSet::new();
    for cpu in cpus.split(',').filter_map(|cpu| cpu.parse().ok()) {
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)?;
    let files = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    Ok(rustix::process::setrlimit(Resource::Nofile, most)?)
}
