//! adit, with every default but for the log.

use super::{Place, Settings, file_arg};

pub(super) const NOTES: &str = "Every default, the log off. One shard, pinned to its CPU.";

pub(super) fn settings(place: &Place<'_>) -> Settings {
    let (listen, backend) = (place.listen, place.backend);
    let (cert, key) = (&place.certificate.cert, &place.certificate.key);
    let admin = match place.admin {
        None => "Off".to_owned(),
        Some(path) => format!("{path:?}"),
    };
    let shards = place.workers;
    // Root has to say that it stays root; another user, that it may look on.
    let rights: &[&str] = if rustix::process::geteuid().is_root() {
        &["--user", "root"]
    } else {
        &["--core-dumps"]
    };
    Settings {
        configuration: format!(
            r#"(
    listeners: [(
        address: "{listen}",
        tls: (cert: {cert:?}, key: {key:?}),
        backend: "{backend}",
    )],
    shards: {shards},
    timeouts: (drain: "0s"),
    log: (level: Off),
    admin: {admin},
)
"#
        ),
        args: ["run", "--config", &file_arg(place)]
            .iter()
            .chain(rights)
            .map(|word| (*word).to_owned())
            .collect(),
        workers: 0,
    }
}
