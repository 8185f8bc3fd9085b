//! A load generator, for any server that speaks TLS or TCP: `adit bench`.
//!
//! [`Options`] say what is done ([`Scenario`]), and to whom. [`measure`]
//! (`conductor`) starts executors (`worker`), each with its share of the
//! lanes (`lane`, `step`), on connections of their own making (`link`,
//! `dialect`). Together they go through stages (`stage`): what is to be
//! open is opened, a warm-up runs, all hold still while the server's figures
//! are read (`process`), the measurement runs, all hold still once more. What
//! each executor counted (`tally`) becomes a [`Report`], which is JSON by
//! serde, and says whether the generator itself was the bottleneck
//! (`bottleneck`). Open loops have their schedule in `pacing`.
//!
//! [`backend`] is what stands behind a server that is measured.

pub mod backend;
mod bottleneck;
mod cause;
mod conductor;
mod curve;
mod dialect;
mod lane;
mod link;
mod machine;
mod options;
mod pacing;
mod preflight;
mod process;
mod pulse;
mod report;
mod stage;
mod step;
mod tally;
mod turnstile;
mod worker;

pub use bottleneck::Generator;
pub use conductor::{BenchError, Phase, Progress, measure};
pub use curve::Curve;
pub use dialect::{Cipher, Group, Signature, Version};
pub use machine::Machine;
pub use options::{
    Bulk, Churn, Direction, Handshake, Idle, Options, RoundTrip, Scenario, TlsOptions,
};
pub use report::{
    Distribution, Figures, LatencyFigures, Negotiated, RateFigures, Report, ServerFigures,
};
pub use tally::Closes;
