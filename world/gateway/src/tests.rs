//! What the tests of all faces share: a store in a folder, and a network where nobody is.

use crate::network::{Connected, Identity, Network, Provider, Session};
use crate::source::Store;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::{Extension, Router};
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_disk::blocks::Sync;
use talkoo_disk::{Blocks, BlocksConfig};
use talkoo_store::dagpb::{Link, Node};
use talkoo_store::{Block, DAG_PB, Visibility};
use tower::ServiceExt as _;

/// A network without peers: it knows nothing, and says so.
struct Nobody;

fn nobody() -> Refusal {
    Refusal::new(RefusalCode::Silent, "nobody has it", "connect to somebody")
}

impl Session for Nobody {
    fn get(&mut self, _: &Cid) -> Result<Block, Refusal> {
        Err(nobody())
    }

    fn get_elsewhere(&mut self, cid: &Cid) -> Result<Block, Refusal> {
        self.get(cid)
    }
}

impl Network for Nobody {
    fn session(&self, _: &Cid) -> Box<dyn Session> {
        Box::new(Nobody)
    }

    fn fetch(&self, _: &Cid) -> Result<(), Refusal> {
        Err(nobody())
    }

    fn identity(&self) -> Identity {
        Identity { id: "16Uiu2HAm".into(), addrs: vec!["/ip4/127.0.0.1/tcp/1".into()], ..Identity::default() }
    }

    fn connected(&self) -> Vec<Connected> {
        Vec::new()
    }

    fn connect(&self, _: &str) -> Result<(), Refusal> {
        Err(nobody())
    }

    fn disconnect(&self, _: &str) -> Result<(), Refusal> {
        Err(nobody())
    }

    fn ping(&self, _: &str) -> Result<Duration, Refusal> {
        Err(nobody())
    }

    fn providers(&self, _: &Cid) -> Vec<Provider> {
        Vec::new()
    }

    fn addresses(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn provide(&self, _: &Cid) {}
}

/// A store of its own; it goes with the folder.
pub(crate) fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let blocks = Arc::new(Blocks::open(folder.path(), BlocksConfig { quota_bytes: 1 << 30 }).unwrap());
    (Store { blocks, network: Arc::new(Nobody), denied: Arc::new(|_, path| path.contains("denied")) }, folder)
}

/// A public node of a directory: `shard` fills each of so many slots with the same link, of 256.
pub(crate) fn folder_of(store: &Store, name: &str, cid: Cid, shard: Option<u8>) -> Cid {
    let link = |slot: Option<u8>| Link {
        cid,
        name: slot.map_or_else(String::new, |slot| format!("{slot:02X}")) + name,
        total_bytes: 1,
    };
    // UnixFS messages: kind; of a shard also its bitfield, murmur3 and the number of slots.
    let (links, data) = match shard {
        None => (vec![link(None)], vec![8, 1]),
        Some(last) => {
            let (used, mut bits) = (usize::from(last) + 1, vec![0; 32]);
            (0..used).for_each(|slot| bits[31 - slot / 8] |= 1_u8 << (slot % 8));
            (
                (0..=last).map(|slot| link(Some(slot))).collect(),
                [&[8, 5, 18, 32], &*bits, &[40, 34, 48, 128, 2]].concat(),
            )
        }
    };
    let block = Block::of(DAG_PB, Node { links, data: data.into() }.encode().into()).unwrap();
    store.blocks.put(std::slice::from_ref(&block), Visibility::Public, Sync::Later).unwrap();
    *block.cid()
}

/// The answer to a request, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }
}

/// Asks a router, as `caller`.
pub(crate) async fn ask(router: &Router, caller: Caller, request: Request<Body>) -> Answer {
    let router = router.clone().layer(Extension(caller));
    let response: Response<Body> = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let mut pieces = body.into_data_stream();
    let mut body = Vec::new();
    // A body may end with a break, which says that it is not whole.
    while let Some(Ok(piece)) = pieces.next().await {
        body.extend(piece);
    }
    Answer { status: head.status, headers: head.headers, body }
}

/// A request without a body.
pub(crate) fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(uri);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).unwrap()
}
