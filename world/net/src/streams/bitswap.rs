//! `/ipfs/bitswap/1.2.0`: messages over any number of streams. We keep one stream open for writing, and
//! more to a distant peer; kubo and Helia open one per message, so several are read at once and the
//! others wait unread.

use super::frame::{self, FrameRules, Prefix};
use super::{Connection, End};
use crate::limits::{
    ANSWER_RATE, ANSWER_STREAMS, BITSWAP_IDLE, FRAME_DEADLINE, WANTS_PER_STEP, WANTS_QUEUED, WANTS_REFUSED_MAX,
    YAMUX_WINDOW,
};
use bytes::Bytes;
use futures::future::select_all;
use futures::{AsyncWriteExt, FutureExt};
use libp2p::Stream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use talkoo_store::bitswap::{Message, Payload, Presence, WantKind};
use talkoo_store::limits::{BATCH_BYTES, MESSAGE_BYTES_MAX};
use talkoo_store::{BlockError, CidPrefix};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What is to be written; it outlives the stream.
pub(super) struct Outbound {
    /// Our wants, on the first stream only: small, and not to wait behind blocks that we serve.
    wants: Option<mpsc::Receiver<Message>>,
    /// Our answers.
    answers: mpsc::Receiver<Message>,
    /// A message that was not written.
    unsent: Option<Message>,
}

impl Outbound {
    pub(super) fn new(wants: Option<mpsc::Receiver<Message>>, answers: mpsc::Receiver<Message>) -> Self {
        Self { wants, answers, unsent: None }
    }

    /// The next message; `None` when the connection ends.
    async fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.unsent.take() {
            return Some(message);
        }
        let wants = async {
            match &mut self.wants {
                Some(wants) => wants.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = wants => message,
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
        connection.ledger.sent(message.payloads.len(), message.payload_bytes());
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
        let (bytes, _room) = match frame::read_frame(&mut stream, rules, Some(&connection.large)).await {
            Ok(Some((bytes, room))) => (Bytes::from(bytes), room),
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
        if let Err(why) = receive(message, &connection).await {
            return End::Misbehaved(why);
        }
    }
}

async fn receive(message: Message, connection: &Connection) -> Result<(), String> {
    connection.ledger.received(message.payloads.len(), message.payload_bytes());
    let router = &connection.shared.router;
    for payload in message.payloads {
        match payload.into_block() {
            Ok(block) => router.block(connection.peer, block).await,
            // Peers may answer other programs on this connection; we never ask for such blocks.
            Err(BlockError::UnsupportedHash { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    for presence in message.presences {
        router.presence(connection.peer, presence).await;
    }
    let wanted = message.wants.len() as u64;
    let refused = connection.wants.push(message.full, message.wants);
    let counts = &connection.shared.ledgers.counts;
    counts.wants.fetch_add(wanted - refused, Ordering::Relaxed);
    counts.wants_refused.fetch_add(refused, Ordering::Relaxed);
    if connection.refused.fetch_add(refused, Ordering::Relaxed) + refused > WANTS_REFUSED_MAX {
        return Err(format!("wanted too much at once: more than {WANTS_QUEUED} blocks, again and again"));
    }
    Ok(())
}

/// Answers a peer's wants, in order, until the connection ends.
pub(super) async fn serve(connection: Arc<Connection>) -> End {
    // Whether the peer is a stranger shows when it takes or refuses our work stream.
    let mut class = connection.is_node.subscribe();
    let Ok(is_node) = class.wait_for(Option::is_some).await.map(|is_node| *is_node == Some(true)) else {
        return End::Closed;
    };
    let mut over = None;
    loop {
        if over.is_none() {
            connection.wants.some().await;
        }
        // A stream carries one window each round trip, so a distant peer gets more of them.
        let round_us = connection.shared.rtt_us(&connection.peer).unwrap_or(0);
        let streams = (round_us * ANSWER_RATE / 1_000_000 / YAMUX_WINDOW).clamp(1, ANSWER_STREAMS as u64) as usize;
        let on_thread = Arc::clone(&connection);
        let batch_bytes = BATCH_BYTES / streams;
        let step = tokio::task::spawn_blocking(move || answer(&on_thread, is_node, over, batch_bytes));
        let Ok((answer, rest)) = step.await else {
            return End::Broken("the block store panicked".to_owned());
        };
        over = rest;
        if !answer.is_empty() {
            let room = connection.answers[..streams].iter().map(|answers| answers.reserve().boxed());
            match select_all(room).await.0 {
                Ok(room) => room.send(answer),
                Err(_) => return End::Closed,
            }
        }
    }
}

/// Answers as many wants as fit into one batch; the block that did not fit begins the next one.
fn answer(
    connection: &Connection,
    is_node: bool,
    first: Option<Payload>,
    batch_bytes: usize,
) -> (Message, Option<Payload>) {
    let mut answer = Message { payloads: first.into_iter().collect(), ..Message::default() };
    let (blocks, ledgers) = (&connection.shared.blocks, &connection.shared.ledgers);
    let node = connection.node.as_ref().filter(|_| is_node);
    let mut bytes = answer.payload_bytes();
    for _ in 0..WANTS_PER_STEP {
        let Some(want) = connection.wants.pop() else { break };
        let is_admitted = is_node || ledgers.admits(&connection.ledger, &connection.addr, Instant::now());
        let found = match want.kind {
            _ if !is_admitted => None,
            WantKind::Have => blocks.serves(node, &want.cid).then_some(None),
            WantKind::Block => blocks.serve(node, &want.cid).map(Some),
        };
        match found {
            Some(Some(data)) => {
                if !is_node {
                    ledgers.spend(&connection.ledger, data.len());
                }
                let payload = Payload { prefix: CidPrefix::of(&want.cid), data };
                bytes += payload.data.len();
                if bytes > batch_bytes && !answer.payloads.is_empty() {
                    return (answer, Some(payload));
                }
                answer.payloads.push(payload);
            }
            Some(None) => answer.presences.push(Presence { cid: want.cid, have: true }),
            None if want.send_dont_have => answer.presences.push(Presence { cid: want.cid, have: false }),
            None => {}
        }
    }
    (answer, None)
}
