//! What happens in one world: who takes part, how, and what goes wrong until when.

use crate::rng::Dice;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// As the machine says.
    Honest,
    /// It votes twice differently, proposes two blocks, and tells some this and others that.
    TwoFaced,
    /// It builds blocks that break the ledger's rule.
    BadBlocks,
    /// It hears everything and says nothing.
    Silent,
    /// It changes the bytes of every block that it sends, and makes votes and certificates in others' names.
    Forger,
    /// It claims to be far ahead, serves nothing, and calls everybody to work when there is none.
    Boaster,
}

/// One node.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// How it behaves.
    pub conduct: Conduct,
    /// Its voting power at first; 0 follows only.
    pub power: u64,
    /// When it is switched on.
    pub joins_ms: u64,
    /// How fast its clock is, in thousandths.
    pub clock: u64,
}

impl Part {
    /// A validator from the start.
    #[must_use]
    pub fn new(conduct: Conduct) -> Self {
        Self { conduct, power: 1, joins_ms: 0, clock: 1_000 }
    }
}

/// One world.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Of its dice.
    pub seed: u64,
    /// Who takes part.
    pub parts: Vec<Part>,
    /// Messages lost, of a thousand.
    pub loss: u64,
    /// Messages that come twice, of a thousand.
    pub twice: u64,
    /// A message takes so long, at least and at most.
    pub delay_ms: (u64, u64),
    /// Steps that end in a crash, of a hundred thousand.
    pub crash: u64,
    /// How often the network splits.
    pub splits: u32,
    /// Who gets which power by stake, some time before the calm, in any order.
    pub stakes: Vec<(usize, u64)>,
    /// Whether a node is connected to the one before it and the one after it only.
    pub line: bool,
    /// Numbers that users send.
    pub numbers: u64,
    /// From then on nothing goes wrong but what nodes do on purpose.
    pub calm_ms: u64,
}

impl Scene {
    /// Nothing goes wrong but what `conducts` do.
    #[must_use]
    pub fn quiet(seed: u64, conducts: &[Conduct], numbers: u64) -> Self {
        let parts = conducts.iter().map(|c| Part::new(*c)).collect();
        let (loss, twice, crash, splits) = (0, 0, 0, 0);
        let (stakes, line) = (Vec::new(), false);
        Self { seed, parts, loss, twice, delay_ms: (50, 50), crash, splits, stakes, line, numbers, calm_ms: 5_000 }
    }

    /// The world of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        use Conduct::{BadBlocks, Boaster, Forger, Silent, TwoFaced};
        let mut dice = Dice::new(seed ^ 0x0063_6861_696e);
        let mut parts: Vec<Part> = (0..1 + dice.below(7)).map(|_| Part::new(Conduct::Honest)).collect();
        for (i, part) in parts.iter_mut().enumerate() {
            part.clock = 950 + dice.below(101);
            part.power = if dice.chance(300) { 1 + dice.below(3) } else { 1 };
            if i > 0 && dice.chance(150) {
                part.joins_ms = dice.below(15_000);
            }
        }
        let mut stakes = Vec::new();
        for (i, part) in parts.iter_mut().enumerate().skip(1) {
            // Some join by stake, some leave, some get more or less of it.
            if dice.chance(200) {
                part.power = 0;
                stakes.push((i, 1 + dice.below(3)));
            }
            (0..dice.below(3)).for_each(|_| stakes.push((i, dice.below(4))));
        }
        // The last ones are bad, as long as less than a third of the power is, whatever the order of the stakes.
        for i in (1..parts.len()).rev() {
            let before = parts[i];
            let conduct = [TwoFaced, BadBlocks, Silent, Forger, Boaster][dice.below(5) as usize];
            parts[i].conduct = conduct;
            if dice.chance(300) || !is_safe(&parts, &stakes) {
                parts[i] = before;
            }
        }
        let line = parts.iter().all(|part| part.conduct == Conduct::Honest) && dice.chance(400);
        for _ in 0..dice.below(2) {
            parts.push(Part { power: 0, joins_ms: dice.below(10_000), ..Part::new(Conduct::Honest) });
        }
        let least = dice.below(if line { 20 } else { 60 });
        let more = dice.below(if line { 20 } else { 300 });
        Self {
            seed,
            parts,
            loss: [0, 0, 20, 100, 250][dice.below(5) as usize],
            twice: [0, 50, 200][dice.below(3) as usize],
            delay_ms: (least, least + 1 + more),
            crash: [0, 100, 500, 2_000][dice.below(4) as usize],
            splits: dice.below(3) as u32,
            stakes,
            line,
            numbers: 4 + dice.below(20),
            calm_ms: 20_000,
        }
    }
}

/// Whether less than a third of the power is bad: the most that the bad ones may have, and the least that the others have.
fn is_safe(parts: &[Part], stakes: &[(usize, u64)]) -> bool {
    let powers = |i: usize| stakes.iter().filter(move |(node, _)| *node == i).map(|(_, power)| *power);
    let (mut bad, mut good) = (0, 0);
    for (i, part) in parts.iter().enumerate() {
        let all = powers(i).chain([part.power]);
        if part.conduct == Conduct::Honest {
            good += all.min().unwrap_or_default();
        } else {
            bad += all.max().unwrap_or_default();
        }
    }
    bad * 2 < good
}
