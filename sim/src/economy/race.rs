//! How long a job takes, with the real nodes of `crate::world`: a tenth of the workers crawls, a fifth leaves in the
//! middle. Against an oracle that knows all of it beforehand, divides work as it likes, and audits nothing.

use crate::engine::truth;
use crate::liar::Strategy;
use crate::scene::Scene;
use crate::world::{self, World};
use talkoo_base::{Amount, CHUNK_TOKENS, GenerateParams, Work};

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Race {
    /// When the client had all its answers, in milliseconds after it asked.
    pub(crate) took_ms: u64,
    /// The oracle's time.
    pub(crate) oracle_ms: u64,
    /// What each worker was paid, with what it is.
    pub(crate) earned: Vec<(Strategy, Amount)>,
    /// Nodes that were convicted: none lies.
    pub(crate) convicted: u64,
}

/// Sixteen workers that crawl and leave, as above.
#[must_use]
pub(crate) fn churn(seed: u64, steps: u32) -> Scene {
    let kind = |n| if n % 10 == 3 { Strategy::Slow } else { Strategy::Honest };
    let workers: Vec<Strategy> = (0..16).map(kind).collect();
    let leavers = u32::try_from(workers.len() / 5).expect("few");
    Scene { leavers, speed_spread_ms: 600, delay_ms_max: 100, ..Scene::quiet(seed, &workers, steps) }
}

/// One that never answers and one that crawls, beside two honest ones.
#[must_use]
pub(crate) fn stallers(seed: u64, steps: u32) -> Scene {
    Scene::quiet(seed, &[Strategy::Silent, Strategy::Slow, Strategy::Honest, Strategy::Honest], steps)
}

/// Plays it.
#[must_use]
pub(crate) fn race(scene: &Scene) -> Race {
    let world = world::played(scene, None);
    assert_eq!(world.verdict, Ok(()), "seed {}", scene.seed);
    let client = &world.nodes[0];
    let (begun, ended) = world.job_ms.expect("the job is over");
    let earned = world.nodes.iter().skip(1).map(|n| {
        let earnings = n.node.iter().flat_map(|node| node.proof().earnings());
        (n.strategy, earnings.map(|(_, e)| e.received).fold(Amount::ZERO, |sum, a| sum + a))
    });
    Race {
        took_ms: ended - begun,
        oracle_ms: oracle_ms(&world),
        earned: earned.collect(),
        convicted: client.convicted.len() as u64,
    }
}

/// The least time in which all chunks can be made by whoever is there.
fn oracle_ms(world: &World<'_>) -> u64 {
    let spec = &world.nodes[0].jobs[0];
    let chunks: u64 = spec
        .steps
        .iter()
        .map(|step| {
            let params = GenerateParams::from_bytes(&step.params).expect("our own");
            let (program, tier) = (spec.program, spec.tier);
            let work = Work { kind: spec.kind, program, tier, prompt: step.prompt.clone(), params, seed: step.seed };
            truth(&program, &work).0.len().div_ceil(CHUNK_TOKENS as usize) as u64
        })
        .sum();
    let made = |ms: u64| -> u64 {
        let of = |(index, n): (u32, &world::Pretended)| {
            let slow = if n.strategy == Strategy::Slow { 20 } else { 1 };
            world.scene.leaves_ms(index).unwrap_or(ms).min(ms) / (n.engine.chunk_ms * slow)
        };
        (0..).zip(&world.nodes).skip(1).map(of).sum()
    };
    (1..).find(|ms| made(*ms) >= chunks).expect("honest workers stay")
}
