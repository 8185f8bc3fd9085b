//! What many certificates cost: `cargo bench --bench certificates`, or
//! `ci/certificates`.
//!
//! A directory of them is made, all by one intermediate authority, and a
//! process of its own then serves it from two shards. It tells how long it took
//! to load, and how much larger it is than with a single certificate (VmRSS):
//! once it serves, and once every name has been asked for.
//!
//! Arguments: the number of certificates, 10000 if none is given.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use adit::config::{CertSource, ServerTls};
use adit::{Config, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const COUNT: usize = 10_000;
const SHARDS: usize = 2;

/// Each key serves so many certificates, for RSA keys take long to make.
const KEYS: usize = 16;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.as_slice() {
        [role, folder, count] if role == "serve" => serve(Path::new(folder), count.parse()?),
        [] => compare(COUNT),
        [count] => compare(count.parse()?),
        _ => Err("give the number of certificates, or nothing".into()),
    }
}

/// Makes certificates and has another process serve them.
fn compare(count: usize) -> Outcome<()> {
    let cpus = std::thread::available_parallelism()?;
    println!("{count} certificates, {SHARDS} shards, {cpus} CPUs");
    println!(
        "{:<12} {:>9} {:>12} {:>13} {:>22}",
        "keys", "load (s)", "on disk (B)", "resident (B)", "all asked for (B)"
    );
    for (name, kind) in [
        ("ECDSA P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("RSA 2048", &rcgen::PKCS_RSA_SHA256),
    ] {
        let folder = tempfile::tempdir()?;
        let (one, many) = (folder.path().join("one"), folder.path().join("many"));
        let keys = (0..KEYS.min(count)).map(|_| KeyPair::generate_for(kind));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        make(&one, 1, &keys)?;
        let on_disk = make(&many, count, &keys)?;
        let base = measure(&one, 1)?;
        let full = measure(&many, count)?;
        let each = |bytes: u64, base: u64| bytes.saturating_sub(base) / count as u64;
        println!(
            "{name:<12} {:>9.2} {:>12} {:>13} {:>22}",
            full.seconds,
            on_disk / count as u64,
            each(full.loaded, base.loaded),
            each(full.asked, base.asked),
        );
    }
    println!("(bytes are for each certificate)");
    Ok(())
}

/// Gives the bytes that all files have together.
fn make(folder: &Path, count: usize, keys: &[KeyPair]) -> Outcome<u64> {
    fs::create_dir(folder)?;
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(authority(), KeyPair::generate()?)?;
    let below = CertifiedIssuer::signed_by(authority(), KeyPair::generate()?, &root)?;
    let mut bytes = 0;
    for number in 0..count {
        let names = ["", "www."].map(|prefix| format!("{prefix}{}", name(number)));
        let params = CertificateParams::new(names)?;
        let key = &keys[number % keys.len()];
        let cert = params.signed_by(key, &below)?;
        let text = cert.pem() + &below.pem() + &key.serialize_pem();
        bytes += text.len() as u64;
        fs::write(folder.join(format!("{number:06}.pem")), text)?;
    }
    Ok(bytes)
}

fn name(number: usize) -> String {
    format!("customer-{number}.example.org")
}

struct Figures {
    seconds: f64,
    loaded: u64,
    asked: u64,
}

fn measure(folder: &Path, count: usize) -> Outcome<Figures> {
    let output = Command::new(env::current_exe()?)
        .arg("serve")
        .arg(folder)
        .arg(count.to_string())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let mut next = || {
        words.next().ok_or_else(|| {
            format!(
                "the server says {text:?}, {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    };
    Ok(Figures {
        seconds: next()?.parse()?,
        loaded: next()?.parse()?,
        asked: next()?.parse()?,
    })
}

/// Prints the seconds that loading takes, the bytes resident once it serves,
/// and those once all names have been asked for.
fn serve(folder: &Path, count: usize) -> Outcome<()> {
    let tls = ServerTls::of(vec![CertSource {
        cert: folder.to_owned(),
        key: None,
        ocsp: None,
    }]);
    let backend = TcpListener::bind("127.0.0.1:0")?;
    let mut config = Config::single(
        "127.0.0.1:0".parse()?,
        tls,
        backend.local_addr()?.to_string().parse()?,
    );
    config.shards.count = SHARDS.try_into().ok();
    let began = Instant::now();
    let server = Server::new(config)?;
    let seconds = began.elapsed().as_secs_f64();
    let address: SocketAddr = server.listeners()[0].address.parse()?;
    let running = server.start()?;
    let loaded = resident()?;
    std::thread::spawn(move || greet(&backend));
    let client = Arc::new(client());
    for number in 0..count {
        ask(&client, address, &name(number)).map_err(|error| format!("{number}: {error}"))?;
    }
    println!("{seconds} {loaded} {}", resident()?);
    drop(running);
    Ok(())
}

fn greet(backend: &TcpListener) {
    for mut stream in backend.incoming().flatten() {
        // A client that has gone is no matter.
        let _ = stream.write_all(b"x");
    }
}

fn resident() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// It trusts nobody, which is known only once the certificate has been made
/// ready and shown.
fn client() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn ask(client: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> Outcome<()> {
    let name = ServerName::try_from(name.to_owned())?;
    let mut tls = ClientConnection::new(client.clone(), name)?;
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    match tls.complete_io(&mut tcp) {
        Ok(_) => Err("a client without roots trusts somebody".into()),
        Err(error) => match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => Ok(()),
            _ => Err(error.into()),
        },
    }
}
