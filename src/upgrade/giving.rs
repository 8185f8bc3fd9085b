//! The old process's part.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::VARIABLE;
use super::message::{Disabled, Hello, Message, Sockets, VERSION};
use crate::config::Address;
use crate::error::Error;
use crate::limits;
use crate::server::{Handle, Offer};
use crate::sys::activation;
use crate::sys::socket::{Arrival, Channel};

/// How this process was started, so that another can be started likewise.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    words: Vec<OsString>,
}

/// The process that takes over: it serves, and has been told that it is the one.
#[derive(Debug)]
#[must_use = "until it is handed over to, this process serves as well"]
pub struct Successor<'a> {
    pid: u32,
    version: String,
    taken: Vec<u32>,
    offer: Offer<'a>,
}

impl Successor<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The version of its program.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it has taken what was lent by this address ([`Handle::lend`]).
    pub fn took(&self, lent: &Address) -> bool {
        let groups = (0..).zip(&self.offer.groups);
        let mut taken = groups.filter(|(number, _)| self.taken.contains(number));
        taken.any(|(_, group)| group.configured.as_ref() == Some(lent))
    }

    /// Accepts nobody more here, and drains. What was lent is let go of.
    pub fn hand_over(self) {
        self.offer.hand_over(&self.taken, self.pid);
    }
}

impl Program {
    /// This program, by the path that it was started from: whatever is there
    /// when the time comes is started. A symbolic link that it was called by is
    /// followed anew then. To be called at the start, before the file can have
    /// been replaced.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the path cannot be told.
    pub fn of_this_process() -> Result<Self, Error> {
        let words: Vec<OsString> = env::args_os().collect();
        let own = env::current_exe()
            .map_err(|error| Error::System(format!("the program's path is unknown: {error}")))?;
        let called = words.first().map(PathBuf::from);
        let path = called
            .filter(|called| called.components().count() > 1)
            .and_then(|called| std::path::absolute(called).ok())
            .filter(|called| is_same_file(called, Path::new("/proc/self/exe")))
            .unwrap_or_else(|| undeleted(own));
        Ok(Self { path, words })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it with this for its standard input.
    fn start(&self, input: Channel) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        if let Some((name, arguments)) = self.words.split_first() {
            command.arg0(name).args(arguments);
        }
        for name in activation::VARIABLES {
            command.env_remove(name);
        }
        // The new process is watched in our place; its id is not known yet.
        command.env_remove("WATCHDOG_PID");
        command
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(input.into_fd()))
            .spawn()
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// The path of a program whose file has been replaced since it was started, as
/// the kernel tells it (proc(5)), without what the kernel adds.
fn undeleted(path: PathBuf) -> PathBuf {
    const MARK: &str = " (deleted)";
    match path.to_str().and_then(|text| text.strip_suffix(MARK)) {
        Some(before) if !path.exists() => before.into(),
        _ => path,
    }
}

/// Starts the program anew to take over from this server: returns once the new
/// process serves beside it. `last_word` is called with the new process's id
/// before it is told that it is the one; what it does has an end.
///
/// # Errors
///
/// [`Error::System`] with the whole reason, [`Error::Stopped`] if the server is
/// not running. Then the new process has ended, and nothing has changed.
pub fn start<'a>(
    handle: &'a Handle,
    program: &Program,
    last_word: impl FnOnce(u32),
) -> Result<Successor<'a>, Error> {
    let offer = handle.offer()?;
    let failed = |what: &str, error: io::Error| Error::System(format!("{what}: {error}"));
    let (ours, theirs) =
        Channel::pair().map_err(|error| failed("no socket pair for the new process", error))?;
    let shown = program.path.display();
    let child = program.start(theirs).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; it must be executable for the user that adit is now"
            }
            io::ErrorKind::NotFound => "; after a chroot the program must be in there, too",
            _ => "",
        };
        Error::System(format!("{shown} cannot be started: {error}{hint}"))
    })?;
    let mut giving = Giving {
        handle,
        channel: ours,
        child: Some(child),
        due: Instant::now() + limits::UPGRADE_TIMEOUT,
    };
    let pid = giving.pid();
    crate::notice!("upgrade: started {shown} as process {pid}");
    let outcome = giving.give(&offer).and_then(|ready| {
        last_word(pid);
        giving.say(&Message::Go)?;
        Ok(ready)
    });
    match outcome {
        Ok((taken, version)) => {
            // It outlives us; whoever is its parent then sees its end.
            giving.child = None;
            Ok(Successor {
                pid,
                version,
                taken,
                offer,
            })
        }
        Err(why) => {
            giving.end();
            Err(Error::System(why))
        }
    }
}

/// An upgrade under way.
struct Giving<'a> {
    handle: &'a Handle,
    channel: Channel,
    child: Option<Child>,
    due: Instant,
}

impl Giving<'_> {
    fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends everything, and waits until the new process serves: gives what it
    /// serves at, and its version.
    fn give(&mut self, offer: &Offer<'_>) -> Result<(Vec<u32>, String), String> {
        self.say(&Message::Hello(Hello {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
        }))?;
        self.hear_taken()?;
        for (number, group) in (0..).zip(&offer.groups) {
            let sockets = |configured: &Option<Address>| {
                Message::Sockets(Sockets {
                    number,
                    configured: configured.clone(),
                    bound: group.bound.clone(),
                    activated: group.activated.clone(),
                })
            };
            for some in group.sockets.chunks(limits::PASSED_DESCRIPTORS_MAX) {
                let fds: Vec<_> = some.iter().map(|fd| fd.as_fd()).collect();
                let sent = self.channel.send(
                    &sockets(&group.configured).encode(),
                    &fds,
                    limits::UPGRADE_MESSAGE_TIMEOUT,
                );
                if let Err(error) = sent {
                    return Err(self.broken(&error));
                }
                // One message of descriptors at a time: the kernel bounds how
                // many are on their way (ETOOMANYREFS, unix(7)).
                self.hear_taken()?;
            }
        }
        let (keys, rest) = &offer.keys;
        let millis = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        self.say(&Message::Keys(keys.clone(), millis))?;
        self.hear_taken()?;
        for (service, backend) in &offer.disabled {
            self.say(&Message::Disabled(Disabled {
                service: service.clone(),
                backend: backend.clone(),
            }))?;
            self.hear_taken()?;
        }
        self.say(&Message::End)?;
        match self.hear()? {
            Message::Ready(ready) => Ok((ready.taken, ready.program)),
            other => Err(format!("the new process says {other:?} instead of ready")),
        }
    }

    fn say(&mut self, message: &Message) -> Result<(), String> {
        let patience = limits::UPGRADE_MESSAGE_TIMEOUT;
        match self.channel.send(&message.encode(), &[], patience) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn hear_taken(&mut self) -> Result<(), String> {
        match self.hear()? {
            Message::Taken => Ok(()),
            other => Err(format!("the new process says {other:?} instead of taken")),
        }
    }

    /// The next thing that the new process says; an error if it gives up, ends,
    /// or takes too long, or if this one is to stop meanwhile.
    fn hear(&mut self) -> Result<Message, String> {
        let mut buffer = vec![0; limits::UPGRADE_MESSAGE_MAX];
        loop {
            match self.channel.receive(&mut buffer, limits::UPGRADE_LOOK) {
                Ok(Arrival::Message(length, _)) => {
                    return match Message::decode(&buffer[..length])? {
                        Message::Failed(why) => Err(why),
                        message => Ok(message),
                    };
                }
                Ok(Arrival::Closed) => return Err(self.ended()),
                Ok(Arrival::Nothing) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            if self.handle.is_leaving() {
                return Err("the server was told to stop".into());
            }
            if Instant::now() >= self.due {
                return Err(format!(
                    "the new process did not serve within {}",
                    humantime::format_duration(limits::UPGRADE_TIMEOUT)
                ));
            }
            // A process that it has started may hold the other end.
            if self.exit_status().is_some() {
                return Err(self.ended());
            }
        }
    }

    /// Nothing more can be sent: what it said before, or how it ended, is the
    /// reason.
    fn broken(&mut self, error: &io::Error) -> String {
        let mut buffer = vec![0; limits::UPGRADE_MESSAGE_MAX];
        while let Ok(Arrival::Message(length, _)) =
            self.channel.receive(&mut buffer, limits::UPGRADE_LOOK)
        {
            if let Ok(Message::Failed(why)) = Message::decode(&buffer[..length]) {
                return why;
            }
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.ended(),
            _ => format!("the new process cannot be spoken to: {error}"),
        }
    }

    fn ended(&mut self) -> String {
        // It may have closed its end a moment before it ends.
        let due = Instant::now() + limits::UPGRADE_GRACE;
        loop {
            match self.exit_status() {
                Some(status) => {
                    return format!(
                        "the new process ended before it served ({status}); what it wrote to \
                         standard error tells why"
                    );
                }
                None if Instant::now() >= due => {
                    return "the new process does not take part in the upgrade; is it an adit of \
                            another age?"
                        .into();
                }
                None => std::thread::sleep(limits::UPGRADE_LOOK),
            }
        }
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// Ends the new process, which is not to serve. One that gives up of itself
    /// may write its last lines.
    fn end(&mut self) {
        let due = Instant::now() + limits::UPGRADE_GRACE;
        while self.exit_status().is_none() && Instant::now() < due {
            std::thread::sleep(limits::UPGRADE_LOOK);
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended of itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_replaced_program_is_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("adit");
        let marked = folder.path().join("adit (deleted)");
        assert_eq!(undeleted(marked.clone()), plain);
        assert_eq!(undeleted(plain.clone()), plain);
        // Who calls a program so means it.
        std::fs::write(&marked, "").unwrap();
        assert_eq!(undeleted(marked.clone()), marked);
    }

    #[test]
    fn this_program_is_found_again() {
        let program = Program::of_this_process().unwrap();
        assert!(is_same_file(program.path(), Path::new("/proc/self/exe")));
        assert!(program.path().is_absolute());
    }
}
