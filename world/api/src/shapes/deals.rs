//! Storage for pay.

use utoipa::ToSchema;

/// What to have kept.
#[derive(ToSchema)]
pub struct DealAsk {
    /// The object; all of it has to be here.
    #[schema(max_length = 256)]
    pub cid: String,
    /// Of how many owners.
    #[schema(minimum = 1, maximum = 32)]
    pub replicas: u64,
    /// For how many epochs.
    #[schema(minimum = 1, maximum = 4294967295.0)]
    pub epochs: u64,
    /// Seconds of an epoch.
    #[schema(minimum = 1, maximum = 4294967295.0)]
    pub epoch_s: u64,
    /// The most that a GiB may cost for 30 days, in micro-units.
    pub price_max: u64,
}

/// Who would keep it.
#[derive(ToSchema)]
pub struct DealQuote {
    /// The object.
    pub cid: String,
    /// Its bytes.
    pub bytes: u64,
    /// Of how many owners.
    pub replicas: u64,
    /// For how many epochs.
    pub epochs: u64,
    /// Seconds of an epoch.
    pub epoch_s: u64,
    /// Who offers it, the cheapest first.
    pub offers: Vec<DealOffer>,
    /// What it costs, in micro-units.
    pub total: String,
    /// The deals, once they are ordered: 64 hexadecimal digits each.
    pub deals: Option<Vec<String>>,
}

/// A node that would keep it.
#[derive(ToSchema)]
pub struct DealOffer {
    /// Its id.
    pub node: String,
    /// Address of its owner.
    pub owner: String,
    /// Price of an epoch, in micro-units.
    pub price: u64,
    /// How long its answer took, in milliseconds.
    pub answer_ms: u64,
}

/// What to keep others' things for.
#[derive(ToSchema)]
pub struct DealProvideAsk {
    /// Bytes; 0: nothing new.
    pub space_bytes: u64,
    /// Micro-units for a GiB and 30 days.
    pub price: u64,
}

/// Under which terms this node keeps others' things.
#[derive(ToSchema)]
pub struct DealTerms {
    /// Bytes.
    pub space_bytes: u64,
    /// Micro-units for a GiB and 30 days.
    pub price: u64,
}

/// What to bring back.
#[derive(ToSchema)]
pub struct RestoreAsk {
    /// The object.
    #[schema(max_length = 256)]
    pub cid: String,
}

/// Whether it had to be.
#[derive(ToSchema)]
pub struct Restored {
    /// False if it is not ours, or whole here.
    pub restored: bool,
}

/// All deals of this node.
#[derive(ToSchema)]
pub struct Deals {
    /// What others keep for us.
    pub objects: Vec<KeptObject>,
    /// What we keep for others.
    pub kept: Vec<Deal>,
    /// Our terms, if we keep things for pay.
    pub terms: Option<DealTerms>,
}

/// An object that others keep.
#[derive(ToSchema)]
pub struct KeptObject {
    /// Its CID.
    pub cid: String,
    /// Replicas that were wanted.
    pub wanted: u64,
    /// Replicas that are alive.
    pub live: u64,
    /// Until when, in Unix seconds.
    pub until: u64,
    /// Seconds of an epoch.
    pub epoch_s: u64,
    /// One for each deal.
    pub replicas: Vec<Deal>,
}

/// A deal as it stands on chain.
#[derive(ToSchema)]
pub struct Deal {
    /// Its id: 64 hexadecimal digits.
    pub deal: String,
    /// How it stands.
    pub state: DealState,
    /// Epochs of it.
    pub epochs: u64,
    /// Epochs that are decided.
    pub decided: u64,
    /// Price of an epoch, in micro-units.
    pub price: String,
    /// Collateral of the provider, in micro-units.
    pub collateral: String,
    /// Epochs that were missed one after another.
    pub missed_in_row: u64,
    /// Epochs that were proven, counted in the last 20,000 blocks of a chain of ours.
    pub proven: Option<u64>,
    /// Epochs that were missed.
    pub missed: Option<u64>,
    /// Epochs for which nobody could draw.
    pub void: Option<u64>,
    /// Paid so far, in micro-units.
    pub paid: Option<String>,
    /// What is to be shown next.
    pub challenge: Option<DealChallenge>,
    /// The object.
    pub cid: Option<String>,
    /// Its bytes.
    pub bytes: Option<u64>,
    /// Owner of the provider.
    pub owner: Option<String>,
    /// The provider.
    pub node: Option<String>,
    /// Number of the replica.
    pub replica: Option<u64>,
    /// Checks of ours.
    pub checks: Option<u64>,
    /// Checks that failed, one after another.
    pub checks_failed: Option<u64>,
    /// Whether the replica is given up.
    pub lost: Option<bool>,
}

/// How a deal stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DealState {
    /// The chain does not know it.
    None,
    /// Waits for its provider.
    Proposed,
    /// Is kept.
    Active,
    /// Ran to its end.
    Completed,
    /// Ended early.
    Terminated,
    /// Its provider never accepted.
    Lapsed,
}

/// What a provider has to show.
#[derive(ToSchema)]
pub struct DealChallenge {
    /// Of which epoch.
    pub epoch: u64,
    /// `open` or `waits`.
    pub draw: String,
    /// Until when, in Unix seconds.
    pub until: u64,
}
