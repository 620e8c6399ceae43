//! Flags that offer another program's engine.

use crate::commands::Failure;
use crate::daemon::remote::{Key, Room, Server};
use clap::Args;
use std::path::PathBuf;
use talkoo_base::{Refusal, RefusalCode};

/// Context of an engine whose owner names none, in tokens.
const CONTEXT_DEFAULT: u32 = 4_096;

/// Flags that offer another program's engine.
#[derive(Args, Clone)]
pub(crate) struct EngineArgs {
    /// Offer the engine of a server that speaks OpenAI's API (vLLM, SGLang, llama-server, …), in the float tier.
    #[arg(long, value_name = "URL", requires_all = ["engine_model", "engine_vocabulary"])]
    engine: Option<String>,
    /// What that server calls the model; jobs name it so, too.
    #[arg(long, value_name = "NAME", requires = "engine")]
    engine_model: Option<String>,
    /// A GGUF file of this model; only its tokenizer is read.
    #[arg(long, value_name = "FILE", requires = "engine")]
    engine_vocabulary: Option<PathBuf>,
    /// Longest context to offer, in tokens; 4096 unless told otherwise.
    #[arg(long, value_name = "N", requires = "engine", value_parser = clap::value_parser!(u32).range(64..=131_072))]
    engine_context: Option<u32>,
    /// Requests that the server takes side by side; 8 unless told otherwise. Some servers break one off for the next: 1.
    #[arg(long, value_name = "N", requires = "engine", value_parser = clap::value_parser!(u32).range(1..=64))]
    engine_slots: Option<u32>,
    /// A file with the key that the server wants.
    #[arg(long, value_name = "FILE", requires = "engine")]
    engine_key_file: Option<PathBuf>,
}

impl EngineArgs {
    /// The server that they name, if they do.
    ///
    /// # Errors
    /// A URL, a key or a vocabulary that cannot be used.
    pub(crate) fn server(self) -> Result<Option<Server>, Failure> {
        let Self { engine, engine_model, engine_vocabulary, engine_context, engine_slots, engine_key_file } = self;
        let (Some(url), Some(model), Some(vocabulary)) = (engine, engine_model, engine_vocabulary) else {
            return Ok(None);
        };
        if !(1..=NAME_BYTES_MAX).contains(&model.len()) {
            let hint = "give the name that its list of models has";
            return Err(
                Refusal::new(RefusalCode::Malformed, "an engine's model has a name of 1 to 256 bytes", hint).into()
            );
        }
        let key = engine_key_file.as_deref().map(Key::read).transpose()?;
        let room = Room {
            context: engine_context.unwrap_or(CONTEXT_DEFAULT),
            slots: engine_slots.unwrap_or(crate::daemon::SLOTS),
        };
        Ok(Some(Server::new(&url, model, &vocabulary, room, key)?))
    }
}

/// Bytes of a model's name.
const NAME_BYTES_MAX: usize = 256;
