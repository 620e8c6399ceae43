//! `top` on a terminal of letters.

use super::draw::all;
use super::state::{After, News, Over, Pane, State};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

fn state() -> State {
    let mut state = State::default();
    let job = |id: &str, failed: u64| json!({"job": id.repeat(32), "model": "smollm2", "status": "open", "done": 2, "steps": 9, "running": 3, "failed": failed});
    let peer = json!({"node": "ab".repeat(33), "at": "/ip4/10.0.0.2/tcp/4001/p2p/x", "rtt_us": 1500, "offers": 1, "offers_float": 1, "standing": "good"});
    let seen = News::Seen {
        status: json!({"node": "cd".repeat(33), "network": "judge", "uptime_s": 125, "version": "0.1.0", "peers": 1, "models": 1, "jobs_open": 2, "providing": true, "slots_taken": 4, "earned": "0.5"}),
        jobs: vec![job("1a", 0), job("2b", 1)],
        peers: vec![peer],
        models: vec![json!({"name": "smollm2-135m", "bytes": 98_000_000, "cid": "bafybeigdyrzt"})],
    };
    let event = json!({"type": "lease.lost", "job": "3c".repeat(32), "message": "silent\u{1b}[2J"});
    state.take([seen, News::Happened(event)].into_iter());
    state
}

fn drawn(state: &State, width: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, 30)).unwrap();
    terminal.draw(|frame| all(frame, state)).unwrap();
    let cells = terminal.backend().buffer().content();
    cells
        .chunks(usize::from(width))
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n")
        .collect()
}

fn press(state: &mut State, keys: &[KeyCode]) -> After {
    keys.iter().fold(After::GoOn, |_, code| state.key(KeyEvent::new(*code, KeyModifiers::NONE)))
}

#[test]
fn all_panes_show_what_is_known() {
    let text = drawn(&state(), 160);
    for want in [
        "cdcdcdcd",
        "up 2 min",
        "2 open jobs",
        "providing, 4 runs now",
        "1a1a1a1a",
        "2 of 9",
        "10.0.0.2",
        "1.5 ms",
        "smollm2-135m",
        "lease.lost",
    ] {
        assert!(text.contains(want), "{want} in\n{text}");
    }
    // Nothing that a peer says reaches the terminal as a command.
    assert!(!text.contains('\u{1b}'));
    // A narrow one shows the pane that has the keys.
    let narrow = drawn(&state(), 60);
    assert!(narrow.contains("Jobs 2") && !narrow.contains("Peers"), "{narrow}");
}

#[test]
fn keys_choose_filter_and_quit() {
    let mut state = state();
    press(&mut state, &[KeyCode::Down, KeyCode::Down, KeyCode::Down]);
    assert_eq!(state.row, 1);
    press(&mut state, &[KeyCode::Char('/'), KeyCode::Char('1'), KeyCode::Char('A'), KeyCode::Enter]);
    assert_eq!((state.rows(Pane::Jobs).len(), state.rows(Pane::Peers).len()), (1, 1));
    press(&mut state, &[KeyCode::Enter]);
    assert!(matches!(&state.over, Over::Detail(text) if text.contains("smollm2")), "{:?}", state.over);
    assert!(drawn(&state, 120).contains("\"steps\": 9"));
    // A key closes it, another one drops the filter, the next quits.
    assert_eq!(press(&mut state, &[KeyCode::Char('q'), KeyCode::Esc]), After::GoOn);
    assert_eq!(state.rows(Pane::Jobs).len(), 2);
    press(&mut state, &[KeyCode::Tab]);
    assert_eq!(state.pane, Pane::Peers);
    press(&mut state, &[KeyCode::BackTab, KeyCode::BackTab, KeyCode::Enter]);
    assert!(matches!(&state.over, Over::Detail(text) if text.contains("lease.lost")));
    press(&mut state, &[KeyCode::Esc, KeyCode::Char('?')]);
    assert!(drawn(&state, 120).contains("Any key closes this"));
    assert_eq!(press(&mut state, &[KeyCode::Esc, KeyCode::Char('q')]), After::Quit);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.key(ctrl_c), After::Quit);
}

#[test]
fn a_node_that_is_gone_is_told() {
    let mut state = state();
    state.take([News::Trouble("the node does not answer".into())].into_iter());
    assert!(drawn(&state, 120).contains("✗ the node does not answer"));
    // Without rows there is nothing to choose.
    let mut empty = State::default();
    assert_eq!(press(&mut empty, &[KeyCode::Down, KeyCode::Enter, KeyCode::End]), After::GoOn);
    assert_eq!((empty.row, &empty.over), (0, &Over::Nothing));
}
