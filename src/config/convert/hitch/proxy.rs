//! What hitch tells backends of the client: lines that mean something only
//! together.

use super::super::super::position::{Span, SyntaxError};
use super::super::draft::{Draft, Setting};
use super::super::words::{fault, quoted};
use super::switch;
use super::syntax::Item;

/// Keys that are about it.
pub(super) const KEYS: &[&str] = &[
    "write-proxy",
    "write-proxy-v1",
    "write-proxy-v2",
    "proxy-proxy",
    "proxy-tlv",
    "proxy-authority",
    "proxy-client-cert",
];

/// A switch that is on, or one that was said to be off.
type Said = Option<(bool, Span, Setting)>;

/// What the lines say.
#[derive(Default)]
pub(super) struct Proxy {
    one: Said,
    two: Said,
    passed_on: Said,
    /// On unless it is said to be off, as `authority` is.
    ssl: Said,
    authority: Said,
    certificate: Said,
}

impl Proxy {
    /// Takes one line up.
    pub(super) fn read(
        &mut self,
        item: &Item<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), SyntaxError> {
        let (value, span) = item.text()?;
        let on = switch(value, span)?;
        let said = match item.key {
            "write-proxy-v1" => &mut self.one,
            "proxy-proxy" => &mut self.passed_on,
            "proxy-tlv" => &mut self.ssl,
            "proxy-authority" => &mut self.authority,
            "proxy-client-cert" => &mut self.certificate,
            // The older key is another name of the newer.
            _ => &mut self.two,
        };
        let line = draft.setting(item.span, String::new());
        if let Some((_, earlier, _)) = said.replace((on, item.span, line)) {
            draft.without(earlier, "a later line sets it again, and that one counts");
        }
        Ok(())
    }

    /// Puts what the lines say together into the draft; gives what listeners
    /// read it from.
    pub(super) fn finish(self, draft: &mut Draft<'_>) -> Result<Option<Setting>, SyntaxError> {
        let mut ways = Vec::new();
        for (said, way) in [
            (self.one, Way::One),
            (self.two, Way::Two),
            (self.passed_on, Way::PassedOn),
        ] {
            match said {
                Some((true, span, line)) => ways.push((span, line, way)),
                Some((false, span, _)) => draft.same(span),
                None => {}
            }
        }
        ways.sort_by_key(|(span, ..)| span.start);
        if let [_, (second, ..), ..] = ways[..] {
            return Err(fault(
                second,
                "hitch takes one of write-proxy-v1, write-proxy-v2 and proxy-proxy; keep the one \
                 that the backend expects",
            ));
        }
        let mut way = ways.pop();
        let extras = [("Authority", self.authority), ("Ssl", self.ssl)];
        if let Some((_, line, Way::Two)) = &mut way {
            // hitch says of itself which protocol was agreed on.
            let mut tlvs = vec!["Alpn"];
            for (tlv, said) in extras {
                let on = said.is_none_or(|(on, _, said)| {
                    *line = line.clone().and(&said);
                    on
                });
                tlvs.extend(on.then_some(tlv));
            }
            line.value = format!("(version: 2, tlvs: [{}])", tlvs.join(", "));
            match self.certificate {
                Some((true, span, _)) => draft.without(
                    span,
                    "adit does not send the certificate itself: Ssl, among the tlvs of \
                     proxy_protocol, has its common name and whether it was verified",
                ),
                Some((false, span, _)) => draft.same(span),
                None => {}
            }
        } else {
            // Without write-proxy-v2 they do nothing in hitch either.
            let extras = extras.into_iter().map(|(_, said)| said);
            for (_, span, _) in extras.chain([self.certificate]).flatten() {
                draft.same(span);
            }
        }
        Ok(match way {
            None => None,
            Some((_, line, Way::One)) => {
                draft
                    .service
                    .push(("proxy_protocol", line.with("(version: 1)")));
                None
            }
            Some((_, line, Way::Two)) => {
                draft.service.push(("proxy_protocol", line));
                None
            }
            Some((span, line, Way::PassedOn)) => {
                draft.changed(
                    span,
                    "hitch passes the header on as it comes; adit reads it, by proxy_from, and \
                     writes its own of version 2, by proxy_protocol, with the same addresses; \
                     narrow proxy_from down to the proxies in front",
                );
                draft
                    .service
                    .push(("proxy_protocol", line.with("(version: 2)")));
                let everybody = ["0.0.0.0/0", "::/0"].map(quoted).join(", ");
                Some(line.with(&format!("[{everybody}]")))
            }
        })
    }
}

/// How the backend hears of the client.
#[derive(Clone, Copy)]
enum Way {
    /// By a header of version 1.
    One,
    /// By one of version 2.
    Two,
    /// By the header that the client's proxy sent.
    PassedOn,
}
