//! Requests from bytes, responses to bytes. No socket and no clock in here.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use crate::limits;
use crate::sys::peer::Peer;

/// A whole request, within [`limits::ADMIN_REQUEST_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The path of the target, undecoded, without the query.
    pub path: String,
    /// What follows the `?` of the target, undecoded; empty if there is none.
    pub query: String,
    /// The body, empty if there is none.
    pub body: Vec<u8>,
    /// What the client would like to be answered with: all of its Accept
    /// fields, undecoded; empty if there is none (RFC 9110, section 12.5.1).
    pub accept: String,
    /// Whether the client wants the connection kept open
    /// (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// Who asks, where that is known: over a Unix socket.
    pub peer: Option<Peer>,
}

/// The methods that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read, headers only.
    Head,
    /// Give an order.
    Post,
}

/// What the first bytes of a connection turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not all of the request is here yet.
    Partial,
    /// A request, and the number of bytes that it took.
    Whole(Request, usize),
}

/// Why bytes are no request that is served. Each has its status; the
/// connection cannot go on after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The syntax is broken, or says two things at once.
    Malformed(&'static str),
    /// The method is none of [`Method`].
    Method,
    /// Head and body together pass [`limits::ADMIN_REQUEST_MAX`] by the body.
    BodyTooLarge,
    /// The head alone passes [`limits::ADMIN_REQUEST_MAX`] or
    /// [`limits::HTTP_HEADERS_MAX`].
    HeadTooLarge,
    /// A transfer coding (RFC 9112, section 6.1); none is served.
    TransferCoding,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Body,
}

/// What an answer carries. Its length is always known beforehand.
pub enum Body {
    /// Bytes at hand.
    Bytes(Cow<'static, [u8]>),
    /// Bytes made while they are sent. Ends the connection if it yields fewer
    /// than it promised.
    Stream {
        /// How many bytes.
        length: u64,
        /// Where they come from.
        reader: Box<dyn Read + Send>,
    },
}

impl Request {
    /// Reads a request from the first bytes of a connection. Never asks for
    /// more than [`limits::ADMIN_REQUEST_MAX`] bytes: a buffer of that size
    /// that yields [`Parsed::Partial`] cannot occur.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, BadRequest> {
        let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let head_bytes = match head.parse(bytes) {
            Ok(httparse::Status::Complete(n)) if n <= limits::ADMIN_REQUEST_MAX => n,
            Ok(httparse::Status::Partial) if bytes.len() < limits::ADMIN_REQUEST_MAX => {
                return Ok(Parsed::Partial);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
            Err(httparse::Error::Version) => return Err(BadRequest::Version),
            Err(_) => return Err(BadRequest::Malformed("this is no HTTP request")),
        };
        // httparse fills all three in when it says Complete.
        let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version)
        else {
            return Err(BadRequest::Malformed("this is no HTTP request"));
        };
        let fields = Fields::read(head.headers, minor)?;
        let (path, query) = split_target(target)?;
        let method = Method::parse(method)?;

        let whole = head_bytes
            .checked_add(fields.content_length)
            .filter(|whole| *whole <= limits::ADMIN_REQUEST_MAX)
            .ok_or(BadRequest::BodyTooLarge)?;
        let Some(body) = bytes.get(head_bytes..whole) else {
            return Ok(Parsed::Partial);
        };
        Ok(Parsed::Whole(
            Self {
                method,
                path: path.to_owned(),
                query: query.to_owned(),
                body: body.to_vec(),
                accept: fields.accept,
                keep_alive: fields.keep_alive,
                peer: None,
            },
            whole,
        ))
    }

    /// The value of that key in the query, undecoded; the first if there are
    /// several.
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }

    /// The values of that key in the query, in order, decoded (RFC 3986, section
    /// 2.1). What is wrongly encoded stays as it is.
    pub fn query_texts<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.query
            .split('&')
            .filter_map(move |pair| pair.strip_prefix(key)?.strip_prefix('='))
            .map(decode)
    }

    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }
}

/// A text as it may stand as a value in a query.
pub fn encode(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/*,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn decode(text: &str) -> String {
    let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, digits) {
            // Two digits are no more than 255.
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl Method {
    fn parse(name: &str) -> Result<Self, BadRequest> {
        match name {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            _ => Err(BadRequest::Method),
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// What matters here of a request's header fields.
struct Fields {
    content_length: usize,
    accept: String,
    keep_alive: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>], minor: u8) -> Result<Self, BadRequest> {
        let mut content_length = None;
        let mut hosts = 0_usize;
        let mut accept = String::new();
        let mut keep_alive = minor == 1;
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("transfer-encoding") {
                return Err(BadRequest::TransferCoding);
            } else if is("content-length") {
                let value = parse_length(header.value)?;
                if content_length.replace(value).is_some_and(|v| v != value) {
                    return Err(BadRequest::Malformed("two different content lengths"));
                }
            } else if is("accept") {
                if !accept.is_empty() {
                    accept.push(',');
                }
                accept.push_str(&String::from_utf8_lossy(header.value));
            } else if is("connection") && has_token(header.value, "close") {
                keep_alive = false;
            }
        }
        // RFC 9112, section 3.2: exactly one Host in HTTP/1.1.
        if hosts > 1 || (minor == 1 && hosts == 0) {
            return Err(BadRequest::Malformed("exactly one Host field is needed"));
        }
        Ok(Self {
            content_length: content_length.unwrap_or(0),
            accept,
            keep_alive,
        })
    }
}

/// Only digits (RFC 9110, section 8.6): `parse` would take a sign as well.
fn parse_length(value: &[u8]) -> Result<usize, BadRequest> {
    const MALFORMED: BadRequest = BadRequest::Malformed("the content length is no number");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    let digits = std::str::from_utf8(value).map_err(|_| MALFORMED)?;
    // Digits that do not fit a number are a large body all the same.
    digits.parse().map_err(|_| BadRequest::BodyTooLarge)
}

fn has_token(value: &[u8], token: &str) -> bool {
    value
        .split(|b| *b == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Path and query of an origin-form or absolute-form target
/// (RFC 9112, section 3.2).
fn split_target(target: &str) -> Result<(&str, &str), BadRequest> {
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    if !origin.starts_with('/') {
        return Err(BadRequest::Malformed("the target is no path"));
    }
    Ok(origin.split_once('?').unwrap_or((origin, "")))
}

impl BadRequest {
    /// The answer to it.
    pub fn response(self) -> Response {
        match self {
            Self::Malformed(_) => Response::text(400, format!("{self}\n")),
            Self::Method => {
                Response::text(405, format!("{self}\n")).with("Allow", "GET, HEAD, POST")
            }
            Self::BodyTooLarge => Response::text(413, format!("{self}\n")),
            Self::HeadTooLarge => Response::text(431, format!("{self}\n")),
            Self::TransferCoding => Response::text(501, format!("{self}\n")),
            Self::Version => Response::text(505, format!("{self}\n")),
        }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = limits::ADMIN_REQUEST_MAX;
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::Method => f.write_str("the method is not served"),
            Self::BodyTooLarge => write!(f, "the request is larger than {max} bytes"),
            Self::HeadTooLarge => write!(
                f,
                "the request head has more than {max} bytes or {} fields",
                limits::HTTP_HEADERS_MAX
            ),
            Self::TransferCoding => f.write_str("send a Content-Length, not a transfer coding"),
            Self::Version => f.write_str("only HTTP/1.1 and HTTP/1.0 are spoken"),
        }
    }
}

impl Response {
    /// An answer with a status, a media type and a body.
    pub fn new(status: u16, content_type: &'static str, body: Body) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.into())],
            body,
        }
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let bytes = text.into().into_bytes();
        Self::new(
            status,
            "text/plain; charset=utf-8",
            Body::Bytes(bytes.into()),
        )
    }

    /// JSON. A value that cannot be written becomes a 500.
    pub fn json<T: serde::Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::new(200, "application/json", Body::Bytes(bytes.into())),
            Err(error) => Self::text(500, format!("{error}\n")),
        }
    }

    /// "There is nothing at this path."
    pub fn not_found() -> Self {
        Self::text(404, "there is nothing at this path\n")
    }

    /// "This path does not take this method."
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::text(405, format!("this path takes only {allow}\n")).with("Allow", allow)
    }

    /// The same with another header field. Neither part may hold a line break;
    /// one that does is left out.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        let plain = |text: &str| !text.bytes().any(|b| b.is_ascii_control());
        if plain(name) && plain(&value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Its status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The bytes in front of the body.
    pub fn head(&self, keep_alive: bool) -> Vec<u8> {
        use std::fmt::Write;

        let mut head = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(
            head,
            "Content-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            self.body.len()
        );
        if !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// What follows the head.
    pub fn into_body(self) -> Body {
        self.body
    }
}

impl Body {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// The phrase after a status code. It has no meaning to a client
/// (RFC 9112, section 4).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Request {
        match Request::parse(bytes) {
            Ok(Parsed::Whole(request, used)) => {
                assert_eq!(used, bytes.len());
                request
            }
            other => panic!("{other:?}"),
        }
    }

    fn status(bytes: &[u8]) -> u16 {
        match Request::parse(bytes) {
            Err(bad) => bad.response().status(),
            Ok(parsed) => panic!("{parsed:?}"),
        }
    }

    #[test]
    fn a_request_is_read_in_all_its_parts() {
        let request =
            whole(b"POST /reload?x=1&y=2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(request.method, Method::Post);
        assert_eq!(request.path, "/reload");
        assert_eq!(request.query_value("y"), Some("2"));
        assert_eq!(request.query_value("z"), None);
        assert_eq!(request.body, b"abc");
        assert!(request.keep_alive);
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for text in [
            "sni=*.example.org",
            "age=5m..",
            "a&b=c%d",
            "é \u{1f600}",
            "",
        ] {
            let query = format!("filter={}&filter=x&other=y", encode(text));
            let head = format!("GET /t?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
            let request = whole(head.as_bytes());
            let texts: Vec<_> = request.query_texts("filter").collect();
            assert_eq!(texts, [text, "x"], "{query}");
        }
        assert_eq!(decode("%4%zz%+1%e9%"), "%4%zz%+1\u{fffd}%");
    }

    #[test]
    fn every_proper_prefix_is_partial() {
        let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..end]), Ok(Parsed::Partial), "{end}");
        }
        whole(bytes);
    }

    #[test]
    fn requests_behind_one_another_are_told_apart() {
        let one = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = [&one[..], b"GET /b HTTP/1.1\r\n"].concat();
        let Ok(Parsed::Whole(request, used)) = Request::parse(&both) else {
            panic!("not whole");
        };
        assert_eq!((request.path.as_str(), used), ("/a", one.len()));
    }

    #[test]
    fn the_connection_stays_open_only_when_both_sides_can() {
        assert!(!whole(b"GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(!whole(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keep_alive);
        assert!(whole(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n").keep_alive);
    }

    #[test]
    fn absolute_targets_are_taken() {
        let request = whole(b"GET http://a:80/x?q HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/x", "q"));
        assert_eq!(whole(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
    }

    #[test]
    fn hostile_requests_get_their_status() {
        let host = "Host: a\r\n";
        for (expected, text) in [
            (400, "\0\0\0\0".to_owned()),
            (400, "\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned()),
            (400, "GET  / HTTP/1.1\r\n\r\n".to_owned()),
            (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
            (400, format!("GET x HTTP/1.1\r\n{host}\r\n")),
            (400, format!("GET * HTTP/1.1\r\n{host}\r\n")),
            (400, format!("GET ftp://a/ HTTP/1.1\r\n{host}\r\n")),
            (
                400,
                format!("GET / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\n"),
            ),
            (
                400,
                format!("GET / HTTP/1.1\r\n{host}Content-Length: \r\n\r\n"),
            ),
            (
                400,
                format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            ),
            (400, format!("GET / HTTP/1.1\r\n{host} folded: x\r\n\r\n")),
            (400, format!("GET / HTTP/1.1\r\n{host}Space : x\r\n\r\n")),
            (405, format!("DELETE / HTTP/1.1\r\n{host}\r\n")),
            (405, format!("get / HTTP/1.1\r\n{host}\r\n")),
            (
                413,
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 9000\r\n\r\n"),
            ),
            (
                413,
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 18446744073709551615\r\n\r\n"),
            ),
            (
                413,
                format!(
                    "POST / HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n",
                    "9".repeat(99)
                ),
            ),
            (
                431,
                format!(
                    "GET / HTTP/1.1\r\n{}",
                    "a: b\r\n".repeat(limits::HTTP_HEADERS_MAX + 1)
                ),
            ),
            (
                431,
                format!("GET /{}", "x".repeat(limits::ADMIN_REQUEST_MAX)),
            ),
            (
                431,
                format!(
                    "GET /{} HTTP/1.1\r\n{host}\r\n",
                    "x".repeat(limits::ADMIN_REQUEST_MAX)
                ),
            ),
            (
                501,
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ),
            (505, "GET / HTTP/2.0\r\n\r\n".to_owned()),
        ] {
            assert_eq!(status(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let mut random = fastrand::Rng::with_seed(2014);
        let seed = b"POST http://h/p?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        for _ in 0..200_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..bytes.len());
                match random.u8(0..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            if let Ok(Parsed::Whole(_, used)) = Request::parse(&bytes) {
                assert!(used <= bytes.len());
            }
        }
    }

    #[test]
    fn a_response_says_its_length_and_cannot_be_split() {
        let response = Response::text(404, "no").with("X-A", "a\r\nX-B: b");
        let head = String::from_utf8(response.head(false)).expect("ASCII");
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 2\r\n"), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(
            head.ends_with("\r\n\r\n") && !head.contains("X-B"),
            "{head}"
        );
        assert!(!String::from_utf8_lossy(&response.head(true)).contains("Connection"));
    }
}
