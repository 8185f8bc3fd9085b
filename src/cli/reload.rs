//! `adit reload`: has a running server read its configuration again.

use adit::limits;

use super::endpoint::Endpoint;
use super::exit::{Exit, Failure};
use super::output;
use super::plan::{Format, Target};

pub(crate) fn run(of: &Target, format: Format) -> Result<Exit, Failure> {
    let changed = Endpoint::of(of)?.change("/reload", limits::RELOAD_TIMEOUT)?;
    match (changed, format) {
        (Ok(text), Format::Text) => {
            output::print(&format!("reloaded: {text}"))?;
            Ok(Exit::Clean)
        }
        (Ok(_), Format::Json) => {
            output::print("{\"reloaded\": true}\n")?;
            Ok(Exit::Clean)
        }
        (Err(why), Format::Json) => {
            let refused = serde_json::json!({"reloaded": false, "reason": why.trim_end()});
            output::print(&format!("{refused}\n"))?;
            Ok(Exit::Failure)
        }
        (Err(why), Format::Text) => Err(Failure::runtime(format!(
            "not reloaded, the old configuration stays in use:\n{why}"
        ))),
    }
}
