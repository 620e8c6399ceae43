//! The program as steps is the forward pass, and a draw's question the sampler.

use super::made_up::{Dice, model};
use crate::forward::{Kv, forward, logits};
use crate::logprobs::logprobs;
use crate::sample::sample;
use crate::steps::{CachedRow, Draw, ModelTree, Name, Place, Program, Stage, Steps};
use talkoo_base::GenerateParams;

/// Runs `tokens` by the forward pass and, from position `from` on, layer by layer by steps; says how many states were equal.
fn compare(seed: u64, wild: bool, tokens: usize, from: usize) -> usize {
    let model = model(seed, wild);
    let (mut kv, mut dice, mut equal) = (Kv::new(&model), Dice(seed), 0);
    let mut earlier: Vec<Vec<(Vec<i64>, CachedRow)>> = vec![Vec::new(); model.layers.len()];
    for position in 0..tokens {
        let token = dice.below(model.manifest.architecture.vocabulary) as u32;
        let whole = forward(&model, &mut kv, token);
        if position < from {
            // Only keys and values of earlier positions are read.
            for (l, rows) in earlier.iter_mut().enumerate() {
                rows.push((Vec::new(), kv.row(l, position).clone()));
            }
            continue;
        }
        for l in 0..model.layers.len() {
            let (below, rows) = earlier.split_at(l);
            let before = below.last().and_then(|rows| rows.last()).map(|(residual, row)| (&residual[..], row));
            let draw = Draw::default();
            let mut steps =
                Steps::new(Program { model: &model, layer: l, position, token, before, earlier: &rows[0], draw });
            let state = steps.run();
            let Ok(step) = &whole else {
                // The forward pass does not say in which layer: it ends in one of them.
                assert!(state.is_none() || l + 1 < model.layers.len(), "seed {seed}: the steps see no range error");
                return equal;
            };
            let last = (l + 1 == model.layers.len()).then(|| logits(&model, &step.residual));
            if last.as_ref().is_none_or(Result::is_ok) {
                assert_eq!(state, Some(step.states[l]), "seed {seed}, position {position}, layer {l}");
                equal += 1;
            } else {
                assert_eq!(state, None, "seed {seed}: a logit out of range");
            }
            if let Some(Ok(logits)) = last {
                let found = steps.vector(Name::out(Place::Logits));
                assert!(logits.iter().map(|l| i128::from(*l)).eq(found.iter().copied()), "seed {seed}");
            }
            let residual = steps.vector(Name::out(Place::Output)).iter().map(|r| *r as i64).collect();
            earlier[l].push((residual, kv.row(l, position).clone()));
        }
    }
    equal
}

#[test]
fn steps_are_the_forward_pass() {
    let mild: usize = (0..40).map(|seed| compare(seed, false, 3, 0)).sum();
    assert!(mild > 200, "{mild} states");
    let wild: usize = (0..20).map(|seed| compare(seed, true, 2, 0)).sum();
    assert!(wild > 0);
    // Beyond one segment, and beyond a window.
    for seed in 0..6 {
        assert!(compare(seed, false, 300, 299) > 0, "seed {seed}");
    }
}

#[test]
fn the_draws_question_has_one_yes() {
    let (model, mut dice) = (model(3, false), Dice(5));
    let tokens = model.manifest.architecture.vocabulary;
    for case in 0..200 {
        // Few values, so that there are ties.
        let logits: Vec<i64> = (0..tokens).map(|_| dice.signed(4) << 12).collect();
        let params = GenerateParams {
            temperature_q16: [0, 6_000, 65_536, 200_000][case % 4],
            top_k: [0, 1, 5, 1_000][dice.below(4)],
            top_p_q16: [0, 20_000, 60_000, 65_536][dice.below(4)],
            min_p_q16: [0, 20_000, 65_536][dice.below(3)],
            ..GenerateParams::default()
        };
        let draw = Draw::new(&params, dice.next(), case as u32, &logits);
        let expected = sample(&logits, &params, draw.seed, case as u32);
        let layer = model.layers.len() - 1;
        let program = Program { model: &model, layer, position: 0, token: 0, before: None, earlier: &[], draw };
        let mut steps = Steps::new(program);
        steps.agree(Name::out(Place::Logits), logits.iter().map(|l| i128::from(*l)).collect());
        for token in 0..tokens as u32 {
            let logprob = steps.vector(Name::of(Place::Logprobs, Stage::Out, token))[0];
            assert_eq!(logprob, logprobs(&logits, token, 0).chosen.into(), "case {case}, token {token}");
            let answer = steps.vector(Name::of(Place::Sampler, Stage::Out, token))[0];
            assert_eq!(answer, i128::from(token == expected), "case {case}, token {token}");
        }
    }
}

#[test]
fn a_witness_opens_what_was_read_and_no_more() {
    let model = model(1, false);
    let tree = ModelTree::of(&model);
    let program =
        Program { model: &model, layer: 0, position: 0, token: 1, before: None, earlier: &[], draw: Draw::default() };
    let mut steps = Steps::new(program);
    let witness = steps.witness(Name::of(Place::Down, Stage::Sums, 3), 1, &tree);
    let names: Vec<Name> = witness.openings.iter().map(|o| o.name).collect();
    let input = |stage| Name::of(Place::ProductInput, stage, 0);
    assert_eq!(names, [input(Stage::Out), input(Stage::Mantissas)]);
    assert_eq!(witness.previous, steps.vector(Name::of(Place::Down, Stage::Sums, 3))[0]);
    let (down, mut tile) = (&model.layers[0].down, Vec::new());
    down.row(3).push_tile(0, down.block, &mut tile);
    assert_eq!(witness.weights.tile, tile);
}
