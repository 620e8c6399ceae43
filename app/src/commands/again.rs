//! Answers that are computed again, to see whether a receipt tells the truth.

use super::{Failure, run::model_file};
use crate::models::{Shelf, catalog, encoder, in_cache};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use talkoo_base::{Digest, Kind, RefusalCode};
use talkoo_engine::{Embedder, Encoder, Engine, KvFormat, Model, Task, define_generate};
use talkoo_proof::kept::Rerun;

/// What computes, loaded for the first receipt that needs it.
pub(super) struct Engines<'a> {
    /// The model's file, if the user names one.
    file: Option<&'a Path>,
    data_dir: &'a Path,
    engine: Option<(Digest, Engine)>,
    encoder: Option<(Arc<Encoder>, Embedder)>,
}

impl<'a> Engines<'a> {
    pub(super) fn new(file: Option<&'a Path>, data_dir: &'a Path) -> Self {
        Self { file, data_dir, engine: None, encoder: None }
    }

    /// Computes an answer again: with the fast engine, or with the scalar definition.
    ///
    /// # Errors
    /// If it is another one, or cannot be computed here.
    pub(super) fn again(&mut self, run: &Rerun, program: Digest, scalar: bool) -> Result<()> {
        let (tokens, digests) = match run.work.kind {
            Kind::Embed => self.vector(run, program, scalar)?,
            _ => self.text(run, program, scalar)?,
        };
        ensure!(tokens == run.output, "the model gives another answer");
        ensure!(digests == run.digests, "the model goes through other states");
        Ok(())
    }

    fn file(&self, program: Digest) -> Result<PathBuf> {
        self.file.map_or_else(|| find_model(program, self.data_dir), |file| Ok(file.to_owned()))
    }

    fn text(&mut self, run: &Rerun, program: Digest, scalar: bool) -> Result<(Vec<u32>, Vec<Digest>)> {
        if self.engine.as_ref().is_none_or(|(root, _)| *root != program) {
            let file = self.file(program)?;
            let model = Model::load(&file)?;
            let kv = KvFormat::ALL.into_iter().find(|kv| model.root_with(*kv) == program);
            let kv = kv.with_context(|| format!("{} is another model than the receipt names", file.display()))?;
            self.engine = Some((program, Engine::new(Arc::new(model.with_kv(kv)), cores())));
        }
        let (_, engine) = self.engine.as_mut().context("a model was loaded just above")?;
        let task = Task {
            prompt: run.work.prompt.clone(),
            params: run.work.params.clone(),
            seed: run.work.seed,
            trace_id: run.trace_id,
        };
        if scalar {
            let outcome = define_generate(engine.model(), &task)?;
            return Ok((outcome.tokens, outcome.chunk_digests));
        }
        let found = engine.verify(&task, &run.output)?;
        ensure!(found.diverged.is_none(), "the model gives another token at position {:?}", found.diverged);
        ensure!(found.finish.is_some(), "the model would go on where the output ends");
        Ok((run.output.clone(), found.chunk_digests))
    }

    fn vector(&mut self, run: &Rerun, program: Digest, scalar: bool) -> Result<(Vec<u32>, Vec<Digest>)> {
        if self.encoder.as_ref().is_none_or(|(encoder, _)| encoder.root() != program) {
            let file = self.file(program)?;
            let encoder = Arc::new(Encoder::load(&file)?);
            let is_it = encoder.root() == program;
            ensure!(is_it, "{} is another model than the receipt names", file.display());
            self.encoder = Some((encoder.clone(), Embedder::new(encoder, cores())));
        }
        let (encoder, embedder) = self.encoder.as_mut().context("an encoder was loaded just above")?;
        let made = match scalar {
            true => encoder.define_embed(&run.work.prompt, &run.trace_id)?,
            false => embedder.embed(std::slice::from_ref(&run.work.prompt), &run.trace_id)?.remove(0),
        };
        Ok((made.vector.iter().map(|x| x.cast_unsigned()).collect(), vec![made.digest]))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The file of a model, by its root: on the node's shelf, or of the catalogue.
pub(super) fn find_model(root: Digest, data_dir: &Path) -> Result<PathBuf> {
    if let Ok(shelf) = Shelf::open(data_dir)
        && let Some(held) = shelf.every().find(|h| h.programs().any(|(_, program)| program == root))
    {
        return Ok(shelf.path(held));
    }
    if let Some(entry) = catalog::encoders().iter().find(|entry| entry.root() == root) {
        encoder::open(&entry.name)?;
        return in_cache(entry).with_context(|| format!("{} is not in the cache", entry.name));
    }
    match catalog::all().iter().find(|e| KvFormat::ALL.iter().any(|kv| e.root_with(*kv) == Some(root))) {
        Some(entry) => model_file(&entry.name, data_dir),
        None => {
            let message = format!("the model {} is not here", root.short());
            Err(Failure::new(RefusalCode::UnknownModel, message, "give its file with --model").into())
        }
    }
}
