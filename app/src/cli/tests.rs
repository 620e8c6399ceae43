//! Command lines that mean nothing, and words for those that do.

use super::*;
use clap::{ArgAction, CommandFactory};

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let bad = [
        "up --price NaN",
        "up --price inf",
        "up --price=-0.1",
        "up --price 1e300",
        "up --threads 0",
        "up --threads 1025",
        "up --quota 0",
        "up --listen 127.0.0.1:1",
        "up --bootstrap /ip4/1.2.3",
        "run m p --temperature NaN",
        "run m p --temperature 2.1",
        "run m p --temperature=-1",
        "run m p --threads 0",
        "run m p --max-tokens 0",
        "batch f --max-price NaN",
        "batch f --max-price=-1",
        "batch f --max-price 1e14",
        "batch f --nodes 0",
        "batch f --verify maybe",
        "demo --prompts 0",
    ];
    for line in bad {
        let words = std::iter::once("talkoo").chain(line.split(' '));
        let error = Cli::try_parse_from(words).err().unwrap_or_else(|| panic!("`{line}` is taken"));
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains("invalid value"), "{line}: {error}");
    }
    for line in ["up --price 0 --threads 1024 --quota 1", "batch f --nodes 1 --max-price 0.4 --verify own"] {
        assert!(Cli::try_parse_from(std::iter::once("talkoo").chain(line.split(' '))).is_ok(), "{line}");
    }
}

#[test]
fn every_command_and_flag_is_explained_in_one_line() {
    fn check(command: &clap::Command) {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty(), "`{name}` is not explained");
        for arg in command.get_arguments().filter(|a| !matches!(a.get_action(), ArgAction::Help)) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.contains('\n'), "`{name}`: {} is not explained", arg.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
}
