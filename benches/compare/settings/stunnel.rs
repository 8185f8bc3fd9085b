//! stunnel (stunnel(8)).

use super::{Place, Settings, file_arg};

pub(super) const NOTES: &str = "One process with a thread for each connection, all on the one CPU. \
Session tickets, which it leaves off, are switched on.";

pub(super) fn settings(place: &Place<'_>) -> Settings {
    let (listen, backend) = (place.listen, place.backend);
    let (cert, key) = (
        place.certificate.cert.display(),
        place.certificate.key.display(),
    );
    Settings {
        configuration: format!(
            "foreground = quiet
pid =
syslog = no
output = /dev/null
debug = 0
socket = a:SO_REUSEADDR=1
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
socket = l:SO_KEEPALIVE=1
socket = r:SO_KEEPALIVE=1
[tunnel]
accept = {listen}
connect = {backend}
cert = {cert}
key = {key}
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_128_GCM_SHA256
curves = X25519
options = -NO_TICKET
"
        ),
        args: vec![file_arg(place)],
        workers: 0,
    }
}
