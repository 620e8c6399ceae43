//! HTTP on a listener, so that nobody holds it: a request's head has to come in time, connections are bounded, and a stop
//! lets answers that have begun go on for a moment only.

use crate::limits::{CONNECTIONS_MAX, HEAD_WAIT, STOP_WAIT};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Serves until `stop`; answers when every connection has ended, at the latest a few seconds after it.
///
/// # Errors
/// What the socket says when it breaks.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    serve_with(listener, router, stop, HEAD_WAIT).await
}

pub(crate) async fn serve_with(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    head_wait: Duration,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // One caller went away, or there are no file handles for a moment; the listener is as good as before.
            Err(why) => {
                tracing::debug!(%why, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            connection(stream, router, stop, head_wait).await;
        });
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, head_wait: Duration) {
    // Small answers are not to wait for one another.
    stream.set_nodelay(true).ok();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_wait);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn who_sends_half_a_head_is_let_go_and_a_stop_ends_all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", get(|| async { "here" })).route("/ever", get(std::future::pending::<()>));
        let server = tokio::spawn(serve_with(listener, router, stop.clone(), Duration::from_millis(100)));
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
}
