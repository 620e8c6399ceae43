//! Limits of jobs.

/// Steps of one job: as many as a batch file of OpenAI may have lines.
pub const STEPS_MAX: usize = 50_000;
/// Copies of one step that may run at once, the first included.
pub const COPIES_MAX: usize = 3;
/// A copy is made only if it should need less than this share (percent) of what the first still needs.
pub const COPY_GAIN_PERCENT: u64 = 60;
/// Machines whose engines may fail on one step before it is given up; or so many runs, if it failed
/// on every worker there is.
pub const RUN_FAILURES_MAX: u32 = 3;
/// Leases of one step that may end badly for any reason before the step is given up.
pub const LEASES_MAX: u32 = 100;
/// How long a worker whose speed was never measured has for its first chunk, in milliseconds: it may
/// have to load the model.
pub const FIRST_CHUNK_MS_MAX: u64 = 30_000;
/// … and so much for each token of the prompt.
pub const PREFILL_TOKEN_MS_MAX: u64 = 20;
/// Slack added to every deadline that comes from measured speed, in milliseconds.
pub const SLACK_MS: u64 = 4_000;
/// A chunk may take this many times as long as measured before its lease lapses.
pub const PATIENCE: u64 = 4;
/// Weight of a new measurement of speed against the old average, in percent.
pub const NEW_SAMPLE_PERCENT: u64 = 30;
