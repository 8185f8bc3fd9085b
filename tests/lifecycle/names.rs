//! Backends' names, which others may change at any time: the program alone sees
//! a table of hosts that a test writes.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::{self, Program};
use crate::support::backend;
use crate::support::certificate::Certificate;

/// Without anybody who asks for it, from the start on.
#[test]
fn a_name_is_looked_up_again_as_often_as_its_service_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let [hosts, switch] = ["hosts", "nsswitch.conf"].map(|name| folder.path().join(name));
    let nobody = "127.0.0.1 localhost\n";
    fs::write(&hosts, format!("{nobody}127.0.0.1 front.test\n")).expect("hosts");
    // No server is asked for what is not in the table.
    fs::write(&switch, "hosts: files\n").expect("written");
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/nsswitch.conf && exec \"$0\" \"$@\"",
        hosts.display(),
        switch.display()
    );
    let Some(wrapper) = program::with_mounts(&script) else {
        return;
    };
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let config = format!(
        "(listeners: [(address: \"127.0.0.1:0\", tls: (cert: {:?}, key: {:?}), service: \"s\")], \
         services: {{\"s\": (backends: [\"front.test:{}\"], resolve: \"1s\")}}, shards: 2)",
        certificate.cert,
        certificate.key,
        backend.address().port()
    );
    program::configure(folder.path(), &config);
    let file = folder.path().join("adit.ron");
    let words = ["run", "-c", file.to_str().expect("text")];
    let program = Program::start_under(folder.path(), &wrapper, &words);
    program.wait_log("listening on");
    let trust = program::trust(&certificate);
    let address = program.listeners()[0];
    // Each shard has had some of them, and so knows the name.
    for _ in 0..24 {
        program::echo_at(address, &trust);
    }
    let begun = Instant::now();
    fs::write(&hosts, nobody).expect("hosts");
    program.wait_log_times("its last good addresses stay in use", 2);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    program::echo_at(address, &trust);
}
