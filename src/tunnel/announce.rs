//! What a backend is told of a client, ahead of its bytes: a header of the
//! PROXY protocol.

use std::net::SocketAddr;

use super::facts::Facts;
use crate::config::{ProxyHeader, ProxyTlv, ProxyVersion};
use crate::limits;
use crate::proxy_protocol::{ClientFlags, Command, Route, Ssl, Tlv, write_v1, write_v2};
use crate::tls::Subject;

/// The header for a client with these ends. A service that cannot be told, its
/// client having come by a Unix socket, is told that nothing is known.
pub(super) fn header(
    wanted: &ProxyHeader,
    ends: Option<(SocketAddr, SocketAddr)>,
    facts: &Facts<'_>,
    unique_id: &[u8],
) -> Vec<u8> {
    let command = match ends {
        Some((source, destination)) => Command::Proxy(Route::tcp(source, destination)),
        None => Command::Local,
    };
    let mut room = vec![0; limits::PROXY_HEADER_MAX];
    let written = match wanted.version {
        ProxyVersion::One => write_v1(&command, &mut room),
        ProxyVersion::Two => {
            let subject = subject(facts);
            let tlvs: Vec<Tlv<'_>> = wanted
                .tlvs
                .iter()
                .filter_map(|tlv| say(*tlv, facts, subject.as_ref(), unique_id))
                .collect();
            // What a client made too long to be said is left out with the rest
            // of what is not needed.
            write_v2(&command, &tlvs, &mut room).or_else(|_| write_v2(&command, &[], &mut room))
        }
    };
    // The room is enough for a header without TLVs.
    room.truncate(written.unwrap_or(0));
    room
}

fn subject(facts: &Facts<'_>) -> Option<Subject> {
    let certificate = facts.tls.as_ref()?.certificate?;
    Subject::of(certificate)
}

fn say<'a>(
    wanted: ProxyTlv,
    facts: &'a Facts<'_>,
    subject: Option<&'a Subject>,
    unique_id: &'a [u8],
) -> Option<Tlv<'a>> {
    Some(match wanted {
        ProxyTlv::Authority => Tlv::Authority(facts.name?.as_bytes()),
        ProxyTlv::Alpn => match facts.protocols.as_slice() {
            // One: it was agreed on, or nothing else is offered.
            [one] => Tlv::Alpn(one),
            _ => return None,
        },
        ProxyTlv::UniqueId => Tlv::UniqueId(unique_id),
        ProxyTlv::Crc32c => Tlv::Crc32c(0),
        ProxyTlv::Ssl => {
            let tls = facts.tls.as_ref()?;
            let shown = match (tls.certificate, tls.resumed) {
                (None, _) => ClientFlags::default(),
                (Some(_), false) => ClientFlags::CERT_CONN | ClientFlags::CERT_SESS,
                (Some(_), true) => ClientFlags::CERT_SESS,
            };
            Tlv::Ssl(Ssl {
                client: ClientFlags::SSL | shown,
                // Whatever certificate there is was verified.
                verify: u32::from(tls.certificate.is_none()),
                version: Some(tls.version.as_bytes()),
                cipher: Some(tls.cipher.as_bytes()),
                cn: subject
                    .and_then(|subject| subject.common_name.as_deref())
                    .map(str::as_bytes),
                ..Ssl::default()
            })
        }
    })
}
