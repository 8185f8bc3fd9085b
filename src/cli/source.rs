//! Where a configuration comes from: a file, or flags that stand for one.

use std::path::{Path, PathBuf};

use adit::config::{Address, CertSource, ClientTls, Host, ServerTls, ServerVerify};
use clap::error::ErrorKind;

use super::args::{KeyLogArg, SourceArgs};

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    /// TLS with clients, plaintext with the backend.
    Server {
        listen: Address,
        backend: Address,
        tls: ServerTls,
    },
    /// Plaintext with clients, TLS with the backend.
    Client {
        listen: Address,
        backend: Address,
        tls: ClientTls,
    },
}

/// What is wrong with the flags together.
type Wrong = (ErrorKind, String);

impl Source {
    /// The meaning of the flags, or what does not go together in them.
    pub(super) fn new(args: SourceArgs) -> Result<Self, Wrong> {
        if let Some(file) = &args.config {
            let others = args.given().into_iter().filter(|flag| *flag != "--config");
            return match others.into_iter().next() {
                Some(flag) => conflict(format!(
                    "{flag} cannot be used with --config: listeners, backends, certificates and \
                     all of TLS come from {}; change it there, or leave --config out",
                    file.display()
                )),
                None => Ok(Self::File(file.clone())),
            };
        }
        if args.client {
            client(args)
        } else {
            server(args)
        }
    }
}

impl SourceArgs {
    /// Whether no flag was typed that says what to serve.
    pub(super) fn is_empty(&self) -> bool {
        self.given().is_empty()
    }

    /// The flags that were typed.
    fn given(&self) -> Vec<&'static str> {
        [
            ("--config", self.config.is_some()),
            ("--client", self.client),
            ("--listen", self.listen.is_some()),
            ("--backend", self.backend.is_some()),
            ("--cert", !self.cert.is_empty()),
            ("--key", self.key.is_some()),
            ("--ca", self.ca.is_some()),
            ("--server-name", self.server_name.is_some()),
            ("--alpn", self.alpn.is_some()),
            ("--key-log", self.key_log.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
        .collect()
    }
}

fn server(args: SourceArgs) -> Result<Source, Wrong> {
    for (flag, given) in [
        ("--ca", args.ca.is_some()),
        ("--server-name", args.server_name.is_some()),
    ] {
        if given {
            return conflict(format!(
                "{flag} is about a backend that speaks TLS, and goes with --client; to ask clients \
                 for certificates, or for TLS on both sides, write a configuration file"
            ));
        }
    }
    let first = args.given().into_iter().next();
    let (Some(listen), Some(backend), false) = (&args.listen, &args.backend, args.cert.is_empty())
    else {
        return match first {
            None => missing(
                "nothing to serve: give --config FILE, or --listen ADDR --backend ADDR --cert FILE \
                 [--key FILE]; adit without arguments runs a demonstration"
                    .into(),
            ),
            Some(given) => missing(format!(
                "{given} needs {}",
                needed(&[
                    ("--listen ADDR, where clients come in", args.listen.is_none()),
                    (
                        "--backend ADDR, where the plaintext goes",
                        args.backend.is_none()
                    ),
                    (
                        "--cert FILE, the certificate chain in PEM (and --key FILE if its key is \
                         in another file)",
                        args.cert.is_empty(),
                    ),
                ])
            )),
        };
    };
    check_backend(backend)?;
    let certs = match (&args.cert[..], &args.key) {
        ([only], Some(key)) => {
            refuse_key_of_folder(only)?;
            vec![CertSource::new(only, key)]
        }
        (_, Some(_)) => {
            return conflict(
                "--key goes with one --cert: with several, put each key into each certificate's \
                 file, or write a configuration file"
                    .into(),
            );
        }
        (certs, None) => certs.iter().map(without_key).collect(),
    };
    let mut tls = ServerTls::of(certs);
    tls.alpn = args.alpn.map_or_else(Vec::new, |alpn| alpn.0);
    tls.key_log = key_log(args.key_log)?;
    Ok(Source::Server {
        listen: listen.clone(),
        backend: backend.clone(),
        tls,
    })
}

fn client(args: SourceArgs) -> Result<Source, Wrong> {
    let (Some(listen), Some(backend)) = (&args.listen, &args.backend) else {
        return missing(format!(
            "--client needs {}",
            needed(&[
                (
                    "--listen ADDR, where plaintext comes in",
                    args.listen.is_none()
                ),
                (
                    "--backend ADDR, the server that speaks TLS",
                    args.backend.is_none()
                ),
            ])
        ));
    };
    check_backend(backend)?;
    if matches!(backend, Address::Unix(_)) && args.server_name.is_none() {
        return missing(format!(
            "--backend {backend} has no host name that its certificate could be for: give \
             --server-name NAME"
        ));
    }
    let identity = match (&args.cert[..], args.key) {
        ([], None) => None,
        ([], Some(_)) => {
            return missing("--key needs --cert FILE, the certificate that it is for".into());
        }
        ([only], key) => {
            if is_folder(only) {
                return conflict(format!(
                    "--cert {} is a directory, and --client shows one certificate: name its file",
                    only.display()
                ));
            }
            Some(match key {
                Some(key) => CertSource::new(only, key),
                None => without_key(only),
            })
        }
        _ => return conflict("--client shows one certificate: give --cert once".into()),
    };
    Ok(Source::Client {
        listen: listen.clone(),
        backend: backend.clone(),
        tls: ClientTls {
            verify: args.ca.map_or(ServerVerify::System, ServerVerify::Ca),
            server_name: args.server_name,
            identity,
            alpn: args.alpn.map_or_else(Vec::new, |alpn| alpn.0),
            key_log: key_log(args.key_log)?,
            ..ClientTls::default()
        },
    })
}

fn check_backend(backend: &Address) -> Result<(), Wrong> {
    match backend {
        Address::Tcp {
            host: Host::Any, ..
        } => conflict(format!(
            "--backend {backend}: * is no place to connect to; write a host, such as 127.0.0.1"
        )),
        Address::Systemd(_) => conflict(format!(
            "--backend {backend} is a place to listen on; write HOST:PORT or unix:/path"
        )),
        Address::Tcp { port: 0, .. } => {
            conflict(format!("--backend {backend}: nothing listens on port 0"))
        }
        _ => Ok(()),
    }
}

fn key_log(typed: Option<KeyLogArg>) -> Result<Option<PathBuf>, Wrong> {
    match typed {
        None => Ok(None),
        Some(KeyLogArg::File(path)) => Ok(Some(path)),
        Some(KeyLogArg::Environment) => match std::env::var_os("SSLKEYLOGFILE") {
            Some(path) if !path.is_empty() => Ok(Some(path.into())),
            _ => missing(
                "--key-log has no value, and the variable SSLKEYLOGFILE names no file: give \
                 --key-log FILE"
                    .into(),
            ),
        },
    }
}

fn without_key(cert: impl AsRef<Path>) -> CertSource {
    let cert = cert.as_ref();
    CertSource::new(cert, cert)
}

fn refuse_key_of_folder(cert: &Path) -> Result<(), Wrong> {
    if is_folder(cert) {
        return conflict(format!(
            "--key cannot be used with --cert {}: that is a directory, whose files have their own \
             keys",
            cert.display()
        ));
    }
    Ok(())
}

fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir()
}

fn needed(flags: &[(&str, bool)]) -> String {
    let missing: Vec<&str> = flags
        .iter()
        .filter_map(|(flag, missing)| missing.then_some(*flag))
        .collect();
    missing.join("; and ")
}

fn conflict<T>(message: String) -> Result<T, Wrong> {
    Err((ErrorKind::ArgumentConflict, message))
}

fn missing<T>(message: String) -> Result<T, Wrong> {
    Err((ErrorKind::MissingRequiredArgument, message))
}
