//! What is told while the collector is away, and what of the node's own numbers.

use super::encode::own_metrics;
use super::*;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use std::time::SystemTime;
use talkoo_inference::Parent;

fn sending(url: &str) -> Sending {
    let collector = Collector { url: url.to_owned(), headers: Headers::default() };
    let node = Node { id: "n".into(), api: "127.0.0.1:1".parse().unwrap(), begun: SystemTime::UNIX_EPOCH };
    let (post, series) = (Post::to(&collector), Series::new(node.begun));
    Sending { node, post, meters: Meters::default(), waiting: VecDeque::new(), series, is_away: false }
}

fn span(model: &str, parent: Option<Parent>) -> Span {
    Span {
        operation: "chat",
        route: "/v1/messages",
        parent,
        begun: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(20),
        first: Some(Duration::from_millis(5)),
        model: Some(model.to_owned()),
        id: None,
        input_tokens: 4,
        output_tokens: 5,
        finish_reasons: vec!["stop"],
        error: None,
    }
}

fn dropped(meters: &Meters) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    let (watcher, _heard) = mpsc::channel(1);
    meters.clone().watched(watcher).register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("talkoo_otlp_spans_dropped_total "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn what_waits_for_a_collector_is_bounded_and_what_goes_is_counted() {
    // A port that was given back: nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut sending = sending(&url);
    (0..SPANS_MAX + 3).for_each(|_| sending.take(&span("a", None)));
    sending.send("").await;
    assert!(sending.is_away);
    assert_eq!((sending.waiting.len(), dropped(&sending.meters).as_str()), (SPANS_MAX, "3"));
    let parent = Parent { trace: [1; 16], span: [2; 8], is_sampled: false };
    sending.take(&span("a", Some(parent)));
    assert_eq!((sending.waiting.len(), dropped(&sending.meters).as_str()), (SPANS_MAX, "3"), "its owner records none");
    let of: Vec<_> = sending.series.all.values().collect();
    assert_eq!((of.len(), of[0].duration.counts.iter().sum::<u64>()), (1, SPANS_MAX as u64 + 4));
    // 20 ms lie in the bucket that ends there, 4 tokens too.
    assert_eq!((of[0].duration.counts[1], of[0].input.counts[1]), (SPANS_MAX as u64 + 4, SPANS_MAX as u64 + 4));
    (0..400).for_each(|number| sending.series.count(&span(&number.to_string(), None)));
    assert_eq!(sending.series.all.len(), 257, "names are bounded, too");
}

#[test]
fn counters_and_gauges_of_the_node_are_told_with_their_labels() {
    let own = "# HELP talkoo_jobs J.\n# TYPE talkoo_jobs gauge\ntalkoo_jobs{status=\"open\",kind=\"a\"} 2\ntalkoo_jobs{status=\"finished\"} 3\n\
               # TYPE talkoo_tokens counter\ntalkoo_tokens_total{gen_ai_token_type=\"input\"} 7\n# TYPE x histogram\nx_sum 1\n# EOF\n";
    let all = own_metrics(own, [1, 2]);
    let shape: Vec<_> = all.iter().map(|metric| (metric.name.as_str(), metric.data.as_ref().unwrap())).collect();
    let [("talkoo_jobs", Data::Gauge(jobs)), ("talkoo_tokens", Data::Sum(tokens))] = shape[..] else {
        panic!("{shape:?}")
    };
    let labels = |at: usize| jobs.data_points[at].attributes.iter().map(|one| one.key.as_str()).collect::<Vec<_>>();
    assert_eq!((labels(0), labels(1)), (vec!["status", "kind"], vec!["status"]));
    assert!(tokens.is_monotonic && tokens.data_points[0].start_time_unix_nano == 1);
}

#[test]
fn headers_are_read_and_never_shown() {
    let headers = Headers::parse("authorization=Bearer%20secret-7, x-a=b").unwrap();
    assert_eq!(format!("{headers:?}"), "2 headers");
    for wrong in ["secret-7", "a b=secret-7", "a=secret-7%0A", "a=%FFsecret-7"] {
        let why = Headers::parse(wrong).err().unwrap();
        assert!(!why.contains("secret-7"), "{why}");
    }
    assert_eq!(format!("{:?}", Headers::parse(" ").unwrap()), "0 headers");
}
