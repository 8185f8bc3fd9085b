//! hitch (hitch.conf(5)).

use super::{Place, Settings, file_arg, is_root};

pub(super) const NOTES: &str = "One worker beside its master. hitch sets nodelay and keepalive by \
itself, and sends no tickets other than OpenSSL's own.";

pub(super) fn settings(place: &Place<'_>) -> Settings {
    let (host, port) = (place.listen.ip(), place.listen.port());
    let (to, to_port) = (place.backend.ip(), place.backend.port());
    let (both, workers) = (place.certificate.both.display(), place.workers);
    // It insists, when it is started as root.
    let user = match is_root() {
        true => "user = \"nobody\"\ngroup = \"nogroup\"\n",
        false => "",
    };
    Settings {
        configuration: format!(
            "frontend = {{
    host = \"{host}\"
    port = \"{port}\"
}}
backend = \"[{to}]:{to_port}\"
workers = {workers}
backlog = 4096
keepalive = 60
pem-file = \"{both}\"
tls-protos = TLSv1.3
ciphersuites = \"TLS_AES_128_GCM_SHA256\"
ecdh-curve = \"X25519\"
ocsp-dir = \"\"
daemon = off
syslog = off
log-level = 0
{user}"
        ),
        args: vec![format!("--config={}", file_arg(place))],
        workers: place.workers,
    }
}
