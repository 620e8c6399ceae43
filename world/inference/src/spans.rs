//! What is told of each request to whoever traces a node: OpenTelemetry's conventions of generative AI, without a word of prompt or answer.
//!
//! A request for an answer carries an [`Asking`] through its task; the answer's flow takes it along, for a stream lives longer than its
//! request. Nobody waits for whoever listens: what finds no place is dropped, and counted.

use crate::Meters;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The span of another program that a request belongs to (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Of the trace.
    pub trace: [u8; 16],
    /// Of the span.
    pub span: [u8; 8],
    /// Whether its owner records it.
    pub is_sampled: bool,
}

/// A request for an answer or for vectors, from its arrival to its last piece.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// `chat`, `text_completion` or `embeddings`.
    pub operation: &'static str,
    /// Its path as the node's routes have it.
    pub route: &'static str,
    /// The span that asked.
    pub parent: Option<Parent>,
    /// When it came.
    pub begun: SystemTime,
    /// How long it took in all.
    pub took: Duration,
    /// How long until the first text.
    pub first: Option<Duration>,
    /// The model that answered; nothing if it came to none.
    pub model: Option<String>,
    /// The answer's name.
    pub id: Option<String>,
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answers.
    pub output_tokens: u64,
    /// Why each answer ended, in OpenAI's words.
    pub finish_reasons: Vec<&'static str>,
    /// The refusal's code, the status, or `cancelled` if whoever asked went away.
    pub error: Option<String>,
}

/// The operation of a route, and the route itself.
fn operation_of(path: &str) -> Option<(&'static str, &'static str)> {
    let all = [
        ("chat", "/v1/chat/completions"),
        ("chat", "/v1/messages"),
        ("chat", "/v1/responses"),
        ("chat", "/v1/responses/compact"),
        ("chat", "/api/chat"),
        ("text_completion", "/v1/completions"),
        ("text_completion", "/api/generate"),
        ("embeddings", "/v1/embeddings"),
        ("embeddings", "/api/embed"),
    ];
    all.into_iter().find(|(_, route)| *route == path)
}

/// Reads a `traceparent`: of version 00, or what a later one has in its place.
fn parent_of(headers: &HeaderMap) -> Option<Parent> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_good = [version, trace, span, flags].into_iter().all(is_hex)
        && (version.len(), flags.len()) == (2, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none());
    let (mut parent, flags) = (Parent { trace: [0; 16], span: [0; 8], is_sampled: false }, hex::decode(flags).ok()?);
    hex::decode_to_slice(trace, &mut parent.trace).ok()?;
    hex::decode_to_slice(span, &mut parent.span).ok()?;
    parent.is_sampled = flags.first().is_some_and(|flags| flags & 1 == 1);
    (is_good && parent.trace != [0; 16] && parent.span != [0; 8]).then_some(parent)
}

/// A request on its way, as all that works at it knows it.
struct Asking {
    blank: Span,
    begun: Instant,
    /// A flow tells of it.
    is_taken: AtomicBool,
    /// Model and tokens of vectors.
    vectors: Mutex<Option<(String, u32)>>,
}

tokio::task_local! {
    static ASKING: Arc<Asking>;
}

/// Has a request for an answer told to whoever listens.
pub(crate) async fn watch(State(meters): State<Meters>, request: Request, next: Next) -> Response {
    let operation = request.extensions().get::<MatchedPath>().and_then(|path| operation_of(path.as_str()));
    let Some((operation, route)) = operation.filter(|_| request.method() == Method::POST && meters.is_watched()) else {
        return next.run(request).await;
    };
    let blank = Span {
        operation,
        route,
        parent: parent_of(request.headers()),
        begun: SystemTime::now(),
        took: Duration::ZERO,
        first: None,
        model: None,
        id: None,
        input_tokens: 0,
        output_tokens: 0,
        finish_reasons: Vec::new(),
        error: None,
    };
    let (is_taken, vectors) = (AtomicBool::new(false), Mutex::new(None));
    let asking = Arc::new(Asking { blank, begun: Instant::now(), is_taken, vectors });
    let response = ASKING.scope(asking.clone(), next.run(request)).await;
    if !asking.is_taken.load(Ordering::Relaxed) {
        meters.tell(asking.settled(response.status()));
    }
    response
}

impl Asking {
    /// Of a request that had no flow: vectors, or a refusal.
    fn settled(&self, status: StatusCode) -> Span {
        let mut span = Span { took: self.begun.elapsed(), ..self.blank.clone() };
        if let Some((model, tokens)) = self.vectors.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (span.model, span.input_tokens) = (Some(model), tokens.into());
        }
        span.error = (!status.is_success()).then(|| status.as_u16().to_string());
        span
    }
}

/// Vectors were made.
pub(crate) fn embedded(model: &str, tokens: u32) {
    // Who is not watched has nothing to note.
    ASKING
        .try_with(|asking| {
            *asking.vectors.lock().unwrap_or_else(PoisonError::into_inner) = Some((model.to_owned(), tokens));
        })
        .ok();
}

/// The span of an answer as it comes. It is told when this is dropped.
pub(crate) struct Growing {
    meters: Meters,
    span: Option<Span>,
    begun: Instant,
    is_whole: bool,
}

impl Growing {
    /// Of the request that this task answers, if somebody listens.
    pub(crate) fn new(meters: &Meters, id: &str, model: &str, prompt_tokens: u32) -> Self {
        let grow = |asking: &Arc<Asking>| {
            asking.is_taken.store(true, Ordering::Relaxed);
            let (model, id) = (Some(model.to_owned()), Some(id.to_owned()));
            (Span { model, id, input_tokens: prompt_tokens.into(), ..asking.blank.clone() }, asking.begun)
        };
        let (span, begun) = ASKING.try_with(grow).ok().unzip();
        Self { meters: meters.clone(), span, begun: begun.unwrap_or_else(Instant::now), is_whole: false }
    }

    /// The first text is there.
    pub(crate) fn first(&mut self) {
        let took = self.begun.elapsed();
        self.span.iter_mut().for_each(|span| span.first = span.first.or(Some(took)));
    }

    /// An answer is whole; `is_last`: all of them.
    pub(crate) fn end(&mut self, reason: &'static str, tokens: u32, is_last: bool) {
        self.is_whole = is_last;
        if let Some(span) = &mut self.span {
            span.finish_reasons.push(reason);
            span.output_tokens += u64::from(tokens);
        }
    }

    /// It comes to nothing.
    pub(crate) fn fail(&mut self, code: &str) {
        self.is_whole = true;
        self.span.iter_mut().for_each(|span| span.error = Some(code.to_owned()));
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        span.took = self.begun.elapsed();
        if !self.is_whole {
            span.error = Some("cancelled".to_owned());
        }
        self.meters.tell(span);
    }
}

#[cfg(test)]
mod tests;
