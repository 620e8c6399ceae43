//! What a seed decides: how many nodes, what they are, what goes wrong.

use crate::liar::Strategy;
use crate::rng::Dice;
use crate::world::{Happening, World};
use talkoo_base::{AuditPolicy, GenerateParams, JobId, Kind, Price, Tier, sha256};
use talkoo_job::{JobSpec, StepSpec};
use talkoo_node::Input;

/// Numbers of the pretended vectors.
const NUMBERS: u32 = 48;

/// One pretended world, before it starts.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Its seed.
    pub seed: u64,
    /// How each node behaves; node 0 is a client and honest, as are all clients.
    pub nodes: Vec<Strategy>,
    /// Clients: nodes 0 to this.
    pub clients: u32,
    /// Steps of each client's job.
    pub steps: u32,
    /// A chunk takes 100 ms and up to this much more, in milliseconds.
    pub speed_spread_ms: u64,
    /// Messages lost, in a thousand.
    pub loss_permille: u64,
    /// Messages that arrive twice, in a thousand.
    pub twice_permille: u64,
    /// Longest delay of a message, in milliseconds.
    pub delay_ms_max: u64,
    /// Crashes, each followed by a restart.
    pub crashes: u32,
    /// Nodes, the last ones, that leave one after another within [`Scene::LEAVE_MS`] and are away for long.
    pub leavers: u32,
    /// Pairs of nodes that lose each other for a while.
    pub splits: u32,
    /// What the clients ask for.
    pub kind: Kind,
    /// How it can be checked.
    pub tier: Tier,
    /// Whether clients can judge answers themselves.
    pub own_audits: bool,
    /// Whether keys, signatures and bytes are the real ones.
    pub real_bytes: bool,
    /// Whether a ledger has to hold what is promised.
    pub funded: bool,
    /// Until when things go wrong, in milliseconds.
    pub calm_after_ms: u64,
}

impl Scene {
    /// Within what time leavers leave, in milliseconds.
    pub const LEAVE_MS: u64 = 30_000;

    /// When a node leaves.
    #[must_use]
    pub fn leaves_ms(&self, node: u32) -> Option<u64> {
        let from_end = u32::try_from(self.nodes.len()).expect("few nodes") - node;
        let when = Self::LEAVE_MS * u64::from(from_end) / u64::from(self.leavers + 1);
        (from_end <= self.leavers).then_some(when)
    }

    /// The scene of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let clients = if dice.chance(200) { 2 } else { 1 };
        let workers = if dice.chance(10) { 40 + dice.below(200) } else { 3 + dice.below(9) };
        let own_audits = dice.chance(850);
        // Two honest workers besides the client; without own judgement at most one liar (see `audit`).
        let liars_max = if own_audits { workers.saturating_sub(2) } else { 1 };
        let liars = if dice.chance(250) { 0 } else { dice.below(liars_max + 1) };
        let mut nodes = vec![Strategy::Honest; clients as usize];
        for index in 0..workers {
            let strategy = if index < liars {
                Strategy::LIARS[usize::try_from(dice.below(10)).expect("below 10")]
            } else if dice.chance(60) {
                Strategy::Slow
            } else if index + 2 < workers && dice.chance(40) {
                Strategy::Silent
            } else {
                Strategy::Honest
            };
            nodes.push(strategy);
        }
        let calm = dice.chance(150);
        let faults = |dice: &mut Dice, max: u64| if calm { 0 } else { dice.below(max) };
        Self {
            seed,
            clients,
            steps: 1 + u32::try_from(dice.below(24)).expect("small"),
            speed_spread_ms: 600,
            loss_permille: faults(&mut dice, 60),
            twice_permille: faults(&mut dice, 60),
            delay_ms_max: 1 + dice.below(300),
            crashes: u32::try_from(faults(&mut dice, 5)).expect("small"),
            leavers: 0,
            splits: u32::try_from(faults(&mut dice, 4)).expect("small"),
            kind: Kind::Generate,
            tier: Tier::Exact,
            own_audits,
            real_bytes: seed % 100 == 7,
            funded: seed % 2 == 1,
            calm_after_ms: 60_000,
            nodes,
        }
    }

    /// A quiet scene with the given workers, for tests of one thing.
    #[must_use]
    pub fn quiet(seed: u64, workers: &[Strategy], steps: u32) -> Self {
        let mut nodes = vec![Strategy::Honest];
        nodes.extend_from_slice(workers);
        Self {
            seed,
            nodes,
            clients: 1,
            steps,
            speed_spread_ms: 1,
            loss_permille: 0,
            twice_permille: 0,
            delay_ms_max: 5,
            crashes: 0,
            leavers: 0,
            splits: 0,
            kind: Kind::Generate,
            tier: Tier::Exact,
            own_audits: true,
            real_bytes: false,
            funded: false,
            calm_after_ms: 60_000,
        }
    }
}

impl World<'_> {
    /// What will happen, whatever the nodes do.
    pub(crate) fn set_up(&mut self) {
        let count = u32::try_from(self.nodes.len()).expect("few nodes");
        (0..count).for_each(|node| self.at(0, Happening::Restart { node }));
        for client in 0..self.scene.clients {
            let after = 50 + self.dice.below(2_000);
            self.at(after, Happening::Post { client });
        }
        for _ in 0..self.scene.crashes {
            let (when, node) = (self.dice.below(self.scene.calm_after_ms), self.dice.below(count.into()));
            let node = u32::try_from(node).expect("a node");
            self.at(when, Happening::Crash { node });
        }
        for node in 0..count {
            if let Some(when) = self.scene.leaves_ms(node) {
                self.at(when, Happening::Crash { node });
            }
        }
        for _ in 0..self.scene.splits {
            let pick = |dice: &mut Dice| u32::try_from(dice.below(count.into())).expect("a node");
            let (a, b) = (pick(&mut self.dice), pick(&mut self.dice));
            let when = self.dice.below(self.scene.calm_after_ms);
            if a != b {
                self.at(when, Happening::Split { a: a.min(b), b: a.max(b) });
            }
        }
    }

    /// A client asks for its job.
    pub(crate) fn post(&mut self, client: u32) {
        if self.nodes[client as usize].node.is_none() {
            return self.at(1_000, Happening::Post { client });
        }
        let id = JobId(sha256(&[b"job", &self.scene.seed.to_be_bytes(), &client.to_be_bytes()]));
        let steps = (0..self.scene.steps)
            .map(|step| {
                let max_tokens = 1 + u32::try_from(self.dice.below(200)).expect("small");
                let top_logprobs = (step % 2 == 1 && self.scene.tier == Tier::Exact).then_some(step % 4);
                let params = match self.scene.kind {
                    Kind::Embed => Kind::params_of_embed(NUMBERS),
                    _ => GenerateParams { max_tokens, top_logprobs, ..Default::default() },
                };
                let prompt = (0..1 + self.dice.below(50)).map(|i| u32::try_from(i).expect("small")).collect();
                StepSpec { custom_id: format!("s{step}"), prompt, params: params.to_bytes(), seed: self.dice.roll() }
            })
            .collect();
        let spec = JobSpec {
            id,
            name: "sim".into(),
            program: self.program,
            kind: self.scene.kind,
            tier: self.scene.tier,
            context: 512,
            steps,
            copies: true,
            price_max: Price { input: 1_000, output: 1_000 },
            nodes_max: 16,
            own: false,
            audit: AuditPolicy::Drawn,
            prefer: talkoo_base::Preferences::default(),
        };
        self.nodes[client as usize].jobs.push(spec.clone());
        self.job_ms.get_or_insert((0, 0)).0 = self.now;
        self.feed(client, Input::Post(Box::new(spec)));
    }
}
