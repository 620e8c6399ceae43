//! `service`: the node starts with the machine, as the user who asked for it.

use super::{Failure, Show, print, say};
use crate::cli::ServiceCommand;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use talkoo_base::RefusalCode;

/// Its name to launchd.
const LABEL: &str = "org.talkoo.node";

/// Who starts services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Systemd,
    Launchd,
}

impl Manager {
    fn here() -> Self {
        if cfg!(target_os = "macos") { Self::Launchd } else { Self::Systemd }
    }

    /// Where its file stands, for a home and a folder of settings.
    fn file(self, home: &Path, config: &Path) -> PathBuf {
        match self {
            Self::Systemd => config.join("systemd/user/talkoo.service"),
            Self::Launchd => home.join("Library/LaunchAgents").join(format!("{LABEL}.plist")),
        }
    }

    fn text(self, program: &str, data_dir: &str, vars: &[(String, String)]) -> String {
        match self {
            Self::Systemd => unit(program, data_dir, vars),
            Self::Launchd => plist(program, data_dir, vars),
        }
    }

    /// What starts it now and with each login.
    fn start(self, file: &str) -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Systemd => {
                vec![words("systemctl --user daemon-reload"), words("systemctl --user enable --now talkoo.service")]
            }
            Self::Launchd => vec![vec!["launchctl".into(), "load".into(), "-w".into(), file.into()]],
        }
    }

    fn stop(self, file: &str) -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Systemd => vec![words("systemctl --user disable --now talkoo.service")],
            Self::Launchd => vec![vec!["launchctl".into(), "unload".into(), "-w".into(), file.into()]],
        }
    }
}

/// A unit of systemd. `%` begins a specifier there (systemd.unit(5)), and words are quoted as in C (systemd.service(5)).
fn unit(program: &str, data_dir: &str, vars: &[(String, String)]) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
        format!("\"{text}\"")
    };
    // `$` is a letter like others there.
    let line = |(name, value): &(String, String)| {
        format!("Environment={}\n", quoted(&format!("{name}={value}")).replace("$$", "$"))
    };
    let vars: String = vars.iter().map(line).collect();
    format!(
        "[Unit]\nDescription=Talkoo node\nAfter=network-online.target\n\n[Service]\nType=exec\n{vars}\
         ExecStart={} --data-dir {} up\nKillSignal=SIGINT\nTimeoutStopSec=40\nRestart=on-failure\nRestartSec=5\n\
         Nice=5\nLimitNOFILE=65536\nNoNewPrivileges=yes\nUMask=0077\n\n[Install]\nWantedBy=default.target\n",
        quoted(program),
        quoted(data_dir),
    )
}

/// A list of launchd's.
fn plist(program: &str, data_dir: &str, vars: &[(String, String)]) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let words = [program, "--data-dir", data_dir, "up"].map(|word| format!("<string>{}</string>", escaped(word)));
    let pair =
        |(name, value): &(String, String)| format!("<key>{}</key><string>{}</string>", escaped(name), escaped(value));
    let vars: String = vars.iter().map(pair).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict>\n\
         <key>Label</key><string>{LABEL}</string>\n<key>ProgramArguments</key><array>{}</array>\n\
         <key>EnvironmentVariables</key><dict>{vars}</dict>\n<key>RunAtLoad</key><true/>\n<key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n\
         <key>ProcessType</key><string>Background</string>\n</dict></plist>\n",
        words.concat(),
    )
}

pub(super) fn run(data_dir: &Path, command: &ServiceCommand, show: &Show) -> Result<()> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = var("HOME").ok_or_else(|| Failure::new(RefusalCode::Other, "HOME is not set", "set it"))?;
    let config = var("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let manager = Manager::here();
    let file = manager.file(&home, &config);
    let name = file.display().to_string();
    match command {
        ServiceCommand::Install { dry_run } => {
            let program = std::env::current_exe().context("the program does not know where it is")?;
            let data_dir = std::path::absolute(data_dir)?;
            let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
            let content = manager.text(&text(&program)?, &text(&data_dir)?, &variables()?);
            if *dry_run {
                say(&format!("{name}:"));
                print(content.trim_end());
                return Ok(());
            }
            std::fs::create_dir_all(file.parent().context("it has a folder")?)?;
            std::fs::write(&file, content).with_context(|| format!("cannot write {name}"))?;
            say(&format!("wrote {name}; its settings: talkoo config"));
            all(&manager.start(&name))?;
            show.value(&json!({"installed": true, "file": name}));
        }
        ServiceCommand::Uninstall => {
            if !file.exists() {
                let message = format!("there is no {name}");
                return Err(Failure::new(RefusalCode::UnknownId, message, "nothing to uninstall").into());
            }
            // One that does not run can't be stopped.
            let stopped = all(&manager.stop(&name));
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {name}"))?;
            if let Err(why) = stopped {
                say(&format!("the file is removed, but: {why}"));
            }
            show.value(&json!({"uninstalled": true, "file": name}));
        }
    }
    Ok(())
}

/// What this shell sets and a service would not have: where settings are, and those that stand in the environment.
fn variables() -> Result<Vec<(String, String)>> {
    let around = crate::settings::Around::here();
    let found = crate::settings::settings(None, &around).map_err(|why| Failure::usage(why, "see `talkoo config`"))?;
    let names = found.into_iter().map(|one| one.from).chain(["XDG_CONFIG_HOME".into(), "TALKOO_LOG".into()]);
    Ok(names.filter_map(|name| Some((name.clone(), (around.var)(&name)?))).collect())
}

/// Runs what the machine's manager of services needs to hear.
fn all(commands: &[Vec<String>]) -> Result<()> {
    for words in commands {
        let line = words.join(" ");
        let no = |why: String| {
            let hint = if why.contains("bus") {
                "systemd runs nothing for this user here: log in (or `loginctl enable-linger USER`) and run it again, or start `talkoo up` yourself"
            } else {
                "run it by hand"
            };
            Failure::new(RefusalCode::Other, format!("`{line}` failed: {why}"), hint)
        };
        let done = Command::new(&words[0]).args(&words[1..]).output().map_err(|why| no(why.to_string()))?;
        if !done.status.success() {
            return Err(no(String::from_utf8_lossy(&done.stderr).trim().to_owned()).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_odd_letters_stay_what_they_are() {
        let vars = [("XDG_CONFIG_HOME".to_owned(), "/home/a b/$1&2".to_owned())];
        let text = unit("/opt/a b/100%/talkoo", "/home/me/\"$x\"", &vars);
        assert!(text.contains("\nEnvironment=\"XDG_CONFIG_HOME=/home/a b/$1&2\"\n"), "{text}");
        assert!(text.contains(r#"ExecStart="/opt/a b/100%%/talkoo" --data-dir "/home/me/\"$$x\"" up"#), "{text}");
        let text = plist("/opt/<a>&b/talkoo", "/d", &vars);
        assert!(text.contains("<key>XDG_CONFIG_HOME</key><string>/home/a b/$1&amp;2</string>"), "{text}");
        assert!(text.contains("<string>/opt/&lt;a&gt;&amp;b/talkoo</string><string>--data-dir</string>"), "{text}");
    }

    #[test]
    fn files_stand_where_their_readers_look() {
        let (home, config) = (Path::new("/h"), Path::new("/c"));
        let cases = [
            (Manager::Systemd, "/c/systemd/user/talkoo.service"),
            (Manager::Launchd, "/h/Library/LaunchAgents/org.talkoo.node.plist"),
        ];
        for (manager, want) in cases {
            assert_eq!(manager.file(home, config), Path::new(want));
            assert!(!manager.start("f").is_empty() && !manager.stop("f").is_empty());
        }
    }
}
