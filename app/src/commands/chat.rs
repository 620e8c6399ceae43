//! `run MODEL` without a prompt: a conversation on this machine, with the words people know.

use super::{print, say};
use crate::batch::{q16, text_of};
use crate::cli::RunArgs;
use anyhow::{Context, Result};
use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{ChatMessage, Engine, Model, Task};

const HELP: &str = "\
/set system TEXT        what the model is told before everything
/set temperature T      from 0 (always the likeliest) to 2
/set seed N             the same seed draws the same tokens
/set max_tokens N       output tokens at most
/show                   the model and these settings
/clear                  forget the conversation
/bye                    leave, as does Ctrl-D
\"\"\" on a line of its own begins and ends a text of several lines";

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Word {
    Say(String),
    Set(Setting),
    Show,
    Clear,
    Help,
    Bye,
    /// Not understood, and why.
    Wrong(String),
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
enum Setting {
    System(String),
    Temperature(f64),
    Seed(u64),
    MaxTokens(u32),
}

impl Word {
    fn parse(line: &str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() { Self::Nothing } else { Self::Say(line.to_owned()) };
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match name {
            "set" => Self::set(rest.trim()),
            "show" => Self::Show,
            "clear" => Self::Clear,
            "?" | "help" => Self::Help,
            "bye" | "exit" | "quit" => Self::Bye,
            other => Self::Wrong(format!("there is no /{other}; /? lists the words")),
        }
    }

    fn set(rest: &str) -> Self {
        let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim();
        let wrong = |need: &str| Self::Wrong(format!("/set {name} needs {need}"));
        match name {
            "system" => Self::Set(Setting::System(value.trim_matches('"').to_owned())),
            "temperature" => match value.parse() {
                Ok(t) if (0.0..=2.0).contains(&t) => Self::Set(Setting::Temperature(t)),
                _ => wrong("a number from 0 to 2"),
            },
            "seed" => value.parse().map_or_else(|_| wrong("a whole number"), |n| Self::Set(Setting::Seed(n))),
            "max_tokens" => match value.parse() {
                Ok(n) if n > 0 => Self::Set(Setting::MaxTokens(n)),
                _ => wrong("a whole number from 1"),
            },
            other => Self::Wrong(format!("there is no setting `{other}`; /? lists them")),
        }
    }
}

/// A conversation.
struct Chat {
    engine: Engine,
    name: String,
    system: Option<String>,
    turns: Vec<ChatMessage>,
    params: GenerateParams,
    seed: u64,
}

/// Talks until the user leaves.
pub(super) fn run(args: &RunArgs, model: &Arc<Model>) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let params = GenerateParams {
        max_tokens: args.max_tokens,
        temperature_q16: q16(args.temperature),
        ..GenerateParams::default()
    };
    let engine = Engine::new(Arc::clone(model), args.threads.unwrap_or(cores));
    let name = args.model.clone();
    let mut chat = Chat { engine, name, system: None, turns: Vec::new(), params, seed: args.seed };
    say("/? for help, /bye to leave");
    let mut lines = std::io::stdin().lock().lines();
    while let Some(line) = next(&mut lines)? {
        match Word::parse(&line) {
            Word::Say(text) => chat.answer(text)?,
            Word::Set(setting) => chat.set(setting),
            Word::Show => print(&chat.settings()),
            Word::Clear => {
                chat.turns.clear();
                say("the conversation is forgotten");
            }
            Word::Help => print(HELP),
            Word::Wrong(why) => say(&why),
            Word::Bye => break,
            Word::Nothing => {}
        }
    }
    Ok(())
}

/// The next line, or all lines between two `\"\"\"`.
fn next(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Option<String>> {
    prompt(">>> ");
    let Some(line) = lines.next().transpose().context("cannot read from the terminal")? else { return Ok(None) };
    if line.trim() != "\"\"\"" {
        return Ok(Some(line));
    }
    let mut text = Vec::new();
    loop {
        prompt("... ");
        match lines.next().transpose().context("cannot read from the terminal")? {
            Some(line) if line.trim() != "\"\"\"" => text.push(line),
            _ => return Ok(Some(text.join("\n"))),
        }
    }
}

fn prompt(text: &str) {
    let mut out = std::io::stderr();
    // Without a prompt one can still talk.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

impl Chat {
    fn set(&mut self, setting: Setting) {
        match setting {
            Setting::System(text) => self.system = Some(text).filter(|t| !t.is_empty()),
            Setting::Temperature(t) => self.params.temperature_q16 = q16(t),
            Setting::Seed(seed) => self.seed = seed,
            Setting::MaxTokens(n) => self.params.max_tokens = n,
        }
    }

    fn settings(&self) -> String {
        format!(
            "model        {}\nroot         {}\ncontext      {} tokens\nsystem       {}\ntemperature  {}\nseed         {}\nmax_tokens   {}\nkernels      {}, {} threads",
            self.name,
            self.engine.model().root(),
            self.engine.model().context_max(),
            self.system.as_deref().unwrap_or("the model's own"),
            f64::from(self.params.temperature_q16) / 65_536.0,
            self.seed,
            self.params.max_tokens,
            self.engine.kernel_name(),
            self.engine.threads(),
        )
    }

    /// The prompt of the whole conversation; its oldest turns go if it gets too long.
    fn prompt(&mut self) -> Result<Vec<u32>> {
        let room =
            self.engine.model().context_max() - self.params.max_tokens.min(self.engine.model().context_max() / 2);
        loop {
            let system = self.system.iter().map(|text| ChatMessage { role: "system".into(), content: text.clone() });
            let messages: Vec<ChatMessage> = system.chain(self.turns.iter().cloned()).collect();
            let vocabulary = self.engine.model().vocabulary();
            let tokens = vocabulary.encode_prompt(&vocabulary.render_chat(&messages)?);
            if tokens.len() <= room as usize || self.turns.len() < 3 {
                return Ok(tokens);
            }
            self.turns.drain(..2);
            say("(the conversation is longer than the model's context: its first turn is forgotten)");
        }
    }

    fn answer(&mut self, text: String) -> Result<()> {
        self.turns.push(ChatMessage { role: "user".into(), content: text });
        let task =
            Task { prompt: self.prompt()?, params: self.params.clone(), seed: self.seed, trace_id: Digest::ZERO };
        let vocabulary = self.engine.model().vocabulary().clone();
        let (mut decoder, mut stdout) = (vocabulary.decoder(), std::io::stdout());
        let mut on_token = |token: u32| {
            if !vocabulary.eos().contains(&token) {
                // A terminal that is gone ends the conversation at the next line.
                stdout.write_all(decoder.push(token).as_bytes()).and_then(|()| stdout.flush()).ok();
            }
        };
        match self.engine.generate(&task, &mut on_token, &mut |_| ControlFlow::Continue(())) {
            Ok(outcome) => {
                print(&decoder.finish());
                let content = text_of(&vocabulary, &outcome.tokens);
                self.turns.push(ChatMessage { role: "assistant".into(), content });
            }
            Err(why) => {
                self.turns.pop();
                say(&why.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_said() {
        let set = Word::Set;
        let wrong = |text: &str| Word::Wrong(text.to_owned());
        let cases = [
            ("", Word::Nothing),
            ("  hello /bye ", Word::Say("hello /bye".into())),
            ("/bye", Word::Bye),
            ("/?", Word::Help),
            ("/show", Word::Show),
            ("/clear", Word::Clear),
            ("/set system \"Be brief.\"", set(Setting::System("Be brief.".into()))),
            ("/set temperature 0.5", set(Setting::Temperature(0.5))),
            ("/set temperature nan", wrong("/set temperature needs a number from 0 to 2")),
            ("/set seed 7", set(Setting::Seed(7))),
            ("/set seed -1", wrong("/set seed needs a whole number")),
            ("/set max_tokens 0", wrong("/set max_tokens needs a whole number from 1")),
            ("/set mood good", wrong("there is no setting `mood`; /? lists them")),
            ("/dance", wrong("there is no /dance; /? lists the words")),
        ];
        for (line, want) in cases {
            assert_eq!(Word::parse(line), want, "{line}");
        }
    }

    #[test]
    fn several_lines_are_one_text() {
        let mut lines = ["\"\"\"", "a", "  b", "\"\"\"", "c"].into_iter().map(|l| Ok(l.to_owned()));
        assert_eq!(next(&mut lines).unwrap().as_deref(), Some("a\n  b"));
        assert_eq!(next(&mut lines).unwrap().as_deref(), Some("c"));
        assert_eq!(next(&mut lines).unwrap(), None);
    }
}
