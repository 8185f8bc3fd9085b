//! Runs the relay over a schedule, and judges what it does.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use adit::tunnel::relay::{Outcome, Relay, Who};
use fastrand::Rng;

use crate::peer::{Failure, Finish, Kernel, Peer, World, name};
use crate::schedule::Schedule;

/// More turns than any schedule is worth.
const TURNS_MAX: u64 = 100_000;

/// The last lines of a failed run that are shown.
const TRACE_LINES: usize = 80;

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finding {
    Ended,
    BrokeInReading,
    BrokeInWriting,
    Unheard,
    /// Both wait for their peers, and rightly so.
    Waiting,
}

impl Finding {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ended,
        Self::BrokeInReading,
        Self::BrokeInWriting,
        Self::Unheard,
        Self::Waiting,
    ];
}

/// Runs a schedule to its end. The error tells what must not be, and how it
/// came about.
pub(crate) fn run(schedule: &Schedule, kernels: [Kernel; 2], seed: u64) -> Result<Finding, String> {
    attempt(schedule, kernels.clone(), seed, false).map_err(|(fault, _)| {
        let again = attempt(schedule, kernels, seed, true);
        let trace = again.err().map_or(Vec::new(), |(_, trace)| trace);
        let shown = trace.len().saturating_sub(TRACE_LINES);
        format!(
            "{fault}\n(scratch space {})\n{}",
            schedule.plain,
            trace[shown..].join("\n")
        )
    })
}

fn attempt(
    schedule: &Schedule,
    kernels: [Kernel; 2],
    seed: u64,
    tracing: bool,
) -> Result<Finding, (String, Vec<String>)> {
    let whims = schedule.whims.then(|| Rng::with_seed(!seed));
    let world = Rc::new(RefCell::new(World::new(kernels, whims)));
    world.borrow_mut().tracing = tracing;
    let judged = play(schedule, &world);
    let mut world = world.borrow_mut();
    let trace = std::mem::take(&mut world.trace);
    judged.map_err(|fault| (fault, trace))
}

fn play(schedule: &Schedule, world: &Rc<RefCell<World>>) -> Result<Finding, String> {
    let [mut client, mut backend] = [0, 1].map(|who| Peer {
        who,
        world: world.clone(),
    });
    let mut relay = Relay::default();
    let mut plain = vec![0; schedule.plain];
    let mut events = schedule.events.iter().peekable();
    let (mut up, mut down) = (0, 0);
    let mut now = 0;
    for _ in 0..TURNS_MAX {
        {
            let mut world = world.borrow_mut();
            while let Some((_, who, event)) = events.next_if(|(at, ..)| *at <= now) {
                world.happen(*who, *event);
            }
            if !std::mem::take(&mut world.woken) {
                match events.peek() {
                    Some((at, ..)) => now = *at,
                    None => return waiting(&world),
                }
                continue;
            }
            world.note(|| format!("turn at {now}"));
        }
        let before = world.borrow().changes;
        plain.fill(0xee);
        let (progress, over) = relay.turn(&mut client, &mut backend, &mut plain);
        now += 1;
        (up, down) = (up + progress.up, down + progress.down);
        let mut world = world.borrow_mut();
        world.note(|| format!("  {progress:?}, {over:?}"));
        let changed = world.changes > before;
        world.must(changed || !progress.any, || {
            "progress is claimed, and there was none".into()
        });
        let pushed = [world.ends[0].pushed, world.ends[1].pushed];
        world.must(pushed == [down, up], || {
            format!("{up} bytes are counted up and {down} down, and {pushed:?} were pushed")
        });
        if let Some(fault) = world.fault.take() {
            return Err(fault);
        }
        if let Poll::Ready(outcome) = over {
            return judge(&world, outcome);
        }
        world.woken |= progress.any;
    }
    Err(format!("no end in {TURNS_MAX} turns"))
}

/// Nothing more will happen, and nobody has been woken. Each direction must
/// wait for a peer that has nothing to give or takes nothing.
fn waiting(world: &World) -> Result<Finding, String> {
    let mut over = 0;
    for who in 0..2 {
        let (source, sink) = (&world.ends[who], &world.ends[1 - who]);
        let kernel = &source.kernel;
        let nothing_to_read =
            source.pulled == kernel.arrived && !kernel.fin && !kernel.reset && !source.told_eof;
        let no_room = sink.kept > 0 && sink.kernel.room == 0 && !sink.kernel.writes_fail();
        let is_over = sink.finish == Finish::Done
            || sink.left_early
            || (sink.write_failure.is_some() && (source.told_eof || source.read_failure.is_some()));
        if !(nothing_to_read && source.waits_to_read || no_room && sink.waits_to_write || is_over) {
            return Err(format!(
                "the relay waits for nothing from {} to {}: {source:?}, {sink:?}",
                name(who),
                name(1 - who)
            ));
        }
        over += u8::from(is_over);
    }
    if over == 2 {
        return Err("both directions are over, and the relay is not".into());
    }
    Ok(Finding::Waiting)
}

/// Whether this outcome is what happened.
fn judge(world: &World, outcome: Outcome<Failure>) -> Result<Finding, String> {
    let must = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{outcome:?}, but {what}: {:?}", world.ends))
        }
    };
    // All that the peer's connection gave is with the other one's.
    let delivered = |who: usize| {
        let (source, sink) = (&world.ends[who], &world.ends[1 - who]);
        source.pulled == source.kernel.arrived && sink.received == source.pulled && sink.kept == 0
    };
    let in_order = |who: usize| world.ends[who].in_order;
    match outcome {
        Outcome::Ended { last } => {
            for who in 0..2 {
                let end = &world.ends[who];
                must(in_order(who), "a stream did not end in order")?;
                must(end.read_failure.is_none(), "an end broke")?;
                must(
                    end.finish == Finish::Done || end.left_early,
                    "an end was not told",
                )?;
                must(
                    end.write_failure.is_none() || end.left_early,
                    "bytes were lost",
                )?;
                must(
                    delivered(who) || world.ends[1 - who].left_early,
                    "bytes are missing",
                )?;
            }
            must(
                Some(index(last)) == world.last_eof,
                "the other one was last",
            )?;
            Ok(Finding::Ended)
        }
        Outcome::Broke { who, error } => {
            let who = index(who);
            let (broken, other) = (&world.ends[who], &world.ends[1 - who]);
            let in_reading = broken.read_failure == Some(error);
            must(
                in_reading || broken.write_failure == Some(error),
                "that is not how it broke",
            )?;
            let both = broken.write_failure.zip(other.write_failure);
            must(
                !in_order(who) || (in_order(1 - who) && both.is_some()),
                "its stream ended in order",
            )?;
            let equals = !in_reading && in_order(0) == in_order(1) && !other.told_eof;
            must(
                both.is_none_or(|(own, others)| !equals || own.number < others.number),
                "the other one broke before it",
            )?;
            must(
                delivered(who) || other.write_failure.is_some(),
                "what it had sent was not passed on",
            )?;
            must(
                other.finish == Finish::NotYet || other.write_failure.is_some() || in_order(who),
                "the other one was told an orderly end",
            )?;
            Ok(if in_reading {
                Finding::BrokeInReading
            } else {
                Finding::BrokeInWriting
            })
        }
        Outcome::Unheard { who, error } => {
            let who = index(who);
            let (gone, other) = (&world.ends[who], &world.ends[1 - who]);
            must(in_order(who), "its stream had not ended in order")?;
            must(!gone.left_early, "it missed nothing but the end")?;
            must(
                gone.write_failure == Some(error),
                "that is not how it broke",
            )?;
            must(
                delivered(who) || other.left_early,
                "what it had sent was not passed on",
            )?;
            must(
                other.finish == Finish::Done || other.left_early,
                "the other one was not told",
            )?;
            Ok(Finding::Unheard)
        }
    }
}

fn index(who: Who) -> usize {
    match who {
        Who::Client => 0,
        Who::Backend => 1,
    }
}
