//! What opens nothing is refused, each with an error of its own.

use super::made_up::model;
use super::play::{Court, question};
use crate::bindings::{Claim, IReferee, Opening, Witness};
use alloy_primitives::B256;
use alloy_sol_types::SolError;
use talkoo_base::GenerateParams;
use talkoo_exact::Model;
use talkoo_exact::steps::{CachedRow, Draw, ModelTree, Name, Place, Program, Stage, Steps};

/// Position and layer of the questions.
const POSITION: usize = 2;
const LAYER: usize = 1;

/// The question for element `index` of a vector of an honest run of this model.
fn honest(model: &Model, name: Name, index: usize) -> (Claim, Witness) {
    let tree = ModelTree::of(model);
    let mut kv = talkoo_exact::forward::Kv::new(model);
    let tokens = [3, 1, 4];
    let steps: Vec<_> =
        tokens.map(|t| talkoo_exact::forward(model, &mut kv, t).expect("a mild model stays in its range")).into();
    let row = |layer, position| -> CachedRow { kv.row(layer, position).clone() };
    let (below, own) = (vec![5; model.manifest.architecture.embedding], row(LAYER - 1, POSITION));
    let earlier: Vec<_> = (0..POSITION).map(|p| (steps[p].residual.clone(), row(LAYER, p))).collect();
    let program = Program {
        model,
        layer: LAYER,
        position: POSITION,
        token: tokens[POSITION],
        before: Some((&below, &own)),
        earlier: &earlier,
        draw: Draw::default(),
    };
    question(&mut Steps::new(program), name, index, &tree)
}

const NORM: Name = Name::of(Place::AttentionNorm, Stage::Out, 0);
const SUMS: Name = Name::of(Place::Gate, Stage::Sums, 3);
const ROW: Name = Name::of(Place::Row, Stage::Out, POSITION as u32);
/// Its first element is read from the state of position 0.
const PARTIAL: Name = Name::of(Place::Attention, Stage::Partial, 1);
const CODES: Name = Name::of(Place::AttentionInput, Stage::Out, 0);

#[test]
fn what_opens_nothing_is_refused() {
    use IReferee::*;
    type Change = fn(&mut Claim, &mut Witness);
    let cases: &[(&str, Name, Change, [u8; 4])] = &[
        ("another sibling", CODES, |_, w| w.openings[0].siblings[0].0[31] ^= 1, WrongRoot::SELECTOR),
        ("a sibling too few", CODES, |_, w| w.openings[0].siblings.truncate(0), WrongPath::SELECTOR),
        ("a sibling too many", CODES, |_, w| w.openings[0].siblings.push(B256::ZERO), WrongPath::SELECTOR),
        ("another element", CODES, |_, w| flip(&mut w.openings[0].elements, 40), WrongRoot::SELECTOR),
        ("another root", CODES, |c, _| c.inputs[0].root.0[0] ^= 1, WrongRoot::SELECTOR),
        ("a vector by another's name", CODES, |c, _| c.inputs[0].vector ^= 1 << 40, WrongRoot::SELECTOR),
        ("the next leaf's number", CODES, |_, w| w.openings[0].leaf ^= 1, WrongRoot::SELECTOR),
        ("a leaf behind the last", CODES, |_, w| w.openings[0].leaf = 2, LeafOutOfRange::SELECTOR),
        ("a leaf cut short", CODES, |_, w| cut(&mut w.openings[0].elements, 16), WrongLength::SELECTOR),
        ("two nodes for a leaf", CODES, node_for_leaf, WrongLength::SELECTOR),
        ("nothing opened", CODES, |_, w| w.openings.clear(), NotOpened::SELECTOR),
        ("an element behind the last", CODES, |c, _| c.index = 64, IndexOutOfRange::SELECTOR),
        ("a layer behind the last", CODES, |c, _| c.layer = 3, IndexOutOfRange::SELECTOR),
        ("another code", SUMS, |_, w| flip(&mut w.weights.tile, 7), WrongRoot::SELECTOR),
        ("another exponent", SUMS, |_, w| flip_last(&mut w.weights.tile), WrongRoot::SELECTOR),
        ("the tile of another row", SUMS, |c, _| c.vector += 1, WrongRoot::SELECTOR),
        ("a tile cut short", SUMS, |_, w| cut(&mut w.weights.tile, 4), WrongLength::SELECTOR),
        ("a tile with a path too long", SUMS, |_, w| w.weights.tileSiblings.push(B256::ZERO), WrongPath::SELECTOR),
        ("a matrix with more rows", SUMS, |_, w| w.weights.shape[0] += 1, WrongRoot::SELECTOR),
        ("a matrix with other zeros", SUMS, |_, w| w.weights.shape[3] += 1, WrongRoot::SELECTOR),
        ("another model", SUMS, |c, _| c.modelRoot.0[9] ^= 1, WrongRoot::SELECTOR),
        ("a row behind the last", SUMS, |c, _| c.vector += 1 << 20, UnknownVector::SELECTOR),
        ("another gain", NORM, |_, w| flip(&mut w.gains.data, 0), WrongRoot::SELECTOR),
        ("gains cut short", NORM, |_, w| cut(&mut w.gains.data, 4), WrongRoot::SELECTOR),
        ("another place's gains", NORM, |c, _| c.layer = 0, WrongRoot::SELECTOR),
        ("another state", PARTIAL, |_, w| flip(&mut w.state, 3), WrongState::SELECTOR),
        ("a state cut short", PARTIAL, |_, w| cut(&mut w.state, 1), WrongLength::SELECTOR),
        ("a position to come", ROW, |c, _| c.vector += 1, UnknownVector::SELECTOR),
        ("an earlier row as a vector", ROW, |c, _| c.vector -= 1, UnknownVector::SELECTOR),
        ("logits below the last layer", NORM, |c, _| (c.vector, c.layer) = (30 << 40, 0), UnknownVector::SELECTOR),
        ("another epsilon", NORM, |_, w| flip(&mut w.manifest.data, 400), WrongRoot::SELECTOR),
        ("another contract", NORM, |_, w| flip(&mut w.manifest.data, 7), UnknownContract::SELECTOR),
        ("no manifest", NORM, |_, w| w.manifest.data = Default::default(), UnknownContract::SELECTOR),
        ("half a manifest", NORM, |_, w| cut(&mut w.manifest.data, 200), WrongLength::SELECTOR),
        ("no such place", NORM, |c, _| c.vector = 33 << 40, UnknownVector::SELECTOR),
        ("no such stage", NORM, |c, _| c.vector |= 16 << 32, UnknownVector::SELECTOR),
        ("a stage of another place", NORM, |c, _| c.vector |= 5 << 32, UnknownVector::SELECTOR),
    ];
    let (model, mut court) = (made_up(), Court::new());
    for (what, name, change, error) in cases {
        let (mut claim, mut witness) = honest(&model, *name, 0);
        assert!(court.call(&claim, &witness).success, "before: {what}");
        change(&mut claim, &mut witness);
        let outcome = court.call(&claim, &witness);
        assert!(!outcome.success && outcome.output.starts_with(error), "{what}: {}", outcome.output);
    }
}

#[test]
fn the_tile_of_another_model_is_refused() {
    let (ours, mut other, mut court) = (made_up(), made_up(), Court::new());
    other.layers[LAYER].gate.codes[0] ^= 1;
    let ((claim, mut witness), (_, theirs)) = (honest(&ours, SUMS, 0), honest(&other, SUMS, 0));
    witness.weights = theirs.weights;
    let outcome = court.call(&claim, &witness);
    assert!(!outcome.success && outcome.output.starts_with(&IReferee::WrongRoot::SELECTOR), "{}", outcome.output);
}

/// A mild model of two leaves to a vector and more than one tensor a layer.
fn made_up() -> Model {
    let fits = |m: &Model| m.manifest.architecture.embedding == 64 && m.layers.len() == 2;
    (0..).map(|seed| model(seed, false)).find(fits).expect("one in six does")
}

fn flip(bytes: &mut alloy_primitives::Bytes, at: usize) {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1;
    *bytes = changed.into();
}

fn flip_last(bytes: &mut alloy_primitives::Bytes) {
    flip(bytes, bytes.len() - 1);
}

fn cut(bytes: &mut alloy_primitives::Bytes, by: usize) {
    *bytes = bytes.slice(..bytes.len() - by);
}

/// The root's own children in place of a leaf: without the marks of leaves and nodes that would be a second preimage.
fn node_for_leaf(_: &mut Claim, w: &mut Witness) {
    let opening = &mut w.openings[0];
    opening.elements = [opening.siblings[0].0, opening.siblings[0].0].concat().into();
    opening.siblings.clear();
}

#[test]
fn the_ends_of_a_draw_are_checked() {
    let (model, mut court) = (made_up(), Court::new());
    let rising: Vec<i64> = (0..model.manifest.architecture.vocabulary as i64).map(|i| (i % 40) << 12).collect();
    let flat = vec![7; rising.len()];
    let sampled = GenerateParams { temperature_q16: 1 << 16, ..GenerateParams::default() };
    let tree = ModelTree::of(&model);
    // What ends the list, of which logits, which element says so, whose end it is, and how far the other token.
    let half = GenerateParams { top_k: 8, top_p_q16: 1 << 15, ..sampled.clone() };
    for (params, logits, index, end, apart) in [
        (GenerateParams { top_k: 5, ..sampled.clone() }, &rising, 0, 0, -1),
        (GenerateParams { top_p_q16: 30_000, ..sampled.clone() }, &rising, 1, 1, -1),
        (GenerateParams { min_p_q16: 30_000, ..sampled.clone() }, &rising, 1, 2, -1),
        // One that is kept, too, and not the last.
        (GenerateParams { min_p_q16: 30_000, ..sampled.clone() }, &rising, 1, 1, 1),
        // Four of eight are half the mass, and the fifth is none of it.
        (half, &flat, 1, 1, 1),
    ] {
        let draw = Draw::new(&params, 1, 0, logits);
        let mut steps =
            Steps::new(Program { model: &model, layer: 1, position: 0, token: 0, before: None, earlier: &[], draw });
        steps.agree(Name::out(Place::Logits), logits.iter().map(|l| i128::from(*l)).collect());
        let sampler = |stage, sub| Name::of(Place::Sampler, stage, sub);
        let (mut claim, mut witness) = question(&mut steps, sampler(Stage::Kept, 0), index, &tree);
        assert!(court.call(&claim, &witness).success);
        // The same with all that would show another token to be the end.
        let other = draw.ends[end].saturating_add_signed(apart);
        let (more, theirs) = question(&mut steps, sampler(Stage::Out, other), 0, &tree);
        let known = claim.inputs.len() as u32;
        claim.inputs.extend(more.inputs);
        witness.openings.extend(theirs.openings.into_iter().map(|o| Opening { input: o.input + known, ..o }));
        claim.ends[end] = other;
        let outcome = court.call(&claim, &witness);
        assert!(!outcome.success && outcome.output.starts_with(&IReferee::WrongEnd::SELECTOR), "{}", outcome.output);
    }
}
