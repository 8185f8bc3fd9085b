//! A running server's admin socket, as commands ask it.

use std::io;
use std::time::Duration;

use adit::config::Address;
use adit::http::{Method, client};
use adit::limits;
use serde::de::DeserializeOwned;

use super::exit::Failure;
use super::plan::Target;

/// Where a server answers.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(Address);

impl Endpoint {
    /// That of this server.
    pub(crate) fn of(target: &Target) -> Result<Self, Failure> {
        target.address().map(Self)
    }

    /// The answer as it came, and what it means.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(String, T), Failure> {
        // The shards' deadlines lie within the server's own.
        let timeout = limits::ADMIN_TIMEOUT + limits::ERRAND_TIMEOUT;
        let (status, body) = self.ask(Method::Get, path, timeout)?;
        match status {
            200 => self.understand(body),
            _ => Err(self.refused(&body)),
        }
    }

    /// The answer to what may take so long.
    pub(crate) fn wait_for<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<T, Failure> {
        let (status, body) = self.ask(Method::Get, path, timeout)?;
        match status {
            200 => self.understand(body).map(|(_, answer)| answer),
            _ => Err(self.refused(&body)),
        }
    }

    /// Gives an order that is answered in JSON.
    pub(crate) fn order<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        match self.try_order(path)? {
            Ok(answer) => Ok(answer),
            Err(Refusal { why, .. }) => Err(Failure::runtime(why)),
        }
    }

    /// The same; what is refused is told apart from what fails.
    pub(crate) fn try_order<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Result<T, Refusal>, Failure> {
        let timeout = limits::ADMIN_TIMEOUT + limits::ERRAND_TIMEOUT;
        let (status, why) = self.ask(Method::Post, path, timeout)?;
        match status {
            200 => self.understand(why).map(|(_, answer)| Ok(answer)),
            400..=499 => Ok(Err(Refusal { status, why })),
            _ => Err(self.refused(&why)),
        }
    }

    /// Has a server change into something else: what it says of it, or why it
    /// stays what it is.
    pub(crate) fn change(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<Result<String, String>, Failure> {
        let asked = self.ask(Method::Post, path, timeout);
        let (status, text) = asked.map_err(|mut failure| {
            failure.message += " Its log tells what became of it";
            failure
        })?;
        match status {
            200 => Ok(Ok(text)),
            409 => Ok(Err(text)),
            _ => Err(self.refused(&text)),
        }
    }

    fn ask(&self, method: Method, path: &str, timeout: Duration) -> Result<(u16, String), Failure> {
        let socket = &self.0;
        let answer = client::send(socket, method, path, timeout).map_err(|error| {
            Failure::runtime(match error.kind() {
                io::ErrorKind::PermissionDenied => format!(
                    "{socket} may only be asked by root and the user that the server runs as: \
                     {error}"
                ),
                _ => format!("{socket} does not answer: {error}; is the server running?"),
            })
        })?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok((answer.status, body))
    }

    fn understand<T: DeserializeOwned>(&self, body: String) -> Result<(String, T), Failure> {
        let meaning = serde_json::from_str(&body).map_err(|error| {
            Failure::runtime(format!(
                "{} gives an answer that this adit ({}) does not understand: {error}",
                self.0,
                env!("CARGO_PKG_VERSION")
            ))
        })?;
        Ok((body, meaning))
    }

    fn refused(&self, body: &str) -> Failure {
        Failure::runtime(format!("{} says: {body}", self.0))
    }
}

/// A server's no, with its reason.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: String,
}
