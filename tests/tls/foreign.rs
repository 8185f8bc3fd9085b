//! Clients of other people's making, where the machine has them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use adit::config::{ClientVerify, SniNoMatch, SubjectPattern};

use crate::authority::{Authority, Issued, write};
use crate::place::{Place, from};
use crate::support::backend::Backend;
use crate::support::tools::has;

/// A server with two names, which lets in `good` and nobody else if it has to
/// be a certificate at all.
struct Scene {
    folder: tempfile::TempDir,
    ca: PathBuf,
    place: Place,
}

impl Scene {
    fn new(required: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let ours = Authority::new("ours");
        let ca = write(at, "ca.pem", ours.pem());
        let rsa = ours.issue_with(&["one.test"], &rcgen::PKCS_RSA_SHA256, |_| {});
        let site = |name: &str, issued: &Issued| write(at, name, issued.pem());
        let files = [
            site("1.pem", &rsa),
            site("2.pem", &ours.issue(&["one.test"])),
            site("3.pem", &ours.issue(&["*.two.test"])),
        ];
        let mut tls = from(&[&files[0], &files[1], &files[2]]);
        tls.sni_nomatch = SniNoMatch::Abort;
        tls.alpn = vec!["h2".into(), "echo".into()];
        tls.client_verify = required.then(|| ClientVerify {
            required,
            ca: ca.clone(),
            crls: Vec::new(),
            allow: vec![SubjectPattern::Cn("good".into())],
        });
        for name in ["good", "bad"] {
            site(&format!("{name}.client"), &ours.client(1, name));
        }
        Self {
            place: Place::before(Backend::start(answer), tls, 1),
            ca,
            folder,
        }
    }

    fn port(&self) -> u16 {
        self.place.address.port()
    }

    fn identity(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.client"))
    }

    /// All that `openssl s_client` says.
    fn openssl(&self, words: &[&str], identity: Option<&Path>) -> String {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &self.place.address.to_string()])
            .args(["-verify_return_error", "-CAfile"])
            .arg(&self.ca)
            .args(words);
        if let Some(path) = identity {
            command.arg("-cert").arg(path).arg("-key").arg(path);
        }
        text(&command.stdin(Stdio::null()).output().expect("openssl"))
    }
}

/// To HTTP, an answer in it; to anybody else, what was said.
fn answer(mut stream: TcpStream) {
    let mut heard = [0; 4096];
    let Ok(n) = stream.read(&mut heard) else {
        return;
    };
    let sent = if heard.starts_with(b"GET ") {
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    } else {
        stream.write_all(&heard[..n])
    };
    // Whoever has gone has no use for it.
    drop(sent);
}

fn text(output: &Output) -> String {
    let lossy = String::from_utf8_lossy;
    format!("{}{}", lossy(&output.stdout), lossy(&output.stderr))
}

#[test]
fn openssl_is_served_by_name_and_by_what_it_verifies() {
    if !has("openssl", "version") {
        return;
    }
    let scene = Scene::new(false);
    let rsa = ["-servername", "one.test", "-sigalgs", "rsa_pss_rsae_sha256"];
    let old = [
        "-servername",
        "one.test",
        "-tls1_2",
        "-cipher",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ];
    for (words, parts) in [
        (
            &["-servername", "one.test"][..],
            ["id-ecPublicKey", "Verify return code: 0"],
        ),
        (&rsa, ["rsaEncryption", "Verify return code: 0"]),
        (&old, ["rsaEncryption", "Verify return code: 0"]),
        (
            &["-noservername"],
            ["rsaEncryption", "Verify return code: 0"],
        ),
        (
            &[
                "-servername",
                "x.two.test",
                "-verify_hostname",
                "x.two.test",
            ],
            ["id-ecPublicKey", "Verified peername: *.two.test"],
        ),
        (
            &["-servername", "three.test"],
            ["unrecognized name", "alert number 112"],
        ),
        (
            &["-servername", "one.test", "-alpn", "x,echo"],
            ["ALPN protocol: echo", "Verify return code: 0"],
        ),
        (
            &["-servername", "one.test", "-alpn", "x,y"],
            ["no application protocol", "alert number 120"],
        ),
    ] {
        let said = scene.openssl(words, None);
        // How it prints the kind of key, and which kinds there are, changed.
        let said = said
            .replace("a:PKEY: ", "")
            .replace("RSA-PSS", "RSA-PSS (rsaEncryption)");
        for part in parts {
            assert!(said.contains(part), "{words:?}: {part:?} not in:\n{said}");
        }
    }
}

#[test]
fn openssl_shows_a_certificate_or_is_told_why_not() {
    if !has("openssl", "version") {
        return;
    }
    let scene = Scene::new(true);
    for version in ["-tls1_2", "-tls1_3"] {
        let say = |who: Option<&str>| {
            let path = who.map(|who| scene.identity(who));
            // It has to read on, for the verdict of TLS 1.3 comes late.
            let words = ["-servername", "one.test", "-ign_eof", version];
            let mut waiting = words.to_vec();
            if who == Some("good") {
                waiting.remove(2);
            }
            scene.openssl(&waiting, path.as_deref())
        };
        assert!(say(Some("good")).contains("Verify return code: 0"));
        let bad = say(Some("bad"));
        assert!(bad.contains("alert access denied"), "{bad}");
        let none = say(None);
        let expected = match version {
            "-tls1_2" => "alert handshake failure",
            _ => "alert certificate required",
        };
        assert!(none.contains(expected), "{none}");
    }
}

#[test]
fn curl_resolves_names_and_shows_certificates() {
    if !has("curl", "--version") {
        return;
    }
    let ask = |scene: &Scene, name: &str, identity: Option<&Path>| {
        let port = scene.port();
        let mut command = Command::new("curl");
        command
            .args(["-sSv", "--max-time", "20", "--no-alpn"])
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1"), "--cacert"])
            .arg(&scene.ca)
            .arg(format!("https://{name}:{port}/path"));
        if let Some(path) = identity {
            command.arg("--cert").arg(path);
        }
        text(&command.stdin(Stdio::null()).output().expect("curl"))
    };
    let scene = Scene::new(false);
    for name in ["one.test", "x.two.test"] {
        let said = ask(&scene, name, None);
        assert!(said.contains("SSL certificate verify ok"), "{said}");
    }
    let said = ask(&scene, "three.test", None);
    assert!(said.contains("unrecognized name"), "{said}");
    let scene = Scene::new(true);
    let said = ask(&scene, "one.test", Some(&scene.identity("bad")));
    assert!(said.contains("access denied"), "{said}");
    let said = ask(&scene, "one.test", None);
    assert!(said.contains("certificate required"), "{said}");
    let said = ask(&scene, "one.test", Some(&scene.identity("good")));
    assert!(said.contains("hello"), "{said}");
}

#[test]
fn python_agrees_on_a_protocol_and_shows_a_certificate() {
    if !has("python3", "--version") {
        return;
    }
    const SCRIPT: &str = r#"
import socket, ssl, sys
port, ca, name, alpn, cert = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if alpn: context.set_alpn_protocols(alpn.split(","))
if cert: context.load_cert_chain(cert)
try:
    with socket.create_connection(("127.0.0.1", int(port)), 20) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            tls.sendall(b"ping")
            print(tls.selected_alpn_protocol(), tls.recv(4))
except ssl.SSLError as error:
    print(error)
"#;
    let ask = |scene: &Scene, name: &str, alpn: &str, identity: Option<&Path>| {
        let mut command = Command::new("python3");
        command
            .args(["-c", SCRIPT, &scene.port().to_string()])
            .arg(&scene.ca)
            .args([name, alpn])
            .arg(identity.unwrap_or(Path::new("")));
        text(&command.stdin(Stdio::null()).output().expect("python"))
    };
    let scene = Scene::new(false);
    let told = |name, alpn| ask(&scene, name, alpn, None).trim().to_owned();
    assert_eq!(told("one.test", "echo,x"), "echo b'ping'");
    assert_eq!(told("x.two.test", ""), "None b'ping'");
    let refused = told("one.test", "x");
    // Its name for the alert, or its number alone.
    assert!(
        refused.to_lowercase().contains("application protocol") || refused.contains("1120"),
        "{refused}"
    );
    let refused = told("three.test", "").to_lowercase();
    assert!(refused.contains("unrecognized name"), "{refused}");
    let scene = Scene::new(true);
    let shown = |who: &str| {
        let identity = scene.identity(who);
        ask(&scene, "one.test", "", Some(&identity))
            .trim()
            .to_owned()
    };
    assert_eq!(shown("good"), "None b'ping'");
    let refused = shown("bad").to_lowercase();
    assert!(refused.contains("access denied"), "{refused}");
}
