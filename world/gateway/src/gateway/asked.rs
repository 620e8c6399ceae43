//! What a request asks for: host, path, format, range (specs.ipfs.tech/http-gateways).

use axum::http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::str::FromStr as _;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::dag::{ByteRange, Scope};
use talkoo_store::limits::CID_CHARS_MAX;

/// In what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// What a browser shows: files, folders, or the block as its codec is.
    Web,
    /// One block.
    Raw,
    /// A stream of blocks.
    Car,
    /// A tape archive of a file or folder.
    Tar,
    /// The data model in JSON.
    DagJson,
    /// The data model in CBOR.
    DagCbor,
    /// DAG-JSON under the plain name.
    Json,
    /// DAG-CBOR under the plain name.
    Cbor,
    /// A record of the naming system.
    IpnsRecord,
}

/// Formats by their query parameter and media type.
const FORMATS: &[(&str, &str, Format)] = &[
    ("raw", "application/vnd.ipld.raw", Format::Raw),
    ("car", "application/vnd.ipld.car", Format::Car),
    ("tar", "application/x-tar", Format::Tar),
    ("dag-json", "application/vnd.ipld.dag-json", Format::DagJson),
    ("dag-cbor", "application/vnd.ipld.dag-cbor", Format::DagCbor),
    ("json", "application/json", Format::Json),
    ("cbor", "application/cbor", Format::Cbor),
    ("ipns-record", "application/vnd.ipfs.ipns-record", Format::IpnsRecord),
];

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        FORMATS.iter().find(|(_, _, format)| *format == self).map_or("text/html; charset=utf-8", |(_, media, _)| media)
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Raw => "bin",
            Self::Web => "",
            other => FORMATS.iter().find(|(_, _, format)| *format == other).map_or("", |(name, _, _)| name),
        }
    }
}

/// A range of bytes as a header asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// From a byte to the end, or to a byte that is included.
    From(u64, Option<u64>),
    /// The last bytes.
    Last(u64),
}

/// A request for content.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) root: Cid,
    /// Decoded names after the root.
    pub(super) segments: Vec<String>,
    /// Whether the path ends with a slash.
    pub(super) slash: bool,
    /// The path in front of the root's own, as links of a page need it: `/ipfs/<root>`, or nothing on a subdomain.
    pub(super) prefix: String,
    pub(super) format: Format,
    pub(super) scope: Scope,
    pub(super) entity: Option<ByteRange>,
    pub(super) dups: bool,
    /// The `Range` header.
    pub(super) range: Option<String>,
    /// `?filename=`, `?download=true`.
    pub(super) filename: Option<String>,
    pub(super) download: bool,
    pub(super) only_if_cached: bool,
    pub(super) head: bool,
    pub(super) if_none_match: Option<String>,
}

/// What to do with a request.
pub(super) enum Route {
    Content(Box<Asked>),
    /// To the content's own origin, or to the right spelling.
    Redirect(String),
}

pub(super) fn bad(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

/// Reads a request.
pub(super) fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Route, Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let query: BTreeMap<String, String> = form_pairs(uri.query().unwrap_or_default())?.into_iter().collect();
    let (root, path, prefix) = match subdomain(host)? {
        Some(root) => (root, uri.path().to_owned(), String::new()),
        None if headers.get("service-worker").is_some() => {
            let hint = "load the page from the DAG's own origin, <cid>.ipfs.localhost";
            return Err(bad("a service worker of one DAG would rule over all of this origin", hint));
        }
        None => {
            let rest = content_path(uri.path())?;
            let (name, path) =
                rest.split_once('/').map_or((rest, String::new()), |(name, path)| (name, format!("/{path}")));
            let root = parse_cid(name).ok_or_else(|| {
                bad(
                    format!("`{}` is not a CID", shown(name)),
                    "write /ipfs/<cid>/<path>; a CID begins with bafy, bafk or Qm",
                )
            })?;
            if let Some(to) = own_origin(host, &root, &path, uri.query()) {
                return Ok(Route::Redirect(to));
            }
            (root, path, format!("/ipfs/{name}"))
        }
    };
    let segments = segments(&path)?;
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (format, parameters) = format(query.get("format").map(String::as_str), text(header::ACCEPT))?;
    let parameter = |name: &str| query.get(name).or_else(|| parameters.get(name)).map(String::as_str);
    if format == Format::Car && parameter("car-version").or(parameter("version")).is_some_and(|version| version != "1")
    {
        return Err(bad("only version 1 of CAR is written", "leave car-version away"));
    }
    let scope = match query.get("dag-scope").map(String::as_str) {
        None | Some("all") => Scope::All,
        Some("entity") => Scope::Entity,
        Some("block") => Scope::Block,
        Some(other) => return Err(bad(format!("dag-scope={} is unknown", shown(other)), "block, entity or all")),
    };
    let entity = query.get("entity-bytes").map(|text| entity_bytes(text)).transpose()?;
    Ok(Route::Content(Box::new(Asked {
        root,
        segments,
        slash: path.ends_with('/'),
        prefix,
        format,
        // A range of bytes is a range of one entity (IPIP-402).
        scope: if entity.is_some() { Scope::Entity } else { scope },
        entity,
        dups: parameter("dups") == Some("y"),
        range: text(header::RANGE).map(str::to_owned),
        filename: query.get("filename").cloned(),
        download: query.get("download").is_some_and(|value| value == "true"),
        only_if_cached: text(header::CACHE_CONTROL).is_some_and(|value| value.contains("only-if-cached")),
        head: method == Method::HEAD,
        if_none_match: text(header::IF_NONE_MATCH).map(str::to_owned),
    })))
}

/// `name=value&…` decoded, in order.
pub(crate) fn form_pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let text = percent_decode_str(&text).decode_utf8();
        text.map(std::borrow::Cow::into_owned).map_err(|_| bad("the query is not UTF-8", "encode it in UTF-8"))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    });
    pairs.collect()
}

/// At most 80 characters of what somebody wrote.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A CID as text. What is too long for one is not read: some bases take time by the square of the length.
pub(crate) fn parse_cid(text: &str) -> Option<Cid> {
    if text.len() <= CID_CHARS_MAX { Cid::from_str(text).ok() } else { None }
}

fn content_path(path: &str) -> Result<&str, Refusal> {
    if let Some(rest) = path.strip_prefix("/ipfs/") {
        return Ok(rest);
    }
    if path.starts_with("/ipns/") {
        let hint = "ask for the /ipfs/ path that it stands for";
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, "this node does not resolve IPNS names", hint));
    }
    let hint = "content is at /ipfs/<cid>, providers are at /routing/v1";
    Err(Refusal::new(RefusalCode::UnknownId, "there is nothing at this path", hint))
}

/// The CID of a host `<cid>.ipfs.<domain>`.
fn subdomain(host: &str) -> Result<Option<Cid>, Refusal> {
    let Some((label, _)) = host.split_once(".ipfs.") else { return Ok(None) };
    let cid = parse_cid(label).ok_or_else(|| {
        bad(
            format!("`{}` in the host name is not a CID", shown(label)),
            "write <cid>.ipfs.localhost, a CIDv1 in base32 or base36",
        )
    })?;
    Ok(Some(cid))
}

/// On `localhost` every DAG has an origin of its own, so that pages cannot read one another.
fn own_origin(host: &str, root: &Cid, path: &str, query: Option<&str>) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name != "localhost" {
        return None;
    }
    let label = Cid::new_v1(root.codec(), *root.hash()).to_string();
    let path = if path.is_empty() { "/" } else { path };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("http://{label}.ipfs.{host}{path}{query}"))
}

fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let decode = |part: &str| {
        let text =
            percent_decode_str(part).decode_utf8().map_err(|_| bad("the path is not UTF-8", "encode it in UTF-8"))?;
        match text.as_ref() {
            "." | ".." => Err(bad("the path has a `.` or `..`", "write the whole path")),
            name if name.contains(['\0', '/']) => {
                Err(bad("a name in the path has a `/` or a zero byte", "no entry has such a name"))
            }
            name => Ok(name.to_owned()),
        }
    };
    path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
}

/// The format, and the parameters of its media type. `?format=` wins over `Accept` (IPIP-523).
fn format(query: Option<&str>, accept: Option<&str>) -> Result<(Format, BTreeMap<String, String>), Refusal> {
    let mut accepted = accept.into_iter().flat_map(|accept| accept.split(',')).filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let media = parts.next()?;
        let format = FORMATS.iter().find(|(_, known, _)| *known == media)?.2;
        let parameters = parts.filter_map(|part| part.split_once('='));
        Some((format, parameters.map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned())).collect()))
    });
    match query {
        None => Ok(accepted.next().unwrap_or((Format::Web, BTreeMap::new()))),
        Some(name) => {
            let Some((_, _, format)) = FORMATS.iter().find(|(known, _, _)| *known == name) else {
                return Err(bad(
                    format!("format={} is unknown", shown(name)),
                    "raw, car, tar, dag-json, dag-cbor, json or cbor",
                ));
            };
            Ok(accepted.find(|(accepted, _)| accepted == format).unwrap_or((*format, BTreeMap::new())))
        }
    }
}

/// `from:to`, inclusive; negative numbers count from the end; `*` is the end (IPIP-402).
fn entity_bytes(text: &str) -> Result<ByteRange, Refusal> {
    let wrong =
        || bad(format!("entity-bytes={} is not a range", shown(text)), "write from:to, for example 0:1023 or -1024:*");
    let (from, to) = text.split_once(':').ok_or_else(wrong)?;
    let to = if to == "*" { None } else { Some(to.parse().map_err(|_| wrong())?) };
    Ok(ByteRange { from: from.parse().map_err(|_| wrong())?, to })
}

/// One range of a `Range` header; several, or another unit, are answered with everything (RFC 9110 §14.2).
pub(super) fn range(text: &str) -> Option<Range> {
    let text = text.trim().strip_prefix("bytes=")?;
    let (from, to) = text.split_once('-').filter(|(_, to)| !to.contains(','))?;
    match (from.trim(), to.trim()) {
        ("", last) => Some(Range::Last(last.parse().ok()?)),
        (from, "") => Some(Range::From(from.parse().ok()?, None)),
        (from, to) => {
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to).then_some(Range::From(from, Some(to)))
        }
    }
}

impl Range {
    /// First byte and the byte after the last; nothing if it lies outside.
    pub(super) fn within(self, bytes: u64) -> Option<(u64, u64)> {
        match self {
            Self::From(from, _) if from >= bytes => None,
            Self::From(from, to) => Some((from, to.map_or(bytes, |to| bytes.min(to.saturating_add(1))))),
            Self::Last(0) => None,
            Self::Last(last) => (bytes > 0).then(|| (bytes.saturating_sub(last), bytes)),
        }
    }
}
