//! Servers of many shards, started, asked and stopped again and again.
//!
//! What is looked for is an order or a report that is lost: a shard that does
//! not wake for it would leave its server never ready, for ever silent, or
//! never drained. One that is merely late is counted. It takes as long as `ADIT_SOAK_SECONDS` says, a minute by
//! default, and so runs by hand: `ci/soak-mesh`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use adit::config::ServerTls;
use adit::metrics::Stats;
use adit::{Config, Handle, Outcome, Server};

/// A shard that is silent for so long has not been kept waiting by others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gatherings in each life of a server, and threads that ask beside it.
const GATHERINGS: usize = 50;
const ASKERS: usize = 3;

/// What a run saw.
#[derive(Debug, Default)]
struct Seen {
    servers: u64,
    gatherings: u64,
    late: u64,
    slowest_start: Duration,
    slowest_gathering: Duration,
    slowest_stop: Duration,
}

#[test]
#[ignore = "takes a minute or more; ci/soak-mesh runs it"]
fn no_order_and_no_report_is_lost() {
    let seconds = match env::var("ADIT_SOAK_SECONDS") {
        Ok(text) => text.parse().expect("ADIT_SOAK_SECONDS: a number"),
        Err(_) => 60,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let cert = folder.path().join("site.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&cert, made.cert.pem() + &made.signing_key.serialize_pem()).expect("written");

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seen = [64, 128].map(|shards| (shards, Seen::default()));
    // What the process keeps for good, it has after one life of each.
    for (shards, seen) in &mut seen {
        live(*shards, &cert, seen);
    }
    let descriptors = count("/proc/self/fd");
    let threads = count("/proc/self/task");
    while Instant::now() < until {
        for (shards, seen) in &mut seen {
            live(*shards, &cert, seen);
        }
    }
    for (shards, seen) in &seen {
        println!("{shards} shards: {seen:?}");
    }
    // glommio 0.9.0 leaks an eventfd with each executor.
    let executors: u64 = seen
        .iter()
        .map(|(n, seen)| *n as u64 * (seen.servers - 1))
        .sum();
    let leaked = count("/proc/self/fd") - descriptors;
    assert!(leaked as u64 <= executors, "{leaked} descriptors leak");
    // A thread that was joined may be on the kernel's list for a moment more.
    let given_up = Instant::now() + PATIENCE;
    while count("/proc/self/task") > threads && Instant::now() < given_up {
        thread::yield_now();
    }
    assert!(count("/proc/self/task") <= threads, "threads leak");
}

/// One server's life.
fn live(shards: usize, cert: &Path, seen: &mut Seen) {
    let mut config = Config::single(
        "127.0.0.1:0".parse().expect("an address"),
        ServerTls::new(cert, cert),
        "127.0.0.1:9".parse().expect("an address"),
    );
    config.shards.count = NonZeroUsize::new(shards);
    let server = Server::new(config).expect("bound");
    let handle = server.handle();
    let begun = Instant::now();
    let running = server.start().expect("every shard is ready");
    seen.slowest_start = seen.slowest_start.max(begun.elapsed());

    let asking = Arc::new(AtomicBool::new(true));
    let askers = [(); ASKERS].map(|()| {
        let (handle, asking) = (handle.clone(), Arc::clone(&asking));
        thread::spawn(move || {
            while asking.load(Ordering::Relaxed) {
                // What fails here, fails below as well.
                let _ = handle.stats();
            }
        })
    });
    for _ in 0..GATHERINGS {
        gather(&handle, shards, seen);
    }
    asking.store(false, Ordering::Relaxed);
    for asker in askers {
        asker.join().expect("no thread panics");
    }

    let told = Instant::now();
    handle.shutdown();
    assert_eq!(running.wait().expect("no shard died"), Outcome::Drained);
    seen.slowest_stop = seen.slowest_stop.max(told.elapsed());
    seen.servers += 1;
}

/// The figures of all shards. One that is late may be so because the machine
/// is busy, but not again and again.
fn gather(handle: &Handle, shards: usize, seen: &mut Seen) {
    let first = Instant::now();
    loop {
        let asked = Instant::now();
        let Stats {
            shards: answers,
            silent_shards,
            ..
        } = handle.stats().expect("the server runs");
        seen.gatherings += 1;
        seen.slowest_gathering = seen.slowest_gathering.max(asked.elapsed());
        assert_eq!(answers.len() + silent_shards.len(), shards);
        if silent_shards.is_empty() {
            assert!((0..shards).eq(answers.iter().map(|answer| answer.shard)));
            return;
        }
        seen.late += silent_shards.len() as u64;
        if first.elapsed() > PATIENCE {
            eprintln!("shards {silent_shards:?} of {shards} do not answer");
            // A panic would drop the server, and wait for them.
            std::process::exit(1);
        }
    }
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).expect("/proc is there").count()
}
