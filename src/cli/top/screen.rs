//! The terminal: taken, drawn on, and given back as it was, however it ends.

use std::io::{self, Stdout, Write as _, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

use super::glyphs::Look;
use super::state::Top;
use super::view;
use crate::cli::exit::Failure;

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
            flag::register(SIGCONT, Arc::clone(&signals.go_on))
        };
        register()
            .map_err(|error| Failure::runtime(format!("signals cannot be handled: {error}")))?;
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
