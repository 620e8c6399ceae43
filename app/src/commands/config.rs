//! `config`: what `up` takes from files and the environment.

use super::{Failure, Show, print, say};
use crate::cli::Cli;
use crate::settings::{Around, Setting, extend, files, settings, unread};
use anyhow::Result;
use clap::Parser as _;
use serde_json::{Value, json};

pub(super) fn run(show: &Show) -> Result<()> {
    let hint = "mend the file; `talkoo up --help` has all settings";
    let settings = settings(None, &Around::here()).map_err(|why| Failure::usage(why, hint))?;
    // What a value may be, the command line says.
    let (args, _) = extend(&["talkoo".into(), "up".into()], &Around { names: Vec::new, ..Around::here() })
        .map_err(|why| Failure::usage(why, hint))?;
    if let Err(error) = Cli::try_parse_from(args) {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let from: Vec<String> = settings.iter().filter(|one| line.contains(&one.name)).map(Setting::source).collect();
        return Err(Failure::usage(format!("`up` would not start: {line}{}", from.concat()), hint).into());
    }
    let strange = unread((Around::here().names)().into_iter());
    let files: Vec<Value> =
        files().iter().map(|path| json!({"path": path.display().to_string(), "is_there": path.exists()})).collect();
    if show.json() {
        let row = |one: &Setting| json!({"name": one.name, "values": one.values, "from": one.from});
        let ignored: Vec<&String> = strange.iter().map(|(name, _)| name).collect();
        show.value(
            &json!({"files": files, "settings": settings.iter().map(row).collect::<Vec<_>>(), "ignored": ignored}),
        );
        return Ok(());
    }
    for setting in &settings {
        print(&format!("{} = {}    from {}", setting.name, setting.values.join(", "), setting.from));
    }
    for (name, meant) in &strange {
        let meant = meant.as_ref().map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
        say(&format!("{name} is in the environment, and is no setting{meant}"));
    }
    for file in &files {
        let state = if file["is_there"] == true { "is read" } else { "is not there" };
        say(&format!("{} {state}", file["path"].as_str().unwrap_or_default()));
    }
    if settings.is_empty() {
        say("nothing is set: a line of a file is a flag of `up`, as in `quota = 20` or `provide = true`");
    }
    Ok(())
}
