//! An answer as it comes, its calls found; and as a whole.

use crate::message::ToolCall;
use crate::spans::Growing;
use crate::tools::{Finder, Said, Tools, reason};
use crate::{Answering, Meters, Piece};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Instant;
use talkoo_base::{Refusal, RefusalCode, sha256};

/// Something that an answer has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happening {
    Text { choice: u32, text: String, logprobs: Vec<Value> },
    Call { choice: u32, index: usize, call: ToolCall },
    End { choice: u32, reason: &'static str, stop: Option<String>, tokens: u32, facts: Value },
    Failed(Refusal),
}

/// An answer as it comes.
pub(crate) struct Flow {
    /// Names the answer.
    pub(crate) id: String,
    /// Name of the model that answers.
    pub(crate) model: String,
    pub(crate) prompt_tokens: u32,
    pieces: tokio::sync::mpsc::Receiver<Piece>,
    /// Of every choice: its finder, and the calls that it found.
    choices: Vec<(Finder, usize)>,
    open: u32,
    ready: VecDeque<Happening>,
    meters: Meters,
    /// When it was asked, until its first text.
    begun: Option<Instant>,
    span: Growing,
}

impl Flow {
    pub(crate) fn new(id: String, answering: Answering, tools: &Tools, choices: u32, meters: &Meters) -> Self {
        let Answering { model, prompt_tokens, pieces } = answering;
        meters.tokens("input", prompt_tokens);
        let finders = (0..choices).map(|_| (tools.finder(), 0)).collect();
        let span = Growing::new(meters, &id, &model, prompt_tokens);
        Self {
            span,
            id,
            model,
            prompt_tokens,
            pieces,
            choices: finders,
            open: choices,
            ready: VecDeque::new(),
            meters: meters.clone(),
            begun: Some(Instant::now()),
        }
    }

    /// How many answers come.
    pub(crate) fn choices(&self) -> u32 {
        self.choices.len() as u32
    }

    /// What comes next; nothing after the end. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Happening> {
        loop {
            if let Some(happening) = self.ready.pop_front() {
                return Some(happening);
            }
            if self.open == 0 {
                return None;
            }
            match self.pieces.recv().await {
                Some(piece) => self.take(piece),
                None => {
                    let no = Refusal::new(RefusalCode::Stopping, "the answer was broken off", "ask again");
                    self.take(Piece::Failed(no));
                }
            }
        }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Text { choice, text, logprobs } => {
                self.span.first();
                self.begun.take().iter().for_each(|begun| self.meters.first(begun.elapsed()));
                let said = self.choices[choice as usize].0.push(&text);
                self.say(choice, said, logprobs);
            }
            Piece::End { choice, finish, stop, tokens, facts } => {
                let said = self.choices[choice as usize].0.finish();
                self.say(choice, said, Vec::new());
                let reason = reason(finish, self.choices[choice as usize].1 > 0);
                self.meters.tokens("output", tokens);
                self.open -= 1;
                self.span.end(reason, tokens, self.open == 0);
                self.ready.push_back(Happening::End { choice, reason, stop, tokens, facts });
            }
            Piece::Failed(refusal) => {
                self.open = 0;
                self.span.fail(refusal.code.as_str());
                self.ready.push_back(Happening::Failed(refusal));
            }
        }
    }

    fn say(&mut self, choice: u32, said: Vec<Said>, mut logprobs: Vec<Value>) {
        for one in said {
            self.ready.push_back(match one {
                Said::Text(text) => Happening::Text { choice, text, logprobs: std::mem::take(&mut logprobs) },
                Said::Call(name, arguments) => {
                    let (_, calls) = &mut self.choices[choice as usize];
                    let index = std::mem::replace(calls, *calls + 1);
                    let place = [choice.to_be_bytes(), (index as u32).to_be_bytes()].concat();
                    let id = hex::encode(&sha256(&[self.id.as_bytes(), &place]).0[..12]);
                    Happening::Call { choice, index, call: ToolCall { id: format!("call_{id}"), name, arguments } }
                }
            });
        }
        if !logprobs.is_empty() {
            self.ready.push_back(Happening::Text { choice, text: String::new(), logprobs });
        }
    }

    /// Waits for all of it.
    pub(crate) async fn whole(mut self) -> Result<Whole, Refusal> {
        let mut choices: Vec<Choice> = self.choices.iter().map(|_| Choice::default()).collect();
        let mut facts = Vec::new();
        let mut tokens = 0;
        while let Some(happening) = self.next().await {
            match happening {
                Happening::Text { choice, text, logprobs } => {
                    let choice = &mut choices[choice as usize];
                    choice.text.push_str(&text);
                    choice.logprobs.extend(logprobs);
                }
                Happening::Call { choice, call, .. } => choices[choice as usize].calls.push(call),
                Happening::End { choice, reason, stop, tokens: more, facts: one } => {
                    choices[choice as usize].reason = reason;
                    choices[choice as usize].stop = stop;
                    tokens += more;
                    facts.push(one);
                }
                Happening::Failed(refusal) => return Err(refusal),
            }
        }
        Ok(Whole { model: self.model, prompt_tokens: self.prompt_tokens, tokens, choices, facts: one_or_all(facts) })
    }
}

/// An answer that came to its end.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) model: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) tokens: u32,
    pub(crate) choices: Vec<Choice>,
    /// Of the one answer, or a list for several.
    pub(crate) facts: Value,
}

/// One of its choices.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) logprobs: Vec<Value>,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) reason: &'static str,
    /// The stop string that ended it.
    pub(crate) stop: Option<String>,
}

/// One value as it is, several as a list.
pub(crate) fn one_or_all(mut facts: Vec<Value>) -> Value {
    if facts.len() == 1 { facts.remove(0) } else { Value::Array(facts) }
}

/// A name that was never used: the prefix and 24 random letters.
pub(crate) fn fresh(prefix: &str) -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    format!("{prefix}{}", hex::encode(bytes))
}

/// Seconds since 1970.
pub(crate) fn unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
