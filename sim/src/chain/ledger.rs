//! A pretended ledger: a block is a list of numbers, and the state is a hash of all of them. Some numbers are stakes, or
//! say that a validator voted twice; so the validators change, at the end of each epoch.

use super::scene::Scene;
use std::collections::BTreeSet;
use std::sync::Arc;
use talkoo_base::wire::{decode_shape, encode};
use talkoo_base::{Address, Certificate, Digest, Validator, keccak256};

/// The numbers of a block sum up to a multiple of this.
const SUM_OF: u64 = 7;
/// Numbers in one block, the one that makes the sum right apart.
const NUMBERS_MAX: usize = 4;

/// Blocks of an epoch: the last one names the validators of the next.
pub(super) const EPOCH: u64 = 4;
/// The first number that is a stake: that of [`Scene::stakes`] in its place.
pub(super) const STAKES: u64 = 10_000;
/// The first number that reports a double vote: that of the node in its place.
pub(super) const REPORTS: u64 = 20_000;

/// What the stakes begin with, and what the numbers mean.
#[derive(Debug, Default)]
pub(super) struct Book {
    addresses: Vec<Address>,
    powers: Vec<u64>,
    stakes: Vec<(usize, u64)>,
}

impl Book {
    pub(super) fn new(scene: &Scene, addresses: Vec<Address>) -> Self {
        let powers = scene.parts.iter().map(|part| part.power).collect();
        Self { addresses, powers, stakes: scene.stakes.clone() }
    }

    /// Those with power, as the machine takes them.
    fn set(&self, powers: &[u64]) -> Vec<Validator> {
        let all = self.addresses.iter().zip(powers).filter(|(_, power)| **power > 0);
        all.map(|(address, power)| Validator { address: *address, power: *power }).collect()
    }
}

/// What a block's hash is over.
type Header = (u64, Digest, Address, Digest);
/// A header and its numbers.
type Block = (Header, Vec<u64>);

/// A chain of such blocks; what a crash does not take away.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    book: Arc<Book>,
    powers: Vec<u64>,
    jailed: BTreeSet<usize>,
    /// Who decides each block, the first one first, and one more.
    sets: Vec<Vec<Validator>>,
    head: Digest,
    root: Digest,
    blocks: Vec<(Certificate, Vec<u8>)>,
    builders: Vec<Address>,
    /// The numbers that are in it.
    pub(super) numbers: BTreeSet<u64>,
}

fn hash(header: &Header) -> Digest {
    keccak256(&[&encode(header)])
}

fn root_after(root: Digest, numbers: &[u64]) -> Digest {
    numbers.iter().fold(root, |root, n| keccak256(&[&root.0, &n.to_be_bytes()]))
}

impl Ledger {
    pub(super) fn new(book: &Arc<Book>) -> Self {
        Self {
            powers: book.powers.clone(),
            jailed: BTreeSet::new(),
            sets: vec![book.set(&book.powers)],
            book: book.clone(),
            head: Digest::default(),
            root: Digest::default(),
            blocks: Vec::new(),
            builders: Vec::new(),
            numbers: BTreeSet::new(),
        }
    }

    /// Who decides a block, at most the one after the last.
    pub(super) fn validators(&self, height: u64) -> &[Validator] {
        &self.sets[usize::try_from(height - 1).expect("few blocks")]
    }

    /// What the numbers of a block mean for the stakes.
    fn stake(&mut self, numbers: &[u64]) {
        let place = |n: &u64, from: u64| n.checked_sub(from).and_then(|n| usize::try_from(n).ok());
        for number in numbers {
            if let Some((node, power)) = place(number, STAKES).and_then(|i| self.book.stakes.get(i)) {
                self.powers[*node] = *power;
            } else if let Some(node) = place(number, REPORTS).filter(|node| *node < self.powers.len()) {
                self.jailed.insert(node);
            }
            self.jailed.iter().for_each(|node| self.powers[*node] = 0);
        }
    }

    pub(super) fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Builds a block of what waits; a wrong one breaks the rule of the sum.
    pub(super) fn propose(&self, builder: Address, waiting: &BTreeSet<u64>, wrong: bool) -> (Digest, Vec<u8>) {
        let mut numbers: Vec<u64> = waiting.difference(&self.numbers).copied().take(NUMBERS_MAX).collect();
        let sum: u64 = numbers.iter().sum();
        // No number of a user is that large.
        numbers.push(u64::from(wrong) + (1 << 40) * SUM_OF + SUM_OF - sum % SUM_OF);
        let header = (self.height() + 1, self.head, builder, root_after(self.root, &numbers));
        (hash(&header), encode(&(header, numbers)))
    }

    /// Who built a block that may follow the last one.
    pub(super) fn validate(&self, block: Digest, builder: Option<Address>, bytes: &[u8]) -> Option<Address> {
        let (header, numbers): Block = decode_shape(bytes).ok()?;
        let (height, parent, built_by, root) = header;
        let follows = height == self.height() + 1 && parent == self.head && root == root_after(self.root, &numbers);
        let named = hash(&header) == block && builder.is_none_or(|b| b == built_by);
        let sums = numbers.iter().fold(0u64, |sum, n| sum.wrapping_add(*n)).is_multiple_of(SUM_OF);
        (follows && named && sums).then_some(built_by)
    }

    /// Writes a final block; `None` if it may not follow the last one.
    pub(super) fn commit(&mut self, certificate: Certificate, bytes: Vec<u8>) -> Option<Address> {
        let builder = self.validate(certificate.block, None, &bytes)?;
        let (header, numbers): Block = decode_shape(&bytes).ok()?;
        (self.head, self.root) = (certificate.block, header.3);
        self.stake(&numbers);
        self.numbers.extend(numbers);
        self.blocks.push((certificate, bytes));
        let next = if self.height().is_multiple_of(EPOCH) { self.book.set(&self.powers) } else { Vec::new() };
        let same = self.validators(self.height()).to_vec();
        self.sets.push(if next.is_empty() { same } else { next });
        self.builders.push(builder);
        Some(builder)
    }

    /// The ledger as it was before a block.
    pub(super) fn before(&self, height: u64) -> Self {
        let mut then = Self::new(&self.book);
        for (certificate, bytes) in self.blocks.iter().take_while(|(c, _)| c.height < height) {
            then.commit(certificate.clone(), bytes.clone());
        }
        then
    }

    pub(super) fn builder(&self, height: u64) -> Option<Address> {
        self.builders.get(usize::try_from(height.checked_sub(1)?).ok()?).copied()
    }

    pub(super) fn block(&self, height: u64) -> Option<&(Certificate, Vec<u8>)> {
        self.blocks.get(usize::try_from(height.checked_sub(1)?).ok()?)
    }
}
