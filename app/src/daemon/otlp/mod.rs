//! What the node does, for an OpenTelemetry collector: spans of requests and metrics by OTLP over HTTP, as protobuf (OTLP 1.x, semantic
//! conventions of generative AI). Not a word of prompt or answer is in any of it.
//!
//! ```text
//! answers ── Span, if there is room ──► exporter (task) ── every 5 s, and at the end ──► collector
//!                 └── none: counted        └── it is away: they wait, the oldest go, counted
//! ```
//! The node waits for none of it.

mod encode;
mod post;
mod series;
#[cfg(test)]
mod tests;

pub(crate) use post::Headers;

use super::operators::ask;
pub(super) use encode::Node;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span as Record;
use post::{Outcome, Post};
use prost::Message as _;
use series::Series;
use std::collections::VecDeque;
use std::time::Duration;
use talkoo_api::Call;
use talkoo_inference::{Meters, Span};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Spans that wait for the exporter, and as many again for the collector.
const SPANS_MAX: usize = 2_048;
/// Spans of one message.
const BATCH_MAX: usize = 512;
/// How often it sends.
const PERIOD: Duration = Duration::from_secs(5);
/// What the end of the node waits for the collector.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// Where to.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// Without `/v1/traces`.
    pub(crate) url: String,
    pub(crate) headers: Headers,
}

/// An exporter that hears, and does not yet send.
pub(super) struct Exporter {
    post: Post,
    heard: mpsc::Receiver<Span>,
    meters: Meters,
}

/// The node's meters, and who tells a collector of them, if there is one.
pub(super) fn begin(collector: Option<&Collector>) -> (Meters, Option<Exporter>) {
    let Some(collector) = collector else { return (Meters::default(), None) };
    let (watcher, heard) = mpsc::channel(SPANS_MAX);
    let meters = Meters::default().watched(watcher);
    (meters.clone(), Some(Exporter { post: Post::to(collector), heard, meters }))
}

/// What is on its way.
struct Sending {
    node: Node,
    post: Post,
    meters: Meters,
    waiting: VecDeque<Record>,
    series: Series,
    /// Whether the collector took nothing last time.
    is_away: bool,
}

impl Exporter {
    /// Sends until the node stops, and once more.
    pub(super) async fn run(self, node: Node, calls: mpsc::Sender<Call>, stop: CancellationToken) {
        let Self { post, mut heard, meters } = self;
        let series = Series::new(node.begun);
        let mut sending = Sending { node, post, meters, waiting: VecDeque::new(), series, is_away: false };
        let mut turn = interval(PERIOD);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(span) = heard.recv() => sending.take(&span),
                _ = turn.tick() => {
                    // A loop that is busy is asked again the next time.
                    let own = ask(&calls, "metrics").await.ok();
                    sending.send(own.as_ref().and_then(|text| text.as_str()).unwrap_or_default()).await;
                }
            }
        }
        while let Ok(span) = heard.try_recv() {
            sending.take(&span);
        }
        if timeout(LAST_WAIT, sending.send("")).await.is_err() {
            warn!("the collector did not take the last spans in time");
        }
    }
}

impl Sending {
    fn take(&mut self, span: &Span) {
        self.series.count(span);
        // Its owner does not record it: what belongs to it is not recorded either.
        if span.parent.is_some_and(|parent| !parent.is_sampled) {
            return;
        }
        if self.waiting.len() >= SPANS_MAX {
            self.waiting.pop_front();
            self.meters.dropped(1);
        }
        self.waiting.push_back(encode::span(span, &self.node));
    }

    async fn send(&mut self, own: &str) {
        let metrics = encode::metrics(&self.series, own, &self.node);
        let metrics = ExportMetricsServiceRequest { resource_metrics: vec![metrics] };
        let is_taken = self.said(self.post.send("/v1/metrics", metrics.encode_to_vec()).await).is_some();
        while is_taken && !self.waiting.is_empty() {
            let batch: Vec<Record> = self.waiting.iter().take(BATCH_MAX).cloned().collect();
            let many = batch.len();
            let request = ExportTraceServiceRequest { resource_spans: vec![encode::spans(batch, &self.node)] };
            let Some(answer) = self.said(self.post.send("/v1/traces", request.encode_to_vec()).await) else { return };
            self.waiting.drain(..many);
            let refused = match answer {
                None => many as u64,
                // A collector may take a part.
                Some(bytes) => ExportTraceServiceResponse::decode(bytes.as_slice())
                    .ok()
                    .and_then(|answer| answer.partial_success)
                    .map_or(0, |part| u64::try_from(part.rejected_spans).unwrap_or(0).min(many as u64)),
            };
            self.meters.dropped(refused);
        }
    }

    /// Its answer; inside, nothing if it refused for good; outside, nothing if it is to be tried again. People are told when that changes.
    fn said(&mut self, outcome: Outcome) -> Option<Option<Vec<u8>>> {
        let (answer, why) = match outcome {
            Outcome::Taken(bytes) => (Some(Some(bytes)), None),
            Outcome::Refused(why) => (Some(None), Some(why)),
            Outcome::Later(why) => (None, Some(why)),
        };
        match why {
            Some(why) if !self.is_away => {
                warn!(why, "the OpenTelemetry collector takes nothing; what finds no room is dropped, and counted");
            }
            None if self.is_away => info!("the OpenTelemetry collector takes it again"),
            _ => {}
        }
        self.is_away = !matches!(answer, Some(Some(_)));
        answer
    }
}
