//! As whom the program serves, and what it forbids itself.
//!
//! [`Privileges::prepare`] comes before anything else that a server does, and
//! [`Privileges::give_up`] once ports are bound and certificates, keys and
//! configuration are read, and before there is a thread that speaks with the
//! network. What each thread has of its own (no-new-privileges, the bounding
//! set) is set by the first, when there is one thread only; users and groups
//! are changed for all at once. Landlock, at the end, is for the threads that
//! come after: only those of the logs are there before.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use adit::Layout;
use adit::config::{Address, Admin, Config, Source as From};
use adit::control::admin;
use adit::sys::account::{self, Account};
use adit::sys::preflight::{self, Needs};
use adit::sys::privileges::{self, Capability};
use adit::sys::{landlock, rlimit, socket};

use super::exit::Failure;
use super::source::Source;

/// What an upgrade sets for the process that it starts.
const UPGRADE: &str = "ADIT_UPGRADE_FROM";

/// What a server gives up, before it does.
#[derive(Debug)]
pub(crate) struct Privileges {
    /// Whom to become; `None`: it stays as it is.
    user: Option<Account>,
    keep: Vec<Capability>,
    /// That it stays root, and nobody has said so.
    warn_of_root: bool,
}

/// What a server has forbidden itself.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Where it may write; `None`: wherever the files' permissions let it.
    write: Option<Vec<PathBuf>>,
}

impl Privileges {
    /// Looks whom to become, and refuses what cannot be. The calling thread
    /// must be the only one.
    pub(crate) fn prepare(config: &Config, source: Option<&Source>) -> Result<Self, Failure> {
        let Whom { user, warn_of_root } = whom(config, source).map_err(Refused::failure)?;
        let asked = &config.privileges;
        privileges::gain_nothing().map_err(|error| refused("no-new-privileges", &error))?;
        privileges::set_dumpable(asked.core_dumps)
            .map_err(|error| refused("what may read its memory", &error))?;
        let keep = needed(config);
        if user.is_some() {
            // Root may be without CAP_SETPCAP, as in some containers. The set is
            // of no use then to a user who has none of it and can gain none.
            let _ = privileges::bound_capabilities(&keep);
            // Root needs no limit of locked memory, and the user does; two of
            // them, when the one hands over to the other.
            let locked = 2 * preflight::memlock_needed(&Needs::of(config, shards(config)));
            // If it cannot be raised, the check as that user says what to do.
            let _ = rlimit::extend_memlock(locked);
        }
        Ok(Self {
            user,
            keep,
            warn_of_root,
        })
    }

    /// Becomes the user, in the folder that is asked for, and confines itself.
    /// `files` are those that a reload reads, the configuration's own among
    /// them.
    pub(crate) fn give_up(
        self,
        config: &Config,
        files: &[PathBuf],
    ) -> Result<Confinement, Failure> {
        if self.warn_of_root {
            log::warn!(
                "adit runs as root, and stays so; --user NAME has it become that user once the \
                 ports are bound and the keys are read"
            );
        }
        if let Some(user) = &self.user {
            self.become_user(user, config, files)?;
        }
        if !config.privileges.landlock {
            return Ok(Confinement::default());
        }
        Ok(confine(config))
    }

    fn become_user(
        &self,
        user: &Account,
        config: &Config,
        files: &[PathBuf],
    ) -> Result<(), Failure> {
        let readable = readable(files);
        // Which /sys tells, and a chroot need not have it.
        let shards = shards(config);
        hand_over(user, config);
        if let Some(folder) = &config.privileges.chroot {
            privileges::enter_root(folder).map_err(|error| {
                Failure::runtime(format!(
                    "chroot \"{}\" cannot be entered: {error}",
                    folder.display()
                ))
            })?;
        }
        privileges::become_user(user, &self.keep).map_err(|error| {
            Failure::runtime(format!(
                "user {} cannot be become: {error}; it takes CAP_SETUID and CAP_SETGID, which a \
                 container may not have",
                user.name
            ))
        })?;
        // A change of user has the kernel set it anew.
        privileges::set_dumpable(config.privileges.core_dumps)
            .map_err(|error| refused("what may read its memory", &error))?;
        // What the kernel lets root do was looked at before.
        let report = preflight::check(&Needs::of(config, shards));
        if let Some(finding) = report.errors().next() {
            return Err(Failure::runtime(format!(
                "as user {}: {}\n  fix: {}",
                user.name, finding.what, finding.fix
            )));
        }
        adit::notice!(
            "acting as user {} ({}), group {}{}",
            user.name,
            user.uid,
            user.gid,
            match &config.privileges.chroot {
                Some(folder) => format!(", in {}", folder.display()),
                None => String::new(),
            }
        );
        for file in &readable {
            if let Err(error) = File::open(file) {
                log::warn!("{}", unreadable(file, user, config, &error));
            }
        }
        let mut folders = config.written_folders();
        folders.dedup();
        for folder in folders.iter().filter(|f| !privileges::may_write_in(f)) {
            let shown = folder.display();
            log::warn!(
                "{shown}: user {0} cannot write there, so that no log is made anew there once it \
                 is rotated, and no socket is bound or removed; run chown {0} {shown}, or use a \
                 directory that is the user's own",
                user.name
            );
        }
        Ok(())
    }
}

impl Confinement {
    /// Looks for what another configuration would write to, and this process
    /// no longer can.
    pub(crate) fn check(&self, config: &Config) -> Result<(), Failure> {
        let Some(allowed) = &self.write else {
            return Ok(());
        };
        for path in config.written() {
            let whole = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
            if !allowed.iter().any(|folder| whole.starts_with(folder)) {
                return Err(Failure::runtime(format!(
                    "{}: adit has confined itself (Landlock) to writing below {}; restart it, \
                     which adds this folder, or write landlock: false",
                    path.display(),
                    list(allowed)
                )));
            }
        }
        Ok(())
    }
}

/// As whom a server would act.
#[derive(Debug)]
pub(super) struct Whom {
    /// Whom it would become; `None`: it stays as it is.
    pub(super) user: Option<Account>,
    warn_of_root: bool,
}

/// Why it would not start.
#[derive(Debug)]
pub(super) enum Refused {
    /// It would stay root, and nobody has said so.
    Root(Failure),
    /// Anything else.
    Other(Failure),
}

impl Refused {
    fn failure(self) -> Failure {
        match self {
            Self::Root(failure) | Self::Other(failure) => failure,
        }
    }
}

impl std::convert::From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Finds out as whom a server would act that this process starts.
pub(super) fn whom(config: &Config, source: Option<&Source>) -> Result<Whom, Refused> {
    let asked = &config.privileges;
    let is_root = account::effective_uid() == 0;
    let account = asked
        .user
        .as_deref()
        .map(|user| Account::find(user, asked.group.as_deref()))
        .transpose()
        .map_err(Failure::usage)?;
    let (user, warn_of_root) = match account {
        Some(account) if is_root && account.uid != 0 => (Some(account), false),
        Some(account) => {
            check_stays(&account)?;
            (None, false)
        }
        None => {
            if let Some(group) = &asked.group {
                return Err(Refused::Other(Failure::usage(format!(
                    "group \"{group}\" is asked for without a user; write user: \"…\" too"
                ))));
            }
            match source {
                // A file is what is started at every boot, and what is started
                // so must not be root because a line is missing.
                Some(Source::File(file)) if is_root => {
                    return Err(Refused::Root(refuse_root(file)));
                }
                // Who types what is to be served, as root, has said so.
                Some(_) => (None, is_root),
                // The demonstration serves this machine alone.
                None => (None, false),
            }
        }
    };
    match &asked.chroot {
        // One that another process of the program has started, to take its place,
        // is in there already.
        Some(_) if !is_root && env::var_os(UPGRADE).is_some() => Ok(Whom { user, warn_of_root }),
        Some(folder) if user.is_none() => Err(refuse_chroot(folder, is_root).into()),
        _ => Ok(Whom { user, warn_of_root }),
    }
}

/// What a reload could not read as that user, of these files that this process
/// can: a sentence for each.
pub(super) fn unreadable_to(user: &Account, config: &Config, files: &[PathBuf]) -> Vec<String> {
    let readable = readable(files);
    let inside = |file: &Path| match &config.privileges.chroot {
        Some(folder) => folder.join(file.strip_prefix("/").unwrap_or(file)),
        None => file.to_owned(),
    };
    let look = || {
        let failed = readable.iter().filter_map(|file| {
            let error = File::open(inside(file)).err()?;
            Some(unreadable(file, user, config, &error))
        });
        failed.collect()
    };
    // Whoever cannot become that user cannot start such a server either.
    privileges::look_as(user, look).unwrap_or_default()
}

/// Whether that account is the one that this process has anyway.
fn check_stays(account: &Account) -> Result<(), Failure> {
    let (uid, gid) = (account::effective_uid(), account::effective_gid());
    if account.uid == uid && (account.gid == gid || uid == 0) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "adit was started as user {uid}, group {gid}, and cannot become {} ({}, group {}); start \
         it as root, or as that user, or leave user and group out",
        account.name, account.uid, account.gid
    )))
}

fn refuse_root(file: &Path) -> Failure {
    Failure::usage(format!(
        "adit would stay root, for want of a user in {0}; write user: \"adit\" there (or give \
         --user adit), the name of a user without rights of its own, whom adit becomes once the \
         ports are bound and the keys are read; or user: \"root\" (--user root), to stay root on \
         purpose",
        file.display()
    ))
}

fn refuse_chroot(folder: &Path, is_root: bool) -> Failure {
    let folder = folder.display();
    Failure::usage(if is_root {
        format!(
            "chroot \"{folder}\" holds nobody who stays root; write user: \"adit\", or another \
             without rights of its own, or leave chroot out"
        )
    } else {
        format!(
            "chroot \"{folder}\" takes root to enter, and adit was not started as root; start it \
             so, with user: \"…\", or leave chroot out"
        )
    })
}

fn refused(what: &str, error: &io::Error) -> Failure {
    Failure::runtime(format!("the kernel does not let adit set {what}: {error}"))
}

/// The capabilities that this configuration cannot do without.
fn needed(config: &Config) -> Vec<Capability> {
    let mut needed = Vec::new();
    let first = socket::unprivileged_port_start();
    // Else a reload could not move such a listener to another address.
    let low = |address: &Address| match address {
        Address::Tcp { port, .. } => (1..first).contains(port),
        Address::Unix(_) | Address::Systemd(_) => false,
    };
    let listeners = config.listeners.iter().map(|l| &l.address);
    let metrics = config.metrics.iter().map(|metrics| &metrics.address);
    if listeners.chain(metrics).any(low) {
        needed.push(Capability::NetBindService);
    }
    if config
        .services
        .iter()
        .any(|s| s.source == From::Transparent)
    {
        needed.push(Capability::NetAdmin);
    }
    needed
}

fn shards(config: &Config) -> usize {
    // Where it cannot be said, the start says so.
    Layout::of(config).map_or(1, |layout| layout.shards.len())
}

/// Which of these files, and of what is directly in those that are folders, can
/// be read.
fn readable(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = paths.to_vec();
    for path in paths {
        if let Ok(found) = fs::read_dir(path) {
            files.extend(found.flatten().map(|entry| entry.path()));
        }
    }
    files.retain(|file| File::open(file).is_ok());
    files
}

/// Gives the user what root has made for it, as if the user had: sockets, key
/// logs, the folder of the admin socket.
fn hand_over(user: &Account, config: &Config) {
    for path in config.written() {
        if let Err(error) = give(&path, user)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::debug!("{} stays root's: {error}", path.display());
        }
    }
    if config.admin == Admin::Auto && config.privileges.chroot.is_none() {
        let folder = Path::new(admin::SYSTEM_FOLDER);
        let given = match admin::make_folder(folder) {
            Ok(()) => give(folder, user),
            Err(why) => Err(io::Error::other(why)),
        };
        if let Err(error) = given {
            log::debug!("{} stays as it is: {error}", folder.display());
        }
    }
}

/// Gives one thing of root's away. Where its folder is the user's already, the
/// user may have put something else in its place: so the thing that is looked
/// at is the one that is given, no link is followed, and nothing that has
/// another name as well.
fn give(path: &Path, user: &Account) -> io::Result<()> {
    let thing = OpenOptions::new()
        .read(true)
        .custom_flags(privileges::OPEN_AS_NAME)
        .open(path)?;
    let found = thing.metadata()?;
    let kind = found.file_type();
    let single = (kind.is_file() && found.nlink() == 1) || kind.is_socket() || kind.is_dir();
    if found.uid() != 0 || !single {
        return Ok(());
    }
    privileges::give_away(thing.as_fd(), user)
}

/// What there is to say of a file that root could read, and the user cannot.
fn unreadable(file: &Path, user: &Account, config: &Config, error: &io::Error) -> String {
    let shown = file.display();
    if let Some(folder) = &config.privileges.chroot
        && error.kind() == io::ErrorKind::NotFound
    {
        return format!(
            "{shown}: it is not there below {}, so that a reload will be refused; put a copy there",
            folder.display()
        );
    }
    let shut = file
        .ancestors()
        .skip(1)
        .filter(|folder| *folder != Path::new(""))
        .filter(|folder| fs::metadata(folder.join(".")).is_err())
        .last();
    let fix = match shut {
        Some(folder) => format!("chmod o+x {}", folder.display()),
        None if file.is_dir() => format!("chown {} {shown}", user.name),
        None => format!("chown {} {shown}; chmod 600 {shown}", user.name),
    };
    format!(
        "{shown}: user {} cannot read it ({error}), so that a reload will be refused; run {fix}",
        user.name
    )
}

/// Confines this thread, and all that come after it, as far as the kernel can.
fn confine(config: &Config) -> Confinement {
    let mut write = config.written_folders();
    if config.admin == Admin::Auto {
        write.extend(admin::folder_to_be());
    }
    let mut write: Vec<PathBuf> = write
        .into_iter()
        .map(|folder| std::path::absolute(&folder).unwrap_or(folder))
        .collect();
    write.sort_unstable();
    write.dedup();
    // The console is written to when the syslog daemon is away.
    let devices = ["/dev/null", "/dev/console"].map(PathBuf::from);
    let all: Vec<PathBuf> = write.iter().cloned().chain(devices).collect();
    match landlock::confine(&all) {
        Ok(()) => {
            log::debug!("confined by Landlock: writes below {}", list(&write));
            Confinement { write: Some(write) }
        }
        Err(error) => {
            log::debug!("not confined by Landlock: {error}");
            Confinement::default()
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "nothing".into();
    }
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    shown.join(", ")
}
