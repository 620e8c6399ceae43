//! The words every part of Talkoo speaks: keys and ids, money and time, refusals, and the
//! canonical bytes of every signed record.
//!
//! Nothing here decides or acts. A type lives in this crate only when two machines speak it.
//!
//! # Glossary
//! One word per concept; the field's standard word where there is one.
//!
//! | word | meaning |
//! |---|---|
//! | node | one running `talkoo` process; its key is at once PeerId, Ethereum address and signer |
//! | operator | the owner of a node: holds bond and earnings, delegates to the node key |
//! | client, worker, verifier | the roles of a node in one job: it asks, it runs, it re-runs |
//! | job | what a user posted; a list of steps |
//! | step | the smallest unit that is leased, checked and paid |
//! | lease | one worker's time-limited permission (and duty) to run one step |
//! | request | the client's signed order for one lease |
//! | receipt | the worker's signed statement of cumulative work on one request |
//! | voucher | the client's signed cumulative promise to pay on one channel (x402) |
//! | chunk | 32 output tokens: the unit of receipt, voucher and commitment |
//! | trace | the states of every position and layer that a run went through |
//! | trace root | SHA-256 Merkle root over the chunk digests; two honest runs have the same |
//! | audit | a re-run of a finished step by a verifier that has not seen the worker's root |
//! | verdict | what an audit says of a receipt |
//! | tier | how an answer can be checked: exact (bit for bit), float (not by recomputation) |
//! | card | a worker's signed, expiring statement of what it offers |
//! | validator | a node whose votes decide which block comes next, by its stake |
//! | height, round | number of a block; attempt to agree on it, from 0 |
//! | proposal, prevote, precommit | the three messages of a round, as in Tendermint |
//! | certificate | precommits of more than two thirds of the power: the block is final |
//! | CID, block, pin | as in IPFS |
//! | hold | keeps blocks that are put while it lives from being collected |
//! | class, grant, claim | who may be given a DAG: public, granted, private; leave for one node; a root's word for one block |

pub mod eip712;
mod float;
pub mod generate;
mod hash;
mod ids;
mod keys;
pub mod limits;
mod logprobs;
pub mod merkle;
mod money;
mod network;
mod refusal;
mod time;
pub mod wire;

pub use cid::Cid;
pub use float::{Likeness, float_chunk, float_program};
pub use generate::{CHUNK_TOKENS, Constraint, ConstraintForm, Finish, GenerateParams};
pub use hash::{Digest, keccak256, sha256};
pub use ids::{Attempt, JobId, LeaseId, Work};
pub use keys::{Address, KeyError, NodeId, SecretKey, Signature, Signer, recover};
pub use logprobs::{Logprobs, TokenLogprobs};
pub use money::{Amount, Price};
pub use network::{Contracts, Network};
pub use refusal::{Refusal, RefusalCode};
pub use time::{Millis, Mono, Now, Unix};
pub use wire::{
    AuditPolicy, Bundle, Card, Certificate, CertificateError, ChannelConfig, Delegation, Kind, Limits, ModelOffer,
    PREFERRED_MAX, Preferences, Proposal, Receipt, Request, Signed, Sort, Tier, Unit, VALIDATORS_MAX, Validator,
    ValidatorKey, Vote, VoteKind, Voucher, validators_bytes, validators_hash,
};

#[cfg(test)]
mod tests;
