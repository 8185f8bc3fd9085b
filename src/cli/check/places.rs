//! Where a server would write and listen in the file system: looked for, and
//! not made.

use std::path::{Path, PathBuf};

use adit::config::{Address, Admin, Config, LogSink};
use adit::logging;

/// What is wrong with the places that are no listener's and no service's: those
/// of logs, of the metrics and of the admin socket.
pub(super) fn missing(config: &Config) -> Option<String> {
    let access = config.access_log.as_ref().map(|log| &log.sink);
    let mut sinks = access.into_iter().chain([&config.log.sink]);
    let log = sinks.find_map(|sink| logging::check(sink).err());
    log.map(|error| error.to_string())
        .or_else(|| {
            let metrics = config.metrics.as_ref()?;
            Some(format!("metrics: {}", folder_missing(&metrics.address)?))
        })
        .or_else(|| admin_missing(config))
}

/// A Unix listener needs its folder.
pub(super) fn folder_missing(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else {
        return None;
    };
    let missing = missing_folder(path)?;
    Some(format!(
        "{address}: the folder {} is not there; make it, or listen elsewhere",
        missing.display()
    ))
}

/// Why secrets could not be written to a key log, if there is one.
pub(super) fn key_log_unfit(path: Option<&PathBuf>) -> Option<String> {
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

/// The admin socket comes into being once the server is in its chroot.
fn admin_missing(config: &Config) -> Option<String> {
    let Admin::Path(path) = &config.admin else {
        return None;
    };
    let inside = match &config.privileges.chroot {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.clone(),
    };
    let missing = missing_folder(&inside)?;
    Some(format!(
        "admin socket {}: the folder {} is not there; make it, or give another path",
        path.display(),
        missing.display()
    ))
}

/// The folder of that path, if it is not there.
fn missing_folder(path: &Path) -> Option<&Path> {
    let folder = match path.parent() {
        Some(folder) if folder == Path::new("") => Path::new("."),
        Some(folder) => folder,
        None => return None,
    };
    (!folder.is_dir()).then_some(folder)
}
