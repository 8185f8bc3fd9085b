//! The new process's part.

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use super::VARIABLE;
use super::message::{Disabled, Message, Ready, Sockets};
use crate::error::Error;
use crate::limits;
use crate::server::{Group, Handle, Inheritance};
use crate::sys::activation;
use crate::sys::socket::{self, Arrival, Channel};

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    pid: u32,
    version: String,
}

impl Predecessor {
    /// The process that has started this one to take over from it, and what it
    /// leaves. `None`: it was started in another way. To be called once, at the
    /// start.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if what arrives makes no sense. The other process is
    /// told.
    pub fn find() -> Result<Option<(Self, Inheritance)>, Error> {
        let from = env::var(VARIABLE).ok().and_then(|pid| pid.parse().ok());
        // Somebody may have copied the environment of a process that took over.
        if from != Some(parent_id()) {
            return Ok(None);
        }
        let input = activation::take_stdin()
            .map_err(|error| Error::System(format!("standard input: {error}")))?;
        let Some(channel) = Channel::from_fd(input) else {
            return Ok(None);
        };
        let mut predecessor = Self {
            channel,
            pid: parent_id(),
            version: String::new(),
        };
        match predecessor.receive() {
            Ok(inheritance) => Ok(Some((predecessor, inheritance))),
            Err(why) => {
                let why = format!("process {}: {why}", predecessor.pid);
                predecessor.fail(&why);
                Err(Error::System(why))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The version of its program.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Tells it that this process does not come to serve, and why.
    pub fn fail(&self, why: &str) {
        // One that is gone need not know.
        let _ = self.say(&Message::Failed(why.to_owned()));
    }

    /// Tells it that this process serves, by this handle, once every shard does,
    /// and waits for its word. From then on it accepts nobody more.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a shard does not serve, if this process was told to
    /// stop meanwhile, or if the other has given it up. One that has ended
    /// instead leaves everything to this one.
    pub fn relieve(&self, handle: &Handle) -> Result<(), Error> {
        handle.await_serving()?;
        if handle.is_stopping() {
            return Err(Error::System(
                "the new process was told to stop before it served".into(),
            ));
        }
        let ready = Message::Ready(Ready {
            taken: handle.taken(),
            program: env!("CARGO_PKG_VERSION").into(),
        });
        let alone = |why: &str| {
            log::warn!("process {}, which was to hand over, {why}", self.pid);
            handle.own_files();
            Ok(())
        };
        if self.say(&ready).is_err() {
            return alone("is gone");
        }
        let mut buffer = [0; 64];
        let patience = limits::UPGRADE_MESSAGE_TIMEOUT + limits::SERVICE_BARRIER_TIMEOUT;
        match self.channel.receive(&mut buffer, patience) {
            Ok(Arrival::Message(length, _)) => match Message::decode(&buffer[..length]) {
                Ok(Message::Go) => {
                    handle.own_files();
                    Ok(())
                }
                other => Err(Error::System(format!(
                    "process {} says {other:?} instead of go",
                    self.pid
                ))),
            },
            Ok(Arrival::Closed) => alone("has ended"),
            Ok(Arrival::Nothing) => alone("does not say that it does"),
            Err(error) => Err(Error::System(format!("process {}: {error}", self.pid))),
        }
    }

    fn say(&self, message: &Message) -> std::io::Result<()> {
        let patience = limits::UPGRADE_MESSAGE_TIMEOUT;
        self.channel.send(&message.encode(), &[], patience)
    }

    /// Takes all that is sent.
    fn receive(&mut self) -> Result<Inheritance, String> {
        let mut inheritance = Inheritance::default();
        // Keys pass through it.
        let mut buffer = zeroize::Zeroizing::new(vec![0; limits::UPGRADE_MESSAGE_MAX]);
        loop {
            let patience = limits::UPGRADE_MESSAGE_TIMEOUT;
            let arrived = self
                .channel
                .receive(&mut buffer, patience)
                .map_err(|error| format!("what it leaves cannot be taken: {error}"))?;
            let (length, fds) = match arrived {
                Arrival::Message(length, fds) => (length, fds),
                Arrival::Closed => return Err("it has ended".into()),
                Arrival::Nothing => return Err("it does not say what it leaves".into()),
            };
            match Message::decode(&buffer[..length])? {
                Message::Hello(hello) => self.version = hello.program,
                Message::Sockets(sockets) => add(&mut inheritance, sockets, fds)?,
                Message::Keys(keys, millis) => {
                    let rest = Duration::from_millis(millis).min(limits::TICKET_KEY_ROTATION);
                    inheritance.keys = Some((keys, rest));
                }
                Message::Disabled(Disabled { service, backend }) => {
                    inheritance.disabled.push((service, backend));
                }
                Message::End => return Ok(inheritance),
                other => return Err(format!("it says {other:?}")),
            }
            self.say(&Message::Taken)
                .map_err(|error| format!("it does not listen: {error}"))?;
        }
    }
}

fn add(inheritance: &mut Inheritance, sockets: Sockets, fds: Vec<OwnedFd>) -> Result<(), String> {
    for fd in &fds {
        let bound = socket::bound_to(fd.as_fd())
            .map_err(|error| format!("a socket of {}: {error}", sockets.bound))?;
        log::debug!("inherited: a socket bound to {bound}");
    }
    let fds = fds.into_iter().map(Arc::new);
    let number = Some(sockets.number);
    match inheritance.groups.iter_mut().find(|g| g.number == number) {
        Some(group) => group.sockets.extend(fds),
        None => inheritance.groups.push(Group {
            number,
            configured: sockets.configured,
            activated: sockets.activated,
            bound: sockets.bound,
            sockets: fds.collect(),
            claimed: false,
        }),
    }
    Ok(())
}
