//! Sealed data: ours, bought, kept for others.

use super::Grant;
use utoipa::ToSchema;

/// Data of ours and what was bought.
#[derive(ToSchema)]
pub struct DataList {
    /// Ours.
    pub own: Vec<OwnData>,
    /// Bought, or given to us.
    pub bought: Vec<BoughtData>,
}

/// Data of ours.
#[derive(ToSchema)]
pub struct OwnData {
    /// CID of what is sealed.
    pub id: String,
    /// Name of the file or folder.
    pub label: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Bytes sealed.
    pub sealed_bytes: u64,
    /// `file` or `folder`, in the store's words.
    pub kind: String,
    /// Number of its asset, once published.
    pub asset: Option<u64>,
    /// Its version, once published: 64 hexadecimal digits.
    pub version: Option<String>,
    /// CID of its manifest, once published.
    pub manifest: Option<String>,
    /// What its keepers have.
    pub kept: Option<HandedOut>,
    /// Whether a paid grant waits for the owner's word.
    pub on_request: bool,
    /// Nodes to which it was given.
    pub given: Vec<String>,
}

/// What the keepers of data of ours have.
#[derive(ToSchema)]
pub struct HandedOut {
    /// How many are enough to read it.
    pub enough: u64,
    /// How many have all that they should.
    pub done: u64,
    /// Whether they keep the sealed data too.
    pub with_data: bool,
    /// One for each.
    pub keepers: Vec<HandedTo>,
}

/// A keeper of data of ours.
#[derive(ToSchema)]
pub struct HandedTo {
    /// Its id.
    pub node: String,
    /// Whether it has its share of the key.
    pub share: bool,
    /// Whether it has the sealed data.
    pub data: bool,
    /// What it said last.
    pub said: Option<String>,
}

/// Data that was bought or given.
#[derive(ToSchema)]
pub struct BoughtData {
    /// Its version.
    pub version: String,
    /// Number of the grant; 0: given.
    pub grant: u64,
    /// CID of its manifest.
    pub manifest: String,
    /// Whether its key was delivered.
    pub key: bool,
    /// Whether all of it is here.
    pub here: bool,
    /// Why it is over.
    pub over: Option<String>,
    /// What its owner said last.
    pub said: Option<String>,
    /// What it waits for.
    pub waits: Option<String>,
}

/// A published version, or what would become one.
#[derive(ToSchema)]
pub struct DataPublished {
    /// Number of its asset.
    pub asset: Option<u64>,
    /// The version.
    pub version: Option<String>,
    /// Number of its first offer, if it is for sale.
    pub offer: Option<u64>,
    /// Numbers of all that were made now: that of many uses first, then that of one.
    pub offers: Option<Vec<u64>>,
    /// What is public.
    pub public: PublicData,
    /// What its keepers have.
    pub kept: Option<HandedOut>,
    /// Of a dry run: what a buyer can keep.
    pub retained: Option<String>,
}

/// What is public of data.
#[derive(ToSchema)]
pub struct PublicData {
    /// Its manifest.
    pub manifest: Manifest,
    /// CID of the manifest.
    pub cid: String,
}

/// What is said of data.
#[derive(ToSchema)]
pub struct Manifest {
    /// Address of its owner.
    pub owner: String,
    /// Name for programs.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Its licence.
    pub licence: String,
    /// What it may be used for.
    pub purposes: Vec<String>,
    /// CID of what is sealed.
    pub sealed: String,
    /// Bytes of it.
    pub sealed_bytes: u64,
    /// `file` or `folder`, in the store's words.
    pub kind: String,
    /// Versions that it was made from.
    pub parents: Vec<DataParent>,
    /// CID of a public preview.
    pub preview: Option<String>,
    /// Nodes that deliver it.
    pub nodes: Vec<String>,
    /// CIDs of the code that alone may read it.
    pub compute: Vec<String>,
    /// Its keepers.
    pub keepers: Option<DataKeepers>,
}

/// A version that another was made from.
#[derive(ToSchema)]
pub struct DataParent {
    /// The version.
    pub version: String,
    /// Ten-thousandths of the income.
    pub bps: u64,
}

/// Keepers of a key.
#[derive(ToSchema)]
pub struct DataKeepers {
    /// How many are enough.
    pub enough: u64,
    /// Whether they keep the sealed data too.
    pub with_data: bool,
    /// Their ids.
    pub nodes: Vec<String>,
}

/// A published version and its offers.
#[derive(ToSchema)]
pub struct DataShown {
    /// What its keepers have, if it is ours.
    pub kept: Option<HandedOut>,
    /// Number of its asset.
    pub asset: String,
    /// The version.
    pub version: String,
    /// `none`, `published`, `deprecated` or `revoked`.
    pub state: String,
    /// CID of its manifest.
    pub manifest: String,
    /// The manifest.
    pub says: Manifest,
    /// Its offers.
    pub offers: Vec<DataOffer>,
}

/// An offer of data.
#[derive(ToSchema)]
pub struct DataOffer {
    /// Its number.
    pub offer: u64,
    /// Price in micro-units.
    pub price: String,
    /// Seconds of access.
    pub access_s: u64,
    /// Seconds in which the key has to be delivered.
    pub deliver_s: u64,
    /// Uses; 0: any number.
    pub uses_most: u64,
    /// Whether it is open.
    pub open: bool,
}

/// A new offer.
#[derive(ToSchema)]
pub struct DataPriced {
    /// Its number.
    pub offer: u64,
    /// Numbers of all that were made now: that of many uses first, then that of one.
    pub offers: Vec<u64>,
}

/// What was given.
#[derive(ToSchema)]
pub struct DataGiven {
    /// The version.
    pub version: String,
    /// To which node.
    pub node: String,
    /// What happens next.
    pub hint: String,
}

/// What was bought.
#[derive(ToSchema)]
pub struct DataBought {
    /// Number of the grant.
    pub grant: u64,
    /// The version.
    pub version: String,
    /// Price in micro-units, on hold until the key is delivered.
    pub price: String,
}

/// What was written.
#[derive(ToSchema)]
pub struct DataGot {
    /// Where.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// The grant, if there is one.
    pub grant: Option<Grant>,
}

/// What code may read.
#[derive(ToSchema)]
pub struct DataChecked {
    /// The grant.
    pub grant: u64,
    /// Bytes.
    pub bytes: u64,
    /// `file` or `folder`, in the store's words.
    pub kind: String,
}

/// What is kept for others.
#[derive(ToSchema)]
pub struct DataKept {
    /// Room for it, in bytes, if any was given.
    pub space_bytes: Option<u64>,
    /// One for each version.
    pub kept: Vec<KeptShare>,
}

/// A share that is kept for others.
#[derive(ToSchema)]
pub struct KeptShare {
    /// Of which version.
    pub version: String,
    /// Address of its owner.
    pub owner: String,
    /// CID of what is sealed.
    pub sealed: String,
    /// Bytes of it.
    pub sealed_bytes: u64,
    /// Whether that is here too.
    pub here: bool,
    /// What went wrong last.
    pub said: Option<String>,
}

/// A share that was let go.
#[derive(ToSchema)]
pub struct DataDropped {
    /// Of which version.
    pub version: String,
}

/// Income of a version.
#[derive(ToSchema)]
pub struct DataIncome {
    /// The version.
    pub version: String,
    /// What came, in micro-units.
    pub came: String,
    /// Always `micro-units`.
    pub unit: String,
}

/// The audit log, or what checking it found.
#[derive(ToSchema)]
pub struct DataAudit {
    /// Its last lines, the oldest first.
    pub lines: Option<Vec<AuditLine>>,
    /// Checked: lines that there are.
    pub count: Option<u64>,
    /// Checked: the last line's hash.
    pub head: Option<String>,
    /// Checked: always true.
    pub whole: Option<bool>,
}

/// A line of the audit log.
#[derive(ToSchema)]
pub struct AuditLine {
    /// Its number, from 0.
    pub n: u64,
    /// When, in Unix seconds.
    pub at: u64,
    /// What happened.
    pub what: String,
    /// To what.
    #[schema(value_type = Object)]
    pub about: serde_json::Value,
    /// SHA-256 over the line and the hash before it.
    pub hash: String,
}
