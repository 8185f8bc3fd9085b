//! What is shown, and what keys do to it. No terminal and no clock in here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use adit::limits;
use adit::metrics::{TunnelFilter, TunnelOrder, TunnelQuery};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::poller::{Ask, Heard, Picture};
use super::rates::{Flow, Rates};

/// The whole of what is shown.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) picture: Option<Box<Picture>>,
    /// Since the picture before; `None` where there was none.
    pub(super) rates: Option<Rates>,
    /// What went through, the latest last.
    pub(super) history: VecDeque<Flow>,
    pub(super) trouble: Option<Trouble>,
    /// When it was last heard of.
    heard: Option<Instant>,
    /// For how many seconds an answer is overdue, if it is.
    pub(super) late: Option<u64>,
    pub(super) paused: bool,
    pub(super) page: Page,
    pub(super) order: TunnelOrder,
    pub(super) reverse: bool,
    filters: Vec<TunnelFilter>,
    pub(super) typing: Option<Typing>,
    pub(super) help: bool,
    /// The first row of the page's list that is shown.
    pub(super) scroll: usize,
    pub(super) every: Duration,
}

/// The server does not answer.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    since: Instant,
    /// For how long it has not, as far as is told.
    pub(super) seconds: u64,
    pub(super) why: String,
}

/// A filter that is being typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Typing {
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) wrong: Option<String>,
}

/// What the screen is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// A little of everything.
    All,
    Tunnels,
    Backends,
    Failures,
    Shards,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Something else is to be seen.
    Show,
    /// Something else is to be asked for.
    Ask,
    /// All of it is to be drawn anew.
    Redraw,
    Quit,
    Suspend,
}

/// Intervals that the keys go through, in milliseconds.
const INTERVALS: [u64; 8] = [100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

impl Page {
    pub(super) const ALL: [Self; 5] = [
        Self::All,
        Self::Tunnels,
        Self::Backends,
        Self::Failures,
        Self::Shards,
    ];

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|page| *page == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

impl Top {
    pub(super) fn new(every: Duration, order: TunnelOrder, filters: Vec<TunnelFilter>) -> Self {
        Self {
            picture: None,
            rates: None,
            history: VecDeque::new(),
            trouble: None,
            heard: None,
            late: None,
            paused: false,
            page: Page::All,
            order,
            reverse: false,
            filters,
            typing: None,
            help: false,
            scroll: 0,
            every,
        }
    }

    /// What is to be asked for.
    pub(super) fn ask(&self) -> Ask {
        let query = TunnelQuery::default()
            .order(self.order)
            .reversed(self.reverse)
            .limit(limits::TOP_TUNNELS)
            .with_rates();
        let filters = self.filters.iter().cloned();
        Ask {
            query: filters.fold(query, TunnelQuery::filter),
            every: self.every,
        }
    }

    /// The filters as they are typed.
    pub(super) fn filter_text(&self) -> String {
        let texts: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
        texts.join(" ")
    }

    /// Takes in what has been heard of the server. While it is paused, pictures
    /// are let pass.
    pub(super) fn take(&mut self, heard: Heard, now: Instant) {
        self.heard = Some(now);
        self.late = None;
        let picture = match heard {
            Ok(picture) => picture,
            Err(why) => {
                let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
                self.trouble = Some(Trouble {
                    since,
                    seconds: now.saturating_duration_since(since).as_secs(),
                    why,
                });
                return;
            }
        };
        self.trouble = None;
        if self.paused {
            return;
        }
        if let Some(before) = &self.picture {
            let same = before.stats.pid == picture.stats.pid
                && before.stats.started_unix_seconds == picture.stats.started_unix_seconds;
            match Rates::between(&before.stats, &picture.stats) {
                Some(rates) => {
                    if self.history.len() >= limits::TOP_HISTORY {
                        self.history.pop_front();
                    }
                    self.history.push_back(rates.flow);
                    self.rates = Some(rates);
                }
                // Too soon after the last: that one's rates stay.
                None if same => {}
                None => {
                    self.rates = None;
                    self.history.clear();
                }
            }
        }
        self.picture = Some(picture);
    }

    /// Notes the time. Whether that is to be seen.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let Some(trouble) = &mut self.trouble else {
            let heard = *self.heard.get_or_insert(now);
            let late = now.saturating_duration_since(heard + self.every);
            let late = (late >= limits::TOP_LATE).then_some(late.as_secs());
            return std::mem::replace(&mut self.late, late) != late;
        };
        let seconds = now.saturating_duration_since(trouble.since).as_secs();
        std::mem::replace(&mut trouble.seconds, seconds) != seconds
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Act::Quit,
                KeyCode::Char('z') => Act::Suspend,
                // As terminals have it: draw all of it anew.
                KeyCode::Char('l') => Act::Redraw,
                KeyCode::Char('u') => self.type_anew(),
                _ => Act::Nothing,
            };
        }
        if self.typing.is_some() {
            return self.type_filter(key.code);
        }
        if std::mem::take(&mut self.help) {
            // Whatever it is, it closes the help.
            return match key.code {
                KeyCode::Char('q') => Act::Quit,
                _ => Act::Show,
            };
        }
        match key.code {
            KeyCode::Char('q') => Act::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                self.help = true;
                Act::Show
            }
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                if self.paused { Act::Show } else { Act::Ask }
            }
            KeyCode::Tab => self.turn_to(self.page.step(1)),
            KeyCode::BackTab => self.turn_to(self.page.step(Page::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='5') => {
                self.turn_to(Page::ALL[digit as usize - '1' as usize])
            }
            KeyCode::Char('s') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by(TunnelOrder::ALL.len() - 1),
            KeyCode::Char('r') => {
                self.reverse = !self.reverse;
                self.ask_anew()
            }
            KeyCode::Char('/' | 'f') => {
                self.typing = Some(Typing {
                    text: self.filter_text(),
                    wrong: None,
                });
                Act::Show
            }
            KeyCode::Esc if !self.filters.is_empty() => {
                self.filters.clear();
                self.ask_anew()
            }
            KeyCode::Char('+' | '=') => self.ask_more_often(true),
            KeyCode::Char('-') => self.ask_more_often(false),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_to(self.scroll.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_to(self.scroll + 1),
            KeyCode::PageUp => self.scroll_to(self.scroll.saturating_sub(10)),
            KeyCode::PageDown => self.scroll_to(self.scroll + 10),
            KeyCode::Home | KeyCode::Char('g') => self.scroll_to(0),
            KeyCode::End | KeyCode::Char('G') => self.scroll_to(usize::MAX / 2),
            _ => Act::Nothing,
        }
    }

    fn turn_to(&mut self, page: Page) -> Act {
        self.page = page;
        self.scroll_to(0)
    }

    /// Where there is not so much, what draws it stops at the last.
    fn scroll_to(&mut self, row: usize) -> Act {
        self.scroll = row;
        Act::Show
    }

    fn sort_by(&mut self, step: usize) -> Act {
        let all = TunnelOrder::ALL;
        let at = all.iter().position(|order| *order == self.order);
        self.order = all[(at.unwrap_or(0) + step) % all.len()];
        self.ask_anew()
    }

    fn ask_more_often(&mut self, more: bool) -> Act {
        let present = self.every.as_millis() as u64;
        let next = match more {
            true => INTERVALS.iter().rev().find(|millis| **millis < present),
            false => INTERVALS.iter().find(|millis| **millis > present),
        };
        match next {
            Some(millis) => {
                self.every = Duration::from_millis(*millis);
                Act::Ask
            }
            None => Act::Nothing,
        }
    }

    /// What is shown now was asked for otherwise.
    fn ask_anew(&mut self) -> Act {
        self.scroll = 0;
        // What is asked for by hand is to be seen.
        self.paused = false;
        Act::Ask
    }

    fn type_anew(&mut self) -> Act {
        match &mut self.typing {
            Some(typing) => {
                *typing = Typing::default();
                Act::Show
            }
            None => Act::Nothing,
        }
    }

    fn type_filter(&mut self, code: KeyCode) -> Act {
        let Some(typing) = &mut self.typing else {
            return Act::Nothing;
        };
        match code {
            KeyCode::Esc => self.typing = None,
            KeyCode::Backspace => {
                typing.text.pop();
                typing.wrong = None;
            }
            KeyCode::Char(c)
                if !c.is_control() && typing.text.len() < limits::TUNNEL_FILTER_MAX =>
            {
                typing.text.push(c);
                typing.wrong = None;
            }
            KeyCode::Enter => {
                let words = typing.text.split_whitespace();
                match words.map(str::parse).collect::<Result<Vec<_>, _>>() {
                    Ok(filters) => {
                        self.filters = filters;
                        self.typing = None;
                        return self.ask_anew();
                    }
                    Err(wrong) => typing.wrong = Some(wrong),
                }
            }
            _ => return Act::Nothing,
        }
        Act::Show
    }
}

#[cfg(test)]
mod tests {
    use adit::metrics::{Stats, TunnelList};

    use super::*;

    fn top() -> Top {
        Top::new(Duration::from_secs(1), TunnelOrder::Rate, Vec::new())
    }

    fn press(top: &mut Top, keys: &str) -> Act {
        keys.chars()
            .map(|c| {
                top.press(KeyEvent::from(match c {
                    '\n' => KeyCode::Enter,
                    '\t' => KeyCode::Tab,
                    '\x1b' => KeyCode::Esc,
                    '\x08' => KeyCode::Backspace,
                    c => KeyCode::Char(c),
                }))
            })
            .last()
            .expect("a key")
    }

    fn control(top: &mut Top, c: char) -> Act {
        top.press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    }

    fn picture(pid: u32, uptime_seconds: f64) -> Heard {
        Ok(Box::new(Picture {
            stats: Stats {
                pid,
                uptime_seconds,
                ..Stats::default()
            },
            tunnels: TunnelList {
                tunnels: Vec::new(),
                matching: 0,
                open: 0,
                silent_shards: Vec::new(),
            },
        }))
    }

    #[test]
    fn q_and_control_c_quit_from_wherever_one_is() {
        for keys in ["p", "?", "\t\t", "ss"] {
            let mut top = top();
            press(&mut top, keys);
            assert_eq!(press(&mut top, "q"), Act::Quit, "{keys}");
        }
        let mut top = top();
        press(&mut top, "/sni=");
        // It is a letter of the filter.
        assert_eq!(press(&mut top, "q"), Act::Show);
        assert_eq!(control(&mut top, 'c'), Act::Quit);
        assert_eq!(control(&mut top, 'z'), Act::Suspend);
    }

    #[test]
    fn a_filter_is_typed_mended_and_taken_away() {
        let mut top = top();
        assert_eq!(press(&mut top, "/colour=red\n"), Act::Show);
        let wrong = top.typing.as_ref().and_then(|typing| typing.wrong.clone());
        assert!(wrong.expect("wrong").contains("nothing to filter by"));
        control(&mut top, 'u');
        assert_eq!(press(&mut top, "state=relay  age=5mm\x08\n"), Act::Ask);
        assert_eq!(top.filter_text(), "state=relay age=5m");
        assert!(top.ask().query.to_url().contains("filter=state%3Drelay"));
        // Escape leaves what there was; once more, and there is none.
        press(&mut top, "/x\x1b");
        assert_eq!(top.filter_text(), "state=relay age=5m");
        assert_eq!(press(&mut top, "\x1b"), Act::Ask);
        assert_eq!(top.filter_text(), "");
    }

    #[test]
    fn orders_pages_and_intervals_go_round() {
        let mut top = top();
        press(&mut top, "s");
        assert_eq!(top.order, TunnelOrder::Client);
        press(&mut top, "SS");
        assert_eq!(top.order, TunnelOrder::Down);
        press(&mut top, "r");
        assert!(top.ask().query.to_url().contains("sort=down&reverse=true"));
        press(&mut top, "3");
        assert_eq!(top.page, Page::Backends);
        press(&mut top, "\t\t\t");
        assert_eq!(top.page, Page::All);
        press(&mut top, "++++++++");
        assert_eq!(top.every, Duration::from_millis(100));
        press(&mut top, "--");
        assert_eq!(top.ask().every, Duration::from_millis(500));
    }

    #[test]
    fn a_pause_holds_the_picture_and_ends_with_a_fresh_one() {
        let mut top = top();
        let now = Instant::now();
        top.take(picture(1, 1.0), now);
        press(&mut top, "p");
        top.take(picture(1, 2.0), now);
        let shown = |top: &Top| top.picture.as_ref().map(|p| p.stats.uptime_seconds);
        assert_eq!(shown(&top), Some(1.0));
        assert_eq!(press(&mut top, "p"), Act::Ask);
        top.take(picture(1, 3.0), now);
        assert_eq!(shown(&top), Some(3.0));
        assert_eq!(top.history.len(), 1);
    }

    #[test]
    fn a_server_that_is_gone_is_told_of_until_it_is_back() {
        let mut top = top();
        let now = Instant::now();
        top.take(picture(1, 1.0), now);
        top.take(picture(1, 2.0), now);
        top.take(Err("refused".into()), now);
        assert!(top.tick(now + Duration::from_secs(3)));
        assert!(!top.tick(now + Duration::from_millis(3500)));
        top.take(Err("refused".into()), now + Duration::from_secs(4));
        let trouble = top.trouble.clone().expect("trouble");
        assert_eq!((trouble.seconds, trouble.why.as_str()), (4, "refused"));
        // The last picture stays; another process begins anew.
        assert!(top.picture.is_some() && top.rates.is_some());
        top.take(picture(2, 0.5), now);
        assert!(top.trouble.is_none() && top.rates.is_none() && top.history.is_empty());
    }

    #[test]
    fn an_answer_that_does_not_come_is_missed() {
        let mut top = top();
        let now = Instant::now();
        top.take(picture(1, 1.0), now);
        let second = Duration::from_secs(1);
        assert!(!top.tick(now + second * 2));
        assert!(top.tick(now + second * 5));
        assert_eq!(top.late, Some(4));
        top.take(picture(1, 6.0), now + second * 6);
        assert_eq!(top.late, None);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut top = top();
        let now = Instant::now();
        for second in 0..limits::TOP_HISTORY + 100 {
            top.take(picture(1, second as f64), now);
        }
        assert_eq!(top.history.len(), limits::TOP_HISTORY);
    }
}
