//! What a collector hears of a real node.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod node;

use node::{run, start, talkoo};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Histogram, HistogramDataPoint, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PROMPT: &str = "seventeen turquoise herons";
const SECRET: &str = "collector-secret-9921";
const WAIT: Duration = Duration::from_secs(60);

/// A message: its path, its head in lower case, its body.
type Message = (String, String, Vec<u8>);

/// A collector that takes everything; the first message of each kind only when it is sent again.
fn collector() -> (String, Receiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (taken, messages) = channel();
    std::thread::spawn(move || {
        let mut refused = std::collections::BTreeSet::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            loop {
                let (mut head, mut line) = (String::new(), String::new());
                while stream.read_line(&mut line).unwrap_or(0) > 2 {
                    head.push_str(&line.to_lowercase());
                    line.clear();
                }
                if head.is_empty() {
                    break;
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let status = if refused.insert(path.clone()) { "503 Busy" } else { "200 OK" };
                if status.starts_with("200") && taken.send((path, head, body)).is_err() {
                    return;
                }
                write!(stream.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
    });
    (url, messages)
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::ArrayValue(all)) => all.values.iter().map(|one| text(Some(one))).collect::<Vec<_>>().join(","),
        other => panic!("{other:?} is none of ours"),
    }
}

fn attribute(all: &[KeyValue], key: &str) -> Option<String> {
    all.iter().find(|one| one.key == key).map(|one| text(one.value.as_ref()))
}

/// The spans of all messages until there are so many, and the metrics of the last message before that.
fn heard(messages: &Receiver<Message>, spans: usize) -> (Vec<Span>, Vec<Metric>, Vec<Vec<u8>>) {
    let (mut found, mut metrics, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    while found.len() < spans {
        let (path, head, body) = messages.recv_timeout(WAIT).expect("a collector hears of the node in time");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        assert!(head.contains(&format!("x-secret: {SECRET}")), "{head}");
        match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                let resource = request.resource_spans[0].resource.clone().unwrap();
                assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("talkoo"));
                let scopes = request.resource_spans.into_iter().flat_map(|one| one.scope_spans);
                found.extend(scopes.flat_map(|scope| scope.spans));
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
                let scopes = request.resource_metrics.into_iter().flat_map(|one| one.scope_metrics);
                metrics = scopes.flat_map(|scope| scope.metrics).collect();
            }
            other => panic!("{other}"),
        }
        bodies.push(body);
    }
    (found, metrics, bodies)
}

fn histogram(metrics: &[Metric], name: &str) -> Histogram {
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"));
    match &metric.data {
        Some(Data::Histogram(all)) => all.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_collector_hears_of_requests_and_never_a_word_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (url, messages) = collector();
    let flags = ["-o", "json", "-v", "up", "--api", "127.0.0.1:0", "--pull", "smollm2", "--otlp", &url];
    let mut command = talkoo(dir.path(), &flags);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-secret={SECRET}")).env("TALKOO_LOG", "debug,talkoo=trace");
    let log = dir.path().join("log");
    let (mut process, up) = start(command, &log);
    run(dir.path(), &["pull", "smollm2"]);
    let api = format!("http://{}", up["api"].as_str().unwrap());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let ask = |model: &str, stream: bool, flags: &str| {
        let request = agent.post(format!("{api}/v1/chat/completions"));
        let request = request.header("traceparent", format!("00-{trace}-{parent}-{flags}"));
        let messages = json!([{"role": "user", "content": PROMPT}]);
        let body = json!({"model": model, "max_tokens": 6, "messages": messages, "stream": stream});
        request.send_json(body).unwrap().body_mut().read_to_string().unwrap()
    };
    let answer: Value = serde_json::from_str(&ask("smollm2", false, "01")).unwrap();
    assert!(ask("smollm2", true, "01").contains("[DONE]"));
    ask("none", false, "01");
    let (spans, metrics, mut bodies) = heard(&messages, 3);
    let uptime = metrics.iter().find(|metric| metric.name == "talkoo_uptime_seconds");
    assert!(matches!(uptime.and_then(|metric| metric.data.as_ref()), Some(Data::Gauge(_))), "{metrics:?}");
    // Whose parent is not sampled is not told of, only counted. The end of a node sends what is left.
    ask("smollm2", false, "00");
    ask("smollm2", false, "01");
    run(dir.path(), &["down"]);
    assert!(process.0.wait().unwrap().success());
    let (last, metrics, more) = heard(&messages, 1);
    bodies.extend(more);
    assert_eq!((last.len(), messages.try_iter().filter(|(path, ..)| path == "/v1/traces").count()), (1, 0));
    let durations = histogram(&metrics, "gen_ai.server.request.duration");
    let error = |point: &HistogramDataPoint| attribute(&point.attributes, "error.type");
    let counts: Vec<_> = durations.data_points.iter().map(|point| (error(point), point.count)).collect();
    assert_eq!(counts, [(Some("404".to_owned()), 1), (None, 4)]);
    let first = histogram(&metrics, "gen_ai.server.time_to_first_token").data_points;
    assert_eq!((first.len(), first[0].count), (1, 4));
    let tokens = histogram(&metrics, "gen_ai.client.token.usage").data_points;
    let kinds: Vec<_> =
        tokens.iter().map(|point| (attribute(&point.attributes, "gen_ai.token.type"), point.sum)).collect();
    let sum = |field: &str| answer["usage"][field].as_f64().map(|one| 4.0 * one);
    let want = [("input", sum("prompt_tokens")), ("output", sum("completion_tokens"))];
    assert_eq!(kinds, want.map(|(kind, sum)| (Some(kind.to_owned()), sum)));
    let of = |span: &Span, key: &str| attribute(&span.attributes, key);
    let usage = &answer["usage"];
    let model = answer["model"].as_str().unwrap();
    for span in &spans[..2] {
        assert_eq!((span.name.as_str(), span.kind), (format!("chat {model}").as_str(), 2), "{span:?}");
        assert_eq!(of(span, "gen_ai.operation.name").as_deref(), Some("chat"));
        assert_eq!(of(span, "gen_ai.request.model").as_deref(), Some(model));
        assert_eq!(of(span, "gen_ai.usage.input_tokens"), Some(usage["prompt_tokens"].to_string()));
        assert_eq!(of(span, "gen_ai.usage.output_tokens"), Some(usage["completion_tokens"].to_string()));
        let reason = answer["choices"][0]["finish_reason"].as_str();
        assert_eq!(of(span, "gen_ai.response.finish_reasons").as_deref(), reason);
        assert_eq!(of(span, "server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!((of(span, "error.type"), span.status.as_ref().unwrap().code), (None, 0));
        assert!(span.end_time_unix_nano > span.start_time_unix_nano && span.span_id.len() == 8);
    }
    assert_eq!(of(&spans[0], "gen_ai.response.id").as_deref(), answer["id"].as_str());
    assert_eq!((spans[2].name.as_str(), of(&spans[2], "error.type").as_deref()), ("chat", Some("404")));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(spans.iter().all(|span| (hex(&span.trace_id), hex(&span.parent_span_id)) == (trace.into(), parent.into())));
    let (log, words) = (std::fs::read_to_string(log).unwrap(), answer["choices"][0]["message"]["content"].as_str());
    assert!(!log.contains(SECRET) && !log.contains(PROMPT), "{log}");
    for body in &bodies {
        let has = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!has(PROMPT) && !has(words.unwrap()) && !has(SECRET));
    }
}
