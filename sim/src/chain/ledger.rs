//! A pretended ledger: a block is a list of numbers, and the state is a hash of all of them.

use std::collections::BTreeSet;
use talkoo_base::wire::{decode_shape, encode};
use talkoo_base::{Address, Certificate, Digest, keccak256};

/// The numbers of a block sum up to a multiple of this.
const SUM_OF: u64 = 7;
/// Numbers in one block, the one that makes the sum right apart.
const NUMBERS_MAX: usize = 4;

/// What a block's hash is over.
type Header = (u64, Digest, Address, Digest);
/// A header and its numbers.
type Block = (Header, Vec<u64>);

/// A chain of such blocks; what a crash does not take away.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
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
        self.numbers.extend(numbers);
        self.blocks.push((certificate, bytes));
        self.builders.push(builder);
        Some(builder)
    }

    /// The ledger as it was before a block.
    pub(super) fn before(&self, height: u64) -> Self {
        let mut then = Self::default();
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
