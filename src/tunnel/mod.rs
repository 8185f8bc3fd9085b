//! One connection's life.

mod close;

pub use close::{Cause, CloseReason, Phase, Side};
