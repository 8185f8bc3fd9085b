//! The demonstration: what `adit` does when it is told nothing.
//!
//! A certificate for localhost made on the spot ([`certificate`]), a listener
//! on 127.0.0.1:8443, and behind it a small plaintext server ([`backend`])
//! whose page shows the figures of the very tunnel that it came through.

mod backend;
mod certificate;

use std::env;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use adit::config::{Address, Config, Host, ServerTls};
use adit::control::exporter;
use adit::{Server, http, logging};

use super::exit::{Exit, Failure};
use super::plan::Overrides;
use super::privileges::Privileges;
use super::signals::Steering;
use super::upgrade::Succession;
use super::{output, run};

/// Where the demonstration listens.
const PORT: u16 = 8443;

pub(crate) fn run(overrides: &Overrides) -> Result<Exit, Failure> {
    let identity = certificate::Identity::at_hand()?;
    let plaintext = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| {
        Failure::runtime(format!("no loopback port for the demonstration: {error}"))
    })?;
    let backend = plaintext
        .local_addr()
        .map_err(|error| Failure::runtime(error.to_string()))?
        .port();
    let mut config = Config::single(
        loopback(PORT),
        ServerTls::new(identity.cert(), identity.key()),
        loopback(backend),
    );
    "demonstration".clone_into(&mut config.services[0].name);
    overrides.apply(&mut config);
    let admin = config.admin.clone();

    let privileges = Privileges::prepare(&config, None)?;
    let _log = logging::install(&config.log)?;
    let signals = Steering::signals()?;
    port_is_free()?;
    let metrics = exporter::Prepared::new(config.metrics.as_ref(), Vec::new(), &[])?;
    let server = Server::new(config.clone())?;
    privileges.give_up(&config, &[])?;
    let handle = server.handle();
    let exporter = run::exporting(&handle);
    exporter.take_up(metrics)?;
    let _backend = http::serve(
        plaintext,
        "adit-demo",
        backend::handler(move || handle.stats()),
    )
    .map_err(|error| Failure::runtime(format!("no thread for the demonstration: {error}")))?;
    output::print(&welcome(
        &program(),
        identity.cert(),
        backend,
        server.shards(),
    ))?;
    run::announce(&server);
    let succession = Succession::last("the demonstration serves as long as it does; restart it");
    run::serve(server, &admin, &signals, succession, || {
        Err("the demonstration has no configuration to read again".into())
    })
}

fn loopback(port: u16) -> Address {
    Address::Tcp {
        host: Host::Ip(Ipv4Addr::LOCALHOST.into()),
        port,
    }
}

/// Two demonstrations on one port would share its connections, since each
/// listener allows others beside it. This socket does not, and is gone before
/// the real ones come.
fn port_is_free() -> Result<(), Failure> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Failure::runtime(format!(
            "127.0.0.1:{PORT} is in use, perhaps by another demonstration; stop that one, or serve \
             elsewhere: adit --listen 127.0.0.1:9443 --backend HOST:PORT --cert FILE --key FILE"
        ))),
        // Anything else the server itself will meet, and explain.
        _ => Ok(()),
    }
}

/// How this program was called, so that what the terminal shows can be copied
/// whether or not adit is on the path.
fn program() -> String {
    let called = env::args_os().next();
    called.map_or_else(|| "adit".into(), |name| name.to_string_lossy().into_owned())
}

/// What the terminal shows.
fn welcome(program: &str, cert: &Path, backend: u16, shards: usize) -> String {
    let program = shell_quoted(program);
    let noun = if shards == 1 { "shard" } else { "shards" };
    let cert = shell_quoted(&cert.display().to_string());
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "adit {version}: a demonstration

  TLS on 127.0.0.1:{PORT}, {shards} {noun} → plaintext on 127.0.0.1:{backend}

  try       curl --cacert {cert} https://localhost:{PORT}/
  transfer  curl --cacert {cert} 'https://localhost:{PORT}/bytes?n=100000000' -o /dev/null
  browse    https://localhost:{PORT}/
            (the certificate was made here, so the browser asks once)
  figures   {program} stats --watch

  Ctrl-C stops it. {program} --help tells how to serve something of your own.

",
        version = env!("CARGO_PKG_VERSION"),
    );
    text
}

/// For copying into a shell; plain paths stay as they are.
fn shell_quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_can_be_copied() {
        let text = welcome(
            "target/release/adit",
            Path::new("/home/a b/demo.crt"),
            1234,
            1,
        );
        assert!(text.contains("curl --cacert '/home/a b/demo.crt' https://localhost:8443/\n"));
        assert!(text.contains("1 shard → plaintext on 127.0.0.1:1234"));
        assert!(text.contains("target/release/adit stats --watch\n"));
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
    }
}
