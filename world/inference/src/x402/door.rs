//! A request without a key: its price, its payment, its answer.

use super::check::{fits, signed};
use super::desk::{Counter, Held, Outcome, Sale};
use super::kept::{Hold, Record};
use super::places::Place;
use super::settling::{Settling, blocking};
use super::wire::{Payment, Requirement, SCHEME, decode, settled};
use super::{Authorization, Look, No, Sales, reason};
use crate::collect::unix;
use crate::error::{Fault, Tongue, drain, json_of};
use crate::keys::Who;
use crate::limits::{BODY_WAIT, PAYER_ANSWERS_MAX, PAYER_BODY_BYTES_MAX};
use crate::{Desk, Meters, Shared, anthropic, chat, completions, responses};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::post;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use talkoo_api::Peer;
use talkoo_base::{Address, Amount, Digest, Refusal, RefusalCode, sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::ServiceExt as _;

/// The header of who pays.
const SIGNATURE: &str = "payment-signature";

/// Whether a request is one that can be bought.
pub(crate) fn is_sold(request: &Request) -> bool {
    let path = request.uri().path();
    let paths = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"];
    *request.method() == Method::POST && paths.contains(&path)
}

/// Whether a buyer may ask it for nothing: what there is to buy.
pub(crate) fn is_free(request: &Request) -> bool {
    let path = request.uri().path();
    *request.method() == Method::GET && (path == "/v1/models" || path.starts_with("/v1/models/"))
}

/// A request that was read.
struct Asked {
    tongue: Tongue,
    path: String,
    url: String,
    body: Bytes,
    streams: bool,
    payment: Option<HeaderValue>,
}

/// Why there is no answer.
enum Stop {
    /// In the words of the request's protocol already.
    Said(Response),
    Fault(Fault),
    /// The payment is missing, or not taken.
    Payment(No),
    /// The transfer was tried.
    Settlement(No, Box<Authorization>),
}

impl From<Refusal> for Stop {
    fn from(no: Refusal) -> Self {
        Self::Fault(no.into())
    }
}

impl From<No> for Stop {
    fn from(no: No) -> Self {
        Self::Payment(no)
    }
}

/// Lets a buyer see what there is, as often as he may ask.
pub(crate) async fn look_around(sales: &Sales, mut request: Request, next: Next) -> Response {
    match enter(sales, &request) {
        Ok(_place) => {
            request.extensions_mut().insert(Who::Payer(Address::default()));
            next.run(request).await
        }
        Err(no) => {
            let tongue = Tongue::of(request.uri().path());
            drain(request).await;
            Fault::from(no).response(tongue)
        }
    }
}

fn enter(sales: &Sales, request: &Request) -> Result<Place, Refusal> {
    let peer = request.extensions().get::<Peer>();
    sales.places.enter(peer.map(|peer| peer.ip), Instant::now())
}

/// Answers a request without a key, once it is paid.
pub(crate) async fn sell(shared: &Shared, sales: &Arc<Sales>, request: Request) -> Response {
    let tongue = Tongue::of(request.uri().path());
    let place = match enter(sales, &request) {
        Ok(place) => place,
        Err(no) => {
            drain(request).await;
            return Fault::from(no).response(tongue);
        }
    };
    let reading = place.reading(Instant::now());
    let read = tokio::select! {
        read = read(request, tongue) => read,
        () = reading.late.cancelled() => {
            let hint = "send it faster, or ask with a key";
            Err(Refusal::new(RefusalCode::Busy, "the body came slowly, and others wait for its place", hint).into())
        }
    };
    drop(reading);
    let asked = match read {
        Ok(asked) => asked,
        Err(fault) => return fault.response(tongue),
    };
    let requirement = match required(shared, sales, &asked).await {
        Ok(requirement) => requirement,
        Err(Stop::Said(response)) => return response,
        Err(Stop::Fault(fault)) => return fault.response(tongue),
        Err(Stop::Payment(no) | Stop::Settlement(no, _)) => unreachable!("nothing was paid yet: {no:?}"),
    };
    let stop = match &asked.payment {
        None => {
            shared.meters.x402("asked");
            return priced(&requirement, &asked, "PAYMENT-SIGNATURE header is required", None);
        }
        Some(payment) => match buy(shared, sales, &asked, &requirement, payment.as_bytes(), place).await {
            Ok(response) => return response,
            Err(stop) => stop,
        },
    };
    match stop {
        Stop::Said(response) => response,
        Stop::Fault(fault) => fault.response(tongue),
        Stop::Payment(no) => {
            shared.meters.x402("refused");
            priced(&requirement, &asked, no.reason, Some(&no))
        }
        Stop::Settlement(no, authorization) => {
            shared.meters.x402("unsettled");
            let mut response = priced(&requirement, &asked, no.reason, Some(&no));
            let end = settled(&requirement.terms, &authorization, Err(no.reason));
            tell(&mut response, "payment-response", &end);
            response
        }
    }
}

async fn read(request: Request, tongue: Tongue) -> Result<Asked, Fault> {
    let (parts, body) = request.into_parts();
    // All of it: his place is others'.
    let late = |_| {
        let message = format!("the body took more than {} s", BODY_WAIT.as_secs());
        Fault::from(Refusal::new(RefusalCode::Malformed, message, "send it faster"))
    };
    let body = timeout(BODY_WAIT, to_bytes(body, PAYER_BODY_BYTES_MAX)).await.map_err(late)?.map_err(|why| {
        let too_large = why.to_string().contains("length limit");
        let code = if too_large { RefusalCode::TooLarge } else { RefusalCode::Malformed };
        let hint = "without a key a body has at most 1 MiB";
        Fault::from(Refusal::new(code, format!("the body could not be read ({why})"), hint))
    })?;
    let streams = json_of(Ok(body.clone()))?["stream"] == true;
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let is_tls = parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_tls);
    let path = parts.uri.path().to_owned();
    let url = format!("{}://{host}{path}", if is_tls { "https" } else { "http" });
    Ok(Asked { tongue, path, url, body, streams, payment: parts.headers.get(SIGNATURE).cloned() })
}

/// Asks the routes, with another desk than the node's.
async fn ask(shared: Shared, asked: &Asked, who: Who) -> Response {
    let router = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/messages", post(anthropic::create))
        .with_state(shared);
    let request = Request::post(&asked.path).header(header::CONTENT_TYPE, "application/json").extension(who);
    let request = request.body(Body::from(asked.body.clone())).expect("its path was one");
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// What is asked for a request; it can be answered.
async fn required(shared: &Shared, sales: &Sales, asked: &Asked) -> Result<Requirement, Stop> {
    let counter = Arc::new(Counter::new(shared.desk.clone()));
    let counting: Arc<dyn Desk> = counter.clone();
    let shared = Shared { desk: counting, meters: Meters::default(), ..shared.clone() };
    let response = ask(shared, asked, Who::Payer(Address::default())).await;
    let counted = counter.counted();
    if counted.is_refused || counted.orders == 0 {
        return Err(Stop::Said(response));
    }
    let amount = sales.price.owed(counted.input, counted.output).0.max(sales.least.0);
    Ok(Requirement { terms: sales.till.terms().await?, amount, orders: counted.orders })
}

/// Takes a payment, and answers.
async fn buy(
    shared: &Shared,
    sales: &Arc<Sales>,
    asked: &Asked,
    requirement: &Requirement,
    header: &[u8],
    place: Place,
) -> Result<Response, Stop> {
    let payment = decode(header)?;
    let authorization = payment.authorization;
    signed(&requirement.terms, &authorization)?;
    let request = sha256(&[b"talkoo/x402/request/1", asked.path.as_bytes(), b"\n", &asked.body]);
    let (hold, before) = sales.kept.hold(&authorization, &request, unix())?;
    let mut record = match before {
        Some(record) => Record { transaction: paid_before(sales, &authorization, &record).await?, ..record },
        None => new_record(&authorization, &request),
    };
    if record.transaction.is_none() {
        let look = look(sales, requirement, &payment, &hold).await?;
        // The first intent's block stays: its transfer may come from then on.
        record.since = if record.since == 0 { look.block } else { record.since };
    }
    let held = Arc::new(Held { hold, _place: place });
    let (decide, outcome) = watch::channel(match &record.transaction {
        Some(transaction) => Outcome::Paid(transaction.clone()),
        None => Outcome::Open,
    });
    let (ready, readies) = mpsc::channel(PAYER_ANSWERS_MAX as usize);
    let failure = Arc::new(Mutex::default());
    if record.transaction.is_some() {
        record.repeats += 1;
        let held = held.clone();
        blocking(move || held.hold.write(record)).await?;
        shared.meters.x402("repeated");
    } else {
        let (sales, held, failure) = (sales.clone(), held.clone(), failure.clone());
        let orders = requirement.orders;
        let meters = shared.meters.clone();
        let settling = Settling { sales, authorization, record, held, orders, readies, decide, failure, meters };
        shared.tasks.spawn(settling.run());
    }
    let sale = Sale {
        desk: shared.desk.clone(),
        tasks: shared.tasks.clone(),
        payer: authorization.from,
        // Small enough for every JSON reader.
        seed: sha256(&[b"talkoo/x402/seed/1", &authorization.from.0, &authorization.nonce.0]).first_u64() >> 32,
        streams: asked.streams,
        ready,
        outcome: outcome.clone(),
        failure: failure.clone(),
        facts: facts(requirement, &authorization),
        held,
    };
    let response = ask(Shared { desk: Arc::new(sale), ..shared.clone() }, asked, Who::Payer(authorization.from)).await;
    let failure = move || failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    leave(requirement, authorization, outcome, response, failure).await
}

/// Lets an answer go that is paid.
async fn leave(
    requirement: &Requirement,
    authorization: Authorization,
    mut outcome: watch::Receiver<Outcome>,
    mut response: Response,
    failure: impl FnOnce() -> Option<Refusal>,
) -> Result<Response, Stop> {
    // Whoever settles decides by the authorization's end at the latest, and by its own end if it breaks.
    let outcome = outcome.wait_for(|outcome| *outcome != Outcome::Open).await.map(|outcome| outcome.clone());
    match outcome {
        Ok(Outcome::Paid(transaction)) => {
            let end = settled(&requirement.terms, &authorization, Ok(&transaction));
            tell(&mut response, "payment-response", &end);
            Ok(response)
        }
        Ok(Outcome::Unpaid(Some(no))) => Err(Stop::Settlement(no, Box::new(authorization))),
        Ok(Outcome::Unpaid(None) | Outcome::Open) | Err(_) if !response.status().is_success() => Ok(response),
        Ok(Outcome::Unpaid(None) | Outcome::Open) | Err(_) => {
            let stopping = || Refusal::new(RefusalCode::Stopping, "the answer was broken off, unpaid", "ask again");
            Err(failure().unwrap_or_else(stopping).into())
        }
    }
}

/// The transaction that paid a payment which was begun before.
async fn paid_before(sales: &Sales, authorization: &Authorization, record: &Record) -> Result<Option<String>, Refusal> {
    match &record.transaction {
        Some(transaction) => Ok(Some(transaction.clone())),
        None => sales.till.find(authorization.from, authorization.nonce, record.since).await,
    }
}

/// Whether a payment that was not made yet can be made.
async fn look(sales: &Sales, requirement: &Requirement, payment: &Payment, hold: &Hold) -> Result<Look, Stop> {
    fits(requirement, payment, unix())?;
    let look = sales.till.look(payment.authorization).await?;
    if look.is_used {
        return Err(No::new(reason::NONCE, "the authorization's nonce was used, or taken back").into());
    }
    // The same money does not pay for two answers that are computed side by side.
    let owed = hold.owed();
    if look.balance < owed {
        let message =
            format!("the payer has {}, and owes {} for all that is under way", Amount(look.balance), Amount(owed));
        return Err(No::new(reason::FUNDS, message).into());
    }
    // Else an answer would be computed that nobody pays, as often as he likes.
    match &look.refusal {
        Some(why) => Err(No::new(reason::TRANSACTION, format!("the chain would refuse the transfer: {why}")).into()),
        None => Ok(look),
    }
}

fn new_record(authorization: &Authorization, request: &Digest) -> Record {
    Record {
        payer: authorization.from.to_string(),
        nonce: authorization.nonce.to_string(),
        request: request.to_string(),
        amount: authorization.value,
        valid_before: authorization.valid_before,
        since: 0,
        sent: None,
        transaction: None,
        repeats: 0,
    }
}

/// What an answer says of its payment.
fn facts(requirement: &Requirement, authorization: &Authorization) -> serde_json::Value {
    json!({
        "price": Amount(authorization.value).to_string(),
        "payment": {
            "scheme": SCHEME,
            "network": requirement.terms.network(),
            "asset": requirement.terms.asset.to_string(),
            "payer": authorization.from.to_string(),
        },
    })
}

/// 402 with the price, in the words of the request's protocol; 400 for a payment that can't be read.
fn priced(requirement: &Requirement, asked: &Asked, error: &str, no: Option<&No>) -> Response {
    let price = Amount(requirement.amount);
    let message = match no {
        Some(no) => format!("{} ({error}); this request costs {price}", no.message),
        None => format!("this request costs {price}: send a payment (x402), or a key; docs/X402.md"),
    };
    let status = if error == reason::PAYLOAD { StatusCode::BAD_REQUEST } else { StatusCode::PAYMENT_REQUIRED };
    let code = no.map_or("payment_required", |no| no.reason).to_owned();
    let fault = Fault { status, kind: "payment_required", code, param: None, message };
    let mut response = fault.response(asked.tongue);
    tell(&mut response, "payment-required", &requirement.header(&asked.url, error));
    response
}

fn tell(response: &mut Response, name: &'static str, base64: &str) {
    response.headers_mut().insert(name, HeaderValue::from_str(base64).expect("base64 is ASCII"));
}
