//! As whom the program acts once it has what takes more rights, and what a
//! configuration has it write.

use std::path::{Path, PathBuf};

use super::{Address, Admin, Config, LogSink};

/// As whom `adit run` acts once ports are bound and keys read, and what it
/// forbids itself. A [`Server`](crate::Server) on its own changes nothing of
/// its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// The user to become, by name or number. `None`: it stays whom it was
    /// started as, which a configuration's file does not allow to root.
    pub user: Option<String>,
    /// The group to act for, by name or number. `None`: the user's own. The
    /// user's further groups stay in any case.
    pub group: Option<String>,
    /// The folder that becomes the root of every path, those of the
    /// configuration included.
    pub chroot: Option<PathBuf>,
    /// Whether a core of the process may be written, and other processes of its
    /// user may look into it; it holds private keys.
    pub core_dumps: bool,
    /// Whether it confines where it may write, if the kernel has Landlock.
    pub landlock: bool,
}

impl Default for Privileges {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            chroot: None,
            core_dumps: false,
            landlock: true,
        }
    }
}

impl Config {
    /// The files and sockets that this configuration has the program make or
    /// write to, but for the admin socket of [`Admin::Auto`]: each once, in no
    /// order that means anything.
    pub fn written(&self) -> Vec<PathBuf> {
        let sockets = self.listeners.iter().filter_map(|l| match &l.address {
            Address::Unix(path) => Some(path),
            Address::Tcp { .. } | Address::Systemd(_) => None,
        });
        let servers = self.listeners.iter().filter_map(|l| l.tls.as_ref());
        let clients = self.services.iter().filter_map(|s| s.tls.as_ref());
        let key_logs = servers
            .filter_map(|tls| tls.key_log.as_ref())
            .chain(clients.filter_map(|tls| tls.key_log.as_ref()));
        let access = self.access_log.as_ref().map(|access| &access.sink);
        let logs = [Some(&self.log.sink), access];
        let logs = logs.into_iter().flatten().filter_map(|sink| match sink {
            LogSink::File(path) => Some(path),
            LogSink::Stderr | LogSink::Syslog(_) | LogSink::Journald(_) => None,
        });
        let admin = match &self.admin {
            Admin::Path(path) => Some(path),
            Admin::Auto | Admin::Off => None,
        };
        let metrics = self.metrics.iter().filter_map(|m| match &m.address {
            Address::Unix(path) => Some(path),
            Address::Tcp { .. } | Address::Systemd(_) => None,
        });
        let mut written: Vec<PathBuf> = sockets
            .chain(metrics)
            .chain(key_logs)
            .chain(logs)
            .chain(admin)
            .cloned()
            .collect();
        written.sort_unstable();
        written.dedup();
        written
    }

    /// The folders that those are in.
    pub fn written_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self
            .written()
            .iter()
            .map(|path| match path.parent() {
                Some(folder) if folder != Path::new("") => folder.to_owned(),
                _ => PathBuf::from("."),
            })
            .collect();
        folders.dedup();
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessLog, ClientTls, Metrics, ServerTls};

    #[test]
    fn everything_that_is_written_is_named() {
        let mut tls = ServerTls::new("/a.pem", "/a.key");
        tls.key_log = Some("/log/keys".into());
        let [listen, backend] =
            ["unix:/run/x/s", "unix:/run/app"].map(|text| text.parse().expect("an address"));
        let mut config = Config::single(listen, tls, backend);
        config.services[0].tls = Some(ClientTls {
            key_log: Some("keys".into()),
            ..ClientTls::default()
        });
        config.log.sink = LogSink::File("/log/adit.log".into());
        config.access_log = Some(AccessLog {
            sink: LogSink::File("/log/access.log".into()),
            ..AccessLog::default()
        });
        config.admin = Admin::Path("/run/x/admin".into());
        let metrics = "unix:/run/x/m".parse().expect("an address");
        config.metrics = Some(Metrics::new(metrics));
        let shown = |paths: Vec<PathBuf>| {
            let texts = paths.iter().map(|path| path.display().to_string());
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            shown(config.written()),
            "/log/access.log /log/adit.log /log/keys /run/x/admin /run/x/m /run/x/s keys"
        );
        assert_eq!(shown(config.written_folders()), "/log /run/x .");
    }
}
