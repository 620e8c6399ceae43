//! Encoders in memory: a run is one text, and all that wait for the same encoder go through it together.

use super::loaded::run_failed;
use super::{ModelFile, Order, State};
use crate::models::{catalog, in_cache};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use talkoo_base::{Digest, Finish, Kind, ModelOffer, Refusal, RefusalCode, Tier};
use talkoo_engine::{Embedded, Embedder, Encoder, RunError};
use talkoo_proof::{Input, Run, Ticket};

/// Encoders in memory; they are small beside models that generate.
const ENCODERS_MAX: usize = 2;
/// Tokens that go through an encoder together, for each thread: other models wait meanwhile, some hundredths of a second.
const TOKENS_AT_ONCE: usize = 256;
/// Texts and their tokens that an encoder is measured with.
const MEASURED: (usize, usize) = (16, 64);

/// The encoders in memory, by root; the least recently used goes for another.
#[derive(Default)]
pub(super) struct Encoders(BTreeMap<Digest, Loaded>);

struct Loaded {
    encoder: Arc<Encoder>,
    embedder: Embedder,
    used: Instant,
}

/// Takes a run and others out of the queue that the same encoder can do with it, as many as so many threads do at once.
pub(super) fn with_it(state: &mut State, run: Run, threads: usize) -> Vec<Run> {
    let mut room = (TOKENS_AT_ONCE * threads).saturating_sub(run.work.prompt.len());
    let (mut runs, mut queue) = (vec![run], std::mem::take(&mut state.queue));
    queue.retain(|order| {
        let Order::Run(other) = order else { return true };
        if !same(&runs[0], other) || other.work.prompt.len() > room {
            return true;
        }
        room -= other.work.prompt.len();
        runs.push((**other).clone());
        false
    });
    state.queue = queue;
    for run in &runs {
        // A vector is one chunk: nothing waits for credit.
        state.credits.remove(&run.ticket);
    }
    runs
}

/// Whether two runs may share a pass: of one encoder, and both for others or both for ourselves.
fn same(run: &Run, other: &Run) -> bool {
    let is_sale = |run: &Run| matches!(run.ticket, Ticket::Sale(_));
    other.work.kind == Kind::Embed && run.work.program == other.work.program && is_sale(run) == is_sale(other)
}

/// The file of an encoder that is not on the shelf: whoever only buys, and checks what he bought, has it in the cache.
pub(super) fn cached(root: &Digest) -> Option<ModelFile> {
    let entry = catalog::encoders().iter().find(|entry| entry.root() == *root)?;
    Some(ModelFile::encoder(in_cache(entry)?, *root, entry.bytes))
}

impl Encoders {
    /// Forgets those that nobody used for a while.
    pub(super) fn tidy(&mut self, idle: Duration) {
        self.0.retain(|_, loaded| loaded.used.elapsed() < idle);
    }

    /// Runs texts on so many threads: what each becomes, for the proof machine.
    pub(super) fn run(
        &mut self,
        root: Digest,
        file: impl FnOnce() -> Result<ModelFile, Refusal>,
        runs: Vec<Run>,
        threads: usize,
    ) -> Vec<Input> {
        let loaded = match self.load(root, file, threads) {
            Ok(loaded) => loaded,
            Err(refusal) => {
                let failed = |run: Run| Input::RunFailed { ticket: run.ticket, refusal: refusal.clone() };
                return runs.into_iter().map(failed).collect();
            }
        };
        // Nobody pays for a run that fails: what the order alone shows to be wrong is not computed.
        let (runs, refused) = fitting(runs, loaded.encoder.dimensions());
        let (texts, traces): (Vec<_>, Vec<_>) = runs.iter().map(|run| (run.work.prompt.clone(), run.trace_id)).unzip();
        loaded.embedder.set_threads(threads);
        let all = match loaded.embedder.embed_each(&texts, &traces) {
            Ok(all) => all.into_iter().map(Ok).collect(),
            // One that cannot be embedded does not take the others with it.
            Err(_) => texts.iter().zip(&traces).map(|(text, trace)| loaded.alone(text, trace)).collect::<Vec<_>>(),
        };
        runs.into_iter().zip(all).map(|(run, made)| told(run, made)).chain(refused).collect()
    }

    /// Tests and measures an encoder.
    ///
    /// # Errors
    /// If it cannot be loaded, or this machine computes other numbers than the definition.
    pub(super) fn offer(
        &mut self,
        root: Digest,
        file: impl FnOnce() -> Result<ModelFile, Refusal>,
        threads: usize,
    ) -> Result<ModelOffer, Refusal> {
        let loaded = self.load(root, file, threads)?;
        let probe: Vec<u32> = (1..9).collect();
        let defined = loaded.encoder.define_embed(&probe, &root).map_err(|e| run_failed(&e))?;
        if loaded.alone(&probe, &root).map_err(|e| run_failed(&e))? != defined {
            let message = format!("the {} kernels and the definition differ", loaded.embedder.kernel_name());
            let hint = "test this machine's memory; it offers nothing until then";
            return Err(Refusal::new(RefusalCode::SelfTestFailed, message, hint));
        }
        let (texts, length) = (MEASURED.0, MEASURED.1.min(loaded.encoder.context_max()));
        let text: Vec<u32> = (1..=u32::try_from(length).unwrap_or(1)).collect();
        let start = Instant::now();
        loaded.embedder.embed(&vec![text; texts], &root).map_err(|e| run_failed(&e))?;
        let a_second = |units: usize| (units as f64 * 1_000.0 / start.elapsed().as_secs_f64()) as u64;
        Ok(ModelOffer {
            program: root,
            tier: Tier::Exact,
            context: u32::try_from(loaded.encoder.context_max()).unwrap_or(u32::MAX),
            prefill_mtps: a_second(texts * length),
            decode_mtps: a_second(texts * loaded.encoder.dimensions()),
        })
    }

    fn load(
        &mut self,
        root: Digest,
        file: impl FnOnce() -> Result<ModelFile, Refusal>,
        threads: usize,
    ) -> Result<&mut Loaded, Refusal> {
        if !self.0.contains_key(&root) {
            let loaded = Loaded::open(&file()?, root, threads)?;
            while self.0.len() >= ENCODERS_MAX {
                let oldest = self.0.iter().min_by_key(|(_, loaded)| loaded.used).map(|(root, _)| *root);
                oldest.and_then(|root| self.0.remove(&root));
            }
            self.0.insert(root, loaded);
        }
        let loaded = self.0.get_mut(&root).expect("loaded just above");
        loaded.used = Instant::now();
        Ok(loaded)
    }
}

impl Loaded {
    fn open(file: &ModelFile, root: Digest, threads: usize) -> Result<Self, Refusal> {
        let unread = |e| Refusal::new(RefusalCode::RunFailed, format!("cannot load the encoder: {e}"), "pull it again");
        let encoder = Arc::new(Encoder::load(&file.path).map_err(unread)?);
        if encoder.root() != root {
            let message = format!("{} is not the encoder it was any more", file.path.display());
            return Err(Refusal::new(RefusalCode::SelfTestFailed, message, "remove it and pull it again"));
        }
        Ok(Self { encoder: encoder.clone(), embedder: Embedder::new(encoder, threads), used: Instant::now() })
    }

    fn alone(&mut self, text: &[u32], trace: &Digest) -> Result<Embedded, RunError> {
        let mut made = self.embedder.embed(&[text.to_vec()], trace)?;
        Ok(made.remove(0))
    }
}

/// The runs that ask for as many numbers as a vector has, and what becomes of the others.
fn fitting(runs: Vec<Run>, dimensions: usize) -> (Vec<Run>, Vec<Input>) {
    let (fit, others): (Vec<_>, Vec<_>) =
        runs.into_iter().partition(|run| run.work.params.max_tokens as usize == dimensions);
    let refused = |run: Run| {
        let asked = run.work.params.max_tokens;
        let message = format!("the encoder's vectors have {dimensions} numbers, the order says {asked}");
        let refusal = Refusal::new(RefusalCode::RunFailed, message, "order as many as the encoder makes");
        Input::RunFailed { ticket: run.ticket, refusal }
    };
    (fit, others.into_iter().map(refused).collect())
}

/// A vector as a lease's output; of a re-run, whether it is the one that was given.
fn told(run: Run, made: Result<Embedded, RunError>) -> Input {
    let ticket = run.ticket;
    let made = match made {
        Ok(made) => made,
        Err(error) => return Input::RunFailed { ticket, refusal: run_failed(&error) },
    };
    let tokens: Vec<u32> = made.vector.iter().map(|x| x.cast_unsigned()).collect();
    match run.rerun {
        None => Input::Produced { ticket, index: 0, tokens, digest: made.digest, logprobs: None, finish: Finish::Stop },
        Some(given) => {
            let differs = tokens.iter().zip(&given).position(|(ours, theirs)| ours != theirs);
            let short = (given.len() != tokens.len()).then(|| given.len().min(tokens.len()));
            let diverged = differs.or(short).map(|at| at as u64);
            Input::Verified { ticket, digests: vec![made.digest], diverged, finish: Finish::Stop }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::executor::{Allowance, Executor, Report};
    use talkoo_base::{GenerateParams, LeaseId, SecretKey, Work};
    use talkoo_engine::KvFormat;

    fn run(number: u8, kind: Kind, program: u8, tokens: usize) -> Run {
        let (program, params) = (Digest([program; 32]), GenerateParams::default());
        let work = Work { kind, program, tier: Tier::Exact, prompt: vec![0; tokens], params, seed: 0 };
        let client = SecretKey::from_bytes(&[1; 32]).unwrap().node_id();
        let ticket = Ticket::Sale(LeaseId(Digest([number; 32])));
        Run { ticket, client, work, trace_id: Digest::ZERO, rerun: None }
    }

    #[test]
    fn what_the_order_shows_to_be_wrong_is_not_computed() {
        let of = |number, numbers| {
            let mut run = run(number, Kind::Embed, 7, 9);
            run.work.params = Kind::params_of_embed(numbers);
            run
        };
        let (fit, refused) = fitting(vec![of(1, 384), of(2, 383), of(3, 0), of(4, 384)], 384);
        assert_eq!(fit, [of(1, 384), of(4, 384)]);
        let asked = |input: &Input| match input {
            Input::RunFailed { ticket, refusal } => (*ticket, refusal.message.clone()),
            other => panic!("{other:?}"),
        };
        let says = |n| format!("the encoder's vectors have 384 numbers, the order says {n}");
        let expected = [(of(2, 0).ticket, says(383)), (of(3, 0).ticket, says(0))];
        assert_eq!(refused.iter().map(asked).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn text_is_made_by_no_encoder_and_a_vector_by_nothing_else() {
        let (report, told) = std::sync::mpsc::channel();
        let allowance = Allowance { threads: 1, memory_bytes_max: 0, is_polite: false };
        let mut executor = Executor::start(allowance, move |told| report.send(told).unwrap()).unwrap();
        let (encoder, model) = (Digest([7; 32]), Digest([8; 32]));
        executor.add_encoder(encoder, "/nowhere".into());
        executor.add_model(model, "/nowhere".into(), KvFormat::default(), model);
        let orders = [
            (1, Kind::Generate, 7, "this model makes vectors and generates no text"),
            (2, Kind::Embed, 8, "this model generates text and makes no vectors"),
            (3, Kind::Embed, 9, "the model is not on this machine"),
        ];
        for (number, kind, program, why) in orders {
            executor.run(Box::new(run(number, kind, program, 9)));
            match told.recv_timeout(Duration::from_secs(60)).expect("an answer within a minute") {
                Report::Run(Input::RunFailed { refusal, .. }) => assert_eq!(refusal.message, why),
                _ => panic!("{why}"),
            }
        }
        assert!(executor.end().is_ok());
    }

    #[test]
    fn as_many_texts_go_together_as_keep_others_waiting_a_moment() {
        use Kind::{Embed, Generate};
        let mut state = State::default();
        let waiting =
            [(1, Embed, 7, 200), (2, Generate, 7, 9), (3, Embed, 8, 9), (4, Embed, 7, 300), (5, Embed, 7, 100)];
        for (number, kind, program, tokens) in waiting {
            let run = run(number, kind, program, tokens);
            state.credits.insert(run.ticket, 2);
            state.queue.push_back(Order::Run(Box::new(run)));
        }
        let number = |run: &Run| match run.ticket {
            Ticket::Sale(lease) => lease.0.0[0],
            _ => 0,
        };
        let taken = with_it(&mut state, run(0, Embed, 7, 100), 2);
        assert_eq!(taken.iter().map(number).collect::<Vec<_>>(), [0, 1, 5], "412 tokens are too many with number 4");
        let left: Vec<u8> =
            state.queue.iter().map(|order| if let Order::Run(run) = order { number(run) } else { 0 }).collect();
        assert_eq!((left, state.credits.len()), (vec![2, 3, 4], 3));
        let taken = with_it(&mut state, run(6, Embed, 7, 9_999), 2);
        assert_eq!(taken.len(), 1, "one goes whatever its length");
        let own = Run { ticket: Ticket::Own(LeaseId(Digest::ZERO)), ..run(7, Embed, 7, 9) };
        assert_eq!(with_it(&mut state, own, 2).len(), 1, "what others pay for goes apart from our own");
    }
}
