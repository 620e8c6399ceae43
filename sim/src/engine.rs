//! A pretended engine: its "model" is a hash, so truth is known everywhere and costs nothing.

use crate::liar::Strategy;
use std::collections::{BTreeMap, VecDeque};
use talkoo_base::{Digest, Finish, Kind, Likeness, Logprobs, Tier, TokenLogprobs, Work, float_chunk, sha256};
use talkoo_proof::{Input, Run, Ticket};

/// Stop token of the pretended model.
const EOS: u32 = 2;
/// Honest answers before a long con turns.
const CON_AFTER: u32 = 12;

/// What an honest run of `work` under `program` gives.
pub(crate) fn truth(program: &Digest, work: &Work) -> (Vec<u32>, Finish) {
    let prompt: Vec<u8> = work.prompt.iter().flat_map(|t| t.to_be_bytes()).collect();
    let base = sha256(&[&program.0, &prompt, &work.seed.to_be_bytes()]);
    let max = work.params.max_tokens;
    let is_vector = work.kind == Kind::Embed;
    let length = if is_vector { max } else { 1 + u32::try_from(base.first_u64() % u64::from(max)).expect("below max") };
    let mut state = base.first_u64();
    let mut tokens: Vec<u32> = (0..length)
        .map(|i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(i) | 1);
            3 + u32::try_from((state >> 33) % 40_000).expect("small")
        })
        .collect();
    if is_vector {
        return (tokens, Finish::Stop);
    }
    if length == max {
        return (tokens, Finish::Length);
    }
    *tokens.last_mut().expect("at least one token") = EOS;
    (tokens, Finish::Stop)
}

/// Digest of chunk `index` of a run of `program` that was fed `tokens`; in the float tier of its tokens alone.
fn chunk_digest(work: &Work, program: &Digest, trace_id: &Digest, index: u32, tokens: &[u32]) -> Digest {
    let start = tokens.len().min(index as usize * work.chunk_units());
    let end = tokens.len().min((index as usize + 1) * work.chunk_units());
    if work.tier == Tier::Float {
        return float_chunk(trace_id, index, &tokens[start..end]);
    }
    let fed: Vec<u8> = tokens[..end].iter().flat_map(|t| t.to_be_bytes()).collect();
    sha256(&[b"pretended states", &program.0, &trace_id.0, &index.to_be_bytes(), &fed])
}

/// The log probabilities that `work` wants of a chunk: those of the pretended model, or `off` by so much.
fn told(work: &Work, inner: Digest, tokens: &[u32], off: i32) -> Option<Logprobs> {
    let top = work.params.top_logprobs?;
    let mut bytes = Vec::new();
    for token in tokens {
        let chosen = -1 - off - i32::try_from(token % 1_000).expect("small");
        TokenLogprobs { chosen, top: vec![(*token, chosen); top as usize] }.push_bytes(&mut bytes);
    }
    Some(Logprobs { inner, bytes })
}

struct Active {
    run: Run,
    credits: u32,
    answer: Vec<u32>,
    finish: Finish,
    digests: Vec<Digest>,
    sent: u32,
}

/// One node's engine: one chunk at a time, re-runs first.
pub(crate) struct Engine {
    strategy: Strategy,
    queue: VecDeque<Active>,
    previous: Option<(Vec<u32>, Finish, Vec<Digest>)>,
    /// What it made for a lease: a liar that looks at its own answer again sees what it said.
    made: BTreeMap<Ticket, Vec<Digest>>,
    answered: u32,
    /// How long a chunk takes, in milliseconds.
    pub(crate) chunk_ms: u64,
    /// Lies that left this engine.
    pub(crate) lies: u32,
}

/// What liars run instead of the model they claim.
fn other(program: &Digest) -> Digest {
    sha256(&[b"other weights", &program.0])
}

/// What those in league run.
fn league(program: &Digest) -> Digest {
    sha256(&[b"the league's weights", &program.0])
}

impl Engine {
    pub(crate) fn new(strategy: Strategy, chunk_ms: u64) -> Self {
        Self { strategy, queue: VecDeque::new(), previous: None, made: BTreeMap::new(), answered: 0, chunk_ms, lies: 0 }
    }

    pub(crate) fn run(&mut self, run: Run) {
        if self.strategy == Strategy::Silent && matches!(run.ticket, Ticket::Sale(_)) {
            return;
        }
        let active = if run.rerun.is_some() { self.blank(run) } else { self.answer(run) };
        self.queue.push_back(active);
    }

    fn blank(&self, run: Run) -> Active {
        Active { run, credits: 0, answer: Vec::new(), finish: Finish::Stop, digests: Vec::new(), sent: 0 }
    }

    /// Prepares the answer to a client, true or false.
    fn answer(&mut self, run: Run) -> Active {
        let honest = truth(&run.work.program, &run.work);
        let mut program = run.work.program;
        self.answered += 1;
        let (mut answer, mut finish) = honest.clone();
        let mut copied = None;
        match self.strategy {
            Strategy::OtherWeights => program = other(&program),
            Strategy::Colluder => program = league(&program),
            Strategy::LongCon if self.answered > CON_AFTER => program = other(&program),
            Strategy::Truncated if answer.len() > 1 => {
                answer.truncate(answer.len() / 2);
                finish = Finish::Stop;
            }
            Strategy::TamperedToken => answer[0] ^= 1,
            Strategy::CheatedSampler => {
                let mut work = run.work.clone();
                work.seed ^= 1;
                (answer, finish) = truth(&program, &work);
            }
            Strategy::CopiedAnswer => copied = self.previous.clone(),
            _ => {}
        }
        if program != run.work.program {
            (answer, finish) = truth(&program, &run.work);
        }
        let chunks = u32::try_from(answer.len().div_ceil(run.work.chunk_units())).expect("short");
        let mut digests: Vec<Digest> =
            (0..chunks).map(|j| chunk_digest(&run.work, &program, &run.trace_id, j, &answer)).collect();
        if let Some(old) = copied.filter(|c| c.0.len() <= run.work.params.max_tokens as usize) {
            (answer, finish, digests) = old;
            finish = if answer.len() == run.work.params.max_tokens as usize { Finish::Length } else { finish };
        }
        let true_digest = chunk_digest(&run.work, &run.work.program, &run.trace_id, 0, &honest.0);
        let false_logprobs = self.strategy == Strategy::FalseLogprobs && run.work.params.top_logprobs.is_some();
        self.lies += u32::from(answer != honest.0 || digests.first() != Some(&true_digest) || false_logprobs);
        self.previous = Some((answer.clone(), finish, digests.clone()));
        Active { run, credits: 0, answer, finish, digests, sent: 0 }
    }

    pub(crate) fn credit(&mut self, ticket: Ticket, chunks: u32) {
        if let Some(active) = self.queue.iter_mut().find(|a| a.run.ticket == ticket) {
            active.credits += chunks;
        }
    }

    pub(crate) fn stop(&mut self, ticket: Ticket) {
        self.queue.retain(|a| a.run.ticket != ticket);
    }

    /// How long until the engine next has something to say; `None`: nothing to do.
    pub(crate) fn busy_ms(&self) -> Option<u64> {
        let slow = if self.strategy == Strategy::Slow { 20 } else { 1 };
        self.next().map(|_| self.chunk_ms * slow)
    }

    fn next(&self) -> Option<usize> {
        let rerun = self.queue.iter().position(|a| a.run.rerun.is_some());
        rerun.or_else(|| self.queue.iter().position(|a| a.credits > 0))
    }

    /// Does one chunk or one re-run.
    pub(crate) fn work(&mut self) -> Option<Input> {
        let at = self.next()?;
        if self.queue[at].run.rerun.is_some() {
            let active = self.queue.remove(at)?;
            return Some(self.rerun(&active.run));
        }
        let active = &mut self.queue[at];
        let index = active.sent;
        let from = index as usize * active.run.work.chunk_units();
        let to = active.answer.len().min(from + active.run.work.chunk_units());
        (active.sent, active.credits) = (index + 1, active.credits - 1);
        let last = to == active.answer.len();
        let (tokens, inner) = (active.answer[from..to].to_vec(), active.digests[index as usize]);
        let logprobs = told(&active.run.work, inner, &tokens, i32::from(self.strategy == Strategy::FalseLogprobs));
        let digest = logprobs.as_ref().map_or(inner, Logprobs::digest);
        self.made.entry(active.run.ticket).or_default().push(digest);
        let input = Input::Produced {
            ticket: active.run.ticket,
            index,
            tokens,
            digest,
            logprobs,
            finish: if last { active.finish } else { Finish::Running },
        };
        if last {
            self.queue.remove(at);
        }
        Some(input)
    }

    fn rerun(&mut self, run: &Run) -> Input {
        if let Some(digests) = self.made.get(&run.ticket).filter(|_| self.strategy.lies()) {
            let (digests, finish) = (digests.clone(), Finish::Length);
            return Input::Verified { ticket: run.ticket, digests, diverged: None, finish };
        }
        let given = run.rerun.as_deref().unwrap_or_default();
        let program = match self.strategy {
            Strategy::Colluder if matches!(run.ticket, Ticket::Sale(_)) => league(&run.work.program),
            _ => run.work.program,
        };
        let (honest, finish) = truth(&program, &run.work);
        let same = given.iter().zip(&honest).take_while(|(a, b)| a == b).count();
        if run.work.tier == Tier::Float {
            let matched = given.iter().zip(&honest).filter(|(a, b)| a == b).count() as u64;
            let likeness = Likeness { tokens: given.len() as u64, matched, ..Likeness::default() };
            return Input::Weighed { ticket: run.ticket, likeness };
        }
        let mut diverged = (given.len() != honest.len() || same != given.len()).then_some(same as u64);
        if self.strategy == Strategy::FalseAccuser && matches!(run.ticket, Ticket::Sale(_)) {
            diverged = Some(0);
            self.lies += 1;
        }
        if program != run.work.program {
            self.lies += 1;
        }
        let digest = |(j, tokens): (u32, &[u32])| {
            let inner = chunk_digest(&run.work, &program, &run.trace_id, j, given);
            told(&run.work, inner, tokens, 0).map_or(inner, |told| told.digest())
        };
        let digests = (0..).zip(given.chunks(run.work.chunk_units())).map(digest).collect();
        Input::Verified { ticket: run.ticket, digests, diverged, finish }
    }
}
