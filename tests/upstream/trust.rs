//! Whom adit takes for a backend, and what it says to those it does not.

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use adit::config::{CertSource, ClientTls, ServerVerify, TlsVersion};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::server::WebPkiClientVerifier;
use rustls::{ALL_VERSIONS, AlertDescription, Error};

use crate::support::backend::Backend;
use crate::support::certificate::Certificate;
use crate::support::place::{self, Place, TlsStream, accepting, tls_backend, trusting};

fn certificate() -> (tempfile::TempDir, Certificate) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    (folder, certificate)
}

/// How the handshake ended for the backend.
fn shaken(mut stream: TlsStream) -> Option<Error> {
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            let inner = error.into_inner()?;
            return inner.downcast::<Error>().ok().map(|error| *error);
        }
    }
    None
}

/// The client sees a reset, never an orderly end that it would take for an
/// empty answer.
fn assert_refused(near: &Place, reason: &str) {
    assert_fails(near);
    assert_eq!(near.reason(), reason);
    assert_eq!(near.stats().total.backend_handshakes, 0);
}

fn backend(certificate: &Certificate) -> Backend<Option<Error>> {
    tls_backend(accepting(certificate, ALL_VERSIONS), shaken)
}

#[test]
fn a_backend_that_nobody_vouches_for_is_refused_and_told_so() {
    let (_a, trusted) = certificate();
    let (_b, stranger) = certificate();
    let backend = backend(&stranger);
    let near = Place::client(backend.address(), &trusted);
    assert_refused(&near, "connect/backend/bad-certificate");
    // Both certificates have the same subject, so that it is the signature
    // which is found to be wrong.
    let told = backend.result();
    let expected = AlertDescription::DecryptError;
    assert_eq!(told, Some(Error::AlertReceived(expected)));
}

#[test]
fn a_backend_of_another_name_is_refused() {
    let (_folder, certificate) = certificate();
    let backend = backend(&certificate);
    let mut tls = trusting(&certificate);
    tls.server_name = Some("other.example".into());
    let near = Place::client_with(backend.address(), tls);
    assert_refused(&near, "connect/backend/bad-certificate");
}

/// The name is the host of the address unless another is given: here an IP
/// address, which the certificate names.
#[test]
fn the_name_is_the_address_by_default() {
    let (_folder, certificate) = certificate();
    let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), |stream| {
        place::echo(stream);
    });
    let tls = ClientTls {
        verify: ServerVerify::Ca(certificate.cert.clone()),
        ..ClientTls::default()
    };
    Place::client_with(backend.address(), tls).echo(b"hello");
}

#[test]
fn anybody_will_do_where_verification_is_off() {
    let (_folder, certificate) = certificate();
    let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), |stream| {
        place::echo(stream);
    });
    let tls = ClientTls {
        verify: ServerVerify::Off,
        server_name: Some("whoever.example".into()),
        ..ClientTls::default()
    };
    Place::client_with(backend.address(), tls).echo(b"hello");
}

#[test]
fn a_certificate_is_shown_to_a_backend_that_asks() {
    let (_folder, certificate) = certificate();
    let (_other, ours) = certificate_for_clients();
    let verifier = WebPkiClientVerifier::builder(ours.roots())
        .build()
        .expect("a verifier");
    let mut config = accepting(&certificate, ALL_VERSIONS);
    config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(config.cert_resolver);
    let backend = tls_backend(config, place::echo);
    let mut tls = trusting(&certificate);
    assert_fails(&Place::client_with(backend.address(), tls.clone()));
    tls.identity = Some(CertSource::new(&ours.cert, &ours.key));
    Place::client_with(backend.address(), tls).echo(b"hello");
}

/// What `openssl req -x509` makes is an authority's by default, and is trusted as
/// a backend's own where the file of authorities has it; but for what it is for,
/// and no other that looks like it.
#[test]
fn a_backends_own_certificate_may_be_the_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let verdict = |change: fn(&mut CertificateParams), name: &str| {
        let certificate = Certificate::of_authority(folder.path(), change);
        let backend = backend(&certificate);
        let mut tls = trusting(&certificate);
        tls.server_name = Some(name.into());
        let near = Place::client_with(backend.address(), tls);
        // Let in, it is a backend that says nothing.
        let _ = near.connect().read_to_end(&mut Vec::new());
        backend.result()
    };
    let alert = |alert| Some(Error::AlertReceived(alert));
    assert_eq!(verdict(|_| {}, "localhost"), None);
    assert_eq!(
        verdict(|_| {}, "other.example"),
        alert(AlertDescription::BadCertificate)
    );
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    assert_eq!(
        verdict(expired, "localhost"),
        alert(AlertDescription::CertificateExpired)
    );
    let early = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2999, 1, 1);
    };
    assert_eq!(
        verdict(early, "localhost"),
        alert(AlertDescription::CertificateExpired)
    );
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    assert_eq!(
        verdict(for_clients, "localhost"),
        alert(AlertDescription::UnsupportedCertificate)
    );
    let for_servers = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(verdict(for_servers, "localhost"), None);
}

#[test]
fn another_authoritys_own_certificate_is_refused() {
    let (_a, trusted) = certificate();
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = Certificate::of_authority(folder.path(), |_| {});
    let backend = backend(&stranger);
    let near = Place::client(backend.address(), &trusted);
    assert_refused(&near, "connect/backend/bad-certificate");
    let expected = AlertDescription::CertificateUnknown;
    assert_eq!(backend.result(), Some(Error::AlertReceived(expected)));
}

fn certificate_for_clients() -> (tempfile::TempDir, Certificate) {
    certificate()
}

fn assert_fails(near: &Place) {
    // To the end, since that goes on where a signal came in between.
    let read = near.connect().read_to_end(&mut Vec::new());
    let error = read.expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_backend_that_speaks_no_tls_is_told_from_one_that_does_it_badly() {
    let (_folder, certificate) = certificate();
    let backend = Backend::start(|mut stream| {
        std::io::Write::write_all(&mut stream, b"220 plain.example ESMTP\r\n").expect("sent");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let near = Place::client(backend.address(), &certificate);
    assert_refused(&near, "connect/backend/not-tls");
}

#[test]
fn no_version_in_common_is_no_tunnel() {
    let (_folder, certificate) = certificate();
    let config = accepting(&certificate, &[&rustls::version::TLS12]);
    let backend = tls_backend(config, shaken);
    let mut tls = trusting(&certificate);
    tls.policy.min = TlsVersion::Tls13;
    let near = Place::client_with(backend.address(), tls);
    assert_fails(&near);
}

#[test]
fn a_backend_that_never_answers_has_the_connect_time() {
    let (_folder, certificate) = certificate();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let mut config = adit::Config::client(
        "127.0.0.1:0".parse().expect("an address"),
        trusting(&certificate),
        address.to_string().parse().expect("an address"),
    );
    config.timeouts.connect = std::time::Duration::from_millis(300);
    let near = Place::start(config);
    assert_refused(&near, "connect/backend/timeout");
}

/// The secrets of sessions with backends are written down where that is asked
/// for, and nobody else can read them.
#[test]
fn secrets_go_to_the_key_log() {
    let (folder, certificate) = certificate();
    let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), place::echo);
    let path = folder.path().join("keys.log");
    let mut tls = trusting(&certificate);
    tls.key_log = Some(path.clone());
    let near = Place::client_with(backend.address(), tls);
    near.echo(b"hello");
    near.echo(b"hello");
    let secrets = std::fs::read_to_string(&path).expect("a key log");
    let of_clients = secrets.matches("CLIENT_TRAFFIC_SECRET_0 ").count();
    assert_eq!(of_clients, 2, "{secrets}");
    let mode = std::fs::metadata(&path).expect("a file").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
