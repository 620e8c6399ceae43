//! Answers of this machine's own engines: free, token by token, without receipts. The trace root says which answer it is; whoever
//! runs the same program on the same prompt and seed gets the same one.

use super::bought::first_seed;
use super::{Ask, Node, PIECES_QUEUED};
use crate::answer::Answer;
use crate::batch::logprob_entries;
use crate::daemon::executor::{Direct, Told};
use serde_json::{Value, json};
use talkoo_base::{Digest, Finish, Refusal, sha256};
use talkoo_engine::{Chunk, Scope, Task, Vocabulary};
use talkoo_inference::{Piece, Who};
use tokio::sync::mpsc;

impl Node {
    pub(super) fn run_here(&self, ask: Ask) -> Result<mpsc::Receiver<Piece>, Refusal> {
        let root = ask.held.root_with(self.setup.kv)?;
        let choices = ask.order.choices;
        // A token, its chunk, an end or a failure: never more than this.
        let room = choices as usize * (2 * ask.params.max_tokens as usize + 2);
        let (to, told) = mpsc::channel(room);
        let first = first_seed(ask.order.seed);
        for choice in 0..choices {
            let task = Task {
                prompt: ask.tokens.clone(),
                params: ask.params.clone(),
                seed: first.wrapping_add(u64::from(choice)),
                trace_id: Digest::ZERO,
            };
            self.setup.lender.run(Direct { root, task, scope: scope(&ask.order.who), choice, to: to.clone() })?;
        }
        drop(to);
        let facts = json!({
            "model": ask.model(root),
            "tier": "exact",
            "nodes": [{"node": self.setup.node.to_string(), "here": true}],
            "seed": first,
            "price": "0",
            "audited": false,
            "rerunnable_until": null,
            "receipt": null,
        });
        let (pieces, out) = mpsc::channel(PIECES_QUEUED);
        let open = (0..choices).map(|_| Open::new(&ask.known.vocabulary, &ask.params)).collect();
        self.setup.tasks.spawn(tell(told, open, facts, pieces));
        Ok(out)
    }
}

/// Whose runs share what they computed: nobody learns by its time what another one asked.
fn scope(who: &Who) -> Scope {
    let name = match who {
        Who::Owner => "owner",
        Who::Anybody => "anybody",
        Who::Key(id) => id,
        Who::Payer(address) => &address.to_string(),
    };
    Scope(sha256(&[b"talkoo/inference/scope/1", name.as_bytes()]))
}

/// Passes on what comes, as text, until all is told or nobody listens.
async fn tell(mut told: mpsc::Receiver<(u32, Told)>, mut open: Vec<Open>, facts: Value, pieces: mpsc::Sender<Piece>) {
    loop {
        let (choice, told) = tokio::select! {
            next = told.recv() => match next {
                Some(next) => next,
                None => return,
            },
            // The engine sees that nobody listens when `told` is dropped.
            () = pieces.closed() => return,
        };
        let one = &mut open[choice as usize];
        for piece in one.pieces(choice, told, &facts) {
            let is_end = matches!(piece, Piece::Failed(_));
            if pieces.send(piece).await.is_err() || is_end {
                return;
            }
        }
    }
}

/// An answer that is being told.
pub(super) struct Open {
    vocabulary: Vocabulary,
    answer: Answer,
    /// Text goes out with its log probabilities, which come by the chunk.
    tells_logprobs: bool,
    tokens: u32,
    digests: Vec<Digest>,
}

impl Open {
    pub(super) fn new(vocabulary: &Vocabulary, params: &talkoo_base::GenerateParams) -> Self {
        Self {
            vocabulary: vocabulary.clone(),
            answer: Answer::new(vocabulary, &params.stop),
            tells_logprobs: params.top_logprobs.is_some(),
            tokens: 0,
            digests: Vec::new(),
        }
    }

    fn pieces(&mut self, choice: u32, told: Told, facts: &Value) -> Vec<Piece> {
        match told {
            Told::Token(_) if self.tells_logprobs => Vec::new(),
            Told::Token(token) => self.text(choice, &[token], Vec::new()),
            Told::Failed(refusal) => vec![Piece::Failed(refusal)],
            Told::Chunk(Chunk { tokens, digest, logprobs, finish, .. }) => {
                let mut pieces = Vec::new();
                if self.tells_logprobs {
                    let bytes = logprobs.map(|told| told.bytes).unwrap_or_default();
                    pieces = self.text(choice, &tokens, logprob_entries(&self.vocabulary, &tokens, &bytes));
                }
                self.tokens += tokens.len() as u32;
                self.digests.push(digest);
                if let Some(finish) = finish {
                    let mut facts = facts.clone();
                    facts["seed"] = json!(facts["seed"].as_u64().unwrap_or_default().wrapping_add(u64::from(choice)));
                    facts["trace_root"] = json!(talkoo_exact::trace::trace_root(&self.digests).to_string());
                    pieces.extend(self.end(choice, finish, facts));
                }
                pieces
            }
        }
    }

    /// What more tokens say.
    pub(super) fn text(&mut self, choice: u32, tokens: &[u32], logprobs: Vec<Value>) -> Vec<Piece> {
        let text: String = tokens.iter().map(|token| self.answer.push(*token)).collect();
        if text.is_empty() && logprobs.is_empty() {
            return Vec::new();
        }
        vec![Piece::Text { choice, text, logprobs }]
    }

    /// The rest of the text, and the end.
    pub(super) fn end(&mut self, choice: u32, finish: Finish, facts: Value) -> Vec<Piece> {
        let rest = self.answer.finish();
        let rest = (!rest.is_empty()).then_some(Piece::Text { choice, text: rest, logprobs: Vec::new() });
        let stop = self.answer.stopped_by().map(str::to_owned);
        rest.into_iter().chain([Piece::End { choice, finish, stop, tokens: self.tokens, facts }]).collect()
    }

    pub(super) fn tells_logprobs(&self) -> bool {
        self.tells_logprobs
    }

    /// Counts tokens that were told.
    pub(super) fn count(&mut self, tokens: usize) {
        self.tokens += tokens as u32;
    }
}
