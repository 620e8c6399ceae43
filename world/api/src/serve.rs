//! HTTP on a listener, so that nobody holds it: a request's head has to come in time, an answer has to be taken,
//! connections are bounded, and a stop lets answers that have begun go on for a moment only.

use crate::Peer;
use crate::callers::Callers;
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX, HEAD_WAIT, SHAKE_WAIT, STOP_WAIT, TAKE_WAIT};
use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};

/// Serves until `stop`; answers when every connection has ended, at the latest a few seconds after it.
///
/// # Errors
/// What the socket says when it breaks.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    serve_with(listener, None, router, stop, Waits { head: HEAD_WAIT, take: TAKE_WAIT }).await
}

/// The same by TLS.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_with(listener, Some(tls), router, stop, Waits { head: HEAD_WAIT, take: TAKE_WAIT }).await
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) head: Duration,
    /// Until it takes more of an answer.
    pub(crate) take: Duration,
}

pub(crate) async fn serve_with(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
    waits: Waits,
) -> io::Result<()> {
    let router = router.layer(axum::middleware::from_fn(crate::requests::log));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (connections, callers) = (TaskTracker::new(), Callers::default());
    loop {
        let place = places.clone().acquire_owned();
        // Without a place nobody is let in: callers wait in the system's queue.
        let accepted = async {
            let place = place.await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, from, own) = match accepted {
            // Who has too many is let go: he does not keep others waiting for a place.
            Ok((stream, from)) => match callers.take(from.ip(), CONNECTIONS_OF_ONE_MAX) {
                Some(own) => (stream, from, own),
                None => continue,
            },
            // One caller went away, or there are no file handles for a moment; the listener is as good as before.
            Err(why) => {
                tracing::debug!(%why, "a connection was not taken");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _places = (place, own);
            // Small answers are not to wait for one another.
            stream.set_nodelay(true).ok();
            let peer = Peer { ip: from.ip(), is_tls: tls.is_some() };
            // Around the router, not inside: a layer would copy every route for every connection.
            let service = router.map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request
            });
            let Some(tls) = tls else { return connection(stream, service, stop, waits).await };
            let shaken = tokio::select! {
                shaken = timeout(waits.head.min(SHAKE_WAIT), tls.accept(stream)) => shaken,
                () = stop.cancelled() => return,
            };
            match shaken {
                Ok(Ok(stream)) => connection(stream, service, stop, waits).await,
                Ok(Err(why)) => tracing::debug!(%why, "no TLS with a caller"),
                Err(_) => tracing::debug!("a caller began TLS and said no more"),
            }
        });
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn connection<S, R>(stream: S, service: R, stop: CancellationToken, waits: Waits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send,
    R::Future: Send,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(waits.head);
    let stream = Taken { stream, wait: waits.take, due: None };
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            match timeout(STOP_WAIT, served).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(why) = ended {
        tracing::debug!(%why, "a connection ended early");
    }
}

/// A connection that breaks when the other side takes nothing of what is written for so long. Without this, whoever asks
/// and does not read keeps the connection, and what is ready for it in memory.
struct Taken<S> {
    stream: S,
    wait: Duration,
    due: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn by_then<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.due = None;
            return written;
        }
        let wait = self.wait;
        let due = self.due.get_or_insert_with(|| Box::pin(sleep(wait)));
        due.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.by_then(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.by_then(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_sends_half_a_head_is_let_go_and_a_stop_ends_all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let here = |Extension(peer): Extension<Peer>| async move {
            assert_eq!(peer, Peer { ip: [127, 0, 0, 1].into(), is_tls: false });
            "here"
        };
        let router = Router::new().route("/", get(here)).route("/ever", get(std::future::pending::<()>));
        let waits = Waits { head: Duration::from_millis(100), take: TAKE_WAIT };
        let server = tokio::spawn(serve_with(listener, None, router, stop.clone(), waits));
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let mut said = Vec::new();
        // It ends with a close or, if it wrote after that, with a reset.
        slow.read_to_end(&mut said).await.ok();
        assert!(!String::from_utf8_lossy(&said).contains("here"));
        let mut good = TcpStream::connect(addr).await.unwrap();
        good.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        good.read_to_end(&mut said).await.unwrap();
        assert!(String::from_utf8_lossy(&said).ends_with("here"));
        let mut idle = TcpStream::connect(addr).await.unwrap();
        stop.cancel();
        idle.read_to_end(&mut said).await.ok();
        server.await.unwrap().unwrap();
    }

    /// Says when it goes.
    struct Ended(tokio::sync::mpsc::Sender<()>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.try_send(()).ok();
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_of_an_answer_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (told, mut ended) = tokio::sync::mpsc::channel(1);
        let endless = move || {
            let ended = Ended(told.clone());
            let pieces = futures::stream::repeat_with(move || {
                let _ended = &ended;
                Ok::<_, io::Error>(vec![0; 1 << 20])
            });
            async { axum::body::Body::from_stream(pieces) }
        };
        let waits = Waits { head: HEAD_WAIT, take: Duration::from_millis(100) };
        let router = Router::new().route("/", get(endless));
        let server = tokio::spawn(serve_with(listener, None, router, stop.clone(), waits));
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut said = [0; 12];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
        assert_eq!(ended.recv().await, Some(()), "the client is there and does not read");
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
