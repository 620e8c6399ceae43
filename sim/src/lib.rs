//! The pretended world: many nodes in virtual time, a network that loses, delays, duplicates,
//! reorders and splits, nodes that crash, crawl and lie, and checkers that look after every step.
//!
//! `economy` asks another question, with another model: whether cheating pays. `cargo xtask sim report` answers.
//!
//! The nodes are the real machines of `talkoo-node`; only what is around them is pretended. The
//! same seed gives the same trace, whatever the machine: `cargo xtask sim SEED --trace` replays it.

mod bank;
pub mod chain;
mod check;
mod crypto;
pub mod economy;
mod engine;
mod liar;
mod rng;
mod scene;
mod world;

pub use liar::Strategy;
pub use scene::Scene;
pub use world::{Report, run};

#[cfg(test)]
mod tests;
