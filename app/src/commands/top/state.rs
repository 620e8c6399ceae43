//! What `top` knows and which keys do what.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use std::collections::VecDeque;

/// Events that are remembered.
const EVENTS_MAX: usize = 500;
/// Characters of a filter.
const FILTER_MAX: usize = 64;

/// What a thread found out.
#[derive(Debug)]
pub(super) enum News {
    /// What the API answers.
    Seen { status: Value, jobs: Vec<Value>, peers: Vec<Value>, models: Vec<Value> },
    /// An event of the stream; null is none.
    Happened(Value),
    /// Why the API does not answer.
    Trouble(String),
}

/// The panes, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Jobs,
    Peers,
    Models,
    Events,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Jobs, Self::Peers, Self::Models, Self::Events];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Jobs => "Jobs",
            Self::Peers => "Peers",
            Self::Models => "Models",
            Self::Events => "Events",
        }
    }

    fn moved(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// What lies over the panes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Over {
    #[default]
    Nothing,
    Help,
    /// A row, whole.
    Detail(String),
    /// A filter is being typed.
    Typing,
}

/// What follows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Quit,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) status: Value,
    jobs: Vec<Value>,
    peers: Vec<Value>,
    models: Vec<Value>,
    events: VecDeque<Value>,
    pub(super) trouble: Option<String>,
    pub(super) pane: Pane,
    /// Which row is chosen, in the pane that has the keys.
    pub(super) row: usize,
    pub(super) filter: String,
    pub(super) over: Over,
}

impl State {
    pub(super) fn take(&mut self, news: impl Iterator<Item = News>) {
        for one in news {
            match one {
                News::Seen { status, jobs, peers, models } => {
                    (self.status, self.peers, self.models, self.trouble) = (status, peers, models, None);
                    self.jobs = jobs.into_iter().rev().collect();
                }
                News::Happened(Value::Null) => {}
                News::Happened(event) => {
                    self.events.push_front(event);
                    self.events.truncate(EVENTS_MAX);
                }
                News::Trouble(why) => self.trouble = Some(why),
            }
        }
    }

    /// The rows of a pane; those of the one with the keys are filtered.
    pub(super) fn rows(&self, pane: Pane) -> Vec<&Value> {
        let all: Vec<&Value> = match pane {
            Pane::Jobs => self.jobs.iter().collect(),
            Pane::Peers => self.peers.iter().collect(),
            Pane::Models => self.models.iter().collect(),
            Pane::Events => self.events.iter().collect(),
        };
        let wanted = self.filter.to_lowercase();
        let is_wanted = |row: &&Value| wanted.is_empty() || row.to_string().to_lowercase().contains(&wanted);
        if pane == self.pane { all.into_iter().filter(is_wanted).collect() } else { all }
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> After {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return After::Quit;
        }
        match (self.over.clone(), key.code) {
            (Over::Typing, KeyCode::Enter) => self.over = Over::Nothing,
            (Over::Typing, KeyCode::Esc) => (self.over, self.filter) = (Over::Nothing, String::new()),
            (Over::Typing, KeyCode::Backspace) => drop(self.filter.pop()),
            (Over::Typing, KeyCode::Char(letter)) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(letter);
                self.row = 0;
            }
            (Over::Typing, _) => {}
            (Over::Help | Over::Detail(_), _) => self.over = Over::Nothing,
            (Over::Nothing, code) => return self.go(code),
        }
        After::GoOn
    }

    fn go(&mut self, code: KeyCode) -> After {
        let rows = self.rows(self.pane);
        let last = rows.len().saturating_sub(1);
        let row = self.row.min(last);
        match code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if self.filter.is_empty() => return After::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter => {
                let detail = rows.get(row).and_then(|row| serde_json::to_string_pretty(row).ok());
                self.over = detail.map_or(Over::Nothing, Over::Detail);
            }
            KeyCode::Char('?') => self.over = Over::Help,
            KeyCode::Char('/') => self.over = Over::Typing,
            KeyCode::Down | KeyCode::Char('j') => self.row = (row + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.row = row.saturating_sub(1),
            KeyCode::Home | KeyCode::Char('g') => self.row = 0,
            KeyCode::End | KeyCode::Char('G') => self.row = last,
            KeyCode::Tab | KeyCode::Right => self.turn_to(self.pane.moved(1)),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(self.pane.moved(Pane::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='4') => self.turn_to(Pane::ALL[usize::from(digit as u8 - b'1')]),
            _ => {}
        }
        After::GoOn
    }

    fn turn_to(&mut self, pane: Pane) {
        (self.pane, self.row, self.filter) = (pane, 0, String::new());
    }
}
