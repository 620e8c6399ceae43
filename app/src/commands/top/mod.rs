//! `top`: the node in a terminal. Panes of jobs, peers, models and events; a thread asks the API each second, another one reads the
//! event stream, the third draws.

mod draw;
mod state;

use super::{Failure, Show};
use crate::client::Client;
use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;
use state::{After, News, State};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;
use talkoo_base::RefusalCode;

/// How often the API is asked.
const LOOK: Duration = Duration::from_secs(1);
/// How often keys and news are looked for.
const TICK: Duration = Duration::from_millis(100);
/// News that wait to be drawn; senders wait beyond it.
const NEWS_MAX: usize = 256;

pub(super) fn run(data_dir: &Path, show: &Show) -> Result<()> {
    if show.json() || !std::io::stdout().is_terminal() {
        let hint = "for programs: `talkoo status -o json`, `talkoo job ls -o json`";
        return Err(Failure::new(RefusalCode::Malformed, "`top` needs a terminal", hint).into());
    }
    // Says at once that there is no node, before the terminal changes.
    Client::of(data_dir)?.get("/status")?;
    let (news, heard) = mpsc::sync_channel(NEWS_MAX);
    let (quit, quits) = mpsc::channel::<()>();
    let (dir, to) = (data_dir.to_owned(), news.clone());
    std::thread::spawn(move || {
        while matches!(quits.try_recv(), Err(TryRecvError::Empty)) && to.send(look(&dir)).is_ok() {
            std::thread::sleep(LOOK);
        }
    });
    let dir = data_dir.to_owned();
    std::thread::spawn(move || follow(&dir, &news));
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
    let mut state = State::default();
    let ended = loop {
        state.take(heard.try_iter().take(NEWS_MAX));
        if let Err(why) = terminal.draw(|frame| draw::all(frame, &state)) {
            break Err(why.into());
        }
        match next() {
            Ok(Some(key)) if state.key(key) == After::Quit => break Ok(()),
            Ok(_) => {}
            Err(why) => break Err(why),
        }
    };
    ratatui::restore();
    quit.send(()).ok();
    ended
}

/// A key that was pressed meanwhile.
fn next() -> Result<Option<event::KeyEvent>> {
    if !event::poll(TICK)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Ok(Some(key)),
        _ => Ok(None),
    }
}

/// All that the panes show, or why not.
fn look(data_dir: &Path) -> News {
    let all = || {
        let client = Client::of(data_dir)?;
        let get =
            |path: &str, key: &str| client.get(path).map(|value| value[key].as_array().cloned().unwrap_or_default());
        let (jobs, peers, models) = (get("/jobs", "jobs")?, get("/peers", "peers")?, get("/models", "models")?);
        anyhow::Ok(News::Seen { status: client.get("/status")?, jobs, peers, models })
    };
    all().unwrap_or_else(|why| News::Trouble(super::refusal_of(&why).message))
}

/// Passes events on; begins again when the stream ends.
fn follow(data_dir: &Path, news: &mpsc::SyncSender<News>) {
    loop {
        let events = Client::of(data_dir).and_then(|client| client.events());
        for event in events.into_iter().flatten() {
            if news.send(News::Happened(event)).is_err() {
                return;
            }
        }
        std::thread::sleep(LOOK);
        if news.send(News::Happened(Value::Null)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
