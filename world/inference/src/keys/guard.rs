//! At the door of HTTP: who asks, whether the key may, and how often.

use super::rate::Standing;
use super::{Key, Keys, PREFIX, Scope, Who, digest};
use crate::error::{Fault, Tongue, drain};
use crate::limits::BODY_WAIT;
use crate::{Shared, collect, x402};
use axum::body::{Body, BodyDataStream};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use std::sync::PoisonError;
use std::time::Instant;
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use tokio::time::timeout;

/// What the door says of a request.
#[derive(Debug)]
pub struct Admitted {
    /// Who asks, or why he is not let in.
    pub who: Result<Who, Refusal>,
    /// How his key stands, if it has a rate: for the headers of the answer, whatever it is.
    pub standing: Option<Standing>,
}

impl Keys {
    /// Who asks with these headers, and whether he may do this.
    pub fn admit(&self, caller: Caller, headers: &HeaderMap, scope: Scope) -> Admitted {
        let no = |refusal| Admitted { who: Err(refusal), standing: None };
        let who = match self.who(caller, headers) {
            Ok(Who::Anybody) if is_foreign(headers) => {
                let hint = "make a key, and let the page send it: `talkoo key create`";
                return no(Refusal::new(RefusalCode::Denied, "a page of another site asks", hint));
            }
            Ok(who) => who,
            Err(refusal) => return no(refusal),
        };
        let Who::Key(id) = &who else { return Admitted { who: Ok(who), standing: None } };
        let key: Key = match self.one(id) {
            Ok(key) => key,
            Err(refusal) => return no(refusal),
        };
        let rates = || self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = key.rate.map(|limit| rates().ask(id, limit, Instant::now()));
        if let Some(wait) = standing.and_then(|standing| standing.wait) {
            let message = format!("the key may ask {} times a minute", key.rate.unwrap_or_default());
            let hint = format!("ask again in {} s", wait.as_secs() + 1);
            return Admitted { who: Err(Refusal::new(RefusalCode::Busy, message, hint)), standing };
        }
        Admitted { who: key.may(scope).map(|()| who), standing }
    }

    /// Who asks with these headers.
    fn who(&self, caller: Caller, headers: &HeaderMap) -> Result<Who, Refusal> {
        if caller == Caller::Owner {
            return Ok(Who::Owner);
        }
        let given = given(headers);
        let keys = self.lock();
        let hint = "send a key of `talkoo key create`, or the content of api.token in the data folder";
        let no = |message: &str| Err(Refusal::new(RefusalCode::BadSignature, message, hint));
        let digest = given.map(digest);
        match keys.iter().find(|key| digest.as_ref() == Some(&key.digest)) {
            Some(key) if key.revoked => no("the key was revoked"),
            Some(key) if key.has_expired() => no("the key has expired"),
            Some(key) => Ok(Who::Key(key.id.clone())),
            None if given.is_some_and(|given| given.starts_with(PREFIX)) => no("there is no such key"),
            None if !self.is_local => no("no or wrong key"),
            // A revoked key does not open the door again.
            None if !keys.is_empty() => no("no or wrong key"),
            None => Ok(Who::Anybody),
        }
    }
}

/// What stands where OpenAI's and Anthropic's clients put their key.
fn given(headers: &HeaderMap) -> Option<&str> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let bearer = || {
        let (scheme, token) = text(header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
    };
    bearer().or_else(|| text(HeaderName::from_static("x-api-key")))
}

/// Whether a page of another site asks: browsers then say which.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_none_or(|(_, name)| name != host)
}

/// A body whose bytes have to go on coming: one that stalls would hold its place for ever.
pub fn in_time(body: Body) -> Body {
    let read = |mut stream: BodyDataStream| async move {
        let late = || axum::Error::new(format!("nothing came for {} s", BODY_WAIT.as_secs()));
        let next = timeout(BODY_WAIT, stream.next()).await.unwrap_or_else(|_| Some(Err(late())));
        next.map(|bytes| (bytes, stream))
    };
    Body::from_stream(futures::stream::unfold(body.into_data_stream(), read))
}

/// What a path is for.
fn scope_of(path: &str) -> Scope {
    let is_batch = path.starts_with("/v1/batches") || path.starts_with("/v1/files");
    if is_batch { Scope::Batch } else { Scope::Inference }
}

/// Finds out who asks, and gives every answer a name.
pub(crate) async fn guard(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    request = request.map(in_time);
    let route = request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let tongue = Tongue::of(request.uri().path());
    let caller = request.extensions().get::<Caller>().copied().unwrap_or(Caller::Stranger);
    // A key of another service is none: programs send one along.
    let has_none = !given(request.headers()).is_some_and(|given| given.starts_with(PREFIX));
    let Admitted { who, standing } = shared.keys.admit(caller, request.headers(), scope_of(request.uri().path()));
    let mut response = match who {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => match shared.sales.as_ref().filter(|_| caller == Caller::Stranger && has_none) {
            Some(sales) if x402::is_sold(&request) => x402::sell(&shared, sales, request).await,
            Some(sales) if x402::is_free(&request) => x402::look_around(sales, request, next).await,
            _ => {
                drain(request).await;
                Fault::from(refusal).response(tongue)
            }
        },
    };
    shared.meters.request(&route, response.status().as_u16(), begun.elapsed());
    let headers = response.headers_mut();
    standing.iter().for_each(|standing| standing.tell(headers));
    let id = HeaderValue::from_str(&collect::fresh("req_")).expect("letters and digits");
    headers.insert("x-request-id", id);
    headers.insert("openai-processing-ms", HeaderValue::from(begun.elapsed().as_millis() as u64));
    response
}
