//! `run MODEL` without a prompt: a conversation on this machine, with the words people know.

use super::{print, say};
use crate::answer::{Answer, text_of};
use crate::cli::{RunArgs, Sampling};
use anyhow::{Context, Result};
use std::io::{BufRead, Write};
use std::sync::Arc;
use talkoo_base::Digest;
use talkoo_engine::{ChatMessage, Engine, Event, Model, RunError, Scope, Server, Task};

const HELP: &str = "\
/set system TEXT        what the model is told before everything
/set parameter NAME V   temperature, seed, num_predict, top_k, top_p, min_p, repeat_penalty,
                        frequency_penalty, presence_penalty, one more stop, or format (text, json or a
                        JSON schema); see `talkoo run --help`
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
    /// One of [`Sampling`], by its name.
    Parameter(String, String),
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
        let split = |text: &str| {
            let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        // Ollama's word comes before the name; without it, it is as clear.
        let (name, value) = match split(rest) {
            (name, rest) if name == "parameter" => split(&rest),
            pair => pair,
        };
        match name.as_str() {
            "system" => Self::Set(Setting::System(value.trim_matches('"').to_owned())),
            _ => Self::Set(Setting::Parameter(name, value)),
        }
    }
}

/// A conversation.
struct Chat {
    /// Keeps what was run of the conversation, so that a turn computes only what is new in it.
    server: Server,
    kernels: String,
    name: String,
    system: Option<String>,
    turns: Vec<ChatMessage>,
    sampling: Sampling,
}

/// Talks until the user leaves.
pub(super) fn run(args: &RunArgs, model: &Arc<Model>) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let engine = Engine::new(Arc::clone(model), args.threads.unwrap_or(cores));
    let kernels = format!("{}, {} threads", engine.kernel_name(), engine.threads());
    let (name, sampling) = (args.model.clone(), args.sampling.clone());
    let server = Server::new(engine, model.context_max() as usize);
    let mut chat = Chat { server, kernels, name, system: None, turns: Vec::new(), sampling };
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
            Setting::Parameter(name, value) => {
                if let Err(need) = self.sampling.set(&name, &value) {
                    say(&format!("/set {name} needs {need}"));
                }
            }
        }
    }

    fn settings(&self) -> String {
        let Sampling { max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed, stop, format, .. } =
            &self.sampling;
        let (frequency, presence) = (self.sampling.frequency_penalty, self.sampling.presence_penalty);
        let rows: [(&str, String); 16] = [
            ("model", self.name.clone()),
            ("root", self.server.model().root().to_string()),
            ("context", format!("{} tokens", self.server.model().context_max())),
            ("system", self.system.clone().unwrap_or_else(|| "the model's own".into())),
            ("temperature", temperature.to_string()),
            ("seed", seed.to_string()),
            ("num_predict", max_tokens.to_string()),
            ("top_k", top_k.to_string()),
            ("top_p", top_p.to_string()),
            ("min_p", min_p.to_string()),
            ("repeat_penalty", repeat_penalty.to_string()),
            ("frequency_penalty", frequency.to_string()),
            ("presence_penalty", presence.to_string()),
            ("stop", format!("{stop:?}")),
            ("format", format.as_ref().map_or("text", |f| &f.source).to_owned()),
            ("kernels", self.kernels.clone()),
        ];
        rows.map(|(name, value)| format!("{name:<18} {value}")).join("\n")
    }

    /// The prompt of the whole conversation; its oldest turns go if it gets too long.
    fn prompt(&mut self) -> Result<Vec<u32>> {
        let room =
            self.server.model().context_max() - self.sampling.max_tokens.min(self.server.model().context_max() / 2);
        loop {
            let system = self.system.iter().map(|text| ChatMessage::text("system", text));
            let messages: Vec<ChatMessage> = system.chain(self.turns.iter().cloned()).collect();
            let vocabulary = self.server.model().vocabulary();
            let tokens = vocabulary.encode_prompt(&vocabulary.render_chat(&messages)?);
            if tokens.len() <= room as usize || self.turns.len() < 3 {
                return Ok(tokens);
            }
            self.turns.drain(..2);
            say("(the conversation is longer than the model's context: its first turn is forgotten)");
        }
    }

    fn answer(&mut self, text: String) -> Result<()> {
        self.turns.push(ChatMessage::text("user", text));
        let (params, seed) = (self.sampling.params(), self.sampling.seed);
        let task = Task { prompt: self.prompt()?, params, seed, trace_id: Digest::ZERO };
        let (vocabulary, stop) = (self.server.model().vocabulary().clone(), task.params.stop.clone());
        let (mut answer, mut stdout) = (Answer::new(&vocabulary, &stop), std::io::stdout());
        let on_token = |token: u32| {
            // A terminal that is gone ends the conversation at the next line.
            stdout.write_all(answer.push(token).as_bytes()).and_then(|()| stdout.flush()).ok();
        };
        match generate(&mut self.server, task, on_token) {
            Ok(tokens) => {
                print(&answer.finish());
                let content = text_of(&vocabulary, &tokens, &stop);
                self.turns.push(ChatMessage::text("assistant", content));
            }
            Err(why) => {
                self.turns.pop();
                say(&why.to_string());
            }
        }
        Ok(())
    }
}

/// The output of a task that has the server to itself.
fn generate(server: &mut Server, task: Task, mut on_token: impl FnMut(u32)) -> Result<Vec<u32>, RunError> {
    server.generate(task, Scope(Digest::ZERO), None)?;
    let (mut tokens, mut events) = (Vec::new(), Vec::new());
    while server.step(&mut events) {
        for event in events.drain(..) {
            match event {
                Event::Token { token, .. } => on_token(token),
                Event::Chunk { chunk, .. } => tokens.extend(chunk.tokens),
                Event::Failed { error, .. } => return Err(error),
                Event::Verified { .. } => {}
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_said() {
        let set = Word::Set;
        let wrong = |text: &str| Word::Wrong(text.to_owned());
        let parameter = |name: &str, value: &str| set(Setting::Parameter(name.into(), value.into()));
        let cases = [
            ("", Word::Nothing),
            ("  hello /bye ", Word::Say("hello /bye".into())),
            ("/bye", Word::Bye),
            ("/?", Word::Help),
            ("/show", Word::Show),
            ("/clear", Word::Clear),
            ("/set system \"Be brief.\"", set(Setting::System("Be brief.".into()))),
            ("/set temperature 0.5", parameter("temperature", "0.5")),
            ("/set parameter stop \"a b\"", parameter("stop", "\"a b\"")),
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
