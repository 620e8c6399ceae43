//! Limits of blocks, DAGs, messages and downloads.

/// Bytes of one block: what IPFS implementations agree to transfer.
pub const BLOCK_BYTES_MAX: usize = 2 << 20;
/// Bytes of one leaf of a file: profile `unixfs-v1-2025` (IPIP-499).
pub const CHUNK_BYTES: usize = 1 << 20;
/// Links of one node of a file: profile `unixfs-v1-2025` (IPIP-499).
pub const LINKS_PER_NODE: usize = 1024;
/// Bytes of one leaf of a file: profile `unixfs-v0-2015` (IPIP-499).
pub const CHUNK_BYTES_V0: usize = 256 << 10;
/// Links of one node of a file: profile `unixfs-v0-2015` (IPIP-499).
pub const LINKS_PER_NODE_V0: usize = 174;
/// Bytes above which a directory is sharded, counted as its profile says (IPIP-499).
pub const SHARD_ABOVE_BYTES: usize = 256 << 10;
/// Slots of a shard that we read; all that is written has 256 (IPIP-499).
pub const FANOUT_MAX: u64 = 1024;
/// Bytes of one name in a directory: what file systems take.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a denylist's header (IPIP-383).
pub const DENYLIST_HEADER_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line of a denylist (IPIP-383).
pub const DENYLIST_LINE_BYTES_MAX: usize = 2 << 20;
/// Rules of one denylist: ten times the public "bad bits", in some 200 MiB of memory.
pub const DENYLIST_RULES_MAX: usize = 4 << 20;
/// Bytes of a CAR's header: about 1,700 roots.
pub const CAR_HEADER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a CID in a CAR: more than any hash function that has a name needs.
pub const CAR_CID_BYTES_MAX: usize = 128;
/// Characters of a CID: one of 85 bytes, with a digest of 64, has 171 in base 16.
pub const CID_CHARS_MAX: usize = 256;
/// Links of one node that we read: v0 profiles use 174, ours 1,024, HAMT nodes 256.
pub const LINKS_READ_MAX: usize = 16 * 1024;
/// Levels of a DAG: 1,024 links and 1 MiB leaves reach 1 EiB in four.
pub const DAG_DEPTH_MAX: u8 = 32;
/// Distinct blocks of one download or walk: 1 TiB of 1 MiB leaves, and a bound for the memory of hostile DAGs.
pub const DAG_BLOCKS_MAX: usize = 1 << 20;
/// Bytes of one bitswap message: what kubo and Helia accept.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of blocks that a server puts into one message: half of the cap leaves room for the rest.
pub const BATCH_BYTES: usize = 2 << 20;
/// Entries of one wantlist: kubo queues 1,024 per peer, sends up to some thousand.
pub const WANT_ENTRIES_MAX: usize = 8 * 1024;
/// Presences or blocks of one message: an answer to a full wantlist.
pub const ANSWER_ENTRIES_MAX: usize = 8 * 1024;
/// Bytes of one sealed object: inputs and outputs of one step, held in memory while (un)sealed.
pub const SEALED_BYTES_MAX: usize = 64 << 20;

/// Peers that one download uses: more do not make it faster, each costs a window.
pub const FETCH_PEERS_MAX: usize = 32;
/// Wants in flight at one peer: 32 MiB of leaves keep a fast link busy.
pub const WANTS_PER_PEER_MAX: usize = 32;
/// Wants in flight at a peer whose speed is not measured yet: enough to measure, little to lose.
pub const WANTS_UNMEASURED: usize = 4;
/// Wants in flight over all peers: bounds memory to 128 MiB of leaves.
pub const WANTS_IN_FLIGHT_MAX: usize = 128;
/// A measured peer is given as many wants as it answers in this time; with 500 ms, four peers at a round
/// trip of 50 ms gave 2.5 times what one gave, with this 3.2 times.
pub const WINDOW_MS: u64 = 2_000;
/// Speed is averaged over spans of at least this long; shorter ones measure the clock.
pub const RATE_SPAN_MS: u64 = 20;
/// A want fails when its peer has delivered nothing at all for this long.
pub const WANT_DEADLINE_MS: u64 = 5_000;
/// Deadlines missed in a row before a peer is given up.
pub const TIMEOUTS_MAX: u32 = 2;
/// Blocks that nobody asked for before a peer is dropped; a late answer to an earlier download
/// looks like one, so one alone convicts nobody.
pub const WRONG_BLOCKS_MAX: u32 = 3;
/// Peers asked for the same block at once: the second is asked only when the first is slow.
pub const ASKERS_MAX: usize = 2;
/// At the end of a download an idle peer doubles a want that is at least this old.
pub const HEDGE_AFTER_MS: u64 = 300;
/// A peer that said "don't have" is asked again after this long: it may be downloading itself.
pub const RETRY_MISSING_MS: u64 = 1_000;
/// A download fails when every peer denies a block, or no peer is left, for this long.
pub const NOT_FOUND_MS: u64 = 5_000;
/// A download fails when nothing at all arrived for this long.
pub const STALL_MS: u64 = 30_000;
/// The download machine asks to be woken this often.
pub const TICK_MS: u64 = 100;
/// Ready wants looked at in one round: keeps a round short when no peer has the first ones.
pub const SCAN_MAX: usize = 512;

/// Peers of one session: the first of them to have a block answers it.
pub const SESSION_PEERS_MAX: usize = 64;
/// Peers that are asked for one block while one that gave blocks before is expected to have it.
pub const SESSION_FANOUT: usize = 4;
/// After this long without the block, another peer is asked for it, too, and everybody whether they have it.
pub const SESSION_PATIENCE_MS: u64 = 1_000;
/// Peers asked for the same block in a session: each costs the block once more.
pub const SESSION_ASKERS_MAX: usize = 3;
