//! What shells complete with: names of this very node's models, jobs, keys and payments that wait, asked while Tab is held.

use super::Cli;
use crate::client::Client;
use crate::daemon::config::data_dir_default;
use crate::models::Entry;
use crate::models::catalog::{all, encoders, every};
use clap::{Command, CommandFactory as _};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use serde_json::Value;
use std::sync::mpsc;
use std::time::Duration;

/// A shell waits no longer.
const WAIT: Duration = Duration::from_millis(800);
/// Letters of a name's explanation.
const HELP_CHARS: usize = 60;

/// Beside letters and digits, what no shell takes for more than itself.
const PLAIN: &str = "-_.:/@+=,";

/// Names of one kind: a path of the API, the list in its answer, what an entry is called, and what explains it.
struct Kind {
    path: &'static str,
    list: &'static str,
    name: &'static str,
    help: &'static [&'static str],
}

const MODELS: Kind = Kind { path: "/models", list: "models", name: "name", help: &["file"] };
const JOBS: Kind = Kind { path: "/jobs", list: "jobs", name: "job", help: &["status", "model"] };
const KEYS: Kind = Kind { path: "/keys", list: "keys", name: "id", help: &["name"] };
const APPROVALS: Kind = Kind { path: "/approvals", list: "approvals", name: "id", help: &["amount", "asset", "why"] };

/// Commands, the argument, and what it names.
type Row = (&'static [&'static str], &'static str, fn() -> Vec<CompletionCandidate>);

const ROWS: &[Row] = &[
    (&["rm", "show"], "model", || ask(&MODELS)),
    (&["pull"], "model", || catalogue(every())),
    (&["embed"], "model", || catalogue(encoders().iter())),
    (&["run", "batch", "bench"], "model", || ask(&MODELS).into_iter().chain(catalogue(all().iter())).collect()),
    (&["job show", "job explain", "job output", "job cancel", "job rm"], "id", || ask(&JOBS)),
    (&["key revoke", "key set", "key show", "key audit"], "key", || ask(&KEYS)),
    (&["key approve", "key refuse"], "payment", || ask(&APPROVALS)),
];

/// All commands, with names.
pub(crate) fn command() -> Command {
    with_names(Cli::command(), "")
}

fn with_names(mut command: Command, path: &str) -> Command {
    for (_, arg, names) in ROWS.iter().filter(|(commands, ..)| commands.contains(&path)) {
        // `mut_arg` would change the order of arguments.
        command = command.mut_args(|one| match one.get_id() == arg {
            true => one.add(ArgValueCandidates::new(*names)),
            false => one,
        });
    }
    let subs: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    subs.iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |sub| with_names(sub, path.trim_start()))
    })
}

fn catalogue(entries: impl Iterator<Item = &'static Entry>) -> Vec<CompletionCandidate> {
    entries.map(|entry| CompletionCandidate::new(&entry.name).help(Some("of the catalogue".into()))).collect()
}

/// Names of the node that runs here; none if there is none, or it takes too long.
fn ask(kind: &'static Kind) -> Vec<CompletionCandidate> {
    let (told, answer) = mpsc::channel();
    // It ends with this process, which ends when the shell has its names.
    std::thread::spawn(move || {
        let value = Client::of(&data_dir_default()).and_then(|client| client.get(kind.path));
        told.send(value.map(|value| names(kind, &value)).unwrap_or_default()).ok();
    });
    answer.recv_timeout(WAIT).unwrap_or_default()
}

/// Whether a name may stand in a command as it is: bash does not quote it, and a model is called as its maker wants.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
}

fn names(kind: &Kind, value: &Value) -> Vec<CompletionCandidate> {
    let of = |row: &Value| {
        let help: Vec<&str> = kind.help.iter().filter_map(|key| row[*key].as_str()).collect();
        // Others' words, in a terminal.
        let help: String = crate::commands::tame(&help.join(" ")).chars().take(HELP_CHARS).collect();
        let name = row[kind.name].as_str().filter(|name| is_plain(name))?;
        Some(CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.into())))
    };
    value[kind.list].as_array().into_iter().flatten().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_row_is_an_argument_of_a_command() {
        command().debug_assert();
        let command = command();
        for (path, arg, _) in ROWS.iter().flat_map(|(paths, arg, f)| paths.iter().map(move |path| (path, arg, f))) {
            let found = path.split(' ').fold(&command, |at, name| at.find_subcommand(name).expect(path));
            let named = found.get_arguments().find(|one| one.get_id() == arg).unwrap_or_else(|| panic!("{path} {arg}"));
            assert!(named.get::<ArgValueCandidates>().is_some(), "{path} {arg}");
        }
    }

    #[test]
    fn names_are_plain_and_their_words_tame() {
        let list = json!({"keys": [{"id": "key_1", "name": "a\u{1b}[2Jb"}, {"id": "x y"}, {"id": 5}, {"id": "key_2"}]});
        let found = names(&KEYS, &list);
        let shown: Vec<_> = found.iter().map(|one| one.get_value().to_str().unwrap()).collect();
        assert_eq!(shown, ["key_1", "key_2"]);
        assert_eq!(found[0].get_help().unwrap().to_string(), "a [2Jb");
    }

    #[test]
    fn no_name_is_a_command() {
        let bad = [
            "$(id)", "`id`", "a;id", "a|id", "a&id", "a>b", "a*", "~root", "{a,b}", "a'b", "a\"b", "a\\b", "!!",
            "--api", "#a", "",
        ];
        for name in bad {
            let list = json!({"models": [{"name": name}, {"name": "qwen2.5:0.5b"}]});
            let found = names(&MODELS, &list);
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].get_value().to_str(), Some("qwen2.5:0.5b"));
        }
    }
}
