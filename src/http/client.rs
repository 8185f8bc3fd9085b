//! Asks one question over a connection of its own.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::message::Method;
use super::stream::Stream;
use crate::config::{Address, Host};
use crate::limits;

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Gets a path. See [`send`].
pub fn get(address: &Address, path: &str, timeout: Duration) -> io::Result<Answer> {
    send(address, Method::Get, path, timeout)
}

/// Sends a request without a body and reads the whole answer, of at most
/// [`limits::HTTP_ANSWER_MAX`] bytes. The timeout covers the reading of the
/// answer as a whole.
///
/// # Errors
/// Those of the socket; `InvalidInput` for a path that is none; `InvalidData`
/// for an answer that is no HTTP; `UnexpectedEof` for one that was cut short;
/// `TimedOut`.
pub fn send(
    address: &Address,
    method: Method,
    path: &str,
    timeout: Duration,
) -> io::Result<Answer> {
    if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b >= 0x7f) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let deadline = Instant::now() + timeout;
    let mut stream = connect(address, timeout)?;
    stream.set_write_timeout(timeout)?;
    let host = match address {
        Address::Tcp { .. } => address.to_string(),
        Address::Unix(_) | Address::Systemd(_) => "localhost".to_owned(),
    };
    let request = format!(
        "{} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        method.as_str()
    );
    stream.write_all(request.as_bytes())?;
    read_answer(&mut stream, method, deadline)
}

fn connect(address: &Address, timeout: Duration) -> io::Result<Stream> {
    match address {
        Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path)?)),
        Address::Systemd(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Tcp { host, port } => {
            let candidates: Vec<SocketAddr> = match host {
                Host::Any => return Err(io::ErrorKind::InvalidInput.into()),
                Host::Ip(ip) => vec![(*ip, *port).into()],
                Host::Name(name) => (name.as_str(), *port).to_socket_addrs()?.collect(),
            };
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for candidate in candidates {
                match TcpStream::connect_timeout(&candidate, timeout) {
                    Ok(stream) => return Ok(Stream::Tcp(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn read_answer(stream: &mut Stream, method: Method, deadline: Instant) -> io::Result<Answer> {
    let mut received = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    let mut head = None;
    loop {
        if head.is_none() {
            head = Head::parse(&received)?;
        }
        if let Some(Head {
            status,
            bytes,
            length,
        }) = head
        {
            let length = if method == Method::Head {
                Some(0)
            } else {
                length
            };
            // Compared by subtraction: the length is whatever the peer says.
            if length.is_some_and(|length| received.len() - bytes >= length) {
                received.drain(..bytes);
                received.truncate(length.unwrap_or(0));
                return Ok(Answer {
                    status,
                    body: received,
                });
            }
        }
        if received.len() > limits::HTTP_ANSWER_MAX {
            return Err(invalid("the answer is too long"));
        }
        match stream.read_until(&mut chunk, deadline)? {
            0 => break,
            n => received.extend_from_slice(&chunk[..n]),
        }
    }
    match head {
        // Its end was to be the connection's end.
        Some(Head {
            status,
            bytes,
            length: None,
        }) => {
            received.drain(..bytes);
            Ok(Answer {
                status,
                body: received,
            })
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What matters here of an answer's head.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    bytes: usize,
    length: Option<usize>,
}

impl Head {
    fn parse(received: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let bytes = match response.parse(received) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if received.len() < limits::ADMIN_REQUEST_MAX => {
                return Ok(None);
            }
            _ => return Err(invalid("the answer is no HTTP")),
        };
        let mut length = None;
        for header in response.headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(header.value)
                    .ok()
                    .and_then(|v| v.parse().ok());
                length = Some(value.ok_or_else(|| invalid("the content length is no number"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(invalid("the answer is in a transfer coding"));
            }
        }
        Ok(Some(Self {
            status: response.code.unwrap_or(0),
            bytes,
            length,
        }))
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
