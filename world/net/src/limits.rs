//! Limits of the network.

use std::time::Duration;

/// Bytes of one work message: the largest record on the wire.
pub const WORK_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Work messages queued for one connection; more is congestion, which the sender is told.
pub const WORK_QUEUE_MESSAGES: usize = 1024;
/// Bytes of work messages queued for one connection: eight of the largest.
pub const WORK_QUEUE_BYTES: usize = 8 << 20;
/// Bytes of small work messages that go out in one write.
pub const WORK_WRITE_BYTES: usize = 64 << 10;
/// Messages with wants queued for one connection; they are small and sent together.
pub const WANT_MESSAGES_QUEUED: usize = 64;
/// Messages with blocks queued for one connection, each about 2 MiB: one is read while one is sent.
pub const ANSWERS_QUEUED: usize = 2;
/// Bitswap streams of one peer that are read at once: kubo opens one per message.
pub const BITSWAP_STREAMS_READ: usize = 32;
/// Bitswap streams of one peer that wait to be read; a peer with more is not following the protocol.
pub const BITSWAP_STREAMS_WAITING: usize = 512;
/// Inbound streams negotiated at once; libp2p drops what is above, so it is above all of the above.
pub const STREAMS_NEGOTIATING: usize = 1024;
/// Streams of one connection. With this number yamux keeps its window at 256 KiB, which js peers
/// need (a larger one makes them send frames that rust-yamux refuses); the price is 256 KiB per
/// round trip and stream.
pub const YAMUX_STREAMS: usize = 4096;
/// Wants of one peer that wait for an answer; beyond it, its streams are not read.
pub const WANTS_QUEUED: usize = 4096;
/// Wants answered in one step on a blocking thread.
pub const WANTS_PER_STEP: usize = 64;
/// A bitswap stream without a message for this long is closed.
pub const BITSWAP_IDLE: Duration = Duration::from_secs(60);
/// A frame has to arrive within this time once it began, and a write to be taken: 4 MiB at 35 kB/s.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(120);
/// Time to open a stream.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Time for the listeners to come up.
pub const LISTEN_DEADLINE: Duration = Duration::from_secs(5);
/// Time to connect, shake hands and open the work stream.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);
/// Dials asked for by the user at once.
pub const DIALS_MAX: usize = 64;
/// Time for a lookup in the DHT.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(10);
/// Lookups at once; each is a query with its own state.
pub const LOOKUPS_MAX: usize = 64;
/// Commands queued for the swarm's task.
pub const COMMANDS_QUEUED: usize = 128;
/// Events that wait for the node; then the swarm pauses.
pub const EVENTS_PENDING: usize = 256;
/// Time in which peers may take queued messages at shutdown.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Time for connections and tasks to end at shutdown.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Peers that a node connects to by itself: a small network becomes a full mesh.
pub const MESH_PEERS: usize = 32;
/// Connections that others may open.
pub const INBOUND_CONNECTIONS: u32 = 512;
/// Handshakes at once.
pub const PENDING_CONNECTIONS: u32 = 128;
/// Connections with one peer: both sides may dial at once, over two transports.
pub const CONNECTIONS_PER_PEER: u32 = 4;
/// Addresses kept of one peer.
pub const ADDRESSES_PER_PEER: usize = 16;
/// First wait before the DHT is asked for more peers; doubles up to the last.
pub const DISCOVERY_FIRST: Duration = Duration::from_millis(200);
/// Last wait before the DHT is asked for more peers.
pub const DISCOVERY_LAST: Duration = Duration::from_secs(60);
/// First wait before a lost bootstrap node is dialled again; doubles up to the last.
pub const BOOTSTRAP_FIRST: Duration = Duration::from_millis(250);
/// Last wait before a lost bootstrap node is dialled again.
pub const BOOTSTRAP_LAST: Duration = Duration::from_secs(30);
/// Pings; js peers give up a ping stream after 10 s.
pub const PING_INTERVAL: Duration = Duration::from_secs(7);
/// A connection with a stranger and nothing to say is closed after this.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// A peer that broke a protocol is not talked to for this long.
pub const BAN: Duration = Duration::from_secs(60);
/// Banned peers remembered.
pub const BANNED_MAX: usize = 1024;

/// Downloads at once; each has its own window per peer.
pub const FETCHES_MAX: usize = 16;
/// Events queued for one download; then the streams of the peers are not read.
pub const FETCH_EVENTS: usize = 32;
/// Events that a download takes in before it acts, so that its wants travel together.
pub const FETCH_EVENTS_PER_STEP: usize = 32;
/// Bytes of blocks that wait to be stored; then the download takes in nothing.
pub const STORE_QUEUE_BYTES: usize = 32 << 20;
/// Blocks looked up on disk in one step on a blocking thread.
pub const LOOKS_PER_STEP: usize = 1024;
/// Progress is told this often.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
