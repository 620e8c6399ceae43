//! One client over a WebSocket: requests, and subscriptions to what happens.

use super::RpcError;
use super::desk::{Answer, Asked, Asker, Desk};
use super::filters::fresh_id;
use super::json;
use super::logs::{find, header};
use super::params::{Criteria, Param, Params as _};
use super::request::{Batch, Request, answer};
use super::server::{Server, notification};
use crate::limits::{KEEP_ALIVE_MS, SOCKET_MS_MAX, SUBSCRIPTIONS_MAX};
use alloy_primitives::B256;
use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

/// What a client is told of.
#[derive(Clone)]
enum Topic {
    Heads,
    Logs(Criteria),
    Arrivals,
}

/// The subscriptions of a client, by their ids, each with the block after which it began.
#[derive(Clone, Default)]
struct Subscriptions(BTreeMap<String, (Topic, u64)>);

enum Event {
    Said(Message),
    Block,
    Arrival(B256),
    Quiet,
    Over,
}

/// Serves a client until it or the node goes.
pub(super) async fn talk(server: Arc<Server>, asker: Asker, mut socket: WebSocket) {
    let mut subscriptions = Subscriptions::default();
    let chain = &server.desk().chain;
    let (mut blocks, mut arrivals) = (chain.blocks(), server.desk().arrivals.subscribe());
    let mut told = chain.view().head.header.number;
    loop {
        let event = tokio::select! {
            () = server.stop.cancelled() => Event::Over,
            said = socket.recv() => said.and_then(Result::ok).map_or(Event::Over, Event::Said),
            // Whoever missed some reads them from the chain like the others.
            block = blocks.recv() => if matches!(block, Err(RecvError::Closed)) { Event::Over } else { Event::Block },
            hash = arrivals.recv() => hash.map_or(Event::Quiet, Event::Arrival),
            () = sleep(Duration::from_millis(KEEP_ALIVE_MS)) => Event::Quiet,
        };
        let is_heard = match event {
            Event::Said(Message::Text(text)) => {
                let answer = hear(&server, asker, &mut subscriptions, text.as_bytes()).await;
                send(&mut socket, answer.map(Message::text)).await
            }
            Event::Said(Message::Binary(bytes)) => {
                let answer = hear(&server, asker, &mut subscriptions, &bytes).await;
                send(&mut socket, answer.map(Message::text)).await
            }
            // Pings are answered by the library.
            Event::Said(Message::Ping(_) | Message::Pong(_)) => true,
            Event::Said(Message::Close(_)) | Event::Over => false,
            Event::Block => tell(&server, &mut socket, &subscriptions, &mut told).await,
            Event::Arrival(hash) => {
                let texts = subscriptions.arrival(hash);
                send(&mut socket, texts.into_iter().map(Message::text)).await
            }
            Event::Quiet => send(&mut socket, [Message::Ping(Default::default())]).await,
        };
        if !is_heard {
            // The other side may be gone already.
            send(&mut socket, [Message::Close(None)]).await;
            return;
        }
    }
}

/// Sends messages; false if the client does not take them.
async fn send(socket: &mut WebSocket, messages: impl IntoIterator<Item = Message>) -> bool {
    for message in messages {
        let sent = timeout(Duration::from_millis(SOCKET_MS_MAX), socket.send(message)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

/// Answers a message.
async fn hear(server: &Server, asker: Asker, subscriptions: &mut Subscriptions, bytes: &[u8]) -> Option<String> {
    let batch = match Batch::parse(bytes) {
        Ok(Batch::One(Ok(request))) if request.method == "eth_subscribe" => {
            let last = server.desk().chain.view().head.header.number;
            let result = subscriptions.add(&request, last);
            return request.id.as_ref().map(|id| answer(id, result));
        }
        Ok(Batch::One(Ok(request))) if request.method == "eth_unsubscribe" => {
            let result = subscriptions.remove(&request);
            return request.id.as_ref().map(|id| answer(id, result));
        }
        Ok(batch) => batch,
        Err(why) => return Some(answer(&Value::Null, Err(why))),
    };
    server.respond_to(asker, batch).await
}

/// Tells a client of the blocks since it was last told, one at a time.
async fn tell(server: &Server, socket: &mut WebSocket, subscriptions: &Subscriptions, told: &mut u64) -> bool {
    let last = server.desk().chain.view().head.header.number;
    if subscriptions.0.is_empty() {
        *told = last;
    }
    while *told < last {
        let (subscriptions, number) = (subscriptions.clone(), *told + 1);
        let texts = server.work(Asker::Program, move |desk| subscriptions.block(desk, number)).await;
        // A client that is told nothing of a block would not know that it missed one: better it connects again.
        let Ok(Ok(texts)) = texts else { return false };
        if !send(socket, texts.into_iter().map(Message::text)).await {
            return false;
        }
        *told = number;
    }
    true
}

impl Subscriptions {
    fn add(&mut self, request: &Request, last: u64) -> Answer {
        if self.0.len() >= SUBSCRIPTIONS_MAX {
            return Err(RpcError::limit(format!(
                "too many subscriptions: at most {SUBSCRIPTIONS_MAX} of one connection"
            )));
        }
        let name = String::read(request.params.first()).map_err(RpcError::params)?;
        let topic = match name.as_str() {
            "newHeads" => Topic::Heads,
            "logs" => Topic::Logs(<(String, Criteria)>::read(&request.params)?.1),
            "newPendingTransactions" => Topic::Arrivals,
            _ => return Err(RpcError::method(&format!("eth_subscribe {name:?}"))),
        };
        let id = fresh_id()?;
        self.0.insert(id.clone(), (topic, last));
        Ok(json!(id))
    }

    fn remove(&mut self, request: &Request) -> Answer {
        let (id,) = <(String,)>::read(&request.params)?;
        match self.0.remove(&id) {
            Some(_) => Ok(json!(true)),
            None => Err(RpcError::server("subscription not found")),
        }
    }

    /// What a block has for the subscribers.
    fn block(&self, desk: &Desk, number: u64) -> Result<Vec<String>, RpcError> {
        let asked = Asked::inside(desk);
        let mut texts = Vec::new();
        for (id, (topic, _)) in self.0.iter().filter(|(_, (_, since))| number > *since) {
            match topic {
                Topic::Heads => {
                    let header =
                        header(&asked.view, number)?.ok_or_else(|| RpcError::internal("a block is missing"))?;
                    let fields = json::header(&header, talkoo_ledger::hash(&header));
                    texts.push(notification(id, &Value::Object(fields)));
                }
                Topic::Logs(criteria) => {
                    let logs = find(&asked, criteria, number..=number)?;
                    texts.extend(logs.iter().map(|log| notification(id, log)));
                }
                Topic::Arrivals => {}
            }
        }
        Ok(texts)
    }

    fn arrival(&self, hash: B256) -> Vec<String> {
        let wants = |(_, (topic, _)): &(&String, &(Topic, u64))| matches!(topic, Topic::Arrivals);
        self.0.iter().filter(wants).map(|(id, _)| notification(id, &json::hex(hash))).collect()
    }
}
