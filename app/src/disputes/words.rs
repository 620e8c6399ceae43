//! A dispute in words: where the search is, and what was found.

use std::fmt::Write;
use talkoo_exact::Model;
use talkoo_exact::limits::BLOCK;
use talkoo_exact::steps::{Draw, Name, OUT_OF_RANGE, Place, Program, Stage};
use talkoo_proof::dispute::{Finding, Question, Shape};

/// What the words are about.
pub(super) struct Sight<'a> {
    pub(super) shape: Shape,
    pub(super) model: &'a Model,
}

/// A number as people read it: 1,920.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `a..b of n` of the leaves below a node of a tree.
fn below(level: u8, index: u64, count: usize) -> String {
    let first = usize::try_from(index << level).unwrap_or(usize::MAX);
    let last = count.min(first.saturating_add(1 << level)).saturating_sub(1);
    format!("{}..{} of {}", thousands(first), thousands(last), thousands(count))
}

fn stage(name: Name, index: Option<usize>) -> String {
    let after = |unit: &str, each: usize| {
        index.map_or_else(String::new, |i| format!(" after {} {unit}", thousands((i + 1) * each)))
    };
    match name.stage {
        Stage::Out => String::new(),
        Stage::Max => format!("its running largest number{}", after("numbers", BLOCK)),
        Stage::Squares => format!("its running sum of squares{}", after("numbers", BLOCK)),
        Stage::Mantissas => "its mantissas".into(),
        Stage::Sums => format!("its running sum{}", after("columns", BLOCK)),
        Stage::Scores => format!("scores of head {}", name.sub),
        Stage::Weights => format!("weights of head {}", name.sub),
        Stage::Total => format!("its running sum of weights{}", after("numbers", BLOCK)),
        Stage::Exponent => format!("its running largest exponent{}", after("positions", 1)),
        Stage::Aligned => format!("aligned weights, block {}", name.sub),
        Stage::SegmentMax | Stage::Top => format!("its running largest aligned weight{}", after("positions", BLOCK)),
        Stage::Partial => format!("its running sum in the segment{}", after("positions", 1)),
        Stage::Segments => format!("its running sum{}", after("segments", 1)),
        Stage::Before => format!("the tokens before token {}", name.sub),
        Stage::Kept => "what the filters keep".into(),
    }
}

impl Sight<'_> {
    fn length(&self, position: usize, layer: usize, name: Name) -> usize {
        let (token, before, earlier, draw) = (0, None, &[][..], Draw::default());
        Program { model: self.model, layer, position, token, before, earlier, draw }.length(name)
    }

    /// What the contract counts of what a question is about: of a vector its numbers, else the leaves of the tree.
    pub(super) fn count(&self, question: &Question, leaves: u64) -> u64 {
        match question {
            Question::Vector { position, layer, vector, .. } => {
                let length = |name| self.length(*position as usize, *layer as usize, name) as u64;
                Name::from_number(*vector).map_or(0, length)
            }
            Question::Chunk { .. } | Question::States { .. } | Question::State { .. } | Question::Roots { .. } => {
                leaves
            }
        }
    }

    /// A vector, perhaps one element of it.
    fn vector(&self, position: usize, layer: usize, name: Name, index: Option<usize>) -> String {
        if (name.place, name.stage) == (Place::Sampler, Stage::Out) {
            return format!("whether token {} is drawn (1 or 0)", name.sub);
        }
        let mut text = format!("{:?}", name.place);
        if name.stage == Stage::Sums {
            let rows = self.length(position, layer, Name::out(name.place));
            write!(text, ", row {} of {}", thousands(name.sub as usize), thousands(rows)).expect("a string");
        }
        let stage = stage(name, index);
        if !stage.is_empty() {
            text = format!("{text}, {stage}");
        } else if let Some(index) = index {
            let length = self.length(position, layer, name);
            write!(text, ", number {} of {}", thousands(index), thousands(length)).expect("a string");
        }
        text
    }

    /// What a question asks for.
    pub(super) fn question(&self, question: &Question) -> String {
        let shape = &self.shape;
        let states = |chunk: u32| shape.states(chunk as usize).len();
        match question {
            Question::Chunk { chunk, .. } => format!("chunk {} of {}", chunk + 1, shape.chunks()),
            Question::States { chunk, level, index, .. } => {
                format!("states {} in chunk {}", below(*level, *index, states(*chunk)), chunk + 1)
            }
            Question::State { chunk, state } => {
                let (position, layer) = shape.place(*chunk as usize, usize::try_from(*state).unwrap_or(0));
                format!("the bytes of the state at position {position}, layer {layer}")
            }
            Question::Roots { position, layer, vectors } => {
                let count = vectors.len();
                format!("position {position}, layer {layer}: signed roots of {count} of its vectors")
            }
            Question::Vector { position, layer, vector, level, index, .. } => {
                let Some(name) = Name::from_number(*vector) else { return format!("vector {vector}") };
                let (position, layer) = (*position as usize, *layer as usize);
                let leaves = self.length(position, layer, name).div_ceil(BLOCK);
                format!("{}: blocks {}", self.vector(position, layer, name, None), below(*level, *index, leaves))
            }
        }
    }

    /// What was found; `right` is what the number has to be, if somebody recomputed it.
    pub(super) fn finding(&self, finding: &Finding, right: Option<&str>) -> String {
        match finding {
            Finding::Element(e) => {
                let (position, layer) = (e.position as usize, e.layer as usize);
                let what = self.vector(position, layer, e.name, Some(e.index as usize));
                let is = right.map_or_else(String::new, |right| format!(", it is {right}"));
                format!("position {position}, layer {layer}: {what}: the worker says {}{is}", number(e.claimed))
            }
            Finding::State(torn) => {
                let (position, layer) = (torn.roots.0.position, torn.roots.0.layer);
                let what = self.vector(position as usize, layer as usize, torn.name, Some(torn.index as usize));
                format!("the state at position {position}, layer {layer} is not what its own vectors say: {what}")
            }
            Finding::Output { token, told, .. } => {
                format!("its trace has another token than its output at place {token}: the output has {told}")
            }
            Finding::Missing { roots: (roots, _), vector } => {
                let name = Name::from_number(*vector).map_or_else(String::new, |name| format!("{:?}", name.place));
                let (position, layer) = (roots.position, roots.layer);
                format!("position {position}, layer {layer}: it denies a vector that the program has: {name}")
            }
        }
    }
}

/// An element in decimal.
pub(super) fn number(element: i128) -> String {
    if element == OUT_OF_RANGE { "a range error".into() } else { element.to_string() }
}
