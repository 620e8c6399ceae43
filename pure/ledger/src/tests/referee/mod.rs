//! The contract that ends disputes and `talkoo_exact::steps` give the same elements.

#[path = "../../../../exact/src/tests/made_up.rs"]
pub(crate) mod made_up;
mod openings;
pub(crate) mod play;

use crate::bindings::IReferee;
use crate::contracts::{ATTENTION_REFEREE_AT, REFEREE_AT};
use crate::tests::Chain;
use crate::tests::contracts::beginning;
use made_up::model;
use play::{Court, Player, Tally};
use talkoo_exact::steps::{Place, Stage};

#[test]
fn the_contract_and_the_definition_agree() {
    let (mut tally, mut court) = (Tally::default(), Court::new());
    for seed in 0..24 {
        Player::new(seed, model(seed, seed % 3 == 2), &mut court).play(120, &mut tally);
    }
    for place in Place::ALL {
        assert!(tally.places.contains_key(&place), "{place:?} was never asked");
    }
    for stage in Stage::ALL {
        assert!(tally.stages.contains(&stage), "{stage:?} was never asked");
    }
    assert!(tally.out_of_range > 0 && tally.asked > 2_500, "{tally:?}");
}

#[test]
fn a_genesis_has_both_parts() {
    let mut chain = Chain::of(&beginning().genesis());
    assert_eq!(chain.ask(REFEREE_AT, &IReferee::attentionCall {}), ATTENTION_REFEREE_AT);
}
