//! One message to the collector.

use super::Collector;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::time::Duration;
use ureq::http::{HeaderName, HeaderValue};

/// How long one may take.
const WAIT: Duration = Duration::from_secs(3);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Headers that are sent.
const HEADERS_MAX: usize = 32;

/// What is sent with each message; there may be a secret in it.
#[derive(Clone, Default)]
pub(crate) struct Headers(Vec<(HeaderName, HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} headers", self.0.len())
    }
}

impl Headers {
    /// Reads `name=value,name=value`, values percent-encoded, as OpenTelemetry has it.
    ///
    /// # Errors
    /// What is wrong with it, without a value of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("a header is no `name=value`")?;
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| format!("`{name}` is not UTF-8"))?;
            let no = |_| format!("the value of `{name}` is none of a header");
            let mut value = HeaderValue::from_str(&value).map_err(no)?;
            value.set_sensitive(true);
            let name = name.trim().parse().map_err(|_| format!("`{name}` is no name of a header"))?;
            all.push((name, value));
        }
        if all.len() > HEADERS_MAX { Err(format!("it has more than {HEADERS_MAX} headers")) } else { Ok(Self(all)) }
    }
}

/// What a collector says.
pub(super) enum Outcome {
    /// It is taken; its answer.
    Taken(Vec<u8>),
    /// It will never take it.
    Refused(String),
    /// It may take it later.
    Later(String),
}

/// Sends.
#[derive(Clone)]
pub(super) struct Post {
    url: String,
    headers: Headers,
    agent: ureq::Agent,
}

impl Post {
    pub(super) fn to(collector: &Collector) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let agent = config.timeout_global(Some(WAIT)).build().into();
        Self { url: collector.url.trim_end_matches('/').to_owned(), headers: collector.headers.clone(), agent }
    }

    pub(super) async fn send(&self, path: &str, body: Vec<u8>) -> Outcome {
        let (own, url) = (self.clone(), format!("{}{path}", self.url));
        let sent = tokio::task::spawn_blocking(move || own.send_now(&url, &body)).await;
        sent.unwrap_or_else(|why| Outcome::Refused(why.to_string()))
    }

    fn send_now(&self, url: &str, body: &[u8]) -> Outcome {
        let mut request = self.agent.post(url).header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        match request.send(body) {
            Err(why) => Outcome::Later(why.to_string()),
            Ok(mut answer) => match answer.status().as_u16() {
                200..=299 => {
                    let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
                    Outcome::Taken(bytes.unwrap_or_default())
                }
                status @ (429 | 502 | 503 | 504) => Outcome::Later(format!("it answers {status}")),
                status => Outcome::Refused(format!("it answers {status}")),
            },
        }
    }
}
