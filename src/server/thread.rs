//! The thread of one shard.

use crate::control;
use crate::mesh::{Mesh, Report};
use crate::runtime;
use crate::shard::{Setup, Shard};

/// Makes the shard's executor and runs the shard on it. The main shard is told
/// of its control task once all shards are ready.
pub(super) fn run(setup: Setup, begun: Option<flume::Receiver<control::Setup>>) {
    let number = setup.seat.shard;
    let mesh = setup.seat.mesh.clone();
    let mut obituary = Obituary {
        mesh: &mesh,
        shard: number,
        cause: Some("a fault in adit; please report it".into()),
    };
    match runtime::executor(setup.cpu) {
        Ok(executor) => executor.run(async move {
            let control = begun.map(control::start);
            Shard::run(setup).await;
            if let Some(control) = control {
                control.cancel().await;
            }
        }),
        Err(cause) => {
            obituary.cause = Some(cause);
            return;
        }
    }
    obituary.cause = None;
}

/// Reports a shard that ends in any other way than by being told to.
struct Obituary<'a> {
    mesh: &'a Mesh,
    shard: usize,
    cause: Option<String>,
}

impl Drop for Obituary<'_> {
    fn drop(&mut self) {
        if let Some(cause) = self.cause.take() {
            self.mesh.report_blocking(Report::Failed {
                shard: self.shard,
                cause,
            });
        }
    }
}
