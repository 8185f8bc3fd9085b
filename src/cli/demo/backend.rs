//! The plaintext server behind the demonstration's tunnel.
//!
//! - `/`: a page that shows the tunnel's figures; `/page.css` and `/page.js`
//!   belong to it.
//! - `/stats.json`: these figures, as `adit stats --json` gives them.
//! - `/bytes?n=COUNT`: that many bytes, at most [`limits::DEMO_BYTES_MAX`];
//!   byte `i` is `i mod 251`, so that both ends of a transfer can be compared.

use std::io::{self, Read};

use adit::Error;
use adit::http::{Body, Request, Response};
use adit::limits;
use adit::metrics::Stats;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but what comes from here itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The bytes of `/bytes` when no count is given.
const BYTES_DEFAULT: u64 = 1 << 20;

/// After how many bytes `/bytes` repeats itself: a prime, so that no buffer
/// size hides a slip.
const PERIOD: u8 = 251;

/// Answers requests, with figures from `stats`.
pub(super) fn handler<S>(stats: S) -> impl Fn(&Request) -> Response + Send + Sync + 'static
where
    S: Fn() -> Result<Stats, Error> + Send + Sync + 'static,
{
    move |request| {
        let text = |kind, text: &'static str| {
            Response::new(200, kind, Body::Bytes(text.as_bytes().into()))
                .with("Content-Security-Policy", POLICY)
        };
        match request.path.as_str() {
            _ if !request.is_read() => Response::method_not_allowed("GET, HEAD"),
            "/" => text("text/html; charset=utf-8", PAGE),
            "/page.css" => text("text/css; charset=utf-8", STYLE),
            "/page.js" => text("text/javascript; charset=utf-8", SCRIPT),
            "/stats.json" => match stats() {
                Ok(stats) => Response::json(&stats),
                Err(error) => Response::text(503, format!("{error}\n")),
            },
            "/bytes" => bytes(request.query_value("n")),
            _ => Response::not_found(),
        }
    }
}

fn bytes(n: Option<&str>) -> Response {
    let length = match n.map(str::parse::<u64>) {
        None => BYTES_DEFAULT,
        Some(Ok(n)) if n <= limits::DEMO_BYTES_MAX => n,
        Some(_) => {
            return Response::text(
                400,
                format!("write /bytes?n=COUNT, at most {}\n", limits::DEMO_BYTES_MAX),
            );
        }
    };
    Response::new(
        200,
        "application/octet-stream",
        Body::Stream {
            length,
            reader: Box::new(Pattern { next: 0 }),
        },
    )
}

/// Without end: byte `i` is `i mod 251`.
struct Pattern {
    next: u8,
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.next;
            self.next = (self.next + 1) % PERIOD;
        }
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use adit::config::Address;
    use adit::http;

    use super::*;

    fn get(path: &str) -> http::client::Answer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address: Address = listener
            .local_addr()
            .expect("bound")
            .to_string()
            .parse()
            .expect("an address");
        let _running =
            http::serve(listener, "test", handler(|| Err(Error::Stopped))).expect("a thread");
        http::client::get(&address, path, Duration::from_secs(20)).expect("an answer")
    }

    #[test]
    fn bytes_are_the_documented_pattern() {
        let answer = get("/bytes?n=1000003");
        let expected: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
        assert!(answer.body == expected);
        assert_eq!(get("/bytes").body.len(), 1 << 20);
        assert_eq!(get("/bytes?n=0").body.len(), 0);
        for n in ["-1", "x", "1073741825", ""] {
            assert_eq!(get(&format!("/bytes?n={n}")).status, 400, "{n}");
        }
    }

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let page = String::from_utf8(get("/").body).expect("text");
        assert!(page.starts_with("<!doctype html>"));
        for part in ["/page.css", "/page.js"] {
            assert!(page.contains(part));
            assert_eq!(get(part).status, 200);
        }
        for text in [PAGE, STYLE, SCRIPT] {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"));
        }
        assert_eq!(get("/stats.json").status, 503);
        assert_eq!(get("/nothing").status, 404);
    }
}
