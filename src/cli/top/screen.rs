//! The terminal: taken, drawn on, and given back as it was, however it ends.

use std::io::{self, Stdout, Write as _, stdin, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level};

use super::glyphs::Look;
use super::state::Top;
use super::view;
use crate::cli::exit::{Exit, Failure};

/// How often it is looked whether the terminal is still there.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// How long it may take to end once it is to.
const END: Duration = Duration::from_secs(1);

/// The terminal while it is ours. Dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    look: Look,
}

impl Screen {
    pub(super) fn open(look: Look) -> Result<Self, Failure> {
        restore_before_a_panic_is_told();
        let open = || {
            take()?;
            Terminal::new(CrosstermBackend::new(stdout()))
        };
        match open() {
            Ok(terminal) => Ok(Self { terminal, look }),
            Err(error) => {
                give_back();
                Err(Failure::runtime(format!(
                    "the terminal cannot be drawn on: {error}"
                )))
            }
        }
    }

    pub(super) fn draw(&mut self, top: &mut Top) -> io::Result<()> {
        let look = self.look;
        self.terminal.draw(|frame| view::draw(frame, top, look))?;
        Ok(())
    }

    /// Gives the terminal back until the shell says to go on (Ctrl-Z, fg).
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        low_level::raise(SIGTSTP)?;
        self.reopen()
    }

    /// Takes the terminal anew, whatever has been written on it meanwhile.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// As far as it goes: the terminal may be gone.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
}

/// What a panic says would be lost with the screen that it is written on.
fn restore_before_a_panic_is_told() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

/// What another process has told us by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Stop,
    /// We were stopped, and go on.
    Continue,
}

/// Signals that have come.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    go_on: Arc<AtomicBool>,
}

impl Signals {
    pub(super) fn take() -> Result<Self, Failure> {
        let signals = Self {
            stop: Arc::default(),
            go_on: Arc::default(),
        };
        let register = || {
            for signal in [SIGTERM, SIGHUP, SIGINT] {
                flag::register(signal, Arc::clone(&signals.stop))?;
            }
            // Meant for servers, by `kill -USR2 $(pidof adit)`: they are not to end
            // this program with its terminal in raw mode.
            for signal in [SIGUSR1, SIGUSR2] {
                flag::register(signal, Arc::default())?;
            }
            flag::register(SIGCONT, Arc::clone(&signals.go_on))
        };
        register()
            .map_err(|error| Failure::runtime(format!("signals cannot be handled: {error}")))?;
        let stop = Arc::clone(&signals.stop);
        thread::Builder::new()
            .name("adit-top-guard".into())
            .spawn(move || guard(&stop))
            .map_err(|error| Failure::runtime(format!("no thread: {error}")))?;
        Ok(signals)
    }

    pub(super) fn told(&self) -> Option<Told> {
        if self.stop.load(Ordering::Relaxed) {
            Some(Told::Stop)
        } else if self.go_on.swap(false, Ordering::Relaxed) {
            Some(Told::Continue)
        } else {
            None
        }
    }
}

/// Sees to it that the program ends when its terminal goes away, with or without
/// a signal. crossterm 0.29 reads a terminal that is gone again and again, and
/// never comes back from it to look at anything else.
fn guard(stop: &AtomicBool) {
    loop {
        let terminal = stdin();
        // Nothing is asked for: that it is gone is told in any case.
        let mut state = [PollFd::new(&terminal, PollFlags::empty())];
        let gone = matches!(poll(&mut state, Some(&LOOK)), Ok(1..));
        if gone {
            stop.store(true, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            thread::sleep(END);
            give_back();
            std::process::exit(i32::from(Exit::Clean as u8));
        }
    }
}
