//! `config`: what `up` takes from files and the environment.

use super::{Failure, Show, print, say};
use crate::settings::{Around, files, settings};
use anyhow::Result;
use serde_json::{Value, json};

pub(super) fn run(show: &Show) -> Result<()> {
    let hint = "mend the file; `talkoo up --help` has all settings";
    let settings = settings(None, &Around::here()).map_err(|why| Failure::usage(why, hint))?;
    let files: Vec<Value> =
        files().iter().map(|path| json!({"path": path.display().to_string(), "is_there": path.exists()})).collect();
    if show.json() {
        let row = |one: &crate::settings::Setting| json!({"name": one.name, "values": one.values, "from": one.from});
        show.value(&json!({"files": files, "settings": settings.iter().map(row).collect::<Vec<_>>()}));
        return Ok(());
    }
    for setting in &settings {
        print(&format!("{} = {}    from {}", setting.name, setting.values.join(", "), setting.from));
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
