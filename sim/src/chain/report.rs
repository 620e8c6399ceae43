//! What a world leaves behind.

use talkoo_base::Digest;

/// How a world ended.
#[derive(Debug)]
pub struct Report {
    /// The first rule that was broken.
    pub verdict: Result<(), String>,
    /// Final blocks.
    pub blocks: u64,
    /// Steps of all nodes.
    pub events: u64,
    /// Starts of nodes beyond their first.
    pub restarts: u32,
    /// How often the validators changed.
    pub sets: usize,
    /// Validators that were proved to have voted twice.
    pub convicted: usize,
    /// Rounds above 0 that an honest node began.
    pub late_rounds: u64,
    /// Virtual time at the end.
    pub now_ms: u64,
    /// When each block was first final anywhere.
    pub final_ms: Vec<u64>,
    /// When a proposer was first asked for each.
    pub begun_ms: Vec<u64>,
    /// Of every step: the same seed gives the same.
    pub trace: Digest,
}

impl Report {
    /// Of a world in which nothing happened yet.
    pub(super) fn new() -> Self {
        Self {
            verdict: Ok(()),
            blocks: 0,
            events: 0,
            restarts: 0,
            sets: 0,
            convicted: 0,
            late_rounds: 0,
            now_ms: 0,
            final_ms: Vec::new(),
            begun_ms: Vec::new(),
            trace: Digest::ZERO,
        }
    }
}
