//! The contract that ends disputes and `talkoo_exact::steps` give the same elements.

#[path = "../../../../exact/src/tests/made_up.rs"]
mod made_up;
mod play;

use play::{Player, Tally};
use talkoo_exact::steps::{Place, Stage};

#[test]
fn the_contract_and_the_definition_agree() {
    let mut tally = Tally::default();
    for seed in 0..24 {
        Player::new(seed).play(120, &mut tally);
    }
    for place in Place::ALL {
        assert!(tally.places.contains_key(&place), "{place:?} was never asked");
    }
    for stage in Stage::ALL {
        assert!(tally.stages.contains(&stage), "{stage:?} was never asked");
    }
    assert!(tally.out_of_range > 0 && tally.asked > 2_500, "{tally:?}");
}
