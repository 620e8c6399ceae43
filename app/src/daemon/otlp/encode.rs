//! Spans and metrics as OTLP has them.

use super::series::{Buckets, Of, Series, Sums};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Record, Status};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use talkoo_inference::Span;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    /// Where it is asked.
    pub(crate) api: SocketAddr,
    /// When it started.
    pub(crate) begun: SystemTime,
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(Value::StringValue(value.to_owned()))), ..KeyValue::default() }
}

fn whole(key: &str, value: u64) -> KeyValue {
    let value = Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX));
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

fn texts(key: &str, values: &[&str]) -> KeyValue {
    let values = values.iter().map(|value| any(Value::StringValue((*value).to_owned()))).collect();
    KeyValue { key: key.to_owned(), value: Some(any(Value::ArrayValue(ArrayValue { values }))), ..KeyValue::default() }
}

fn resource(node: &Node) -> Option<Resource> {
    let attributes = vec![
        text("service.name", "talkoo"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &node.id),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("talkoo".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

/// What names a series, and a span among others of its kind.
fn common(operation: &str, model: Option<&str>, error: Option<&str>, node: &Node) -> Vec<KeyValue> {
    let mut all = vec![
        text("gen_ai.operation.name", operation),
        text("gen_ai.provider.name", "talkoo"),
        text("server.address", &node.api.ip().to_string()),
        whole("server.port", node.api.port().into()),
    ];
    all.extend(model.map(|model| text("gen_ai.request.model", model)));
    all.extend(model.map(|model| text("gen_ai.response.model", model)));
    all.extend(error.map(|error| text("error.type", error)));
    all
}

fn random<const N: usize>() -> Vec<u8> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.to_vec()
}

/// A request as a span.
pub(super) fn span(span: &Span, node: &Node) -> Record {
    let mut attributes = common(span.operation, span.model.as_deref(), span.error.as_deref(), node);
    attributes.push(text("http.route", span.route));
    attributes.extend(span.id.as_deref().map(|id| text("gen_ai.response.id", id)));
    if span.model.is_some() {
        attributes.push(whole("gen_ai.usage.input_tokens", span.input_tokens));
        attributes.push(whole("gen_ai.usage.output_tokens", span.output_tokens));
    }
    if !span.finish_reasons.is_empty() {
        attributes.push(texts("gen_ai.response.finish_reasons", &span.finish_reasons));
    }
    let code = if span.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
    let name = span.model.as_ref().map_or_else(|| span.operation.into(), |model| format!("{} {model}", span.operation));
    Record {
        trace_id: span.parent.map_or_else(random::<16>, |parent| parent.trace.to_vec()),
        span_id: random::<8>(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.span.to_vec()),
        // Sampled; bits 8 and 9: the parent is known, and another process's.
        flags: if span.parent.is_some() { 0x301 } else { 1 },
        name,
        kind: SpanKind::Server as i32,
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.begun + span.took),
        attributes,
        status: Some(Status { message: String::new(), code: code as i32 }),
        ..Record::default()
    }
}

/// Spans, and whose.
pub(super) fn spans(spans: Vec<Record>, node: &Node) -> ResourceSpans {
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    ResourceSpans { resource: resource(node), scope_spans, ..ResourceSpans::default() }
}

/// All metrics: those of requests, and the node's own, as `own` has them in OpenMetrics.
pub(super) fn metrics(series: &Series, own: &str, node: &Node) -> ResourceMetrics {
    let times = [nanos(series.begun), nanos(SystemTime::now())];
    let histogram = |name: &str, unit: &str, points: Vec<HistogramDataPoint>| {
        let data = Data::Histogram(Histogram { data_points: points, aggregation_temporality: CUMULATIVE });
        Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
    };
    let each = |of: fn(&Sums) -> &Buckets, more: &[KeyValue]| -> Vec<HistogramDataPoint> {
        let all = series.all.iter().map(|(key, sums)| (key, of(sums)));
        let all = all.filter(|(_, buckets)| buckets.counts.iter().any(|count| *count > 0));
        all.map(|(key, buckets)| point(key, buckets, more, times, node)).collect()
    };
    let kind = |kind: &str| [text("gen_ai.token.type", kind)];
    let mut tokens = each(|sums| &sums.input, &kind("input"));
    tokens.extend(each(|sums| &sums.output, &kind("output")));
    let mut metrics = vec![
        histogram("gen_ai.server.request.duration", "s", each(|sums| &sums.duration, &[])),
        histogram("gen_ai.server.time_to_first_token", "s", each(|sums| &sums.first, &[])),
        histogram("gen_ai.client.token.usage", "{token}", tokens),
    ];
    metrics.retain(|metric| !matches!(&metric.data, Some(Data::Histogram(all)) if all.data_points.is_empty()));
    metrics.extend(own_metrics(own, times));
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    ResourceMetrics { resource: resource(node), scope_metrics, ..ResourceMetrics::default() }
}

fn point(of: &Of, buckets: &Buckets, more: &[KeyValue], times: [u64; 2], node: &Node) -> HistogramDataPoint {
    let mut attributes = common(of.operation, of.model.as_deref(), of.error.as_deref(), node);
    attributes.extend(more.iter().cloned());
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: times[0],
        time_unix_nano: times[1],
        count: buckets.counts.iter().sum(),
        sum: Some(buckets.sum),
        bucket_counts: buckets.counts.clone(),
        explicit_bounds: buckets.bounds.to_vec(),
        ..HistogramDataPoint::default()
    }
}

/// The counters and gauges of this node's own OpenMetrics text; its histograms are told as the conventions have them.
pub(super) fn own_metrics(own: &str, times: [u64; 2]) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    let mut kind = ("", "");
    for line in own.lines() {
        if let Some(about) = line.strip_prefix("# TYPE ") {
            kind = about.split_once(' ').unwrap_or_default();
            continue;
        }
        let (name, is_sum) = match kind {
            (name, "counter") => (name, true),
            (name, "gauge") => (name, false),
            _ => continue,
        };
        let sample = line.strip_prefix(name).map(|rest| rest.strip_prefix("_total").unwrap_or(rest));
        let Some((labels, value)) = sample.and_then(|rest| rest.rsplit_once(' ')) else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let point = NumberDataPoint {
            attributes: labels_of(labels),
            start_time_unix_nano: if is_sum { times[0] } else { 0 },
            time_unix_nano: times[1],
            value: Some(Number::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        match all.last_mut().filter(|last| last.name == name).and_then(|last| last.data.as_mut()) {
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            _ => {
                let data_points = vec![point];
                let data = match is_sum {
                    true => Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true }),
                    false => Data::Gauge(Gauge { data_points }),
                };
                all.push(Metric { name: name.to_owned(), data: Some(data), ..Metric::default() });
            }
        }
    }
    all
}

/// `{a="b",c="d"}`; no value of ours has a quote in it.
fn labels_of(labels: &str) -> Vec<KeyValue> {
    let inner = labels.trim().trim_start_matches('{').trim_end_matches('}');
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| text(key, value.trim_matches('"')));
    inner.split(',').filter_map(pair).collect()
}
