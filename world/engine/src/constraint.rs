//! Constraints: the tokens that a text may go on with, so that it becomes one of a language.
//!
//! The work is llguidance's (<https://docs.rs/llguidance>): from a JSON schema, regular expression or grammar, and the
//! bytes of every token, to a set of tokens for each step. The set is a function of constraint, tokens so far
//! and vocabulary, hence the same on every machine that runs the version which the parameters name. All
//! its bounds count work, not time.

mod bounds;

use crate::error::RunError;
use crate::vocabulary::Vocabulary;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::fmt;
use std::sync::Arc;
use std::thread;
use talkoo_base::{Constraint, ConstraintForm};

/// What llguidance takes for the mark of a special token; no text in UTF-8 has this byte.
const MARK: u8 = 0xff;

/// Bytes of stack for compiling: the deepest constraint of 32 KiB took 8 to 32 MiB.
const STACK_BYTES: usize = 64 << 20;

/// Work for compiling and for each step.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 50_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

/// Compiles the constraints of one vocabulary.
pub(crate) struct Compiler(ParserFactory);

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiler")
    }
}

impl Compiler {
    /// Reads the tokens; slow, so once for a model.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, RunError> {
        let [first, ..] = vocabulary.eos() else {
            return Err(RunError::Constraint("the model has no end token, which a constraint needs".to_owned()));
        };
        let piece = |token| Some(vocabulary.piece(token)).filter(|piece| piece.first() != Some(&MARK));
        let pieces: Vec<Vec<u8>> =
            (0..vocabulary.len() as u32).map(|token| piece(token).unwrap_or_default().to_vec()).collect();
        let trie = TokTrie::from(&TokRxInfo::new(pieces.len() as u32, *first), &pieces);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie.with_eos_tokens(vocabulary.eos())));
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &[]).map_err(failed)?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self(factory))
    }

    /// A constraint before the first token.
    ///
    /// # Errors
    /// If it is no constraint, or a too large one.
    pub(crate) fn compile(&self, constraint: &Constraint) -> Result<Text, RunError> {
        let source = constraint.source.as_str();
        let schema = (constraint.form == ConstraintForm::JsonSchema).then(|| serde_json::from_str(source));
        let schema: Option<serde_json::Value> =
            schema.transpose().map_err(|e| RunError::Constraint(format!("it is no JSON ({e})")))?;
        bounds::check(constraint, schema.as_ref()).map_err(|what| RunError::Constraint(format!("it has {what}")))?;
        let grammar = match constraint.form {
            ConstraintForm::JsonSchema => TopLevelGrammar::from_json_schema(schema.unwrap_or_default()),
            ConstraintForm::Regex => TopLevelGrammar::from_regex(source),
            ConstraintForm::Lark => TopLevelGrammar::from_lark(source.to_owned()),
        };
        let matcher = deep(|| Matcher::new(self.0.create_parser(grammar)))?;
        match matcher.get_error() {
            Some(why) => Err(RunError::Constraint(one_line(&why))),
            None => Ok(Text(matcher)),
        }
    }
}

/// A text under way.
pub(crate) struct Text(Matcher);

impl Text {
    /// The tokens that may come next.
    ///
    /// # Errors
    /// If none may, or to find out takes too much work.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, RunError> {
        self.0.compute_mask_or_eos().map_err(failed)
    }

    /// Takes the token that came, which is no end token.
    ///
    /// # Errors
    /// If it was not allowed, or takes too much work.
    pub(crate) fn push(&mut self, token: u32) -> Result<(), RunError> {
        self.0.consume_token(token).map_err(failed)
    }
}

/// Does work where rules that name rules that name rules find stack enough; a panic is an error.
fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, RunError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).map_err(failed)?;
        thread.join().map_err(|_| failed("its compiler failed"))
    })
}

fn failed(error: impl fmt::Display) -> RunError {
    RunError::Constraint(one_line(&error.to_string()))
}

/// The first line of what the library says.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
