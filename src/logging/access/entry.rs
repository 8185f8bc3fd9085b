//! What an access line tells.

use std::net::SocketAddr;
use std::time::Duration;

use time::OffsetDateTime;

/// What is known of a tunnel that has ended. `None`: it did not come to that.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When it ended.
    pub(crate) time: OffsetDateTime,
    pub(crate) shard: usize,
    /// Its number on its shard.
    pub(crate) number: u64,
    pub(crate) listener: Box<str>,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) sni: Option<Box<str>>,
    pub(crate) alpn: Option<Box<str>>,
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) cipher: Option<&'static str>,
    pub(crate) resumed: Option<bool>,
    pub(crate) client_cert: Option<Box<str>>,
    pub(crate) service: Option<Box<str>>,
    pub(crate) backend: Option<Box<str>>,
    pub(crate) handshake: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) duration: Duration,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) phase: &'static str,
    pub(crate) side: &'static str,
    pub(crate) cause: &'static str,
    pub(crate) detail: Option<Box<str>>,
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// When.
    Time(OffsetDateTime),
    /// A number on a shard.
    Id(usize, u64),
    Number(u64),
    /// Milliseconds, to the microsecond.
    Millis(Duration),
    Flag(bool),
    Address(SocketAddr),
    /// A word of our own.
    Word(&'static str),
    /// Whatever it is, it may come from the network.
    Text(&'a str),
    Unknown,
}

impl Entry {
    /// Each field with its value, in order. Names and order are relied on by
    /// those who read the lines: new ones go to the end.
    pub(super) fn each<'a>(&'a self, mut field: impl FnMut(&'static str, Value<'a>)) {
        use Value::{Flag, Id, Millis, Number, Time, Unknown, Word};
        field("time", Time(self.time));
        field("id", Id(self.shard, self.number));
        field("shard", Number(self.shard as u64));
        field("listener", Value::Text(&self.listener));
        field("client", self.client.map_or(Unknown, Value::Address));
        field("sni", text(self.sni.as_deref()));
        field("alpn", text(self.alpn.as_deref()));
        field("tls_version", self.tls_version.map_or(Unknown, Word));
        field("cipher", self.cipher.map_or(Unknown, Word));
        field("resumed", self.resumed.map_or(Unknown, Flag));
        field("client_cert", text(self.client_cert.as_deref()));
        field("service", text(self.service.as_deref()));
        field("backend", text(self.backend.as_deref()));
        field("handshake_ms", self.handshake.map_or(Unknown, Millis));
        field("connect_ms", self.connect.map_or(Unknown, Millis));
        field("duration_ms", Millis(self.duration));
        field("bytes_up", Number(self.bytes_up));
        field("bytes_down", Number(self.bytes_down));
        field("phase", Word(self.phase));
        field("side", Word(self.side));
        field("cause", Word(self.cause));
        field("detail", text(self.detail.as_deref()));
    }
}

fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Unknown, Value::Text)
}
