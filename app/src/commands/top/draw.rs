//! How `top` looks.

use super::state::{Over, Pane, State};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};
use serde_json::Value;

const HELP: &str = "Tab, ←, →, 1–4   another pane\n↑, ↓, k, j, g, G   another row\nEnter   the row, whole\n/   only rows with these letters\n\
Esc   no filter, or quit\nq   quit (the node goes on)\n\nAny key closes this.";

/// Below this many columns the panes stand below one another.
const WIDE: u16 = 100;

/// Draws all of it.
pub(super) fn all(frame: &mut Frame<'_>, state: &State) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(6), Constraint::Length(1)]).areas(frame.area());
    header(frame, head, state);
    if frame.area().width >= WIDE {
        let [upper, lower] = Layout::vertical([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(body);
        let halves = |area| Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
        let ([jobs, peers], [models, events]): ([Rect; 2], [Rect; 2]) = (halves(upper), halves(lower));
        for (pane, area) in Pane::ALL.into_iter().zip([jobs, peers, models, events]) {
            table(frame, area, state, pane);
        }
    } else {
        table(frame, body, state, state.pane);
    }
    let keys = match &state.over {
        Over::Typing => format!("/{}▏  Enter keeps it, Esc drops it", state.filter),
        _ if state.filter.is_empty() => "Tab pane  ↑↓ row  Enter detail  / filter  ? help  q quit".to_owned(),
        _ => format!("only rows with “{}”; Esc shows all", state.filter),
    };
    frame.render_widget(Paragraph::new(keys).dim(), foot);
    match &state.over {
        Over::Help => over(frame, "Keys", HELP),
        Over::Detail(text) => over(frame, "Whole", text),
        Over::Nothing | Over::Typing => {}
    }
}

fn header(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let of = |key: &str| words(&state.status[key]);
    let first = match &state.trouble {
        Some(why) => Line::from(Span::styled(format!("✗ {why}"), Color::Red)),
        None if state.status.is_null() => Line::from("reading …"),
        None => Line::from(format!(
            "● {}  network {}  up {}  version {}",
            short(&of("node")),
            of("network"),
            span(state.status["uptime_s"].as_u64().unwrap_or(0)),
            of("version"),
        )),
    };
    let providing = if state.status["providing"] == true { "providing" } else { "not providing" };
    let second = Line::from(format!(
        "{} peers  {} models  {} open jobs  {providing}, {} runs now  earned {}",
        of("peers"),
        of("models"),
        of("jobs_open"),
        of("slots_taken"),
        of("earned"),
    ));
    frame.render_widget(Paragraph::new(vec![first, second]).block(Block::bordered().title("Talkoo")), area);
}

/// Heads of a pane, and how wide its columns are.
fn columns(pane: Pane) -> (&'static [&'static str], Vec<Constraint>) {
    let (fill, wide) = (Constraint::Fill(1), Constraint::Length);
    match pane {
        Pane::Jobs => (&["Job", "Model", "State", "Done", "Running"], vec![wide(9), fill, wide(10), wide(11), wide(7)]),
        Pane::Peers => {
            (&["Node", "At", "Round trip", "Models", "Standing"], vec![wide(9), fill, wide(10), wide(6), wide(10)])
        }
        Pane::Models => (&["Model", "Bytes", "CID"], vec![fill, wide(12), wide(16)]),
        Pane::Events => (&["Event", "About"], vec![wide(16), fill]),
    }
}

/// A row's cells.
fn cells(pane: Pane, row: &Value) -> Vec<String> {
    let of = |key: &str| words(&row[key]);
    match pane {
        Pane::Jobs => {
            let done = format!("{} of {}", of("done"), of("steps"));
            vec![short(&of("job")), of("model"), of("status"), done, of("running")]
        }
        Pane::Peers => {
            let at = of("at").split("/p2p/").next().unwrap_or_default().to_owned();
            let way = row["rtt_us"].as_u64().map_or_else(|| "–".into(), |us| format!("{:.1} ms", us as f64 / 1_000.0));
            let offers = row["offers"].as_u64().unwrap_or(0) + row["offers_float"].as_u64().unwrap_or(0);
            vec![short(&of("node")), at, way, offers.to_string(), of("standing")]
        }
        Pane::Models => vec![of("name"), of("bytes"), of("cid")],
        Pane::Events => {
            let rest = row.as_object().into_iter().flatten().filter(|(key, _)| *key != "type");
            let rest: Vec<String> = rest.map(|(key, value)| format!("{key} {}", short(&words(value)))).collect();
            vec![of("type"), rest.join("  ")]
        }
    }
}

fn table(frame: &mut Frame<'_>, area: Rect, state: &State, pane: Pane) {
    let (heads, widths) = columns(pane);
    let rows = state.rows(pane);
    let has_keys = pane == state.pane;
    let title = format!(" {} {} ", pane.title(), rows.len());
    let edge = if has_keys { Style::new().fg(Color::Cyan) } else { Style::new().dim() };
    let drawn = rows.iter().map(|row| Row::new(cells(pane, row).into_iter().map(Cell::from)).style(colour(row)));
    let chosen = state.row.min(rows.len().saturating_sub(1));
    let table = Table::new(drawn, widths)
        .header(Row::new(heads.iter().copied()).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(title).border_style(edge));
    let mut place = TableState::default().with_selected((has_keys && !rows.is_empty()).then_some(chosen));
    frame.render_stateful_widget(table, area, &mut place);
}

/// What went wrong is red, in each pane.
fn colour(row: &Value) -> Style {
    let kind = row["type"].as_str().unwrap_or_default();
    let is_bad = ["lost", "failed", "convicted", "faulty"].iter().any(|word| kind.ends_with(word))
        || row["failed"].as_u64().is_some_and(|failed| failed > 0)
        || row["standing"].as_str().is_some_and(|standing| standing != "good")
        || row["equal"] == false;
    if is_bad { Style::new().fg(Color::Red) } else { Style::new() }
}

fn over(frame: &mut Frame<'_>, title: &str, text: &str) {
    let [_, middle, _] =
        Layout::vertical([Constraint::Percentage(10), Constraint::Percentage(80), Constraint::Percentage(10)])
            .areas(frame.area());
    let [_, area, _] =
        Layout::horizontal([Constraint::Percentage(10), Constraint::Percentage(80), Constraint::Percentage(10)])
            .areas(middle);
    frame.render_widget(Clear, area);
    let text = Paragraph::new(text).wrap(Wrap { trim: false }).block(Block::bordered().title(title.to_owned()));
    frame.render_widget(text, area);
}

/// A value as a word, without letters that would change the terminal.
fn words(value: &Value) -> String {
    let text = match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|letter| if crate::talk::is_obeyed(letter) { ' ' } else { letter }).collect()
}

/// A long name, shortened.
fn short(name: &str) -> String {
    let is_name = name.len() > 24 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name { name[..8].to_owned() } else { name.to_owned() }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
