//! Backends that this machine has no address or port to connect from.

use std::process::Command;

use adit::config::{Backend, Balance};

use crate::fleet::{Numbered, Tunnel, config, service};
use crate::support::place::Place;

/// What is to be done in a network of its own, without IPv6: the backend at
/// `[::1]` then fails with EADDRNOTAVAIL, as it does in many a container whose
/// `localhost` has that address too, and as any does to which there is a
/// connection from every local port.
#[test]
fn another_one_is_tried_when_there_is_no_address_to_come_from() {
    let inside = std::env::current_exe().expect("this program");
    let script = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    let alone = |last: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c"]);
        command.arg(format!("{script} && exec {last}")).arg(&inside);
        command.args(["--ignored", "--exact", "ports::without_ipv6", "--nocapture"]);
        command
    };
    if !alone("true").output().is_ok_and(|o| o.status.success()) {
        println!("passed over: no network can be made here");
        return;
    }
    let output = alone("\"$0\" \"$@\"").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "part of the test before it"]
fn without_ipv6() {
    let good = [Numbered::start(1)];
    let mut config = config(&good);
    let app = &mut config.services[0];
    app.balance = Balance::First;
    let nowhere = "[::1]:9".parse().expect("an address");
    app.backends.insert(0, Backend::new(nowhere));
    let place = Place::start(config);
    drop(Tunnel::open(&place));
    let stats = service(&place);
    assert_eq!(stats.backends[0].connect_failures, 1);
    assert_eq!(stats.retries, 1);
}
