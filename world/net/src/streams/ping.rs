//! A ping when somebody asks for one; `libp2p::ping` beside it measures by its own timetable.

use super::End;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, StreamProtocol};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// The protocol (github.com/libp2p/specs, ping): 32 bytes go out and come back.
pub(super) const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

/// Who waits for the round trip; dropped if there is none.
pub(crate) type Ping = oneshot::Sender<Duration>;

/// Waits for somebody who wants to know.
pub(super) async fn wait(mut queue: mpsc::Receiver<Ping>) -> End {
    match queue.recv().await {
        Some(ping) => End::WantsPing(ping, queue),
        None => End::Closed,
    }
}

/// One round trip. The caller's deadline drops the receiver, and this with it.
pub(super) async fn run(mut stream: Stream, mut ping: Ping) -> End {
    let round = async {
        // Not to be guessed, so that the answer comes after the question.
        let random = RandomState::new();
        let sent: Vec<u8> = (0..4u64).flat_map(|word| random.hash_one(word).to_le_bytes()).collect();
        let start = Instant::now();
        stream.write_all(&sent).await.ok()?;
        stream.flush().await.ok()?;
        let mut received = [0; 32];
        stream.read_exact(&mut received).await.ok()?;
        let took = start.elapsed();
        let _ = stream.close().await;
        (received[..] == sent).then_some(took)
    };
    let took = tokio::select! {
        took = round => took,
        () = ping.closed() => None,
    };
    if let Some(took) = took {
        let _ = ping.send(took);
    }
    End::Closed
}
