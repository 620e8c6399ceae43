//! Delegated routing, `/routing/v1` (specs.ipfs.tech/routing/http-routing-v1): programs ask us who has a CID, and we
//! ask the DHT.

use crate::body::blocking;
use crate::gateway::{json_refusal, parse_cid, shown};
use crate::limits::PROVIDERS_MAX;
use crate::network::{Identity, Provider};
use crate::source::{Store, broken};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::net::SocketAddr;
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_store::Visibility;

const LINES: &str = "application/x-ndjson";
/// Who has something changes; nothing found may be found soon.
const FOUND: &str = "public, max-age=300, stale-while-revalidate=172800";
const NOTHING: &str = "public, max-age=15, stale-while-revalidate=172800";

pub(crate) fn router(store: Store) -> Router {
    Router::new()
        .route("/routing/v1/providers/{cid}", get(providers))
        .route("/routing/v1/peers/{peer}", get(peers))
        .route("/routing/v1/ipns/{name}", get(ipns))
        .with_state(store)
}

async fn providers(State(store): State<Store>, Path(text): Path<String>, headers: HeaderMap) -> Response {
    let Some(cid) = parse_cid(&text) else {
        let no = Refusal::new(RefusalCode::Malformed, format!("`{}` is not a CID", shown(&text)), "write it in base32");
        return json_refusal(&no);
    };
    let here = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let found = blocking(Caller::Stranger, move || {
        store.allow(&cid, "")?;
        let ours = store.blocks.info(&cid).map_err(broken)?.is_some_and(|info| info.visibility == Visibility::Public);
        let me = ours.then(|| ourselves(&store, here));
        Ok(me.into_iter().chain(store.network.providers(&cid)).collect())
    });
    match found.await {
        Ok(found) => answer("Providers", found, &headers),
        Err(no) => json_refusal(&no),
    }
}

/// Where others get a block from us: by bitswap, and where the asker reached us by HTTP.
fn ourselves(store: &Store, here: Option<SocketAddr>) -> Provider {
    let Identity { id, addrs, .. } = store.network.identity();
    let bare = addrs.iter().map(|addr| addr.split("/p2p/").next().unwrap_or(addr).to_owned());
    let gateway = here.map(|here| {
        let family = if here.is_ipv4() { "ip4" } else { "ip6" };
        format!("/{family}/{}/tcp/{}/http", here.ip(), here.port())
    });
    Provider { id, addrs: gateway.into_iter().chain(bare).collect() }
}

async fn peers(State(store): State<Store>, Path(peer): Path<String>, headers: HeaderMap) -> Response {
    // A PeerId comes also as a CID with the codec of keys.
    let id = parse_cid(&peer).filter(|cid| cid.codec() == 0x72).map(|cid| multibase(cid.hash().to_bytes()));
    let id = id.unwrap_or(peer);
    let found = blocking(Caller::Stranger, move || {
        let addrs = store.network.addresses(&id);
        Ok(if addrs.is_empty() { Vec::new() } else { vec![Provider { id, addrs }] })
    });
    match found.await {
        Ok(found) => answer("Peers", found, &headers),
        Err(no) => json_refusal(&no),
    }
}

/// Base58btc without a prefix, as PeerIds are written.
fn multibase(bytes: Vec<u8>) -> String {
    cid::multibase::encode(cid::multibase::Base::Base58Btc, bytes)[1..].to_owned()
}

async fn ipns() -> Response {
    let hint = "ask a router that keeps IPNS records";
    json_refusal(&Refusal::new(RefusalCode::UnsupportedParameter, "there are no IPNS records here", hint))
}

fn answer(name: &str, found: Vec<Provider>, headers: &HeaderMap) -> Response {
    let kept = if found.is_empty() { NOTHING } else { FOUND };
    let record = |p: Provider| {
        let has_http = p.addrs.iter().any(|addr| addr.ends_with("/http"));
        let protocols =
            if has_http { vec!["transport-bitswap", "transport-ipfs-gateway-http"] } else { vec!["transport-bitswap"] };
        json!({"Schema": "peer", "ID": p.id, "Addrs": p.addrs, "Protocols": protocols})
    };
    let records: Vec<Value> = found.into_iter().take(PROVIDERS_MAX).map(record).collect();
    let wants_lines = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains(LINES));
    let (media, body) = if wants_lines {
        (LINES, records.iter().map(|record| format!("{record}\n")).collect())
    } else {
        let list = if records.is_empty() { Value::Null } else { records.into() };
        ("application/json", json!({ name: list }).to_string())
    };
    let vary = (header::VARY, "Accept");
    let open = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    ([(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, kept), vary, open], body).into_response()
}
