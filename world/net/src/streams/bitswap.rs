//! `/ipfs/bitswap/1.2.0`: messages over any number of streams. We keep one stream open for writing;
//! kubo and Helia open one per message, so several are read at once and the others wait unread.

use super::frame::{self, FrameRules, Prefix};
use super::{Connection, End};
use crate::limits::{BITSWAP_IDLE, FRAME_DEADLINE, WANTS_PER_STEP};
use bytes::Bytes;
use futures::AsyncWriteExt;
use libp2p::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use talkoo_store::bitswap::{Message, Payload, Presence, Want, WantKind};
use talkoo_store::limits::{BATCH_BYTES, MESSAGE_BYTES_MAX};
use talkoo_store::{BlockError, CidPrefix};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is to be written; it outlives the stream.
pub(super) struct Outbound {
    /// Our wants: small, and not to wait behind blocks that we serve.
    wants: mpsc::Receiver<Message>,
    /// Our answers.
    answers: mpsc::Receiver<Message>,
    /// A message that was not written.
    unsent: Option<Message>,
}

impl Outbound {
    pub(super) fn new(wants: mpsc::Receiver<Message>, answers: mpsc::Receiver<Message>) -> Self {
        Self { wants, answers, unsent: None }
    }

    /// The next message; `None` when the connection ends.
    async fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.unsent.take() {
            return Some(message);
        }
        tokio::select! {
            biased;
            message = self.wants.recv() => message,
            message = self.answers.recv() => message,
        }
    }
}

/// Waits until there is something to write, so that idle connections have no stream.
pub(super) async fn wait(mut outbound: Outbound) -> End {
    outbound.unsent = outbound.next().await;
    if outbound.unsent.is_some() { End::WantsBitswap(outbound) } else { End::Closed }
}

/// Writes messages until the stream breaks or there is nothing to write for a while.
pub(super) async fn write(mut stream: Stream, mut outbound: Outbound, connection: Arc<Connection>) -> End {
    let mut is_fresh = true;
    loop {
        let message = match timeout(BITSWAP_IDLE, outbound.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return End::Closed,
            Err(_) => {
                // A clean end of the stream; that it fails tells nothing new.
                let _ = timeout(FRAME_DEADLINE, stream.close()).await;
                return End::BitswapIdle(outbound);
            }
        };
        if let Err(error) = frame::write_all(&mut stream, &message.to_frame(), FRAME_DEADLINE).await {
            // A peer may close a stream at any time between messages; a fresh one should work.
            if is_fresh {
                return End::Broken(format!("bitswap stream: {error}"));
            }
            outbound.unsent = Some(message);
            return End::BitswapIdle(outbound);
        }
        is_fresh = false;
        connection.ledger.sent_bytes.fetch_add(message.payload_bytes() as u64, Ordering::Relaxed);
    }
}

/// Reads messages from one stream and hands them on, no faster than they are taken.
pub(super) async fn read(mut stream: Stream, connection: Arc<Connection>) -> End {
    let rules = FrameRules {
        prefix: Prefix::Varint,
        bytes_max: MESSAGE_BYTES_MAX,
        idle: Some(BITSWAP_IDLE),
        deadline: FRAME_DEADLINE,
    };
    loop {
        let bytes = match frame::read_frame(&mut stream, rules).await {
            Ok(Some(bytes)) => Bytes::from(bytes),
            Ok(None) => return End::InboundBitswap,
            Err(error) if error.is_misbehaviour() => return End::Misbehaved(format!("bitswap stream: {error}")),
            Err(error) => {
                tracing::debug!(peer = %connection.peer, %error, "bitswap stream ended");
                return End::InboundBitswap;
            }
        };
        let message = match Message::decode(&bytes) {
            Ok(message) => message,
            Err(error) => return End::Misbehaved(error.to_string()),
        };
        if let Err(error) = receive(message, &connection).await {
            return End::Misbehaved(error.to_string());
        }
    }
}

async fn receive(message: Message, connection: &Connection) -> Result<(), BlockError> {
    connection.ledger.received_bytes.fetch_add(message.payload_bytes() as u64, Ordering::Relaxed);
    let router = &connection.shared.router;
    for payload in message.payloads {
        match payload.into_block() {
            Ok(block) => router.block(connection.peer, block).await,
            // Peers may answer other programs on this connection; we never ask for such blocks.
            Err(BlockError::UnsupportedHash { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for presence in message.presences {
        router.presence(connection.peer, presence).await;
    }
    connection.wants.push(message.full, message.wants).await;
    Ok(())
}

/// Answers a peer's wants, in order, until the connection ends.
pub(super) async fn serve(connection: Arc<Connection>) -> End {
    loop {
        let mut wants = connection.wants.take(WANTS_PER_STEP).await;
        while !wants.is_empty() {
            let on_thread = Arc::clone(&connection);
            let step = tokio::task::spawn_blocking(move || {
                let answer = answer(&on_thread, &mut wants);
                (answer, wants)
            });
            let Ok((answer, rest)) = step.await else {
                return End::Broken("the block store panicked".to_owned());
            };
            wants = rest;
            if !answer.is_empty() && connection.answers.send(answer).await.is_err() {
                return End::Closed;
            }
        }
    }
}

/// Answers as many wants as fit into one batch and takes them off the list.
fn answer(connection: &Connection, wants: &mut VecDeque<Want>) -> Message {
    let mut answer = Message::default();
    let mut bytes = 0;
    while let Some(want) = wants.pop_front() {
        let blocks = &connection.shared.blocks;
        let node = connection.node.as_ref();
        let found = match want.kind {
            WantKind::Have => blocks.serves(node, &want.cid).then_some(None),
            WantKind::Block => blocks.serve(node, &want.cid).map(Some),
        };
        match found {
            Some(Some(content)) => {
                let is_first = answer.payloads.is_empty();
                if !is_first && bytes + content.len() > BATCH_BYTES {
                    wants.push_front(want);
                    return answer;
                }
                bytes += content.len();
                answer.payloads.push(payload_of(&want, content));
            }
            Some(None) => answer.presences.push(Presence { cid: want.cid, have: true }),
            None if want.send_dont_have => answer.presences.push(Presence { cid: want.cid, have: false }),
            None => {}
        }
    }
    answer
}

fn payload_of(want: &Want, data: Bytes) -> Payload {
    Payload { prefix: CidPrefix::of(&want.cid), data }
}
