//! `/talkoo/<network>/work/1`: opaque messages between nodes. Each side opens one stream and only
//! writes to it, so order is kept and neither waits for the other to read.

use super::frame::{self, FrameRules, Prefix};
use super::{Connection, End};
use crate::error::SendError;
use crate::events::NetEvent;
use crate::limits::{FRAME_DEADLINE, WORK_MESSAGE_BYTES_MAX, WORK_QUEUE_BYTES, WORK_QUEUE_MESSAGES, WORK_WRITE_BYTES};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use libp2p::Stream;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// A message on its way; the permit counts its bytes until they are written.
pub(crate) struct Queued {
    bytes: Vec<u8>,
    permit: OwnedSemaphorePermit,
}

/// The end of a queue that callers push to.
#[derive(Clone, Debug)]
pub(crate) struct WorkSender {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    finish: CancellationToken,
}

/// The end of a queue that is written out.
pub(crate) struct WorkReceiver {
    queue: mpsc::Receiver<Queued>,
    finish: CancellationToken,
}

impl WorkReceiver {
    /// The next message; `None` when the queue is gone, or finished and empty.
    async fn next(&mut self) -> Option<Queued> {
        tokio::select! {
            biased;
            queued = self.queue.recv() => queued,
            () = self.finish.cancelled() => None,
        }
    }
}

/// A queue bounded in messages and in bytes.
pub(crate) fn queue() -> (WorkSender, WorkReceiver) {
    let (sender, queue) = mpsc::channel(WORK_QUEUE_MESSAGES);
    let finish = CancellationToken::new();
    let room = Arc::new(Semaphore::new(WORK_QUEUE_BYTES));
    (WorkSender { queue: sender, room, finish: finish.clone() }, WorkReceiver { queue, finish })
}

impl WorkSender {
    pub(crate) fn try_send(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        let len = bytes.len();
        if len > WORK_MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { bytes: len });
        }
        if self.finish.is_cancelled() {
            return Err(SendError::NotConnected);
        }
        let permits = u32::try_from(len).expect("1 MiB fits into a u32");
        let permit = Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| SendError::Congested)?;
        self.queue.try_send(Queued { bytes, permit }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Congested,
            mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
        })
    }

    /// Takes no more messages and waits until the peer has taken all that are queued.
    pub(crate) async fn finished(&self) {
        self.finish.cancel();
        self.queue.closed().await;
    }
}

/// Writes what is queued until the queue or the stream ends.
pub(super) async fn write(mut stream: Stream, mut queue: WorkReceiver) -> End {
    let mut buffer = Vec::new();
    while let Some(first) = queue.next().await {
        buffer.clear();
        let mut written = vec![push(&mut buffer, first)];
        while buffer.len() < WORK_WRITE_BYTES {
            let Ok(next) = queue.queue.try_recv() else { break };
            written.push(push(&mut buffer, next));
        }
        if let Err(error) = frame::write_all(&mut stream, &[&buffer], FRAME_DEADLINE).await {
            return End::Broken(format!("work stream: {error}"));
        }
        drop(written);
    }
    // The peer lets go of the stream when its node has taken the last message.
    if stream.close().await.is_ok() {
        let _ = stream.read(&mut [0]).await;
    }
    End::Closed
}

fn push(buffer: &mut Vec<u8>, queued: Queued) -> OwnedSemaphorePermit {
    let len = u32::try_from(queued.bytes.len()).expect("1 MiB fits into a u32");
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&queued.bytes);
    queued.permit
}

/// Reads messages and hands them to the node, no faster than it takes them.
pub(super) async fn read(stream: Stream, connection: Arc<Connection>) -> End {
    let rules =
        FrameRules { prefix: Prefix::U32, bytes_max: WORK_MESSAGE_BYTES_MAX, idle: None, deadline: FRAME_DEADLINE };
    let Some(node) = connection.node else { return End::InboundWork };
    let mut stream = BufReader::with_capacity(WORK_WRITE_BYTES, stream);
    loop {
        let bytes = match frame::read_frame(&mut stream, rules, None).await {
            Ok(Some((bytes, _))) => bytes,
            Ok(None) => return End::InboundWork,
            Err(error) if error.is_misbehaviour() => return End::Misbehaved(format!("work stream: {error}")),
            Err(error) => return End::Broken(format!("work stream: {error}")),
        };
        // The node hears of a peer before it hears from it.
        let mut announced = connection.announced.subscribe();
        if announced.wait_for(|is_announced| *is_announced).await.is_err() {
            return End::InboundWork;
        }
        let message = NetEvent::Message { peer: node, bytes: bytes.into() };
        if connection.shared.events.send(message).await.is_err() {
            return End::InboundWork;
        }
    }
}
