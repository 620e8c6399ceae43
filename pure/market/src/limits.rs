//! Limits of the market.

/// Peers in the book: beyond this the ones that are down and clean of any verdict are forgotten.
pub const PEERS_MAX: usize = 4096;
/// Reservations asked of workers at once for one job: enough to never wait on one, few enough to
/// not hold the whole network for a small job.
pub const ASKS_AT_ONCE_MAX: usize = 16;
/// Workers that a job asks to meet at once.
pub const MEETS_AT_ONCE_MAX: usize = 4;
/// How long it leaves each of them alone then, in milliseconds.
pub const MEET_AGAIN_MS: u64 = 60_000;
/// How long a worker has to answer a reservation, in milliseconds.
pub const ANSWER_MS_MAX: u64 = 3_000;
/// How long a worker keeps slots for a client that does not use them, in milliseconds.
pub const HOLD_MS: u64 = 30_000;
/// How long a client that let its slots run out gets none, in milliseconds: others are served.
pub const IDLE_MS: u64 = 10_000;
/// Clients that hold slots of one worker at once.
pub const CLIENTS_MAX: usize = 64;
/// Leases between one client and one worker at once, whatever either says.
pub const SLOTS_PER_CLIENT_MAX: u32 = 64;
/// First pause before a worker that failed is asked again, in milliseconds; doubles each time.
pub const PAUSE_MS: u64 = 2_000;
/// Longest such pause, in milliseconds.
pub const PAUSE_MS_MAX: u64 = 300_000;
/// Weight of a new measurement of speed against the old average, in percent.
pub const NEW_SAMPLE_PERCENT: u64 = 30;
/// Builds that are not used: there are far fewer engines than that.
pub const QUARANTINED_MAX: usize = 64;
