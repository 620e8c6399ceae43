//! Where a node tells what it does.

use crate::commands::Failure;
use crate::daemon::otlp::{Collector, Headers};
use clap::Args;

/// What goes with each message, as OpenTelemetry's own programs read it.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Flags of `up` for OpenTelemetry.
#[derive(Args, Clone)]
pub(crate) struct OtlpArgs {
    /// Tell an OpenTelemetry collector of requests and numbers, by OTLP over HTTP, as http://127.0.0.1:4318; never a word of prompt or
    /// answer. What it wants as headers, tokens too, is read from $OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) otlp: Option<String>,
}

impl OtlpArgs {
    /// What they say, and the environment.
    pub(crate) fn collector(self) -> Result<Option<Collector>, Failure> {
        let Some(url) = self.otlp else { return Ok(None) };
        let text = std::env::var(HEADERS).unwrap_or_default();
        let hint = "as name=value,name=value, values percent-encoded";
        let headers = Headers::parse(&text).map_err(|why| Failure::usage(format!("${HEADERS}: {why}"), hint))?;
        Ok(Some(Collector { url, headers }))
    }
}

/// An http or https address without secrets in it: it stands in settings.
fn url(text: &str) -> Result<String, String> {
    let uri: ureq::http::Uri = text.parse().map_err(|why| format!("it is no address ({why})"))?;
    let place = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https")));
    match place {
        None => Err("it is neither http://… nor https://…".into()),
        Some(place) if place.as_str().contains('@') || uri.query().is_some() => {
            Err(format!("a name, password or query does not belong here: use ${HEADERS}"))
        }
        Some(_) => Ok(text.to_owned()),
    }
}
