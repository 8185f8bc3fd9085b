//! A process that was started for a measurement, and that ends with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{procfs, role};

/// How long a child may take to end after it was asked to.
const END_TIMEOUT: Duration = Duration::from_secs(3);

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From here on SIGINT and SIGTERM end the run at its next step, so that every
/// child is ended too. A second one ends the process at once; children that
/// are not workers of others then end with it.
pub(crate) fn stop_on_signals() -> Result<(), String> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the flag is not yet set when the first one comes.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// An error once the run was told to stop.
pub(crate) fn go_on() -> Result<(), String> {
    if STOPPED.load(Ordering::Relaxed) {
        return Err("stopped by a signal; nothing was written".into());
    }
    Ok(())
}

/// What can be run: a program and its arguments, on these CPUs.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    program: PathBuf,
    args: Vec<std::ffi::OsString>,
    cpus: Vec<usize>,
}

impl Call {
    pub(crate) fn new(program: impl Into<PathBuf>, cpus: &[usize]) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            cpus: cpus.to_vec(),
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// The arguments, as one line.
    pub(crate) fn line(&self) -> String {
        let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        words.join(" ")
    }

    fn command(&self) -> Result<Command, String> {
        let cpus: Vec<_> = self.cpus.iter().map(ToString::to_string).collect();
        let mut command = Command::new(role::program()?);
        command
            .arg(role::PINNED)
            .arg(cpus.join(","))
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts it; what it prints goes to the files `NAME.out` and `NAME.err`
    /// in the folder.
    pub(crate) fn start(&self, folder: &Path, name: &str) -> Result<Child, String> {
        let (out, err) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let create = |path: &Path| {
            File::create(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let child = self
            .command()?
            .stdout(create(&out)?)
            .stderr(create(&err)?)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))?;
        Ok(Child { child, out, err })
    }

    /// Runs it to its end, or for as long as the timeout.
    pub(crate) fn run(
        &self,
        folder: &Path,
        name: &str,
        timeout: Duration,
    ) -> Result<Ended, String> {
        let mut child = self.start(folder, name)?;
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = child.ended()? {
                return Ok(Ended {
                    status,
                    out: read(&child.out),
                    err: read(&child.err),
                });
            }
            go_on()?;
            if Instant::now() >= deadline {
                return Err(format!("took longer than {} s", timeout.as_secs()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a child that has ended leaves.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// How it ended, and the last of what it complained about.
    pub(crate) fn why(&self) -> String {
        format!("{}: {}", self.status, last_lines(&self.err))
    }
}

/// A running child. Dropping it ends it and the children that it made, by
/// SIGTERM and, if need be, SIGKILL.
#[derive(Debug)]
pub(crate) struct Child {
    child: process::Child,
    out: PathBuf,
    err: PathBuf,
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child
            .try_wait()
            .map_err(|error| format!("cannot wait for a child: {error}"))
    }

    /// What it has printed on standard output so far.
    pub(crate) fn printed(&self) -> String {
        read(&self.out)
    }

    /// Waits until the condition holds; an error if the child ends before, or
    /// does not get there in time.
    pub(crate) fn wait_until(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        while !condition(self) {
            if let Some(status) = self.ended()? {
                return Err(format!(
                    "ended at once, {status}: {}",
                    last_lines(&read(&self.err))
                ));
            }
            go_on()?;
            if Instant::now() >= deadline {
                return Err(format!(
                    "was not ready after {} s: {}",
                    timeout.as_secs(),
                    last_lines(&read(&self.err))
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // Workers too: a master that has to be killed leaves them behind.
        let family = procfs::family(self.pid());
        signal(self.pid(), Signal::TERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        for (pid, started) in family {
            // The same process still, and no other under its number.
            if pid != self.pid() && procfs::started(pid) == Some(started) {
                signal(pid, Signal::KILL);
            }
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// The last few lines, in one.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

fn read(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("{}: {error}", path.display()),
    }
}
