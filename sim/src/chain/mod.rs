//! Validators that agree on blocks: the real machine of `talkoo-chain` over a pretended ledger, with loss, splits,
//! crashes in the middle of a step, clocks that go wrong, and validators that lie.
//!
//! `cargo xtask sim chain SEED --trace` replays a seed.

mod bad;
mod check;
mod ledger;
mod node;
mod report;
mod scene;
#[cfg(test)]
mod tests;
mod world;

pub use report::Report;
pub use scene::{Conduct, Part, Scene};
pub use world::run;
