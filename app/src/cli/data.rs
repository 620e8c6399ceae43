//! Flags of `data`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to do with data that is sealed. An ID is the number of an asset, a version, a manifest's CID, or OWNER/NAME.
#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Seal a file or folder into the store; nobody else can read it.
    Add {
        /// The file or folder.
        path: PathBuf,
    },
    /// Tell everybody of sealed data, and offer it if there is a price. Shows first what becomes public.
    Publish(Box<PublishArgs>),
    /// Ask another price; the offers before are closed.
    Price {
        /// Of one's own data.
        id: String,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Give a version to a node, for nothing and for good.
    Grant {
        /// Of one's own data.
        id: String,
        /// The node's id, as its `status` prints it.
        node: String,
    },
    /// List who bought, how each grant stands, and who waits for your word.
    Requests,
    /// Have each paid grant of a version wait for your word: `data approve` or `data refuse`.
    OnRequest {
        /// Of one's own data.
        id: String,
        /// Deliver by itself again; what waits is delivered, too.
        #[arg(long)]
        off: bool,
    },
    /// Let a grant that waits for your word be delivered.
    Approve {
        /// Its number.
        grant: u64,
    },
    /// Refuse a grant that waits for your word; the contract gives the price back once its time to deliver is over.
    Refuse {
        /// Its number.
        grant: u64,
        /// The reason, told to the buyer's node.
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
    },
    /// Buy access and wait for the key.
    Buy {
        /// What.
        id: String,
        /// One use, for the price of one.
        #[arg(long, conflicts_with = "offer")]
        per_query: bool,
        /// This offer, as `data show` numbers it.
        #[arg(long, value_name = "NUMBER")]
        offer: Option<u64>,
    },
    /// Write the plaintext of something bought or given to the disk; counts as one use.
    Get {
        /// What; `#N` is the grant N.
        id: String,
        /// Where to; nothing may be there yet.
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
    /// End a grant. What its holder has read it may have kept.
    Revoke {
        /// Its number.
        grant: u64,
    },
    /// Say whether a program may read one's own data under a grant.
    Check {
        /// Number of the grant.
        grant: u64,
        /// CID of the program.
        code: String,
    },
    /// Take the income of a version, and send their shares on to those it was made from.
    Income {
        /// What.
        id: String,
    },
    /// Keep others' shares and sealed data from now on, and print what is kept.
    Keep {
        /// Room for sealed data, as 20GiB; 0: nothing new but shares.
        #[arg(value_name = "SIZE", value_parser = super::store::bytes)]
        space: Option<u64>,
    },
    /// Forget a share that is kept for another, and its sealed data.
    Drop {
        /// The version.
        id: String,
    },
    /// Print the log of keys, grants, payments, reads and refusals.
    Audit {
        /// Check that nobody changed it.
        #[arg(long)]
        verify: bool,
    },
    /// List one's own data and what was bought.
    Ls,
    /// Show what an owner says of a version, and its offers.
    Show {
        /// What.
        id: String,
    },
}

/// Flags of `data publish`.
#[derive(Args)]
pub(crate) struct PublishArgs {
    /// The sealed object, as `data add` printed it.
    pub(crate) id: String,
    /// Its name; OWNER/NAME finds it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// A line about it.
    #[arg(long, default_value = "")]
    pub(crate) title: String,
    /// More about it.
    #[arg(long, default_value = "")]
    pub(crate) description: String,
    /// An SPDX id, or the licence's text.
    #[arg(long, default_value = "")]
    pub(crate) licence: String,
    /// What it may be used for; several times.
    #[arg(long)]
    pub(crate) purpose: Vec<String>,
    /// What it was made from, and that one's ten-thousandths of the income; several times.
    #[arg(long, value_name = "ID:BPS")]
    pub(crate) parent: Vec<String>,
    /// A file that everybody may see.
    #[arg(long, value_name = "PATH")]
    pub(crate) preview: Option<PathBuf>,
    /// CID of code that may read it here; then no key ever leaves. Several times.
    #[arg(long, value_name = "CID")]
    pub(crate) compute: Vec<String>,
    /// A new version of this asset.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) asset: Option<u64>,
    /// What access costs, as 1.50; without a price it is not for sale.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) price: Option<String>,
    /// What one use costs, as 0.001: another offer, beside that of --price.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) per_query: Option<String>,
    /// Each paid grant waits for your word before the key leaves.
    #[arg(long, conflicts_with = "keepers")]
    pub(crate) on_request: bool,
    /// So many of the keepers together have the key, and deliver it to buyers while this node is away.
    #[arg(long, value_name = "K", requires = "keeper")]
    pub(crate) keepers: Option<u8>,
    /// A keeper: the node's id, as its `status` prints it. Several times.
    #[arg(long, value_name = "NODE", requires = "keepers")]
    pub(crate) keeper: Vec<String>,
    /// Keepers have shares of the key only, and not the sealed data.
    #[arg(long, requires = "keepers")]
    pub(crate) without_data: bool,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A price and its terms.
#[derive(Args)]
pub(crate) struct PriceArgs {
    /// What access costs, as 1.50.
    pub(crate) price: String,
    /// What one use costs, as 0.001: another offer, beside that.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) per_query: Option<String>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

/// For how long, how often.
#[derive(Args)]
pub(crate) struct TermsArgs {
    /// Seconds of access after delivery.
    #[arg(long, value_name = "SECONDS", default_value_t = 365 * 86_400)]
    pub(crate) expires: u64,
    /// Uses at most; 0 is any number.
    #[arg(long, default_value_t = 0)]
    pub(crate) uses: u32,
    /// Seconds within which the key is delivered, or the price goes back.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) deliver: u64,
}
