//! `adit reload`: has a running server read its configuration again.

use adit::http::{Method, client};
use adit::limits;

use super::exit::{Exit, Failure};
use super::output;
use super::plan::Target;

pub(crate) fn run(of: &Target) -> Result<Exit, Failure> {
    let socket = of.address()?;
    let answer = client::send(&socket, Method::Post, "/reload", limits::RELOAD_TIMEOUT);
    let answer = answer.map_err(|error| {
        Failure::runtime(format!(
            "{socket} does not answer: {error}; is the server running? Its log tells what became \
             of the reload"
        ))
    })?;
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status {
        200 => {
            output::print(&format!("reloaded: {text}"))?;
            Ok(Exit::Clean)
        }
        409 => Err(Failure::runtime(format!(
            "not reloaded, the old configuration stays in use:\n{text}"
        ))),
        status => Err(Failure::runtime(format!("{socket} says {status}: {text}"))),
    }
}
