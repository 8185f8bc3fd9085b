//! `adit top`: a live view of a running server.
//!
//! [`state`] is what is shown and what keys do to it, [`rates`] what can be told
//! from two pictures of a server, [`view`] how it looks, and [`rows`] its lists:
//! none of them knows a terminal or a clock. [`screen`] is the terminal, and [`poller`] the thread
//! that asks the server, so that keys are never kept waiting by it.

mod args;
mod columns;
mod glyphs;
mod poller;
mod rates;
mod rows;
mod screen;
mod state;
mod view;

pub(crate) use args::TopArgs;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::endpoint::Endpoint;
use super::exit::{Exit, Failure};
use super::plan::Target;
use glyphs::Look;
use poller::Poller;
use screen::{Screen, Signals, Told};
use state::{Act, Top};

/// How often it looks whether there is something new to show.
const TURN: Duration = Duration::from_millis(50);

pub(crate) fn run(args: TopArgs) -> Result<Exit, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "adit top needs a terminal; adit stats --watch does without one",
        ));
    }
    let target: Target = args.of.into();
    // Whoever asks for a server that is not there is told so in plain words.
    Endpoint::of(&target)?;
    let mut top = Top::new(args.interval, args.sort, args.filters);
    let poller = Poller::start(target, top.ask())?;
    let signals = Signals::take()?;
    let mut screen = Screen::open(Look::of_environment())?;
    let done = watch(&mut top, &poller, &signals, &mut screen);
    drop(screen);
    done.map_err(|error| Failure::runtime(format!("the terminal: {error}")))?;
    Ok(Exit::Clean)
}

/// Until it is told to stop. An error is the terminal's.
fn watch(top: &mut Top, poller: &Poller, signals: &Signals, screen: &mut Screen) -> io::Result<()> {
    screen.draw(top)?;
    loop {
        let mut news = false;
        match signals.told() {
            Some(Told::Stop) => return Ok(()),
            Some(Told::Continue) => {
                screen.reopen()?;
                news = true;
            }
            None => {}
        }
        while let Some(heard) = poller.heard() {
            top.take(heard, Instant::now());
            news = true;
        }
        if event::poll(TURN)? {
            let act = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => top.press(key),
                Event::Resize(..) => Act::Show,
                _ => Act::Nothing,
            };
            match act {
                Act::Nothing => {}
                Act::Show => news = true,
                Act::Ask => {
                    poller.ask(top.ask());
                    news = true;
                }
                Act::Redraw => {
                    screen.reopen()?;
                    news = true;
                }
                Act::Quit => return Ok(()),
                Act::Suspend => {
                    screen.suspend()?;
                    news = true;
                }
            }
        }
        // While the server does not answer, the time of that is told.
        news |= top.tick(Instant::now());
        if news {
            screen.draw(top)?;
        }
    }
}
