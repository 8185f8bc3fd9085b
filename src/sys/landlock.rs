//! Landlock: where this process may write, beyond what the files' permissions
//! say (landlock(7)).
//!
//! A thread that confines itself is confined for good, and so are the threads
//! that it starts and the programs that it executes. Reading is left free: a
//! reload may name any file. So is executing: an upgrade executes what stands at
//! the program's path, be it a link that leads elsewhere by then, or a script.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The oldest interface that is used, of Linux 5.19: in the one before nothing
/// can be renamed from one folder to another.
pub const ABI_MIN: u32 = 2;

// The kernel's linux/landlock.h.
const CREATE_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;
const WRITE_FILE: u64 = 1 << 1;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
/// Known from the third interface on, Linux 6.2.
const TRUNCATE: u64 = 1 << 14;

/// What is denied unless a rule allows it.
const HANDLED: u64 = WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_CHAR
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_BLOCK
    | MAKE_SYM
    | REFER
    | TRUNCATE;

/// What may be done in a folder that may be written to: no devices, no links.
const WRITE_IN_FOLDER: u64 =
    WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | REFER | TRUNCATE;

const WRITE_TO_FILE: u64 = WRITE_FILE | TRUNCATE;

/// `struct landlock_ruleset_attr`, as its first version has it.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The interface that this kernel has; `None` if it has none, or it is off.
pub fn abi() -> Option<u32> {
    // SAFETY: with this flag the call takes neither attributes nor a size.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0usize,
            CREATE_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Confines this thread, and those that it starts, to writing, making and
/// removing in these folders, or to these files. What is not there is left out,
/// and so stays forbidden even if it comes to be.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] if the kernel has no interface from
/// [`ABI_MIN`] on; EPERM without no-new-privileges; E2BIG once a process has
/// been confined sixteen times over.
pub fn confine(write: &[PathBuf]) -> io::Result<()> {
    let abi = abi().filter(|abi| *abi >= ABI_MIN).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no Landlock that would do",
        )
    })?;
    let handled = if abi < 3 {
        HANDLED & !TRUNCATE
    } else {
        HANDLED
    };
    let ruleset = create(handled)?;
    for path in write {
        allow(
            &ruleset,
            path,
            handled & WRITE_IN_FOLDER,
            handled & WRITE_TO_FILE,
        )?;
    }
    // SAFETY: the call takes numbers alone.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) })
        .map(drop)
}

fn create(handled: u64) -> io::Result<OwnedFd> {
    let attr = RulesetAttr {
        handled_access_fs: handled,
    };
    // SAFETY: the kernel reads as many bytes as the structure has.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attr,
            size_of::<RulesetAttr>(),
            0u32,
        )
    })?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds what may be done at a path, which depends on what is there.
fn allow(ruleset: &OwnedFd, path: &Path, in_folder: u64, to_file: u64) -> io::Result<()> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(_) => return Ok(()),
    };
    let attr = PathBeneathAttr {
        allowed_access: if file.metadata()?.is_dir() {
            in_folder
        } else {
            to_file
        },
        parent_fd: file.as_raw_fd(),
    };
    // SAFETY: the kernel reads one structure of the rule's kind, whose
    // descriptor is open.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const attr,
            0u32,
        )
    })
    .map(drop)
}

fn check(outcome: libc::c_long) -> io::Result<i32> {
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(outcome).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;
    use crate::sys::privileges;

    #[test]
    fn a_confined_thread_writes_where_it_may() {
        if abi().is_none_or(|abi| abi < ABI_MIN) {
            println!("passed over: this kernel has no Landlock");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for folder in ["in", "out"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("out/file"), "kept").unwrap();
        let denied = |outcome: io::Result<()>| {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                privileges::gain_nothing().unwrap();
                confine(&[at("in"), at("nowhere"), "/dev/null".into()]).unwrap();
                fs::write(at("in/file"), "x").unwrap();
                fs::create_dir(at("in/folder")).unwrap();
                fs::rename(at("in/file"), at("in/folder/file")).unwrap();
                UnixListener::bind(at("in/socket")).unwrap();
                fs::remove_file(at("in/socket")).unwrap();
                fs::write("/dev/null", "x").unwrap();
                assert_eq!(fs::read_to_string(at("out/file")).unwrap(), "kept");
                denied(fs::write(at("out/file"), "x"));
                denied(fs::write(at("out/new"), "x"));
                denied(fs::remove_file(at("out/file")));
                denied(UnixListener::bind(at("out/socket")).map(drop));
                // A program that it executes is confined as it is.
                let shell = |line: String| Command::new("sh").args(["-c", &line]).status();
                let line = format!("echo x > {}", at("out/new").display());
                assert!(!shell(line).unwrap().success());
                // A link from within leads no further.
                denied(std::os::unix::fs::symlink(at("out"), at("in/link")));
            });
        });
        // The others go on as they were.
        fs::write(at("out/file"), "x").unwrap();
    }
}
