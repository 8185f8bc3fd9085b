//! The parts that are measured, each alone and in memory: no socket, no
//! executor, no other thread. Two benchmarks run the same parts: `parts` takes
//! their time, and `instructions` counts what they execute.

mod config;
mod proxy_protocol;
mod records;
mod relay;
mod tickets;
mod timers;
mod tls;

/// One thing that is measured.
pub(crate) struct Part {
    /// What of, and which; for people, and for the file of counts.
    pub(crate) name: &'static str,
    /// Bytes that one run carries, where it carries any.
    pub(crate) bytes: Option<u64>,
    /// Makes all that the runs have in common.
    pub(crate) make: fn() -> Box<dyn Work>,
}

/// A part that is ready to run.
pub(crate) trait Work {
    /// Makes what one run uses up, which is not measured. Several may be made
    /// ahead of their runs.
    fn supply(&mut self) {}

    /// One run.
    fn run(&mut self);
}

/// Work that uses nothing up.
struct Again<F>(F);

impl<F: FnMut()> Work for Again<F> {
    fn run(&mut self) {
        (self.0)();
    }
}

fn again(run: impl FnMut() + 'static) -> Box<dyn Work> {
    Box::new(Again(run))
}

fn part(name: &'static str, make: fn() -> Box<dyn Work>) -> Part {
    Part {
        name,
        bytes: None,
        make,
    }
}

/// All of them.
pub(crate) fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    parts.extend(relay::parts());
    parts.extend(records::parts());
    parts.extend(tickets::parts());
    parts.extend(timers::parts());
    parts.extend(proxy_protocol::parts());
    parts.extend(config::parts());
    parts
}
