//! Programs that speak the protocol, where the machine has them: they are told
//! of connections and must understand it, and what they tell is read.
//!
//! They listen on Unix sockets in a folder of the test's own, so that no port
//! is in the way of anybody.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;

use adit::proxy_protocol::{
    ClientFlags, Command, Header, Parsed, Route, Ssl, Tlv, Version, parse, write_v1, write_v2,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use tempfile::TempDir;

use crate::support::certificate::Certificate;
use crate::support::tools::has;
use crate::support::{PATIENCE, wait_for};

/// A foreign program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(folder: &Path, program: &mut Program) -> Self {
        let log = File::create(folder.join("log")).expect("a log");
        let child = program
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        Self(child.expect("the program"))
    }

    /// A connection to the socket of this name, once the program has it.
    fn connect(&mut self, folder: &Path, socket: &str) -> UnixStream {
        wait_for("the program", || {
            if let Ok(Some(status)) = self.0.try_wait() {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("the program ended, {status}:\n{log}");
            }
            let stream = UnixStream::connect(folder.join(socket)).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            Some(stream)
        })
    }
}

fn haproxy(folder: &Path, config: &str) -> Running {
    let config = config.replace("FOLDER", &folder.display().to_string());
    let file = folder.join("haproxy.cfg");
    let defaults = "defaults\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n";
    std::fs::write(&file, format!("{defaults}{config}")).expect("its configuration");
    Running::start(
        folder,
        Program::new("haproxy").arg("-db").arg("-f").arg(file),
    )
}

fn nginx(folder: &Path, config: &str) -> Running {
    let config = config.replace("FOLDER", &folder.display().to_string());
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = match Path::new(module).exists() {
        true => format!("load_module {module};\n"),
        false => String::new(),
    };
    let file = folder.join("nginx.conf");
    let common = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\n";
    std::fs::write(&file, format!("{load}{common}{config}")).expect("its configuration");
    let mut program = Program::new("nginx");
    program.arg("-e").arg("stderr").arg("-p").arg(folder);
    Running::start(folder, program.arg("-c").arg(file))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn tcp(source: &str, destination: &str) -> Command<'static> {
    Command::Proxy(Route::tcp(
        source.parse().expect("an address"),
        destination.parse().expect("an address"),
    ))
}

const TCP4: (&str, &str) = ("192.0.2.1:56324", "198.51.100.7:443");
const TCP6: (&str, &str) = ("[2001:db8::1]:1", "[2001:db8::2]:65535");
/// A dual-stack listener sees such clients.
const MIXED: (&str, &str) = ("192.0.2.1:7", "[2001:db8::2]:8");

/// Everything that a header can say.
fn everything() -> [Tlv<'static>; 8] {
    [
        Tlv::Alpn(b"http/1.1"),
        Tlv::Authority(b"www.example.com"),
        Tlv::Noop(5),
        Tlv::UniqueId(b"adit-1"),
        Tlv::Ssl(Ssl {
            client: ClientFlags::SSL | ClientFlags::CERT_CONN,
            verify: 0,
            version: Some(b"TLSv1.3"),
            cn: Some(b"client.example.com"),
            cipher: Some(b"TLS_AES_128_GCM_SHA256"),
            sig_alg: Some(b"ecdsa-with-SHA256"),
            key_alg: Some(b"EC256"),
            group: Some(b"x25519"),
            ..Ssl::default()
        }),
        Tlv::Netns(b"net"),
        Tlv::Other {
            kind: 0xe1,
            value: b"\0\xff",
        },
        Tlv::Crc32c(0),
    ]
}

/// The answer's body to a request behind this header; empty if the connection
/// is broken off.
fn answer(mut stream: UnixStream, header: &[u8]) -> String {
    stream.write_all(header).expect("sent");
    // The other side may have gone already.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let all = String::from_utf8_lossy(&all).into_owned();
    match all.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => body.trim().to_owned(),
        Some((head, _)) if !head.contains(" 400 ") => panic!("{head}"),
        _ => String::new(),
    }
}

/// As a receiver puts it: source, its port, destination, its port.
fn told((source, destination): (&str, &str)) -> String {
    let words = |address: &str| {
        let (ip, port) = address.rsplit_once(':').expect("a port");
        format!("{} {port}", ip.trim_matches(['[', ']']))
    };
    format!("took {} {}", words(source), words(destination))
}

fn v1(command: Command<'_>) -> Vec<u8> {
    let mut room = [0; 107];
    let len = write_v1(&command, &mut room).expect("room");
    room[..len].to_vec()
}

fn v2(command: Command<'_>, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut room = [0; 1024];
    let len = write_v2(&command, tlvs, &mut room).expect("room");
    room[..len].to_vec()
}

#[test]
fn haproxy_understands_what_is_written() {
    if !has("haproxy", "-v") {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let mut haproxy = haproxy(
        folder,
        "frontend in\n mode http\n bind unix@FOLDER/in accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \
         \"took %[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]\"\n",
    );
    let mut ask = |header: &[u8]| answer(haproxy.connect(folder, "in"), header);
    let mixed = ("[::ffff:192.0.2.1]:7", MIXED.1);
    for (ends, expected) in [(TCP4, TCP4), (TCP6, TCP6), (MIXED, mixed)] {
        let command = tcp(ends.0, ends.1);
        // Without an authority and an id there are two empty fields.
        assert_eq!(ask(&v1(command)), told(expected), "version 1");
        assert_eq!(ask(&v2(command, &[])), told(expected), "version 2");
        assert_eq!(ask(&v2(command, &[Tlv::Crc32c(0)])), told(expected));
        let said = format!("{} www.example.com adit-1", told(expected));
        assert_eq!(ask(&v2(command, &everything())), said);
    }
    // It does look at the checksum.
    let mut wrong = v2(tcp(TCP4.0, TCP4.1), &everything());
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    assert_eq!(ask(&wrong), "");
    // LOCAL and UNKNOWN are taken, and say nothing of the ends.
    for header in [
        v2(Command::Local, &[]),
        v2(Command::Local, &everything()),
        v1(Command::Proxy(Route::Unknown)),
    ] {
        let said = ask(&header);
        assert!(
            said.starts_with("took") && !said.contains("192.0.2.1"),
            "{said:?}"
        );
    }
}

#[test]
fn nginx_understands_what_is_written() {
    if !has("nginx", "-v") {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let mut nginx = nginx(
        folder,
        "http {\n access_log off;\n client_body_temp_path t1;\n proxy_temp_path t2;\n \
         fastcgi_temp_path t3;\n uwsgi_temp_path t4;\n scgi_temp_path t5;\n server {\n \
         listen unix:FOLDER/in proxy_protocol;\n location / {\n default_type text/plain;\n \
         return 200 \"took $proxy_protocol_addr $proxy_protocol_port \
         $proxy_protocol_server_addr $proxy_protocol_server_port\";\n }\n }\n}\n",
    );
    let mut ask = |header: &[u8]| answer(nginx.connect(folder, "in"), header);
    for ends in [TCP4, TCP6] {
        let command = tcp(ends.0, ends.1);
        assert_eq!(ask(&v1(command)), told(ends), "version 1");
        assert_eq!(ask(&v2(command, &[])), told(ends), "version 2");
        assert_eq!(ask(&v2(command, &everything())), told(ends), "TLVs");
    }
    let mixed = ask(&v1(tcp(MIXED.0, MIXED.1)));
    assert!(mixed.starts_with("took ::ffff:") && mixed.ends_with(" 7 2001:db8::2 8"));
    for header in [v2(Command::Local, &[]), v1(Command::Local)] {
        assert_eq!(ask(&header), "took");
    }
}

/// What comes to a socket, up to the end of its header.
fn header_at(listener: &UnixListener, use_it: impl FnOnce(Header<'_>)) {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    header_of(&mut stream, use_it);
}

/// Reads no more than is asked for, so that what follows must be the stream.
fn header_of(stream: &mut impl Read, use_it: impl FnOnce(Header<'_>)) {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Ok(Parsed::Partial { needed }) => {
                let from = bytes.len();
                bytes.resize(needed, 0);
                stream.read_exact(&mut bytes[from..]).expect("a header");
            }
            Ok(Parsed::Whole(header)) => {
                assert_eq!(header.len, bytes.len());
                return use_it(header);
            }
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

#[test]
fn what_haproxy_writes_is_read() {
    if !has("haproxy", "-v") {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let backend = |name: &str| UnixListener::bind(folder.join(name)).expect("a socket");
    let (one, two) = (backend("one"), backend("two"));
    let mut haproxy = haproxy(
        folder,
        "listen v1\n mode tcp\n bind unix@FOLDER/in1 accept-proxy\n \
         server s unix@FOLDER/one send-proxy\n\
         listen v2\n mode tcp\n bind unix@FOLDER/in2 accept-proxy\n \
         server s unix@FOLDER/two send-proxy-v2 proxy-v2-options crc32c,authority\n\
         listen local\n mode tcp\n bind unix@FOLDER/in3\n \
         server s unix@FOLDER/two send-proxy-v2 proxy-v2-options crc32c\n",
    );
    for ends in [TCP4, TCP6] {
        let command = tcp(ends.0, ends.1);
        let mut client = haproxy.connect(folder, "in1");
        client.write_all(&v1(command)).expect("sent");
        header_at(&one, |header| {
            assert_eq!((header.version, header.command), (Version::One, command));
        });
        let mut client = haproxy.connect(folder, "in2");
        let header = v2(command, &[Tlv::Authority(b"www.example.com")]);
        client.write_all(&header).expect("sent");
        header_at(&two, |header| {
            assert_eq!((header.version, header.command), (Version::Two, command));
            let mut tlvs = header.tlvs.iter();
            assert!(matches!(tlvs.next(), Some(Tlv::Crc32c(_))));
            assert_eq!(tlvs.next(), Some(Tlv::Authority(b"www.example.com")));
            assert_eq!(tlvs.next(), None);
        });
    }
    let _client = haproxy.connect(folder, "in3");
    header_at(&two, |header| {
        assert_eq!(header.command, Command::Local);
        assert_eq!(header.version, Version::Two);
    });
}

#[test]
fn what_haproxy_says_of_tls_is_read() {
    if !has("haproxy", "-v") {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let certificate = Certificate::make(folder);
    let both = [&certificate.cert, &certificate.key].map(|file| std::fs::read(file).expect("PEM"));
    std::fs::write(folder.join("both.pem"), both.concat()).expect("a file");
    let (chain, key) = identity(folder, "client ä");
    let out = UnixListener::bind(folder.join("out")).expect("a socket");
    let mut haproxy = haproxy(
        folder,
        "listen tls\n mode tcp\n unique-id-format id-%ci-%cp\n \
         bind unix@FOLDER/in accept-proxy ssl crt FOLDER/both.pem alpn x,y \
         ca-file FOLDER/client.pem verify optional\n \
         server s unix@FOLDER/out send-proxy-v2 proxy-v2-options \
         ssl,cert-cn,ssl-cipher,cert-sig,cert-key,crc32c,authority,unique-id\n",
    );
    let mut config = ClientConfig::builder()
        .with_root_certificates(certificate.roots())
        .with_client_auth_cert(vec![chain], key)
        .expect("an identity");
    config.alpn_protocols = vec![b"y".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut client = haproxy.connect(folder, "in");
    let command = tcp(TCP4.0, TCP4.1);
    client.write_all(&v2(command, &[])).expect("sent");
    rustls::Stream::new(&mut tls, &mut client)
        .write_all(b"hello")
        .expect("sent");
    let (mut stream, _) = out.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    header_of(&mut stream, |header| {
        assert_eq!(header.command, command);
        let tlvs: Vec<Tlv<'_>> = header.tlvs.iter().collect();
        let has = |tlv| assert!(tlvs.contains(&tlv), "{tlv:?} in {tlvs:?}");
        has(Tlv::Alpn(b"y"));
        has(Tlv::Authority(b"localhost"));
        has(Tlv::UniqueId(b"id-192.0.2.1-56324"));
        has(Tlv::Ssl(Ssl {
            client: ClientFlags::SSL | ClientFlags::CERT_CONN | ClientFlags::CERT_SESS,
            verify: 0,
            version: Some(b"TLSv1.3"),
            cn: Some("client ä".as_bytes()),
            cipher: Some(b"TLS_AES_256_GCM_SHA384"),
            sig_alg: Some(b"ecdsa-with-SHA256"),
            key_alg: Some(b"EC256"),
            ..Ssl::default()
        }));
        assert!(tlvs.iter().any(|tlv| matches!(tlv, Tlv::Crc32c(_))));
        assert_eq!(tlvs.len(), 5, "{tlvs:?}");
    });
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("the stream");
    assert_eq!(&hello, b"hello");
}

/// A client's certificate with this common name, trusted by itself.
fn identity(
    folder: &Path,
    name: &str,
) -> (
    rustls::pki_types::CertificateDer<'static>,
    PrivateKeyDer<'static>,
) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let made = params.self_signed(&key).expect("a certificate");
    std::fs::write(folder.join("client.pem"), made.pem()).expect("a file");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    (made.der().clone(), key)
}

#[test]
fn what_nginx_writes_is_read() {
    if !has("nginx", "-v") {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let out = UnixListener::bind(folder.join("out")).expect("a socket");
    // Only of a client that came by TCP does it have something to say, so that
    // it needs a port: one that is free, as far as can be known.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let mut nginx = nginx(
        folder,
        &format!(
            "stream {{\n server {{\n listen 127.0.0.1:{port};\n listen unix:FOLDER/in;\n \
             proxy_pass unix:FOLDER/out;\n proxy_protocol on;\n }}\n}}\n"
        ),
    );
    let _unix = nginx.connect(folder, "in");
    header_at(&out, |header| {
        assert_eq!(header.version, Version::One);
        assert_eq!(header.command, Command::Proxy(Route::Unknown));
    });
    let client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let ends = [client.local_addr(), client.peer_addr()].map(|end| end.expect("an address"));
    header_at(&out, |header| {
        assert_eq!(header.version, Version::One);
        assert_eq!(header.command, Command::Proxy(Route::tcp(ends[0], ends[1])));
    });
}
