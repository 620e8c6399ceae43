//! What can go wrong with a model file, a template and a run.

use std::path::PathBuf;
use talkoo_base::wire::DecodeError;
use talkoo_exact::{ImportError, RangeError};

/// A model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}; check that the file exists and is readable")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not GGUF at all.
    #[error("this is not a GGUF file (it starts with {found:?}); give a model in GGUF form")]
    NotGguf {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The file ends too early or contradicts itself.
    #[error("the model file is damaged: {what}; fetch it again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A valid file that this engine cannot run.
    #[error("{what} is not supported; use {hint}")]
    Unsupported {
        /// What the file asks for.
        what: String,
        /// What would work.
        hint: String,
    },
    /// A number in the file has no place in the exact contract.
    #[error("tensor or setting {name}: {source}")]
    Import {
        /// The tensor or metadata key.
        name: String,
        /// Why.
        source: ImportError,
    },
}

impl ModelError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), hint: hint.into() }
    }

    pub(crate) fn import(name: impl Into<String>) -> impl FnOnce(ImportError) -> Self {
        let name = name.into();
        move |source| Self::Import { name, source }
    }
}

/// A chat that could not be rendered with the model's own template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file has no chat template.
    #[error("the model has no chat template; send a plain prompt instead of messages")]
    Missing,
    /// The template itself refuses the messages (`raise_exception`).
    #[error("the model's chat template refuses these messages: {0}; change their roles or order")]
    Refused(String),
    /// The template is broken, too slow, or uses something that is not provided.
    #[error("the model's chat template failed: {0}; send a plain prompt, or use another model file")]
    Failed(String),
}

/// A run that cannot start or continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// There is nothing to continue.
    #[error("the prompt has no tokens; give at least one")]
    EmptyPrompt,
    /// No room for a single output token.
    #[error("the prompt has {have} tokens, the model takes at most {need} with one of output; shorten the prompt")]
    PromptTooLong {
        /// Prompt tokens that fit.
        need: u32,
        /// Prompt tokens given.
        have: u32,
    },
    /// A token id that the model does not have.
    #[error("token {token} is not in the model's vocabulary of {vocabulary}; tokenise with this model's file")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Number of ids.
        vocabulary: u32,
    },
    /// Parameters that ask for nothing or for something unknown.
    #[error("{0}; change the parameters")]
    Parameters(#[from] DecodeError),
    /// Constraint and bans leave no token to go on with: every honest machine ends here.
    #[error("no token is allowed after {after} of output; loosen logit_bias")]
    NoToken {
        /// Output tokens before.
        after: usize,
    },
    /// The constraint cannot be followed: it is none, it is too large, or it left no token to go on with.
    #[error("the constraint cannot be followed: {0}; mend or simplify it")]
    Constraint(String),
    /// The model's numbers left the contract's range: every honest machine ends here.
    #[error(transparent)]
    Range(#[from] RangeError),
}
