//! Settings of `up` that nobody wants to type each time: from the environment and from files. A flag goes before
//! `TALKOO_<FLAG>`, that before the user's file, that before the machine's.
//!
//! A setting is a flag without its dashes, and becomes that flag: what is allowed has one home, the command line. A file of the
//! folder where somebody happens to stand is not read: it may be another's.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Value;

/// Before the name of a flag in the environment.
const PREFIX: &str = "TALKOO_";
/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How alike a word has to be to be meant.
const ALIKE: f64 = 0.7;

/// A file and what it sets.
type Read = (PathBuf, BTreeMap<String, Value>);

/// Where settings come from besides the command line.
pub(crate) struct Around {
    /// The environment.
    pub(crate) var: fn(&str) -> Option<String>,
    /// All names of it.
    pub(crate) names: fn() -> Vec<String>,
    /// Files, the first goes before the others.
    pub(crate) files: Vec<PathBuf>,
}

/// A setting that is not the default's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The flag without its dashes.
    pub(crate) name: String,
    /// As the command line has it.
    pub(crate) values: Vec<String>,
    /// Whether it takes values; if not, it is there or not.
    takes: bool,
    /// Where from.
    pub(crate) from: String,
}

impl Setting {
    /// Where it comes from, for the end of a sentence.
    pub(crate) fn source(&self) -> String {
        format!(" (from {})", self.from)
    }
}

impl Around {
    /// This process's.
    pub(crate) fn here() -> Self {
        let names = || std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        Self { var: |name| std::env::var(name).ok().filter(|text| !text.is_empty()), names, files: files() }
    }
}

/// Names that other programs of ours, and other commands, read.
const OTHERS: [&str; 6] = ["DATA_DIR", "KEY", "LOG", "MODEL", "TOKEN", "URL"];

/// Names of the environment that look like settings and are none, each with the one that may be meant.
pub(crate) fn unread(names: impl Iterator<Item = String>) -> Vec<(String, Option<String>)> {
    let mut cli = crate::cli::Cli::command();
    cli.build();
    let up = cli.find_subcommand("up").expect("it is a command");
    let known: Vec<String> = up.get_arguments().filter_map(|arg| Some(variable(arg.get_long()?))).collect();
    let others = OTHERS.map(|name| format!("{PREFIX}{name}"));
    let mut unread: Vec<String> =
        names.filter(|name| name.starts_with(PREFIX) && !known.contains(name) && !others.contains(name)).collect();
    unread.sort();
    let meant = |name: &str| {
        let of = |known: &String| strsim::jaro_winkler(&name[PREFIX.len()..], &known[PREFIX.len()..]);
        let best = known.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?;
        (of(best) >= ALIKE).then(|| best.clone())
    };
    unread.into_iter().map(|name| (name.clone(), meant(&name))).collect()
}

/// A flag's name in the environment.
fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

/// The files, whether there or not: the user's, the machine's.
pub(crate) fn files() -> Vec<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
    let own = own.map(|dir| dir.join("talkoo/config.toml"));
    own.into_iter().chain([PathBuf::from("/etc/talkoo/config.toml")]).collect()
}

/// The command line of `up` with all that it does not say itself. Other commands stay as they are.
///
/// # Errors
/// What is wrong with a file, in words.
pub(crate) fn extend(args: &[OsString], around: &Around) -> Result<(Vec<OsString>, Vec<Setting>), String> {
    let matches = crate::cli::Cli::command().try_get_matches_from(args);
    let Some(up) = matches.as_ref().ok().and_then(|matches| matches.subcommand_matches("up")) else {
        // A broken command line is told in clap's words.
        return Ok((args.to_vec(), Vec::new()));
    };
    let settings = settings(Some(up), around)?;
    for (name, meant) in unread((around.names)().into_iter()) {
        // A name that is like none may be for a program around this one.
        if let Some(meant) = meant {
            crate::commands::say(&format!("{name} is in the environment, and is no setting: did you mean {meant}?"));
        }
    }
    let mut all = args.to_vec();
    for setting in &settings {
        let flag = format!("--{}", setting.name);
        if setting.takes {
            all.extend(setting.values.iter().map(|value| OsString::from(format!("{flag}={value}"))));
        } else {
            all.push(flag.into());
        }
    }
    Ok((all, settings))
}

/// What is set, and not said by the command line if one is given.
pub(crate) fn settings(up: Option<&ArgMatches>, around: &Around) -> Result<Vec<Setting>, String> {
    let mut cli = crate::cli::Cli::command();
    cli.build();
    let command = cli.find_subcommand("up").ok_or("there is no `up`")?;
    let known: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_long().is_some()).collect();
    let known: Vec<&Arg> =
        known.into_iter().filter(|arg| !matches!(arg.get_long(), Some("help" | "version"))).collect();
    let files = read(&around.files, &known)?;
    let mut settings = Vec::new();
    for arg in known {
        let name = arg.get_long().unwrap_or_default();
        let is_said = up.is_some_and(|up| up.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine));
        if is_said {
            continue;
        }
        let takes = arg.get_action().takes_values();
        let variable = variable(name);
        let found = match (around.var)(&variable) {
            Some(text) => Some((vec![text], variable)),
            None => files
                .iter()
                .find_map(|(path, file)| Some((words(file.get(name)?, path, name), path)))
                .map_or(Ok(None), |(words, path)| words.map(|words| Some((words, path.display().to_string()))))?,
        };
        let Some((values, from)) = found else { continue };
        let is_off = !takes && matches!(values.first().map(String::as_str), Some("false" | "0" | "no") | None);
        if !takes && !is_off && !matches!(values[0].as_str(), "true" | "1" | "yes") {
            return Err(format!("`{name}` of {from} is {:?}: say true or false", values[0]));
        }
        if !is_off {
            settings.push(Setting { name: name.to_owned(), values, takes, from });
        }
    }
    Ok(settings)
}

/// The files that are there, their keys checked.
fn read(files: &[PathBuf], known: &[&Arg]) -> Result<Vec<Read>, String> {
    let mut all = Vec::new();
    for path in files {
        let there = match std::fs::metadata(path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
            there => there.map_err(|why| format!("{} cannot be read ({why})", path.display()))?,
        };
        if there.len() > FILE_BYTES_MAX {
            return Err(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display()));
        }
        let text = std::fs::read_to_string(path).map_err(|why| format!("{} cannot be read ({why})", path.display()))?;
        let table: toml::Table = text.parse().map_err(|why| format!("{}: {why}", path.display()))?;
        let mut file = BTreeMap::new();
        for (key, value) in table {
            let name = key.replace('_', "-");
            if !known.iter().any(|arg| arg.get_long() == Some(&name)) {
                let alike =
                    |arg: &&Arg| Some((strsim::jaro_winkler(&name, arg.get_long()?), arg.get_long()?.to_owned()));
                let best = known.iter().filter_map(alike).max_by(|a, b| a.0.total_cmp(&b.0));
                let meant =
                    best.filter(|(score, _)| *score >= ALIKE).map(|(_, name)| format!("; did you mean `{name}`?"));
                let meant = meant.unwrap_or_else(|| "; `talkoo up --help` has them".to_owned());
                return Err(format!("{} sets `{key}`, which is no flag of `up`{meant}", path.display()));
            }
            file.insert(name, value);
        }
        all.push((path.clone(), file));
    }
    Ok(all)
}

/// A value of a file as the command line would have it.
fn words(value: &Value, path: &Path, name: &str) -> Result<Vec<String>, String> {
    let word = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is) => Ok(is.to_string()),
        _ => {
            Err(format!("`{name}` of {} is neither a text, a number, true, false, nor a list of them", path.display()))
        }
    };
    match value {
        Value::Array(list) => list.iter().map(word).collect(),
        one => word(one).map(|one| vec![one]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn around(files: &[(&Path, &str)], var: fn(&str) -> Option<String>) -> Around {
        files.iter().for_each(|(path, text)| std::fs::write(path, text).unwrap());
        Around { var, names: Vec::new, files: files.iter().map(|(path, _)| (*path).to_owned()).collect() }
    }

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_files() {
        let dir = tempfile::tempdir().unwrap();
        let (own, machine) = (dir.path().join("own.toml"), dir.path().join("machine.toml"));
        let texts = [
            (
                own.as_path(),
                "network = \"own\"\nquota = 7\nprovide = true\nlisten = [\"/ip4/127.0.0.1/tcp/1\", \"/ip4/127.0.0.1/tcp/2\"]\nno_polite = false",
            ),
            (machine.as_path(), "quota = 9\nthreads = 3"),
        ];
        let around = around(&texts, |name| (name == "TALKOO_NETWORK").then(|| "environment".into()));
        let (all, settings) = extend(&args("talkoo up --threads 2"), &around).unwrap();
        let Command::Up(up) = Cli::try_parse_from(all).unwrap().command else { panic!("it is `up`") };
        assert_eq!((up.network.as_str(), up.quota, up.threads), ("environment", 7, Some(2)));
        assert!(up.provide && !up.no_polite && up.listen.len() == 2);
        let from = |name: &str| settings.iter().find(|one| one.name == name).map(|one| one.from.clone());
        assert_eq!((from("network").as_deref(), from("threads")), (Some("TALKOO_NETWORK"), None));
        // Other commands have none of it.
        assert_eq!(extend(&args("talkoo status"), &around).unwrap().0.len(), 2);
    }

    #[test]
    fn names_that_are_no_settings_are_told() {
        let cases = [
            ("TALKOO_QUOTA", None),
            ("TALKOO_KEY", None),
            ("HOME", None),
            ("TALKOO_QOUTA", Some(Some("TALKOO_QUOTA"))),
            ("TALKOO_9", Some(None)),
        ];
        for (name, want) in cases {
            let found = unread([name.to_owned()].into_iter());
            assert_eq!(found.first().map(|(_, meant)| meant.as_deref()), want, "{name}");
        }
    }

    #[test]
    fn files_that_mean_nothing_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, says) in [
            ("quotaa = 7", "did you mean `quota`"),
            ("xyzzy = 7", "--help"),
            ("quota = ", "c.toml"),
            ("provide = \"maybe\"", "true or false"),
            ("quota = { a = 1 }", "neither a text"),
            ("data_dir = \"/x\"", "no flag of `up`"),
        ] {
            let no = extend(&args("talkoo up"), &around(&[(&path, text)], |_| None)).unwrap_err();
            assert!(no.contains(says), "{text}: {no}");
        }
        // What a value may be, the command line says.
        let around = around(&[(&path, "price = \"much\"")], |_| None);
        let error = Cli::try_parse_from(extend(&args("talkoo up"), &around).unwrap().0).err().unwrap();
        assert!(error.to_string().contains("--price"), "{error}");
    }
}
