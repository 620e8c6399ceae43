//! Server-sent events: each event when it is there, a comment when nothing comes for a while.

use crate::collect::{Flow, Happening};
use crate::limits::KEEP_ALIVE;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::time::timeout;

/// Writes an answer in the words of a protocol.
pub(crate) trait Teller: Send + 'static {
    /// What is said before anything has come.
    fn begin(&mut self, flow: &Flow) -> Vec<String>;
    /// What a happening is in its words.
    fn tell(&mut self, flow: &Flow, happening: Happening) -> Vec<String>;
    /// What is said at the end.
    fn end(&mut self, flow: &Flow) -> Vec<String>;
    /// What is said while nothing comes.
    fn wait(&self) -> Option<String> {
        Some(": waiting\n\n".to_owned())
    }
    /// The media type of it all.
    fn media_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }
}

/// An event without a name.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event with a name.
pub(crate) fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

struct Streaming<T> {
    flow: Flow,
    teller: T,
    lines: VecDeque<String>,
    is_over: bool,
}

/// Streams an answer. When the client goes away the flow is dropped, and the work ends.
pub(crate) fn stream(flow: Flow, mut teller: impl Teller) -> Response {
    let media_type = teller.media_type();
    let lines = teller.begin(&flow).into();
    let state = Streaming { flow, teller, lines, is_over: false };
    let body = stream::unfold(state, |mut state| async move {
        loop {
            if !state.lines.is_empty() {
                // All that is ready in one piece: small writes cost more than they tell.
                let text: String = state.lines.drain(..).collect();
                return Some((Ok::<_, Infallible>(text), state));
            }
            if state.is_over {
                return None;
            }
            match timeout(KEEP_ALIVE, state.flow.next()).await {
                Ok(Some(happening)) => {
                    state.is_over = matches!(happening, Happening::Failed(_));
                    state.lines.extend(state.teller.tell(&state.flow, happening));
                }
                Ok(None) => {
                    state.is_over = true;
                    state.lines.extend(state.teller.end(&state.flow));
                }
                Err(_) => state.lines.extend(state.teller.wait()),
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(body)).into_response()
}
