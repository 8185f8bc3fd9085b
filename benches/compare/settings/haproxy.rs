//! HAProxy in TCP mode (its configuration manual, sections 3.2, 4.2 and 5.1).

use super::{Place, Settings, file_arg};

pub(super) const NOTES: &str = "nbthread 1, mode tcp. tune.bufsize as it comes, which the manual \
strongly recommends not to change. Splicing off, as it comes; TLS cannot be spliced. \
tune.ssl.cachesize 0: tickets carry the sessions, and a cache beside them would only cost.";

/// Connections that it may have at once. It asks for twice as many descriptors.
const CONNECTIONS: usize = 8000;

pub(super) fn settings(place: &Place<'_>) -> Settings {
    let (listen, backend, threads) = (place.listen, place.backend, place.workers);
    let both = place.certificate.both.display();
    Settings {
        configuration: format!(
            "global
    nbthread {threads}
    maxconn {CONNECTIONS}
    tune.ssl.cachesize 0
    tune.ssl.default-dh-param 2048
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
    mode tcp
    option clitcpka
    option srvtcpka
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend in
    bind {listen} ssl crt {both} curves X25519 backlog 4096
    default_backend out
backend out
    server only {backend}
"
        ),
        // In the foreground, without a master.
        args: vec!["-q".into(), "-db".into(), "-f".into(), file_arg(place)],
        workers: 0,
    }
}
