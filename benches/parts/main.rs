//! How long the parts of the program take: `cargo bench --bench parts
//! --features bench-parts`. README.md beside this file says what the figures
//! are good for.

mod all;

use std::cell::RefCell;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};

/// Runs that are supplied for at once: few enough that what they use up stays
/// in the cache.
const BATCH: u64 = 16;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for part in all::parts() {
        let (group, name) = part.name.split_once(": ").unwrap_or(("", part.name));
        let mut group = criterion.benchmark_group(group);
        if let Some(bytes) = part.bytes {
            group.throughput(Throughput::Bytes(bytes));
        }
        group.bench_function(name, |bencher| {
            let work = RefCell::new((part.make)());
            bencher.iter_batched(
                || work.borrow_mut().supply(),
                |()| work.borrow_mut().run(),
                BatchSize::NumIterations(BATCH),
            );
        });
        group.finish();
    }
    criterion.final_summary();
}
