//! How results are shown, and how commands are named in what is said.

use super::print;
use crate::cli::Cli;
use clap::CommandFactory;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How results are shown.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    json: bool,
    /// The data folder, if the user named another than the usual one: every command that is
    /// suggested has to name it again.
    data_dir: Option<PathBuf>,
}

impl Show {
    /// As the user wants it.
    pub(super) fn new(json: bool, named: Option<&Path>) -> Self {
        let usual = crate::daemon::config::data_dir_default();
        Self { json, data_dir: named.filter(|dir| *dir != usual).map(Path::to_owned) }
    }

    /// As JSON.
    pub(crate) fn for_programs() -> Self {
        Self { json: true, data_dir: None }
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, or as lines for people.
    pub(crate) fn value(&self, value: &Value) {
        let value = &self.with_hints(value.clone());
        if self.json() {
            print(&value.to_string());
        } else {
            print(text(value, 0).trim_end());
        }
    }

    /// A hint whose commands lead to the same node.
    pub(crate) fn hint(&self, hint: &str) -> String {
        match &self.data_dir {
            None => hint.to_owned(),
            Some(dir) => with_data_dir(hint, &quoted(dir)),
        }
    }

    fn with_hints(&self, value: Value) -> Value {
        let hint = |(key, value)| match value {
            Value::String(text) if key == "hint" => (key, Value::String(self.hint(&text))),
            value => (key, self.with_hints(value)),
        };
        match value {
            Value::Object(fields) => fields.into_iter().map(hint).collect(),
            Value::Array(items) => items.into_iter().map(|v| self.with_hints(v)).collect(),
            value => value,
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Puts `--data-dir` into every command of ours that a text names.
fn with_data_dir(text: &str, dir: &str) -> String {
    let cli = Cli::command();
    let is_command = |word: &str| cli.get_subcommands().any(|c| c.get_name() == word);
    let mut parts = text.split("talkoo ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let word = part.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or_default();
        let begins = out.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"/.-_".contains(c));
        out.push_str("talkoo ");
        if begins && is_command(word) {
            out.push_str(&format!("--data-dir {dir} "));
        }
        out.push_str(part);
    }
    out
}

/// A list of texts longer than this has a line for each.
const LINE_MAX: usize = 100;

/// JSON for people: one `key: value` a line, lists of objects as blocks.
fn text(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::Object(_) => format!("{pad}{key}:\n{}", text(value, depth + 1)),
                Value::Array(rows) if rows.iter().any(Value::is_object) => {
                    let rows: Vec<String> = rows.iter().map(|r| text(r, depth + 1)).collect();
                    format!("{pad}{key}:\n{}", rows.join("\n"))
                }
                Value::Array(items) if items.len() > 1 && plain(value).len() > LINE_MAX => {
                    let items = items.iter().map(|item| format!("{pad}  - {}\n", plain(item)));
                    format!("{pad}{key}:\n{}", items.collect::<String>())
                }
                _ => format!("{pad}{key}: {}\n", plain(value)),
            })
            .collect(),
        _ => format!("{pad}{}\n", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => tame(text),
        Value::Null => "-".into(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A text of anybody's, on one line and without letters that a terminal obeys: it may want to look like other lines.
pub(crate) fn tame(text: &str) -> String {
    text.chars().map(|letter| if crate::talk::is_obeyed(letter) { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_wrote_forges_no_line() {
        let why = "tea\u{1b}[2J\u{1b}[H\nto: 0xgood\r\namount: 0.1";
        let told = text(&json!({"why": why, "list": [why]}), 0);
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(!told.contains('\u{1b}') && !told.contains('\r'));
    }

    #[test]
    fn suggested_commands_lead_to_the_same_node() {
        let cases = [
            ("talkoo provide start", "talkoo --data-dir /tmp/x provide start"),
            (
                "`talkoo pull m` or `talkoo join CODE`",
                "`talkoo --data-dir /tmp/x pull m` or `talkoo --data-dir /tmp/x join CODE`",
            ),
            ("talkoo --data-dir /tmp/x up", "talkoo --data-dir /tmp/x up"),
            ("the program talkoo is old", "the program talkoo is old"),
            ("see /home/talkoo up there", "see /home/talkoo up there"),
            ("wait", "wait"),
        ];
        let show = Show::new(false, Some(Path::new("/tmp/x")));
        for (hint, want) in cases {
            assert_eq!(show.hint(hint), want);
            assert_eq!(Show::for_programs().hint(hint), hint);
        }
        let value = json!({"reasons": [{"message": "talkoo up", "hint": "talkoo up"}]});
        let want = json!({"reasons": [{"message": "talkoo up", "hint": "talkoo --data-dir /tmp/x up"}]});
        assert_eq!(show.with_hints(value), want);
        assert_eq!(quoted(Path::new("/tmp/it's mine")), r"'/tmp/it'\''s mine'");
    }
}
