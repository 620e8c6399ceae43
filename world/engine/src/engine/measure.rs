//! How fast this engine is on this machine.

use super::Engine;
use super::forward::Observer;
use std::time::Instant;
use talkoo_base::Digest;

/// Positions of the measured prefill.
const PREFILL: usize = 256;
/// Tokens of the measured decode.
const DECODE: usize = 24;

/// Speeds in thousandths of a token per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Prompt tokens.
    pub prefill_milli_tps: u64,
    /// Output tokens, one stream.
    pub decode_milli_tps: u64,
}

/// Wants the logits of the last position, as a run does.
struct LastLogits {
    last: usize,
}

impl Observer for LastLogits {
    fn states(&mut self, _: usize, _: &[Digest]) {}

    fn wants_logits(&self, index: usize) -> bool {
        index == self.last
    }

    fn logits(&mut self, _: usize, _: &[i64]) -> bool {
        true
    }
}

impl Engine {
    /// Measures prefill and decode on made-up tokens, state digests included. Takes about a second
    /// on a small model; ends the task in progress, if any.
    pub fn measure(&mut self) -> Speed {
        let shape = &self.model.manifest.architecture;
        let (vocabulary, context) = (shape.vocabulary, shape.context);
        let tokens: Vec<u32> = (0..PREFILL + DECODE).map(|i| (i * 7919 % vocabulary) as u32).collect();
        let prefill = PREFILL.min(context / 2).max(2).min(context);
        let decode = DECODE.min(context - prefill);
        self.reset();
        // Made-up tokens cannot leave a sane model's range; a broken model's speed is what it is.
        let mut run = |tokens: &[u32]| {
            let mut last = LastLogits { last: tokens.len() - 1 };
            self.advance(tokens, &mut last).is_ok()
        };
        run(&tokens[..1]);
        let start = Instant::now();
        run(&tokens[1..prefill]);
        let middle = Instant::now();
        for t in &tokens[prefill..prefill + decode] {
            run(&[*t]);
        }
        let end = Instant::now();
        self.reset();
        let rate = |count: usize, from: Instant, to: Instant| {
            let nanos = to.duration_since(from).as_nanos().max(1);
            u64::try_from(count as u128 * 1_000_000_000_000 / nanos).unwrap_or(u64::MAX)
        };
        Speed { prefill_milli_tps: rate(prefill - 1, start, middle), decode_milli_tps: rate(decode, middle, end) }
    }
}
