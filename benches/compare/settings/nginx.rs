//! nginx with its stream module (ngx_stream_ssl_module, ngx_stream_proxy_module).

use super::{Place, Settings, file_arg, is_root};

pub(super) const NOTES: &str = "One worker beside its master, reuseport, tickets and a shared \
session cache as its manual recommends against load. The cipher is the client's choice, since \
not every TLS library lets nginx choose it. ssl_buffer_size is not in the stream module; \
proxy_buffer_size as it comes, 16k.";

pub(super) fn settings(build: &str, place: &Place<'_>) -> Settings {
    let (listen, backend, workers) = (place.listen, place.backend, place.workers);
    let folder = place.folder.display();
    let (cert, key) = (
        place.certificate.cert.display(),
        place.certificate.key.display(),
    );
    let module = module(build)
        .map(|path| format!("load_module {path};\n"))
        .unwrap_or_default();
    let user = match is_root() {
        true => "user nobody nogroup;\n",
        false => "",
    };
    Settings {
        configuration: format!(
            "{module}{user}daemon off;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log /dev/null emerg;
events {{
    worker_connections 16384;
}}
stream {{
    access_log off;
    server {{
        listen {listen} ssl reuseport backlog=4096 so_keepalive=on;
        proxy_pass {backend};
        proxy_socket_keepalive on;
        proxy_timeout 10m;
        proxy_buffer_size 16k;
        tcp_nodelay on;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_session_tickets on;
        ssl_session_cache shared:compare:10m;
        ssl_session_timeout 1h;
    }}
}}
"
        ),
        args: vec![
            "-e".into(),
            "/dev/null".into(),
            "-p".into(),
            folder.to_string(),
            "-c".into(),
            file_arg(place),
        ],
        workers: place.workers,
    }
}

/// Where the stream module is, if it is apart from the program.
fn module(build: &str) -> Option<String> {
    if !build.contains("--with-stream=dynamic") {
        return None;
    }
    let folder = build
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--modules-path="))?;
    Some(format!("{folder}/ngx_stream_module.so"))
}
