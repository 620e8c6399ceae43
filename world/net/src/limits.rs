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
/// Messages with blocks queued for one stream: one is read while one is sent.
pub const ANSWERS_QUEUED: usize = 1;
/// Streams that carry blocks to one distant peer: a window of 256 KiB each, so together 80 MB/s at 50 ms.
pub const ANSWER_STREAMS: usize = 16;
/// Bytes a second that these streams are to reach; a near peer needs one of them.
pub const ANSWER_RATE: u64 = 100_000_000;
/// Window of a yamux stream in bytes, see [`YAMUX_STREAMS`].
pub const YAMUX_WINDOW: u64 = 256 << 10;
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
/// Wants of one peer that wait for an answer: kubo keeps 1,024. What is beyond it is refused and counted.
pub const WANTS_QUEUED: usize = 4096;
/// Wants of one connection that may be refused because its queue is full; then it is closed.
pub const WANTS_REFUSED_MAX: u64 = 64 * 1024;
/// Wants answered in one step on a blocking thread.
pub const WANTS_PER_STEP: usize = 64;
/// Bytes of bitswap messages above 64 KiB of one connection that are in memory at once: two of the largest, or those that
/// come over the streams of a distant peer. With all connections that others may open it is 4 GiB.
pub const LARGE_BYTES: usize = 8 << 20;
/// Peers whose ledger is kept, about 200 bytes each.
pub const LEDGERS_MAX: usize = 4096;
/// Bytes that one stranger is given in an hour, unless the configuration says otherwise: 4.7 MB/s.
pub const STRANGER_BYTES_PER_HOUR: u64 = 16 << 30;
/// Bytes that all strangers are given in an hour, unless the configuration says otherwise.
pub const STRANGERS_BYTES_PER_HOUR: u64 = 64 << 30;
/// A bitswap stream without a message for this long is closed.
pub const BITSWAP_IDLE: Duration = Duration::from_secs(60);
/// A frame has to arrive within this time once it began, and a write to be taken: 4 MiB at 35 kB/s.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(120);
/// Pings asked for and not answered yet, of one connection.
pub const PINGS_QUEUED: usize = 4;
/// Streams tried for one ping.
pub const PING_ATTEMPTS: usize = 3;
/// Time for a ping.
pub const PING_DEADLINE: Duration = Duration::from_secs(10);
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
/// Of these, kept for downloads, announcements and meetings.
pub const LOOKUPS_KEPT: usize = 16;
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
/// Protocols kept of one peer: kubo tells about twenty.
pub const PROTOCOLS_PER_PEER: usize = 64;
/// Characters kept of a peer's agent.
pub const AGENT_CHARS: usize = 128;
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
/// Sessions at once: an HTTP gateway has one for each request.
pub const SESSIONS_MAX: usize = 256;
/// Blocks that one session is asked for at once.
pub const SESSION_GETS: usize = 64;
/// Time for a block of a session, unless the caller says otherwise.
pub const SESSION_DEADLINE: Duration = Duration::from_secs(10);
/// Blocks asked for last that an ended download leaves behind, so that a late answer offends nobody.
pub const LATE_PER_FETCH: usize = 256;
/// Such blocks of all ended downloads.
pub const LATE_MAX: usize = 4096;
/// A download or session asks gateways, if there are any, when no block came for this long, or nobody has it.
pub const GATEWAYS_AFTER: Duration = Duration::from_secs(1);
/// Requests to one gateway at once.
pub const GATEWAY_REQUESTS_MAX: usize = 8;
/// Time for one request to a gateway, redirects included.
pub const GATEWAY_DEADLINE: Duration = Duration::from_secs(20);
/// Times that a gateway may send us on.
pub const GATEWAY_REDIRECTS_MAX: u32 = 3;
/// Gateways of one node.
pub const GATEWAYS_MAX: usize = 16;
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

/// Peers that a relay keeps a place for.
pub const RELAY_RESERVATIONS: usize = 128;
/// Connections through a relay at once.
pub const RELAY_CIRCUITS: usize = 32;
/// Bytes of one relayed connection: room for a chat, too little for files.
pub const RELAY_BYTES: u64 = 16 << 20;
/// How long a relayed connection lasts.
pub const RELAY_DURATION: Duration = Duration::from_secs(600);
/// Relays that we ask to be reached through: one may go.
pub const RELAYS_USED: usize = 2;
/// Relays remembered.
pub const RELAYS_KNOWN: usize = 64;
/// A relay that said no is asked again after this long.
pub const RELAY_RETRY: Duration = Duration::from_secs(60);
/// Addresses of ours that others tried in vain, remembered.
pub const REFUSED_MAX: usize = 32;
/// Peers with whom hole punching failed, remembered.
pub const UNPUNCHED_MAX: usize = 64;
/// Provider records of others that are kept; each has some hundred bytes, and with all addresses that it may have, 4 KiB.
pub const PROVIDER_RECORDS_MAX: usize = 1 << 16;
/// Of these, of one peer.
pub const PROVIDER_RECORDS_PER_PEER: usize = 1 << 12;
/// Bytes of the key of one: a multihash, of which the longest in use has 66.
pub const KEY_BYTES_MAX: usize = 80;
/// Bytes of one of its addresses; through a relay, with certificates of WebTransport, it has some 200.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Roots that we announce.
pub const PROVIDED_MAX: usize = 1 << 16;
