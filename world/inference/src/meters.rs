//! What was asked and answered, for operators: OpenTelemetry's names of generative AI where it has them ("Semantic conventions for
//! generative AI metrics"), as Prometheus writes them.

use crate::spans::Span;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use tokio::sync::mpsc;

/// Upper bounds of times, in seconds: those that OpenTelemetry advises.
pub const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// The same of the first token.
pub const FIRST_SECONDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    /// The route, not the path: there are few of them.
    http_route: String,
    http_response_status_code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenType {
    gen_ai_token_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Counts requests, tokens and times.
#[derive(Clone, Debug)]
pub struct Meters {
    requests: Family<Request, Histogram>,
    first: Histogram,
    tokens: Family<TokenType, Counter>,
    x402: Family<Outcome, Counter>,
    x402_earned: Counter,
    /// Who hears of every request.
    watcher: Option<mpsc::Sender<Span>>,
    dropped: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        let empty: fn() -> Histogram = || Histogram::new(SECONDS);
        let requests = Family::new_with_constructor(empty);
        let (tokens, x402, x402_earned) = (Family::default(), Family::default(), Counter::default());
        let (first, dropped) = (Histogram::new(FIRST_SECONDS), Counter::default());
        Self { requests, first, tokens, x402, x402_earned, watcher: None, dropped }
    }
}

impl Meters {
    /// Has somebody hear of every request, too. Nobody waits for him: what finds no place is dropped, and counted.
    #[must_use]
    pub fn watched(self, watcher: mpsc::Sender<Span>) -> Self {
        Self { watcher: Some(watcher), ..self }
    }

    /// Counts spans that did not reach whoever wanted them.
    pub fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watcher.is_some()
    }

    pub(crate) fn tell(&self, span: Span) {
        if self.watcher.as_ref().is_some_and(|watcher| watcher.try_send(span).is_err()) {
            self.dropped(1);
        }
    }

    /// Puts all of it into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let all = self.requests.clone();
        registry.register_with_unit("gen_ai_server_request_duration", "Requests until they ended", Unit::Seconds, all);
        let first = self.first.clone();
        let help = "Requests until the first text of their answer";
        registry.register_with_unit("gen_ai_server_time_to_first_token", help, Unit::Seconds, first);
        if self.is_watched() {
            registry.register("talkoo_otlp_spans_dropped", "Spans that no collector took", self.dropped.clone());
        }
        registry.register("talkoo_tokens", "Tokens of prompts and answers", self.tokens.clone());
        registry.register("talkoo_x402", "Requests without a key, by what became of them", self.x402.clone());
        let help = "Paid by x402, in the asset's smallest unit";
        registry.register("talkoo_x402_earned_micro", help, self.x402_earned.clone());
    }

    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let labels = Request { http_route: route.to_owned(), http_response_status_code: status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn first(&self, took: Duration) {
        self.first.observe(took.as_secs_f64());
    }

    /// What became of a request without a key.
    pub(crate) fn x402(&self, outcome: &'static str) {
        self.x402.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn x402_earned(&self, amount: u128) {
        self.x402_earned.inc_by(u64::try_from(amount).unwrap_or(u64::MAX));
    }

    pub(crate) fn tokens(&self, gen_ai_token_type: &'static str, count: u32) {
        self.tokens.get_or_create(&TokenType { gen_ai_token_type }).inc_by(u64::from(count));
    }
}
