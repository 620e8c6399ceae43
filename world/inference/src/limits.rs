//! Limits of the protocols of inference.

use std::time::Duration;

/// Bytes of a body. A prompt of the longest context there is has less.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
/// Values of a body, counted by the signs before them, those in its texts too: each takes more memory than bytes of the body.
/// The most texts of token ids have half as many.
pub(crate) const VALUES_MAX: usize = 2 << 20;
/// How long the next bytes of a body may take.
pub(crate) const BODY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a body that are read only to be thrown away, and how long that may take.
pub(crate) const DRAIN_BYTES_MAX: usize = 1 << 20;
/// The longest of it.
pub(crate) const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// A comment line keeps a silent stream open.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Texts of one request for vectors, as OpenAI has it.
pub(crate) const TEXTS_MAX: usize = 2048;
/// Prompts of one request of the older completions.
pub(crate) const PROMPTS_MAX: usize = 128;
/// Tools of one request, as OpenAI has it.
pub(crate) const TOOLS_MAX: usize = 128;
/// Bytes of an uploaded file, as OpenAI has it for batches.
pub(crate) const FILE_BYTES_MAX: usize = 200 << 20;
/// Bytes of an upload: the file and what frames it.
pub(crate) const UPLOAD_BYTES_MAX: usize = FILE_BYTES_MAX + (1 << 20);
/// Bytes of an upload's field that is a word.
pub(crate) const WORD_BYTES_MAX: usize = 64;
/// Files that are kept.
pub(crate) const FILES_MAX: usize = 10_000;
/// Lines of a batch, as OpenAI has it.
pub(crate) const BATCH_LINES_MAX: u64 = 50_000;
/// Lines of a batch that are asked side by side: as many as engines share a pass over the weights for, twice.
pub(crate) const BATCH_WIDTH: usize = 16;
/// Batches that are kept, and those that are worked at side by side: more would find no place at the engines.
pub(crate) const BATCHES_MAX: usize = 1024;
/// Those worked at.
pub(crate) const BATCHES_AT_ONCE: usize = 4;
/// Bytes of a batch's `metadata`; OpenAI's 16 pairs have less.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 10;
/// Seconds after which a batch ends: its `completion_window`.
pub(crate) const BATCH_S: u64 = 24 * 3600;
/// Keys that are kept.
pub(crate) const KEYS_MAX: usize = 1024;
/// Payments of a key within 24 hours; each is a line of its file.
pub(crate) const PAYMENTS_MAX: usize = 1024;
/// Payments of a key that wait for its owner: more than he would read.
pub(crate) const APPROVALS_MAX: usize = 16;
/// Output tokens of a request that does not say: what the context leaves, at most this. A small model may never end.
pub(crate) const MAX_TOKENS_DEFAULT: u32 = 2048;
/// A tool call that does not end within so many bytes is text.
pub(crate) const CALL_BYTES_MAX: usize = 1 << 20;
/// Responses that are kept; the oldest go.
pub(crate) const RESPONSES_MAX: usize = 4096;
/// Bytes of one that is kept: a prompt of the longest context, and the answer, have less.
pub(crate) const RESPONSE_BYTES_MAX: usize = 4 << 20;
/// Items of one response's input, what came before included.
pub(crate) const ITEMS_MAX: usize = 4096;
/// Webhooks of a node, and the bytes of an address.
pub(crate) const HOOKS_MAX: usize = 32;
/// The longest address.
pub(crate) const URL_BYTES_MAX: usize = 2048;
/// Events that wait to be told.
pub(crate) const PENDING_MAX: usize = 10_000;
/// Bytes of a body of who has no key (x402): he is answered by models of this machine, whose contexts are shorter.
pub(crate) const PAYER_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a `PAYMENT-SIGNATURE` header: some 1,500 are usual.
pub(crate) const PAYMENT_BYTES_MAX: usize = 8 << 10;
/// Answers of one request that is paid by x402: they are computed before they are paid.
pub(crate) const PAYER_ANSWERS_MAX: u32 = 8;
/// Seconds that a buyer's authorization should be good for, from the price on: `maxTimeoutSeconds`.
pub(crate) const PAY_WITHIN_S: u64 = 600;
/// Seconds before its end that an authorization is not taken any more: the transfer has to stand in a block by then.
pub(crate) const SETTLE_ROOM_S: u64 = 45;
/// Seconds more than [`PAY_WITHIN_S`] that an authorization may be good for: clocks differ.
pub(crate) const CLOCKS_S: u64 = 600;
/// Seconds after its authorization's end that a payment is remembered.
pub(crate) const PAYMENT_KEPT_S: u64 = 3600;
/// Seconds between two looks, as payments come, which of them are over.
pub(crate) const PAYMENTS_TIDY_S: u64 = 600;
/// How often what was paid is answered again: connections break, and nodes are killed.
pub(crate) const REPEATS_MAX: u32 = 3;
/// Payments that are remembered: more than come within [`PAY_WITHIN_S`] and [`PAYMENT_KEPT_S`] at [`PAYERS_RATE`].
pub(crate) const PAYMENTS_KEPT_MAX: usize = 65_536;
/// Requests without a key, per minute: of one address, and of all.
pub(crate) const PAYER_RATE: u32 = 120;
/// Those of all.
pub(crate) const PAYERS_RATE: u32 = 900;
/// Requests without a key that are under way: of one address, and of all.
pub(crate) const PAYER_PLACES: usize = 8;
/// Those of all.
pub(crate) const PAYERS_PLACES: usize = 64;
/// How long a body of who has no key may take although others wait for its place.
pub(crate) const BODY_UNHURRIED: Duration = Duration::from_secs(2);
/// Addresses whose requests are counted.
pub(crate) const SOURCES_MAX: usize = 4096;
