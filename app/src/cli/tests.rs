//! Command lines that mean nothing, and words for those that do.

use super::*;
use clap::{ArgAction, CommandFactory};
use talkoo_base::Address;
use talkoo_ledger::contracts::Staker;

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
        "up --memory-max 0",
        "up --listen 127.0.0.1:1",
        "up --bootstrap /ip4/1.2.3",
        "run m p --temperature NaN",
        "run m p --temperature 2.1",
        "run m p --temperature=-1",
        "run m p --top-p 1.1",
        "run m p --min-p=-1",
        "run m p --repeat-penalty 0",
        "run m p --frequency-penalty 3",
        "run m p --presence-penalty NaN",
        "run m p --stop=",
        "run m p --format yaml",
        "run m p --threads 0",
        "run m p --max-tokens 0",
        "batch f --max-price NaN",
        "batch f --max-price=-1",
        "batch f --max-price 1e14",
        "batch f --nodes 0",
        "batch f --verify maybe",
        "demo --prompts 0",
        "dispute show =",
        "dispute show 0x12",
        "dispute show liar",
        "ledger genesis --validator 0x01",
        "ledger genesis --validator 0x0101010101010101010101010101010101010101=0",
        "ledger genesis --validator 0x0101010101010101010101010101010101010101@",
        "ledger genesis --validator 0x0101010101010101010101010101010101010101=2=x",
    ];
    for line in bad {
        let words = std::iter::once("talkoo").chain(line.split(' '));
        let error = Cli::try_parse_from(words).err().unwrap_or_else(|| panic!("`{line}` is taken"));
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains("invalid value"), "{line}: {error}");
    }
    for line in [
        "up --price 0 --threads 1024 --quota 1 --memory-max 8 --no-polite",
        "batch f --nodes 1 --max-price 0.4 --verify own",
        "dispute show ABCDEF01",
        "run m p --frequency-penalty -2 --presence-penalty -0.5",
    ] {
        assert!(Cli::try_parse_from(std::iter::once("talkoo").chain(line.split(' '))).is_ok(), "{line}");
    }
}

#[test]
fn a_validator_is_named_with_its_power_and_operator() {
    let (key, owner) = (Address([1; 20]), Address([2; 20]));
    let line = |rest: &str| format!("{key}{rest}");
    for (text, power, operator) in [
        (line(""), 0, key),
        (line("=3"), 3, key),
        (line(&format!("@{owner}")), 0, owner),
        (line(&format!("=3@{owner}")), 3, owner),
        (line(&format!("@{owner}=3")), 3, owner),
    ] {
        let words = ["talkoo", "ledger", "genesis", "--validator", &text];
        let cli = Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{text}: {e}"));
        let Command::Ledger(LedgerCommand::Genesis { stakers, .. }) = cli.command else { panic!("another command") };
        assert_eq!(stakers, [Staker { operator, ..Staker::own(key, power) }], "{text}");
    }
}

#[test]
fn parameters_are_set_by_name_or_refused() {
    let run = Cli::try_parse_from(["talkoo", "run", "m", "p"]).unwrap_or_else(|e| panic!("{e}"));
    let Command::Run(RunArgs { mut sampling, .. }) = run.command else { panic!("`run` is another command") };
    let good = [
        ("temperature", "0.5"),
        ("top_k", "40"),
        ("top_p", "0.9"),
        ("min_p", "0.1"),
        ("repeat_penalty", "1.1"),
        ("frequency_penalty", "-2"),
        ("presence_penalty", "1"),
        ("num_predict", "7"),
        ("format", "json"),
        ("seed", "9"),
        ("stop", "\"a b\""),
        ("stop", "c"),
    ];
    for (name, value) in good {
        let before = sampling.params();
        assert_eq!(sampling.set(name, value), Ok(()), "{name}");
        assert!(name == "seed" || sampling.params() != before, "{name} changes something");
    }
    assert_eq!((sampling.params().stop, sampling.seed), (vec!["a b".to_owned(), "c".to_owned()], 9));
    let bad = [
        ("temperature", "nan", "a number from 0 to 2"),
        ("top_k", "-1", "a whole number from 0 to 131072"),
        ("num_predict", "0", "a whole number from 1 to 131072"),
        ("repeat_penalty", "0", "a number from 0.01 to 2"),
        ("format", "xml", "`json`, or a JSON schema of at most 32,768 bytes"),
        ("seed", "-1", "a whole number"),
        ("stop", "", "a text of 1 to 256 bytes"),
        ("mood", "good", "a name that exists; /? lists them"),
    ];
    for (name, value, need) in bad {
        assert_eq!(sampling.set(name, value), Err(need.to_owned()), "{name} {value}");
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

#[test]
fn a_price_may_be_two() {
    use super::asked;
    assert_eq!((asked("0.4"), asked("0.1..1.5")), (Ok([0.4, 0.4]), Ok([0.1, 1.5])));
    for bad in ["", "..", "1..", "2..1", "a..b", "-1..1", "1..2..3"] {
        assert!(asked(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mistyped_account_is_refused() {
    use super::ledger::account;
    let good = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    assert_eq!(account(good), account(&good.to_lowercase()));
    assert!(account(good).is_ok() && account(&good[2..]).is_ok());
    let typo = good.replace("dc3A", "dc3a");
    for bad in ["", "0x12", &typo, &format!("0x{good}"), "0x0000000000000000000000000000000000000000"] {
        assert!(account(bad).is_err(), "{bad}");
    }
}
