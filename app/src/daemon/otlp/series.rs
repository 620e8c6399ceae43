//! Metrics of requests, summed up since the start: what the semantic conventions of generative AI name.

use std::collections::BTreeMap;
use std::time::SystemTime;
use talkoo_inference::{FIRST_SECONDS, SECONDS, Span};

/// Combinations of operation, model and error; what is beyond counts as model `_OTHER`.
const SERIES_MAX: usize = 256;
/// Upper bounds of tokens: those that OpenTelemetry advises.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What a series is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Of {
    pub(super) operation: &'static str,
    pub(super) model: Option<String>,
    pub(super) error: Option<String>,
}

/// Values in their buckets.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pub(super) bounds: &'static [f64],
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        // A bound belongs to the bucket below it.
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }
}

/// The sums of one combination.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    pub(super) duration: Buckets,
    pub(super) first: Buckets,
    pub(super) input: Buckets,
    pub(super) output: Buckets,
}

/// All of them.
pub(super) struct Series {
    pub(super) begun: SystemTime,
    pub(super) all: BTreeMap<Of, Sums>,
}

impl Series {
    pub(super) fn new(begun: SystemTime) -> Self {
        Self { begun, all: BTreeMap::new() }
    }

    pub(super) fn count(&mut self, span: &Span) {
        let mut of = Of { operation: span.operation, model: span.model.clone(), error: span.error.clone() };
        if self.all.len() >= SERIES_MAX && !self.all.contains_key(&of) {
            of.model = Some("_OTHER".to_owned());
        }
        let empty = || Sums {
            duration: Buckets::new(&SECONDS),
            first: Buckets::new(&FIRST_SECONDS),
            input: Buckets::new(&TOKENS),
            output: Buckets::new(&TOKENS),
        };
        let sums = self.all.entry(of).or_insert_with(empty);
        sums.duration.add(span.took.as_secs_f64());
        span.first.iter().for_each(|first| sums.first.add(first.as_secs_f64()));
        if span.model.is_some() {
            sums.input.add(span.input_tokens as f64);
        }
        if span.output_tokens > 0 {
            sums.output.add(span.output_tokens as f64);
        }
    }
}
