//! The streams of one connection.

use super::bitswap::Outbound;
use super::ping::{self, PING, Ping};
use super::{BITSWAP, Connection, End, bitswap, work};
use crate::limits::{BITSWAP_STREAMS_READ, BITSWAP_STREAMS_WAITING, OPEN_DEADLINE};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p::swarm::{StreamUpgradeError, SubstreamProtocol};
use libp2p::{Stream, StreamProtocol};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use tokio::sync::mpsc;

/// Which protocol a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Work,
    Bitswap,
    Ping,
}

/// Accepts both protocols.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    work: StreamProtocol,
}

impl UpgradeInfo for Inbound {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, 2>;

    fn protocol_info(&self) -> Self::InfoIter {
        [self.work.clone(), BITSWAP].into_iter()
    }
}

impl InboundUpgrade<Stream> for Inbound {
    type Output = (Stream, Kind);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        let kind = if protocol == BITSWAP { Kind::Bitswap } else { Kind::Work };
        std::future::ready(Ok((stream, kind)))
    }
}

/// What a handler tells the behaviour.
#[derive(Debug)]
pub(crate) enum Told {
    /// The work stream is open.
    WorkReady,
    /// The peer does not speak our work protocol.
    NotANode,
    /// Close this connection.
    Broken(String),
    /// The peer broke a protocol.
    Misbehaved(String),
}

type Request = SubstreamProtocol<ReadyUpgrade<StreamProtocol>, Kind>;

pub(crate) struct Handler {
    connection: Arc<Connection>,
    work: StreamProtocol,
    work_queue: Option<work::WorkReceiver>,
    /// Who waits for a bitswap stream to write to.
    outbounds: VecDeque<Outbound>,
    /// Streams to open.
    requests: VecDeque<Request>,
    running: FuturesUnordered<BoxFuture<'static, End>>,
    /// Bitswap streams that wait to be read.
    waiting: VecDeque<Stream>,
    reading: usize,
    has_inbound_work: bool,
    is_node: bool,
    /// Who waits for a stream to ping on.
    pings: VecDeque<Ping>,
    told: VecDeque<Told>,
    waker: Option<Waker>,
}

impl Handler {
    pub(super) fn new(
        connection: Arc<Connection>,
        work: StreamProtocol,
        work_queue: work::WorkReceiver,
        outbounds: Vec<Outbound>,
        pings: mpsc::Receiver<Ping>,
    ) -> Self {
        let request = SubstreamProtocol::new(ReadyUpgrade::new(work.clone()), Kind::Work);
        let mut running = FuturesUnordered::new();
        running.push(bitswap::serve(Arc::clone(&connection)).boxed());
        running.extend(outbounds.into_iter().map(|outbound| bitswap::wait(outbound).boxed()));
        running.push(ping::wait(pings).boxed());
        Self {
            connection,
            work,
            work_queue: Some(work_queue),
            outbounds: VecDeque::new(),
            requests: VecDeque::from([request.with_timeout(OPEN_DEADLINE)]),
            running,
            waiting: VecDeque::new(),
            reading: 0,
            has_inbound_work: false,
            is_node: false,
            pings: VecDeque::new(),
            told: VecDeque::new(),
            waker: None,
        }
    }

    fn tell(&mut self, told: Told) {
        self.told.push_back(told);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn run(&mut self, future: BoxFuture<'static, End>) {
        self.running.push(future);
        self.wake();
    }

    fn inbound(&mut self, stream: Stream, kind: Kind) {
        match kind {
            Kind::Work if self.has_inbound_work => {
                // Two streams would have no order between them.
                self.tell(Told::Misbehaved("opened a second work stream".to_owned()));
            }
            Kind::Work => {
                self.has_inbound_work = true;
                self.run(work::read(stream, Arc::clone(&self.connection)).boxed());
            }
            Kind::Bitswap if self.waiting.len() >= BITSWAP_STREAMS_WAITING => {
                self.tell(Told::Misbehaved("opened too many bitswap streams".to_owned()));
            }
            Kind::Bitswap => {
                self.waiting.push_back(stream);
                self.read_waiting();
            }
            // Those are answered by libp2p's own behaviour.
            Kind::Ping => {}
        }
    }

    fn read_waiting(&mut self) {
        while self.reading < BITSWAP_STREAMS_READ {
            let Some(stream) = self.waiting.pop_front() else { return };
            self.reading += 1;
            self.run(bitswap::read(stream, Arc::clone(&self.connection)).boxed());
        }
    }

    fn opened(&mut self, stream: Stream, kind: Kind) {
        match kind {
            Kind::Work => {
                if let Some(queue) = self.work_queue.take() {
                    self.is_node = true;
                    self.connection.is_node.send_replace(Some(true));
                    self.run(work::write(stream, queue).boxed());
                    self.tell(Told::WorkReady);
                }
            }
            Kind::Bitswap => {
                if let Some(outbound) = self.outbounds.pop_front() {
                    self.run(bitswap::write(stream, outbound, Arc::clone(&self.connection)).boxed());
                }
            }
            Kind::Ping => {
                if let Some(ping) = self.pings.pop_front() {
                    self.run(ping::run(stream, ping).boxed());
                }
            }
        }
    }

    fn not_opened(&mut self, kind: Kind, error: &StreamUpgradeError<Infallible>) {
        let is_unsupported = matches!(error, StreamUpgradeError::NegotiationFailed);
        match kind {
            Kind::Work if is_unsupported => {
                self.connection.is_node.send_replace(Some(false));
                self.tell(Told::NotANode);
            }
            Kind::Work => self.tell(Told::Broken(format!("work stream: {error}"))),
            // Dropping the queues tells senders that this peer does no bitswap.
            Kind::Bitswap if is_unsupported => drop(self.outbounds.pop_front()),
            Kind::Bitswap => self.tell(Told::Broken(format!("bitswap stream: {error}"))),
            Kind::Ping => drop(self.pings.pop_front()),
        }
    }

    fn ended(&mut self, end: End) {
        match end {
            End::Closed => {}
            End::InboundWork => self.has_inbound_work = false,
            End::InboundBitswap => {
                self.reading -= 1;
                self.read_waiting();
            }
            End::WantsBitswap(outbound) => {
                self.outbounds.push_back(outbound);
                let request = SubstreamProtocol::new(ReadyUpgrade::new(BITSWAP), Kind::Bitswap);
                self.requests.push_back(request.with_timeout(OPEN_DEADLINE));
            }
            End::WantsPing(ping, queue) => {
                self.pings.push_back(ping);
                let request = SubstreamProtocol::new(ReadyUpgrade::new(PING), Kind::Ping);
                self.requests.push_back(request.with_timeout(OPEN_DEADLINE));
                self.run(ping::wait(queue).boxed());
            }
            End::BitswapIdle(outbound) => self.run(bitswap::wait(outbound).boxed()),
            End::Broken(why) => self.told.push_back(Told::Broken(why)),
            End::Misbehaved(why) => self.told.push_back(Told::Misbehaved(why)),
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Told;
    type InboundProtocol = Inbound;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Kind;

    fn listen_protocol(&self) -> SubstreamProtocol<Inbound> {
        SubstreamProtocol::new(Inbound { work: self.work.clone() }, ()).with_timeout(OPEN_DEADLINE)
    }

    fn connection_keep_alive(&self) -> bool {
        self.is_node || self.connection.is_kept.load(Ordering::Relaxed)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(told));
            }
            if let Some(protocol) = self.requests.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(end)) => self.ended(end),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, kind), .. }) => {
                self.inbound(stream, kind);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opened(protocol, info);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => self.not_opened(info, &error),
            // `ConnectionEvent` is non-exhaustive; the others need no action.
            _ => {}
        }
    }
}
