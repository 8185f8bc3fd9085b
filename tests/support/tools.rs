//! Other people's programs, where the machine has them.

use std::process::{Command, Stdio};

/// Whether the machine has this program. Says so if not, since the test that
/// asks is then passed over.
pub fn has(program: &str, version: &str) -> bool {
    let has = Command::new(program)
        .arg(version)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has {
        println!("passed over: this machine has no {program}");
    }
    has
}
