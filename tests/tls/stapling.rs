//! OCSP responses, made by OpenSSL.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use adit::config::ServerTls;
use adit::tls::{CertificateInfo, ServerParts};

use crate::authority::{Authority, Issued, write};
use crate::place::{Place, from};
use crate::support::tools::has;
use crate::visitor::{EACH, Visitor};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Has OpenSSL answer for a certificate with this number: `status` is V, for
/// valid, R, for revoked, or empty for a number that it does not know.
fn respond(folder: &Path, authority: &Authority, site: &Issued, status: &str, to: &str) {
    let mut index = String::new();
    match status {
        "V" => index.push_str("V\t490101000000Z\t\t2A\tunknown\t/CN=site\n"),
        "R" => index.push_str("R\t490101000000Z\t200101000000Z\t2A\tunknown\t/CN=site\n"),
        _ => {}
    }
    fs::write(folder.join("index.txt"), index).expect("a file");
    fs::write(folder.join("ca.crt"), authority.pem()).expect("a file");
    fs::write(folder.join("ca.key"), authority.0.key().serialize_pem()).expect("a file");
    fs::write(folder.join("leaf.crt"), site.cert.pem()).expect("a file");
    let made = Command::new("openssl")
        .current_dir(folder)
        .args("ocsp -index index.txt -CA ca.crt -rsigner ca.crt -rkey ca.key".split(' '))
        .args("-issuer ca.crt -cert leaf.crt -ndays 7 -respout".split(' '))
        .arg(to)
        .output()
        .expect("openssl");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(folder.join(to).exists(), "{said}");
    for file in ["ca.crt", "leaf.crt", "index.txt", "ca.key"] {
        fs::remove_file(folder.join(file)).expect("there");
    }
}

fn site(authority: &Authority, must_staple: bool) -> Issued {
    authority.issue_with(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(0x2a_u64.into());
        if must_staple {
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            let value = vec![0x30, 3, 2, 1, 5];
            let feature = rcgen::CustomExtension::from_oid_content(&oid, value);
            params.custom_extensions.push(feature);
        }
    })
}

fn info(tls: &ServerTls, now: SystemTime) -> CertificateInfo {
    let (_, infos) = ServerParts::load(tls, now).expect("parts");
    infos[0].clone()
}

fn fault(tls: &ServerTls, now: SystemTime) -> String {
    let info = info(tls, now);
    let fault = info.ocsp.and_then(|ocsp| ocsp.fault).expect("a fault");
    assert!(info.warnings[0].contains(&fault), "{:?}", info.warnings);
    fault
}

#[test]
fn a_good_response_is_stapled_and_no_other() {
    if !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let issued = site(&ours, false);
    let file = write(at, "site.pem", issued.pem() + &ours.pem());
    let tls = from(&[&file]);
    let now = SystemTime::now();
    assert_eq!(info(&tls, now).ocsp, None);

    respond(at, &ours, &issued, "V", "site.ocsp");
    let good = info(&tls, now);
    assert!(good.warnings.is_empty(), "{good:?}");
    let ocsp = good.ocsp.expect("a response");
    assert_eq!((ocsp.file, ocsp.fault), (at.join("site.ocsp"), None));
    let next = ocsp.next_update.expect("a time");
    assert!(next > now + 6 * DAY && next < now + 8 * DAY, "{next:?}");
    let bytes = fs::read(at.join("site.ocsp")).expect("a file");
    let place = Place::start(tls.clone());
    for versions in EACH {
        let visitor = Visitor {
            versions,
            ..Visitor::new(Some("a.test"))
        };
        assert_eq!(visitor.visit(place.address).expect("shown").ocsp, bytes);
    }

    let after = fault(&tls, now + 8 * DAY);
    assert!(after.contains("out of date"), "{after}");
    let before = fault(&tls, now - DAY);
    assert!(before.contains("not good before"), "{before}");
    for (status, expected) in [("R", "revoked"), ("", "does not know")] {
        respond(at, &ours, &issued, status, "site.ocsp");
        let fault = fault(&tls, now);
        assert!(fault.contains(expected), "{fault}");
        let place = Place::start(tls.clone());
        let shown = Visitor::new(None).visit(place.address).expect("shown");
        assert!(shown.ocsp.is_empty());
    }
    // The same number, of another authority by the same name.
    let twin = Authority::new("ours");
    respond(at, &twin, &site(&twin, false), "V", "site.ocsp");
    assert!(fault(&tls, now).contains("another certificate"));
    for cut in [0, 1, 2, 20, bytes.len() / 3] {
        fs::write(at.join("site.ocsp"), &bytes[..cut]).expect("a file");
        assert!(fault(&tls, now).contains("no OCSP response"), "{cut}");
    }
    // Beside it under its whole name, or where the configuration says.
    fs::remove_file(at.join("site.ocsp")).expect("there");
    fs::write(at.join("site.pem.ocsp"), &bytes).expect("a file");
    assert!(
        info(&tls, now)
            .ocsp
            .is_some_and(|ocsp| ocsp.fault.is_none())
    );
    let mut named = tls;
    named.certs[0].ocsp = Some(at.join("none"));
    let error = ServerParts::load(&named, now).expect_err("refused");
    assert!(
        error.to_string().contains("none: cannot be read"),
        "{error}"
    );
}

#[test]
fn a_certificate_that_must_be_stapled_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let ours = Authority::new("ours");
    let issued = site(&ours, true);
    let tls = from(&[&write(at, "site.pem", issued.pem())]);
    let now = SystemTime::now();
    let without = info(&tls, now);
    assert!(without.must_staple);
    assert!(without.warnings[0].contains("must-staple"), "{without:?}");
    assert!(without.warnings[0].contains("site.ocsp"), "{without:?}");
    if has("openssl", "version") {
        respond(at, &ours, &issued, "V", "site.ocsp");
        let with = info(&tls, now);
        assert!(with.must_staple && with.warnings.is_empty(), "{with:?}");
    }
}
