//! What keeps the generator's own executors from sleeping on work.

use crate::limits::{BENCH_PULSE, HEARTBEAT_TASKS};
use crate::runtime::{self, Job, Queues};

/// Wakes the executor of the calling thread once every [`BENCH_PULSE`].
///
/// [`runtime::heartbeat`] tells why that has to be. A shard bounds such a sleep
/// to a second; here it would be taken for the server's doing, so it is bounded
/// to less than what people look for in latencies.
pub(super) fn start(queues: &Queues) -> impl Iterator<Item = Job> + '_ {
    (0..HEARTBEAT_TASKS).map(|number| {
        queues.spawn_job(async move {
            runtime::sleep(BENCH_PULSE * number).await;
            loop {
                runtime::sleep(BENCH_PULSE * HEARTBEAT_TASKS).await;
            }
        })
    })
}
