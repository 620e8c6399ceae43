//! Which span a request says that it belongs to.

use super::*;
use axum::http::HeaderValue;

#[test]
fn a_traceparent_is_read_or_it_is_none() {
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let cases = [
        (format!("00-{trace}-{span}-01"), Some(true)),
        (format!("00-{trace}-{span}-00"), Some(false)),
        (format!("cc-{trace}-{span}-03-what-comes"), Some(true)),
        (format!("00-{trace}-{span}-01-more"), None),
        (format!("ff-{trace}-{span}-01"), None),
        (format!("00-{}-{span}-01", "0".repeat(32)), None),
        (format!("00-{trace}-{}-01", "0".repeat(16)), None),
        (format!("00-{}-{span}-01", trace.to_uppercase()), None),
        (format!("00-{}-{span}-01", &trace[2..]), None),
        (format!("00-{trace}-{span}"), None),
        (String::new(), None),
        ("é".to_owned(), None),
    ];
    for (text, want) in cases {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_bytes(text.as_bytes()).unwrap());
        let parent = parent_of(&headers);
        assert_eq!(parent.map(|parent| parent.is_sampled), want, "{text}");
        if let Some(parent) = parent {
            assert_eq!((hex::encode(parent.trace), hex::encode(parent.span)), (trace.into(), span.into()));
        }
    }
    assert_eq!(parent_of(&HeaderMap::new()), None);
}
