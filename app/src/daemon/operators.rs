//! For operators: `/livez`, `/readyz`, `/metrics`.

use super::Daemon;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};
use std::time::Duration;
use talkoo_api::axum::Router;
use talkoo_api::axum::extract::{Extension, State};
use talkoo_api::axum::http::{HeaderMap, StatusCode, header};
use talkoo_api::axum::response::{IntoResponse, Response};
use talkoo_api::axum::routing::get;
use talkoo_api::{Call, Caller};
use talkoo_base::Refusal;
use talkoo_job::JobStatus;
use tokio::sync::{mpsc, oneshot};

/// How long the loop may take before the node does not count as ready.
const READY_WAIT: Duration = Duration::from_secs(2);

type Calls = mpsc::Sender<Call>;

/// The routes, for the API's port. Whether the node lives and is ready is no secret; what it does is its owner's.
pub(super) fn router(calls: Calls) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(calls)
}

/// Asks the loop; what kept it from an answer.
pub(super) async fn ask(calls: &Calls, name: &'static str) -> Result<Value, String> {
    let (reply, answer) = oneshot::channel();
    let call = Call { name, args: json!({}), once: None, reply };
    let asked = async {
        calls.send(call).await.map_err(|_| "the node is stopping".to_owned())?;
        let answer: Result<Value, Refusal> = answer.await.map_err(|_| "the node is stopping".to_owned())?;
        answer.map_err(|no| no.to_string())
    };
    let late = |_| format!("the node's loop gave no answer in {} s", READY_WAIT.as_secs());
    tokio::time::timeout(READY_WAIT, asked).await.map_err(late)?
}

async fn ready(State(calls): State<Calls>) -> Response {
    match ask(&calls, "status").await {
        Ok(_) => "ok".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(calls): State<Calls>, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Response {
    if caller != Caller::Owner {
        let why = "send `Authorization: Bearer` with the content of api.token in the data folder";
        return (StatusCode::UNAUTHORIZED, why).into_response();
    }
    match ask(&calls, "metrics").await {
        Ok(text) => {
            let text = text.as_str().unwrap_or_default();
            let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let (kind, text) = if accepts.contains("application/openmetrics-text") {
                ("application/openmetrics-text; version=1.0.0; charset=utf-8", text.to_owned())
            } else {
                ("text/plain; version=0.0.4; charset=utf-8", plain(text))
            };
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

/// OpenMetrics in Prometheus' older format, in which a counter is described under the name that its samples have.
fn plain(text: &str) -> String {
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => String::new(),
            (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(&name) => {
                format!("# {word} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
    build: String,
}

impl Daemon {
    /// All numbers of the node as OpenMetrics.
    pub(super) fn metrics(&self) -> Result<Value, Refusal> {
        let mut registry = Registry::default();
        let build = Family::<Build, Gauge>::default();
        let runs = Build { version: env!("CARGO_PKG_VERSION"), build: self.build.to_string() };
        build.get_or_create(&runs).set(1);
        registry.register("talkoo_build_info", "What runs", build);
        self.meters.register(&mut registry);
        let counters = self.net.counters();
        for (name, help, count) in [
            ("talkoo_net_wants", "Blocks that peers asked for", counters.wants),
            ("talkoo_net_strangers_refused", "Wants of strangers who are not served", counters.strangers_refused),
            ("talkoo_net_budget_refused", "Wants refused because the hour's bytes were spent", counters.budget_refused),
            ("talkoo_net_misbehaved", "Peers thrown out for breaking a protocol", counters.misbehaved),
        ] {
            registry.register(name, help, ConstCounter::new(count));
        }
        let usage = self.blocks.usage().ok().map_or(0, |usage| usage.used_bytes);
        let offered = self.node.market().offered();
        let earned: u128 = self.node.proof().earnings().map(|(_, earning)| earning.received.0).sum();
        let uptime = Unit::Seconds;
        registry.register_with_unit(
            "talkoo_uptime",
            "Since the start",
            uptime,
            gauge(self.started.elapsed().as_secs()),
        );
        registry.register_with_unit("talkoo_store", "Blocks on the disk", Unit::Bytes, gauge(usage));
        for (name, help, value) in [
            ("talkoo_peers", "Connected nodes", self.net.peers().len() as u64),
            ("talkoo_models", "Models that are here", self.shelf.all().len() as u64),
            ("talkoo_providing", "Whether compute is offered", u64::from(offered.is_some())),
            ("talkoo_slots_taken", "Leases that clients hold here", offered.map_or(0, |(_, taken)| u64::from(taken))),
            ("talkoo_earned_micro", "Earned by vouchers, in micro-units", u64::try_from(earned).unwrap_or(u64::MAX)),
        ] {
            registry.register(name, help, gauge(value));
        }
        let jobs = Family::<Status, Gauge>::default();
        for (status, name) in
            [(JobStatus::Open, "open"), (JobStatus::Finished, "finished"), (JobStatus::Cancelled, "cancelled")]
        {
            let count = self.node.jobs().iter().filter(|job| job.status == status).count();
            jobs.get_or_create(&Status { status: name }).set(count as i64);
        }
        registry.register("talkoo_jobs", "Jobs of this node", jobs);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text is written to memory");
        Ok(json!(text))
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_as_they_are_sampled() {
        let open =
            "# HELP a Help.\n# TYPE a counter\na_total 1\n# HELP b Help.\n# TYPE b gauge\n# UNIT b bytes\nb 2\n# EOF\n";
        let want = "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n# HELP b Help.\n# TYPE b gauge\nb 2\n";
        assert_eq!(plain(open), want);
    }
}
