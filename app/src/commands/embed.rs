//! `embed`: texts to vectors on this machine, no network.

use super::{Failure, Show, print, say};
use crate::cli::EmbedArgs;
use crate::models::encoder;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::Digest;
use talkoo_engine::{Embedder, Encoder};

/// Texts that are read before any of them is embedded: bounds the memory, and gives every thread enough.
const AT_ONCE: usize = 1024;

/// What is printed of one text.
#[derive(Serialize)]
struct Line {
    index: usize,
    /// Tokens that were read, class token and separator included.
    tokens: usize,
    /// Tokens of the text that the model could not read.
    cut: usize,
    digest: String,
    embedding: Vec<f32>,
}

pub(super) fn run(args: &EmbedArgs, show: &Show) -> Result<()> {
    let texts = texts(args)?;
    let encoder = Arc::new(encoder::open(&args.model)?);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut embedder = Embedder::new(Arc::clone(&encoder), args.threads.unwrap_or(cores));
    let (mut batch, mut done, mut tokens, start) = (Vec::new(), 0, 0, Instant::now());
    for text in texts {
        batch.push(text?);
        if batch.len() == AT_ONCE {
            tokens += embed(&encoder, &mut embedder, &batch, done)?;
            done += batch.len();
            batch.clear();
        }
    }
    tokens += embed(&encoder, &mut embedder, &batch, done)?;
    done += batch.len();
    if !show.json() {
        let (seconds, root) = (start.elapsed().as_secs_f64(), encoder.root());
        say(&format!("{done} texts, {tokens} tokens, {:.0} tokens/s, model root {root}", tokens as f64 / seconds));
    }
    Ok(())
}

/// The texts as they come: those given, the file's lines, or those of a pipe.
fn texts(args: &EmbedArgs) -> Result<Box<dyn Iterator<Item = Result<String>>>> {
    let lines = |reader: Box<dyn BufRead>| reader.lines().map(|line| line.context("cannot read the texts"));
    if let Some(path) = &args.file {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        return Ok(Box::new(lines(Box::new(BufReader::new(file)))));
    }
    if args.text.is_empty() && !stdin().is_terminal() {
        return Ok(Box::new(lines(Box::new(stdin().lock()))));
    }
    if args.text.is_empty() {
        let hint = format!("give one: `talkoo embed {} \"…\"`, or a file of lines: `--file FILE`", args.model);
        return Err(Failure::usage("there is no text", hint).into());
    }
    Ok(Box::new(args.text.clone().into_iter().map(Ok)))
}

/// Embeds and prints some texts, of which the first has this index. Returns the number of tokens.
fn embed(encoder: &Encoder, embedder: &mut Embedder, texts: &[String], first: usize) -> Result<usize> {
    let encoded: Vec<_> = texts.iter().map(|text| encoder.encode(text)).collect();
    for (i, text) in encoded.iter().enumerate().filter(|(_, text)| text.whole > text.tokens.len()) {
        let (index, most) = (first + i, encoder.context_max());
        say(&format!("text {index} has {} tokens, the model reads {most}: the rest is cut off", text.whole));
    }
    let tokens: Vec<Vec<u32>> = encoded.iter().map(|text| text.tokens.clone()).collect();
    let embedded = embedder.embed(&tokens, &Digest::ZERO)?;
    for (i, (text, embedded)) in encoded.iter().zip(&embedded).enumerate() {
        let real = |x: &i32| (f64::from(*x) / f64::from(1 << 30)) as f32;
        let line = Line {
            index: first + i,
            tokens: text.tokens.len(),
            cut: text.whole - text.tokens.len(),
            digest: embedded.digest.to_string(),
            embedding: embedded.vector.iter().map(real).collect(),
        };
        print(&serde_json::to_string(&line)?);
    }
    Ok(tokens.iter().map(Vec::len).sum())
}
