//! Where a server would write and listen in the file system: looked for, and
//! not made.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use adit::config::{Address, Admin, Config, LogSink};
use adit::logging;

/// Why a server could not write or listen at one of its places, if it could
/// not. What another process does there is not looked at.
pub(super) fn unfit(config: &Config) -> Option<String> {
    let mut listeners = config.listeners.iter();
    listeners
        .find_map(|listener| unfit_address(&listener.address))
        .or_else(|| unfit_beside_listeners(config))
}

/// The same of the places that are no listener's and no service's: those of
/// logs, of the metrics and of the admin socket, and the root of them all.
pub(super) fn unfit_beside_listeners(config: &Config) -> Option<String> {
    let access = config.access_log.as_ref().map(|log| &log.sink);
    let mut sinks = access.into_iter().chain([&config.log.sink]);
    let log = sinks.find_map(|sink| logging::check(sink).err());
    log.map(|error| error.to_string())
        .or_else(|| {
            let metrics = config.metrics.as_ref()?;
            Some(format!("metrics: {}", unfit_address(&metrics.address)?))
        })
        .or_else(|| unfit_root(config.privileges.chroot.as_deref()?))
        .or_else(|| unfit_admin(config))
}

/// A Unix listener needs its folder, and nothing else in its place.
pub(super) fn unfit_address(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else {
        return None;
    };
    unfit_socket(path).map(|why| format!("{address}: {why}"))
}

/// Why secrets could not be written to a key log, if there is one.
pub(super) fn unfit_key_log(path: Option<&PathBuf>) -> Option<String> {
    let error = logging::check(&LogSink::File(path?.clone())).err()?;
    Some(format!("key_log: {error}"))
}

/// What is there only if systemd passes it, which cannot be known from here.
pub(super) fn passed(address: &Address) -> Option<String> {
    let Address::Systemd(name) = address else {
        return None;
    };
    Some(format!(
        "{address} is there only if systemd starts adit by a socket unit that has \
         FileDescriptorName={name}"
    ))
}

fn unfit_root(folder: &Path) -> Option<String> {
    let shown = folder.display();
    (!folder.is_dir()).then(|| {
        format!("chroot \"{shown}\" is no folder; make it, with what configs/README.md says, or leave chroot out")
    })
}

/// The admin socket comes into being once the server is in its chroot.
fn unfit_admin(config: &Config) -> Option<String> {
    let Admin::Path(path) = &config.admin else {
        return None;
    };
    let inside = match &config.privileges.chroot {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.clone(),
    };
    unfit_socket(&inside).map(|why| format!("admin socket {}: {why}", path.display()))
}

/// Why no socket could be made there.
fn unfit_socket(path: &Path) -> Option<String> {
    let folder = match path.parent() {
        Some(folder) if folder == Path::new("") => Path::new("."),
        Some(folder) => folder,
        None => return None,
    };
    if !folder.is_dir() {
        return Some(format!(
            "the folder {} is not there; make it, or give another path",
            folder.display()
        ));
    }
    let found = fs::symlink_metadata(path).ok()?;
    (!found.file_type().is_socket())
        .then(|| "something that is no socket is there; remove it, or give another path".to_owned())
}
