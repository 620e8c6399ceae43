//! Workers who follow a plan, among honest ones: a neighbourhood of clients, each with a team of workers.

use super::till::{Till, Who};
use super::{PRICE, Rules};
use crate::rng::Dice;
use std::collections::VecDeque;
use talkoo_base::{Amount, Digest, Unix};
use talkoo_proof::Seen;
use talkoo_proof::parameters::VEST_S;
use talkoo_proof::trust::{ALWAYS_Q32, Fault, Trust, slash};

/// Clients of a neighbourhood.
const CLIENTS: usize = 4;
/// Workers that a client works with at a time.
const TEAM: usize = 3;
/// Workers of a neighbourhood.
pub(crate) const NAMES: usize = 16;
/// Pairs of a client and a worker.
pub(crate) const PAIRS: u64 = (CLIENTS * TEAM) as u64;
/// Median life of a worker, in seconds.
const LIFE_S: u64 = 7 * 86_400;

/// How a dishonest worker goes about it. It knows its trust with every client, and every rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// It is honest until a client has found so many audits clean.
    pub after: u64,
    /// Of jobs after that it lies about so many in a thousand, …
    pub lies_permille: u64,
    /// … if they are worth so many thousandths of [`PRICE`], …
    pub value_permille: u64,
    /// … if the chance of an audit is at most so many in a thousand, …
    pub chance_permille: u64,
    /// … and then about so many at once, before anybody has audited the first.
    pub burst: u64,
    /// It stakes so many times [`PRICE`] under each name.
    pub bond: u64,
    /// Verifiers that vouch for it, in thousandths.
    pub league_permille: u64,
    /// It leaves a name behind after so many bursts.
    pub exit_after: u64,
    /// What a lie costs, in thousandths of the price.
    pub cost_permille: u64,
    /// Whether it reports itself when it leaves a name, to win half of the slash.
    pub reports_itself: bool,
    /// Whether its verifiers refute the honest.
    pub accuses: bool,
    /// Jobs between its own names, to look busy.
    pub farmed: u64,
}

impl Plan {
    /// Lies always and at once, for next to nothing: bytes and signatures are a thousandth of the price.
    pub const FREE_RIDER: Self = Self {
        after: 0,
        lies_permille: 1_000,
        value_permille: 0,
        chance_permille: 1_000,
        burst: 1,
        bond: 0,
        league_permille: 0,
        exit_after: u64::MAX,
        cost_permille: 1,
        reports_itself: false,
        accuses: false,
        farmed: 0,
    };
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// What the league won.
    pub profit: i128,
    /// Price of the jobs it lied about.
    pub staked: u128,
    /// Price of all jobs.
    pub turnover: u128,
    /// Fees of all audits.
    pub fees: u128,
    /// Answers that were audited.
    pub audited: u64,
    /// Honest answers that were refuted.
    pub wronged: u64,
    /// Jobs.
    pub jobs: u64,
}

impl Tally {
    /// What was won, and the price of the jobs that were lied about.
    #[must_use]
    pub fn value(&self) -> (f64, f64) {
        (self.profit as f64, self.staked as f64)
    }
}

struct Name {
    hostile: bool,
    until_s: u64,
    bond: u128,
    held: VecDeque<(u64, u128)>,
    held_sum: u128,
    bursts: u64,
    faults: u32,
}

/// A neighbourhood.
pub struct Market {
    rules: Rules,
    plan: Plan,
    dice: Dice,
    now_s: u64,
    till: Till,
    names: Vec<Name>,
    teams: Vec<[(usize, Trust); TEAM]>,
    tally: Tally,
}

impl Market {
    /// Nobody knows anybody yet.
    #[must_use]
    pub fn new(seed: u64, rules: Rules, plan: Plan) -> Self {
        let mut market = Self {
            rules,
            plan,
            dice: Dice::new(seed),
            now_s: 0,
            till: Till::new(),
            names: Vec::new(),
            teams: Vec::new(),
            tally: Tally::default(),
        };
        market.names = (0..NAMES).map(|_| market.stranger()).collect();
        for client in 0..CLIENTS {
            // Nobody yet.
            market.teams.push([(NAMES, Trust::default()); TEAM]);
            (0..TEAM).for_each(|place| market.hire(client, place));
        }
        market
    }

    /// Plays so many jobs.
    #[must_use]
    pub fn play(mut self, jobs: u64) -> Tally {
        for job in 0..jobs {
            self.now_s = job * self.rules.gap_s / PAIRS;
            self.step();
            if job % 1_024 == 0 {
                self.check();
            }
        }
        self.check();
        // What nobody took belongs to whom it was paid, and bonds come back.
        let theirs = |n: &Name| if n.hostile { n.held_sum + n.bond } else { 0 };
        let rest: u128 = self.names.iter().map(theirs).sum();
        self.tally.profit = self.till.won(Who::League) + i128::try_from(rest).expect("little money");
        self.tally.jobs = jobs;
        self.tally
    }

    /// What is held and staked is what the names have in their books.
    fn check(&self) {
        let held: u128 = self.names.iter().map(|n| n.held_sum).sum();
        let bonds: u128 = self.names.iter().map(|n| n.bond).sum();
        assert_eq!((held, bonds), (self.till[Who::Vault], self.till[Who::Bonds]), "the books differ from the money");
        assert!(self.names.iter().all(|n| n.held.iter().map(|(_, amount)| amount).sum::<u128>() == n.held_sum));
    }

    /// Somebody else takes a place in a team.
    fn hire(&mut self, client: usize, place: usize) {
        loop {
            let index = self.dice.below(NAMES as u64) as usize;
            if self.teams[client].iter().all(|(name, _)| *name != index) {
                self.teams[client][place] = (index, Trust::default());
                return;
            }
        }
    }

    /// A new name.
    fn stranger(&mut self) -> Name {
        let hostile = self.dice.chance(self.rules.hostile_permille);
        let life = LIFE_S * (1 + self.dice.below(8)) / (1 + self.dice.below(8));
        let bond = u128::from(PRICE * if hostile { self.plan.bond } else { self.rules.honest_bond });
        if hostile {
            self.till.pay(Who::League, Who::Outside, u128::from(self.rules.entry));
            // It pays itself, and has only the trouble: no client counts what others say they saw.
            let farmed = u128::from(self.plan.farmed * PRICE * self.plan.cost_permille / 1_000);
            self.till.pay(Who::League, Who::Outside, farmed);
        }
        self.till.pay(if hostile { Who::League } else { Who::Honest }, Who::Bonds, bond);
        let (held, until_s) = (VecDeque::new(), self.now_s + life);
        Name { hostile, until_s, bond, held, held_sum: 0, bursts: 0, faults: 0 }
    }

    /// A name is given up for a new one. Its owner takes home what nobody took.
    fn leave(&mut self, index: usize) {
        let owner = self.owner(index);
        let (held, bond) = (self.names[index].held_sum, self.names[index].bond);
        self.till.pay(Who::Vault, owner, held);
        self.till.pay(Who::Bonds, owner, bond);
        self.names[index] = self.stranger();
        let places = self.teams.iter_mut().flatten().filter(|(name, _)| *name == index);
        places.for_each(|(_, trust)| *trust = Trust::default());
    }

    fn owner(&self, index: usize) -> Who {
        if self.names[index].hostile { Who::League } else { Who::Honest }
    }

    fn step(&mut self) {
        let (client, place) = (self.dice.below(CLIENTS as u64) as usize, self.dice.below(TEAM as u64) as usize);
        let index = self.teams[client][place].0;
        if self.names[index].until_s <= self.now_s {
            self.leave(index);
        }
        self.release(index);
        let value = Amount(self.price().into());
        let at = Unix(self.now_s / self.rules.window);
        let seen = Seen { at, build: Digest::ZERO, bond: Amount(self.names[index].bond) };
        let mut trust = self.teams[client][place].1.at(seen);
        let chance_q32 = trust.chance_q32(value);
        let lies = self.lies(index, &trust, value, chance_q32);
        let (count, cost) = if lies { (self.plan.burst, self.plan.cost_permille) } else { (1, 1_000) };
        // A burst is over before its first verdict: until then nothing of it adds to trust.
        let (before, mut refuted) = (trust, 0);
        for _ in 0..count {
            self.earn(index, value.0);
            self.till.pay(self.owner(index), Who::Outside, value.0 * u128::from(cost) / 1_000);
            self.tally.turnover += value.0;
            self.tally.staked += if lies { value.0 } else { 0 };
            let audited = self.dice.roll() >> 32 < chance_q32;
            self.tally.audited += u64::from(audited);
            refuted += u128::from(audited && self.refuted(&before, value, lies));
            trust = trust.accepted(value, audited, seen);
        }
        if refuted > 0 {
            self.tally.wronged += u64::from(!lies);
            self.convict(index, Fault { value, chance_q32, unsettled: Amount::ZERO, number: 0 }, refuted);
            return self.hire(client, place);
        }
        self.teams[client][place].1 = trust;
        self.names[index].bursts += u64::from(lies);
        if lies && self.names[index].bursts >= self.plan.exit_after {
            self.exit(index);
        }
    }

    /// Mostly about [`PRICE`]; a few jobs are twenty times as dear.
    fn price(&mut self) -> u64 {
        let usual = PRICE / 2 + self.dice.below(PRICE);
        if self.dice.chance(self.rules.dear_permille) { usual * 20 } else { usual }
    }

    fn lies(&mut self, index: usize, trust: &Trust, value: Amount, chance_q32: u64) -> bool {
        let plan = &self.plan;
        let dear = value.0 * 1_000 >= u128::from(plan.value_permille * PRICE);
        let ready = self.names[index].hostile && trust.clean >= plan.after && dear;
        let ready = ready && chance_q32 * 1_000 <= plan.chance_permille * ALWAYS_Q32;
        ready && self.dice.chance(plan.lies_permille)
    }

    /// The client pays: into the vault, or for good.
    fn earn(&mut self, index: usize, value: u128) {
        if !self.rules.judge {
            return self.till.pay(Who::Clients, self.owner(index), value);
        }
        self.till.pay(Who::Clients, Who::Vault, value);
        let name = &mut self.names[index];
        name.held.push_back((self.now_s + VEST_S * self.rules.window, value));
        name.held_sum += value;
    }

    /// Pay whose time is over goes home.
    fn release(&mut self, index: usize) {
        let owner = self.owner(index);
        let name = &mut self.names[index];
        while let Some((_, amount)) = name.held.front().copied().filter(|(at, _)| *at <= self.now_s) {
            name.held.pop_front();
            name.held_sum -= amount;
            self.till.pay(Who::Vault, owner, amount);
        }
    }

    /// An audit as `talkoo_proof` does it: one equal word is enough; after another one a second is heard, then the
    /// client's own engine, if it has one, and else both have to differ.
    fn refuted(&mut self, trust: &Trust, value: Amount, lies: bool) -> bool {
        let own = self.dice.chance(self.rules.own_permille);
        let own_first = self.rules.own_first && trust.is_own_first(self.dice.roll() >> 32);
        if own && (self.rules.self_audit || own_first) {
            self.fee(value, Who::Outside);
            return lies;
        }
        if !self.differs(value, lies) {
            return false;
        }
        let second = self.differs(value, lies);
        if own {
            self.fee(value, Who::Outside);
            return lies;
        }
        second
    }

    /// Whether one verifier finds another root. Those in league find what helps a liar, or hurts the honest.
    fn differs(&mut self, value: Amount, lies: bool) -> bool {
        let in_league = self.dice.chance(self.plan.league_permille);
        self.fee(value, if in_league && lies { Who::League } else { Who::Outside });
        if lies { !in_league } else { in_league && self.plan.accuses }
    }

    /// Honest verifiers, and the client's own engine, spend what they get; those in league only say yes.
    fn fee(&mut self, value: Amount, to: Who) {
        let fee = self.rules.fee(value.0);
        self.tally.fees += fee;
        self.till.pay(Who::Clients, to, fee);
    }

    /// Held pay and bond answer for a lie: the job's price back, half of the slash to the client, half to nobody.
    fn convict(&mut self, index: usize, fault: Fault, refuted: u128) {
        if self.rules.judge {
            let back = (fault.value.0 * refuted).min(self.names[index].held_sum);
            self.take(index, back, Who::Clients);
            self.slash(index, fault, Who::Clients);
        }
        if self.names[index].hostile && self.plan.exit_after < u64::MAX {
            self.leave(index);
        } else if self.names[index].hostile {
            // Others still know it as good; this client needs to see another one.
            self.till.pay(Who::League, Who::Outside, self.rules.entry.into());
        }
    }

    fn slash(&mut self, index: usize, fault: Fault, reporter: Who) {
        let name = &mut self.names[index];
        name.faults += 1;
        let stake = Amount(name.held_sum + name.bond);
        let lost = slash(stake, &Fault { unsettled: Amount(name.held_sum), number: name.faults, ..fault }).0;
        let from_bond = lost.saturating_sub(name.held_sum);
        self.take(index, (lost - from_bond) / 2, reporter);
        self.take(index, lost - from_bond - (lost - from_bond) / 2, Who::Burnt);
        self.names[index].bond -= from_bond;
        self.till.pay(Who::Bonds, reporter, from_bond / 2);
        self.till.pay(Who::Bonds, Who::Burnt, from_bond - from_bond / 2);
    }

    /// Out of held pay, the newest first.
    fn take(&mut self, index: usize, amount: u128, to: Who) {
        let (name, mut left) = (&mut self.names[index], amount);
        while let Some((_, last)) = name.held.back_mut().filter(|_| left > 0) {
            let part = left.min(*last);
            (*last, left) = (*last - part, left - part);
            if *last == 0 {
                name.held.pop_back();
            }
        }
        name.held_sum -= amount;
        self.till.pay(Who::Vault, to, amount);
    }

    /// It goes before anybody looks again, and may report itself on a job between its own names.
    fn exit(&mut self, index: usize) {
        if self.plan.reports_itself && self.rules.judge {
            let fault = Fault { value: Amount(1), chance_q32: ALWAYS_Q32, unsettled: Amount::ZERO, number: 0 };
            self.slash(index, fault, Who::League);
        }
        self.leave(index);
    }
}
