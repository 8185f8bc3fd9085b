//! `adit reload`: has a running server read its configuration again.

use adit::http::{Method, client};
use adit::limits;

use super::exit::{Exit, Failure};
use super::output;
use super::plan::{Format, Target};

pub(crate) fn run(of: &Target, format: Format) -> Result<Exit, Failure> {
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
            output::print(&match format {
                Format::Text => format!("reloaded: {text}"),
                Format::Json => "{\"reloaded\": true}\n".to_owned(),
            })?;
            Ok(Exit::Clean)
        }
        409 if format == Format::Json => {
            let refused = serde_json::json!({"reloaded": false, "reason": text.trim_end()});
            output::print(&format!("{refused}\n"))?;
            Ok(Exit::Failure)
        }
        409 => Err(Failure::runtime(format!(
            "not reloaded, the old configuration stays in use:\n{text}"
        ))),
        status => Err(Failure::runtime(format!("{socket} says {status}: {text}"))),
    }
}
