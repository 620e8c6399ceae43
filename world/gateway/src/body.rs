//! Blocking work beside the loop of HTTP: reading and writing blocks happens on threads, a bounded pipe leads to
//! the socket, and a reader that goes away ends the work.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use std::io;
use std::sync::{Arc, LazyLock};
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::limits::{PIECES_QUEUED, READER_WAIT, WORKER_WAIT, WORKERS_MAX};

/// Threads for blocking work; the owner has some that no stranger takes.
fn workers(caller: Caller) -> Arc<Semaphore> {
    static OWNER: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(WORKERS_MAX)));
    static STRANGERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(WORKERS_MAX)));
    match caller {
        Caller::Owner => OWNER.clone(),
        Caller::Stranger => STRANGERS.clone(),
    }
}

async fn worker(caller: Caller) -> Result<OwnedSemaphorePermit, Refusal> {
    match timeout(WORKER_WAIT, workers(caller).acquire_owned()).await {
        Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
        Err(_) => {
            let message = format!("{WORKERS_MAX} other requests kept every worker busy for {WORKER_WAIT:?}");
            Err(Refusal::new(RefusalCode::Busy, message, "try again in a moment"))
        }
    }
}

/// Runs blocking work on a thread.
pub(crate) async fn blocking<T: Send + 'static>(
    caller: Caller,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let permit = worker(caller).await?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or_else(|why| {
        tracing::error!(%why, "a worker of the gateway panicked");
        Err(Refusal::new(RefusalCode::Other, "the worker of this request broke down", "see the node's log"))
    })
}

/// The way from a worker to the socket.
pub(crate) struct Pipe {
    out: mpsc::Sender<io::Result<Bytes>>,
    /// Hears of the first bytes, or of the refusal that came instead.
    first: Option<oneshot::Sender<Option<Refusal>>>,
}

/// The reader is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<Gone> for Refusal {
    fn from(_: Gone) -> Self {
        Self::new(RefusalCode::Cancelled, "the client closed the connection", "ask again")
    }
}

impl Pipe {
    /// Sends bytes; waits while the reader is slow, but not for one that takes nothing at all.
    pub(crate) fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            first.send(None).map_err(|_| Gone)?;
        }
        let sent = Handle::current().block_on(timeout(READER_WAIT, self.out.send(Ok(bytes))));
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }
}

impl Pipe {
    /// Lets somebody wait for the beginning, so that a refusal before it becomes a status.
    pub(crate) fn announce(&mut self, first: oneshot::Sender<Option<Refusal>>) {
        self.first = Some(first);
    }

    /// Tells the refusal to whoever still waits for the beginning; answers whether somebody did.
    pub(crate) fn refuse(&mut self, no: &Refusal) -> bool {
        self.first.take().is_some_and(|first| first.send(Some(no.clone())).is_ok())
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Bytes::copy_from_slice(bytes)).map_err(|Gone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that `work` writes on a thread. An error in the middle breaks the connection, so that no client takes a
/// part for the whole.
pub(crate) async fn streamed(
    caller: Caller,
    work: impl FnOnce(&mut Pipe) -> Result<(), Refusal> + Send + 'static,
) -> Result<Body, Refusal> {
    let permit = worker(caller).await?;
    let (out, pieces) = mpsc::channel(PIECES_QUEUED);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut pipe = Pipe { out, first: None };
        if let Err(why) = work(&mut pipe) {
            tracing::debug!(message = why.message, "a body ended early");
            // Who takes nothing any more is not told: the connection just ends.
            pipe.out.try_send(Err(io::Error::other(why.message))).ok();
        }
    });
    let pieces = stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    Ok(Body::from_stream(pieces))
}
