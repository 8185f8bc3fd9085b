//! The admin endpoint: how `adit stats`, its like and an operator reach a process.
//!
//! It is HTTP over a Unix socket that only its own user may open, and that
//! answers root and that user alone, whoever was handed it (`answers` has what
//! can be asked for). By default the socket is named after the process id and
//! lies in a private folder, the first of [`folders`] that can be used; there
//! [`instances`] finds it.

mod answers;

pub use answers::{Drained, Draining, Orders, Switched};

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::Admin;
use crate::error::Error;
use crate::http::{self, Running};
use crate::sys::account::effective_uid;
use crate::sys::socket::patiently;

/// A running process that was found by its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its process id, as the socket's name has it.
    pub pid: u32,
    /// Its socket.
    pub socket: PathBuf,
    /// It has left its work to another process, and drains.
    pub left: bool,
}

/// Starts the endpoint where the configuration says. `Ok(None)` if it is off,
/// or if no folder can be used for [`Admin::Auto`], of which a warning is
/// logged: a server without it still does its job.
///
/// # Errors
/// [`Error::System`] if the socket of [`Admin::Path`] cannot be had.
pub fn start(admin: &Admin, orders: impl Orders) -> Result<Option<Running>, Error> {
    start_at(None, admin, orders)
}

/// As [`start`], and serves at the socket of [`Admin::Path`] that another process
/// has left, if it has.
///
/// # Errors
/// Those of [`start`].
pub fn start_at(
    left: Option<UnixListener>,
    admin: &Admin,
    orders: impl Orders,
) -> Result<Option<Running>, Error> {
    let bound = match (admin, left) {
        (Admin::Off, _) => return Ok(None),
        (Admin::Path(path), Some(left)) => Ok((left, path.clone())),
        (Admin::Path(path), None) => bind_at(path).map(|listener| (listener, path.clone())),
        (Admin::Auto, _) => match bind_auto() {
            Ok(bound) => Ok(bound),
            Err(why) => {
                log::warn!(
                    "no admin endpoint, so that adit stats will not find this process: {why}"
                );
                return Ok(None);
            }
        },
    };
    let (listener, path) = bound.map_err(Error::System)?;
    let running = http::serve(listener, "adit-admin", move |request| {
        answers::answer(request, &orders)
    })
    .map_err(|error| Error::System(format!("the admin endpoint has no thread: {error}")))?
    .unlink_at_end(&path);
    log::debug!("admin endpoint at {}", path.display());
    Ok(Some(running))
}

/// Another process has taken over: whoever looks for one that serves is not to
/// find this one. By its process id it is found all the same.
pub fn step_aside(running: &Running) {
    let Some(path) = running.path() else {
        return;
    };
    let aside = path.with_file_name(format!("{LEFT}{}{SUFFIX}", std::process::id()));
    if let Err(error) = running.move_to(aside) {
        log::warn!("the admin endpoint stays at {}: {error}", path.display());
    }
}

/// The folder of sockets that root makes for whom it becomes, and that a service
/// manager makes for the service's user.
pub const SYSTEM_FOLDER: &str = "/run/adit";

/// The private folders in which sockets may lie, best first:
/// `$XDG_RUNTIME_DIR/adit`, `/run/adit`, and `/tmp/adit-UID` for all but root.
pub fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        // The XDG base directory specification has relative ones ignored.
        && runtime.is_absolute()
    {
        folders.push(runtime.join("adit"));
    }
    folders.push(PathBuf::from(SYSTEM_FOLDER));
    match effective_uid() {
        0 => {}
        uid => folders.push(PathBuf::from(format!("/tmp/adit-{uid}"))),
    }
    folders
}

/// Makes a folder private, or sees to it that it is.
///
/// # Errors
///
/// A sentence that names it.
pub fn make_folder(folder: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("{} cannot be made: {error}", folder.display()))
        }
        _ => check_private(folder),
    }
}

/// The folder in which [`Admin::Auto`] will have its socket, made if need be.
pub fn folder_to_be() -> Option<PathBuf> {
    folders()
        .into_iter()
        .find(|folder| make_folder(folder).is_ok())
}

/// The processes that answer in those folders, by process id. Sockets whose
/// process is gone are removed on the way. Folders that are missing, or not
/// ours alone, hold none.
pub fn instances(folders: &[PathBuf]) -> Vec<Instance> {
    let mut found: Vec<Instance> = folders
        .iter()
        .filter(|folder| check_private(folder).is_ok())
        .flat_map(|folder| sweep(folder))
        .collect();
    found.sort_by_key(|instance| instance.pid);
    found.dedup_by_key(|instance| instance.pid);
    found
}

/// Binds in the first folder that can be used; else the reasons, all of them.
fn bind_auto() -> Result<(UnixListener, PathBuf), String> {
    let mut reasons = Vec::new();
    for folder in folders() {
        match bind_in(&folder) {
            Ok(bound) => return Ok(bound),
            Err(why) => reasons.push(why),
        }
    }
    Err(reasons.join("; "))
}

/// Binds `admin-<pid>.sock` in a folder that is made private, or is already.
fn bind_in(folder: &Path) -> Result<(UnixListener, PathBuf), String> {
    make_folder(folder)?;
    let _ = sweep(folder);
    let path = folder.join(socket_name(std::process::id()));
    // A process before us may have had our id, and it is not running now.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)
        .and_then(|listener| {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        })
        .map_err(|error| format!("{} cannot be bound: {error}", path.display()))?;
    Ok((listener, path))
}

/// Binds at a path of the operator's choice. Nobody else can open the socket
/// even for a moment: it is bound in a private folder beside the path, and
/// moved there once its mode is right.
fn bind_at(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("admin socket {shown}: {error}")),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!(
                "admin socket {shown}: something that is no socket is there; remove it, or give another path"
            ));
        }
        // Left behind by a process that is gone; the move replaces it.
        Ok(_) => patiently(
            || match UnixStream::connect(path) {
                Ok(_) => Err(format!(
                    "admin socket {shown}: another process listens there; give another path"
                )),
                Err(_) => Ok(()),
            },
            |_| true,
        )?,
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let bind = || {
        DirBuilder::new().mode(0o700).create(&beside)?;
        let inner = beside.join("s");
        let listener = UnixListener::bind(&inner)?;
        fs::set_permissions(&inner, Permissions::from_mode(0o600))?;
        fs::rename(&inner, path)?;
        Ok(listener)
    };
    let bound = bind().map_err(|error: io::Error| {
        format!("admin socket {shown} cannot be bound: {error}; give another path, or --admin off")
    });
    let _ = fs::remove_file(beside.join("s"));
    let _ = fs::remove_dir(&beside);
    bound
}

/// Whether a folder is a real one, ours, and closed to everybody else. To root
/// it may be another user's: that of a server which was started as root.
fn check_private(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let found = fs::symlink_metadata(folder).map_err(|error| format!("{shown}: {error}"))?;
    let uid = effective_uid();
    if !found.is_dir() {
        Err(format!("{shown} is no folder"))
    } else if found.uid() != uid && uid != 0 {
        Err(format!(
            "{shown} belongs to user {}, not to us ({uid})",
            found.uid()
        ))
    } else if found.mode() & 0o077 != 0 {
        Err(format!(
            "{shown} is open to others (mode {:04o}); run chmod 700 {shown}",
            found.mode() & 0o7777
        ))
    } else {
        Ok(())
    }
}

/// The processes that answer in a folder. The sockets of dead ones are removed.
fn sweep(folder: &Path) -> Vec<Instance> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut alive = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((pid, left)) = name.to_str().and_then(socket_pid) else {
            continue;
        };
        let socket = entry.path();
        match UnixStream::connect(&socket) {
            Ok(_) => alive.push(Instance { pid, socket, left }),
            // A live process may be between its bind and its listen.
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && !Path::new("/proc").join(pid.to_string()).exists() =>
            {
                let _ = fs::remove_file(&socket);
            }
            Err(_) => {}
        }
    }
    alive
}

/// What the names of sockets begin with; those of processes that have left
/// their work to another; and what all end with.
const SERVES: &str = "admin-";
const LEFT: &str = "left-";
const SUFFIX: &str = ".sock";

fn socket_name(pid: u32) -> String {
    format!("{SERVES}{pid}{SUFFIX}")
}

/// The process, and whether it has left its work to another.
fn socket_pid(name: &str) -> Option<(u32, bool)> {
    let name = name.strip_suffix(SUFFIX)?;
    let (pid, left) = match name.strip_prefix(SERVES) {
        Some(pid) => (pid, false),
        None => (name.strip_prefix(LEFT)?, true),
    };
    Some((pid.parse().ok()?, left))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Address;
    use crate::http::Method;
    use crate::http::client;
    use crate::metrics::{Stats, TunnelId, TunnelList, TunnelQuery, TunnelStats};

    const TIMEOUT: Duration = Duration::from_secs(20);

    struct Stopped;

    impl Orders for Stopped {
        fn stats(&self) -> Result<Stats, Error> {
            Err(Error::Stopped)
        }
        fn tunnels(&self, _: TunnelQuery) -> Result<TunnelList, Error> {
            Err(Error::Stopped)
        }
        fn close(&self, _: TunnelId) -> Result<Option<TunnelStats>, Error> {
            Ok(None)
        }
        fn drain(&self) -> Result<Draining, Error> {
            Err(Error::Stopped)
        }
        fn drained(&self) -> Result<Option<Drained>, Error> {
            Ok(None)
        }
        fn enable_backend(&self, service: &str, _: &str, _: bool) -> Result<Vec<usize>, Error> {
            Err(Error::Unknown(format!("there is no service {service}")))
        }
        fn reload(&self) -> Result<(), String> {
            Err("adit.ron:3:5: unknown key".into())
        }
        fn upgrade(&self) -> Result<String, String> {
            Err("the new process ended".into())
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o7777
    }

    #[test]
    fn routes_and_statuses() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let running = start(&Admin::Path(path.clone()), Stopped).expect("started");
        assert_eq!(mode(&path), 0o600);
        let address = Address::Unix(path.clone());
        for (method, target, status, text) in [
            (Method::Get, "/stats", 503, "not running"),
            (Method::Post, "/stats", 405, "GET"),
            (Method::Post, "/reload", 409, "adit.ron:3:5"),
            (Method::Get, "/reload", 405, "POST"),
            (Method::Post, "/upgrade", 409, "the new process ended"),
            (Method::Get, "/upgrade", 405, "POST"),
            (Method::Get, "/tunnels", 503, "not running"),
            (Method::Get, "/tunnels?sort=speed", 400, "write age"),
            (Method::Get, "/tunnels?filter=colour%3Dred", 400, "colour"),
            (Method::Get, "/tunnels?limit=x", 400, "limit"),
            (Method::Post, "/tunnels", 405, "GET"),
            (Method::Get, "/shards", 503, "not running"),
            (Method::Get, "/backends", 503, "not running"),
            (Method::Post, "/close?id=1-2", 404, "no tunnel 1-2"),
            (Method::Post, "/close?id=1", 400, "3-1842"),
            (Method::Post, "/close", 400, "id="),
            (Method::Get, "/close?id=1-2", 405, "POST"),
            (Method::Post, "/drain", 503, "not running"),
            (Method::Get, "/drain", 409, "not told"),
            (
                Method::Post,
                "/backends/disable?service=a%20b&backend=c:1",
                404,
                "a b",
            ),
            (Method::Post, "/backends/enable?service=a", 400, "backend="),
            (Method::Get, "/", 404, ""),
        ] {
            let answer = client::send(&address, method, target, TIMEOUT).expect("an answer");
            assert_eq!(answer.status, status, "{target}");
            let body = String::from_utf8(answer.body).expect("text");
            assert!(body.contains(text), "{body}");
        }
        drop(running);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_path_in_use_is_refused_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let first = bind_at(&path).expect("bound");
        let error = bind_at(&path).unwrap_err();
        assert!(error.contains("another process"), "{error}");
        drop(first);
        let second = bind_at(&path).expect("bound again");
        assert!(UnixStream::connect(&path).is_ok());
        // One that is about to go is waited for: it goes when it is asked.
        let going = std::thread::spawn(move || drop(second.accept().map(|_| second)));
        let _third = bind_at(&path).expect("bound once it had gone");
        going.join().expect("asked");

        let file = folder.path().join("file");
        fs::write(&file, "precious").expect("written");
        let error = bind_at(&file).unwrap_err();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&file).expect("there"), b"precious");
    }

    #[test]
    fn an_impossible_path_is_an_error_that_names_it() {
        let admin = Admin::Path("/nonexistent/folder/admin.sock".into());
        let error = start(&admin, Stopped).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/folder/admin.sock"), "{error}");
    }

    #[test]
    fn the_folder_is_private_and_swept() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = base.path().join("adit");
        let (listener, path) = bind_in(&folder).expect("bound");
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));

        // Above the greatest process id that Linux gives (2^22).
        let stale = folder.join("admin-4194305.sock");
        drop(UnixListener::bind(&stale).expect("bound"));
        fs::write(folder.join("other"), "").expect("written");
        let expected = Instance {
            pid: std::process::id(),
            socket: path,
            left: false,
        };
        assert_eq!(instances(std::slice::from_ref(&folder)), [expected]);
        assert!(!stale.exists() && folder.join("other").exists());
        drop(listener);
        assert_eq!(instances(&[folder]), []);
    }

    #[test]
    fn a_folder_open_to_others_is_refused() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = base.path().join("adit");
        fs::create_dir(&folder).expect("made");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("changed");
        let error = bind_in(&folder).unwrap_err();
        assert!(error.contains("chmod 700"), "{error}");

        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).expect("linked");
        let error = bind_in(&link).unwrap_err();
        assert!(error.contains("no folder"), "{error}");
    }
}
