//! What is asked about sealed data.

use utoipa::ToSchema;

/// What to seal.
#[derive(ToSchema)]
pub struct DataAddAsk {
    /// Absolute path of a file or folder on the node's machine.
    #[schema(max_length = 4096)]
    pub path: String,
}

/// What to buy.
#[derive(ToSchema)]
pub struct DataBuyAsk {
    /// Id, version or asset.
    #[schema(max_length = 256)]
    pub id: String,
    /// Number of the offer; left out, the newest for more than one use, or the newest.
    pub offer: Option<u64>,
    /// True: the newest offer of one use.
    pub per_query: Option<bool>,
}

/// Whether paid grants wait for the owner's word.
#[derive(ToSchema)]
pub struct DataOnRequestAsk {
    /// Id of data of ours.
    #[schema(max_length = 256)]
    pub id: String,
    /// Left out: true.
    pub on: Option<bool>,
}

/// Which request is refused, and why.
#[derive(ToSchema)]
pub struct RefuseAsk {
    /// Number of the grant.
    pub grant: u64,
    /// Told to the buyer's node: up to 200 characters.
    #[schema(max_length = 200)]
    pub why: Option<String>,
}

/// Which data.
#[derive(ToSchema)]
pub struct DataIdAsk {
    /// Id, version or asset.
    #[schema(max_length = 256)]
    pub id: String,
}

/// What to publish, and under which terms.
#[derive(ToSchema)]
pub struct DataPublishAsk {
    /// Id of data of ours.
    #[schema(max_length = 256)]
    pub id: String,
    /// Name for programs.
    pub name: Option<String>,
    /// Title for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its licence.
    pub licence: Option<String>,
    /// What it may be used for.
    pub purposes: Option<Vec<String>>,
    /// Versions that it was made from, as `ID:BPS`: ten-thousandths of the income behind the colon.
    pub parents: Option<Vec<String>>,
    /// CID of a public preview.
    pub preview: Option<String>,
    /// CIDs of the code that alone may read it.
    pub compute: Option<Vec<String>>,
    /// Number of the asset of which it is another version.
    pub asset: Option<u64>,
    /// Price in micro-units; left out, as `per_query` is, it is not for sale.
    #[schema(max_length = 40)]
    pub price: Option<String>,
    /// Price of a grant of one use, in micro-units: another offer beside that of `price`.
    #[schema(max_length = 40)]
    pub per_query: Option<String>,
    /// Whether a paid grant waits for the owner's word; not together with keepers.
    pub on_request: Option<bool>,
    /// Seconds of access that a buyer gets.
    pub access_s: Option<u64>,
    /// Seconds in which the key has to be delivered.
    pub deliver_s: Option<u64>,
    /// Uses that a buyer gets; 0: any number.
    #[schema(maximum = 4294967295.0)]
    pub uses: Option<u64>,
    /// How many keepers are enough to read it.
    pub keepers: Option<u64>,
    /// Ids of the nodes that keep a share of the key.
    pub keeper_nodes: Option<Vec<String>>,
    /// Whether keepers keep the sealed data too.
    pub keepers_with_data: Option<bool>,
    /// True: only show what would become public.
    pub dry: Option<bool>,
}

/// Other terms for new buyers.
#[derive(ToSchema)]
pub struct DataPriceAsk {
    /// Id of data of ours.
    #[schema(max_length = 256)]
    pub id: String,
    /// Price in micro-units; this or `per_query` has to be there.
    #[schema(max_length = 40)]
    pub price: Option<String>,
    /// Price of a grant of one use, in micro-units.
    #[schema(max_length = 40)]
    pub per_query: Option<String>,
    /// Seconds of access that a buyer gets.
    pub access_s: Option<u64>,
    /// Seconds in which the key has to be delivered.
    pub deliver_s: Option<u64>,
    /// Uses that a buyer gets; 0: any number.
    #[schema(maximum = 4294967295.0)]
    pub uses: Option<u64>,
}

/// To whom to give it.
#[derive(ToSchema)]
pub struct DataGiveAsk {
    /// Id of data of ours.
    #[schema(max_length = 256)]
    pub id: String,
    /// The node's id: 66 hexadecimal digits.
    #[schema(max_length = 256)]
    pub node: String,
}

/// Where to put it.
#[derive(ToSchema)]
pub struct DataGetAsk {
    /// Version, or `#` and the number of a grant.
    #[schema(max_length = 256)]
    pub id: String,
    /// Absolute path on the node's machine; nothing may be there.
    #[schema(max_length = 4096)]
    pub path: String,
}

/// Which grant.
#[derive(ToSchema)]
pub struct GrantAsk {
    /// Its number.
    pub grant: u64,
}

/// Whether code may read under a grant.
#[derive(ToSchema)]
pub struct DataCheckAsk {
    /// The grant.
    pub grant: u64,
    /// CID of the code.
    #[schema(max_length = 256)]
    pub code: String,
}

/// How much room there is for others' shares and data.
#[derive(ToSchema)]
pub struct DataKeepAsk {
    /// Bytes; left out, only what is kept is told.
    pub space_bytes: Option<u64>,
}

/// How to read the audit log.
#[derive(ToSchema)]
pub struct DataAuditQuery {
    /// True: compute its chain of hashes again.
    pub verify: Option<bool>,
}
