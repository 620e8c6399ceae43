//! Flags of the ledger.

use crate::daemon::LedgerChoice;
use crate::ledger::Url;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use talkoo_base::Address;
use talkoo_ledger::contracts::{ANSWER_S, BEACON_S, EPOCH_S, Staker, WINDOW_S};

/// Where the money is.
#[derive(Args, Clone)]
pub(crate) struct LedgerArgs {
    /// Where the money is: `own` for a chain of this node, the URL of an Ethereum JSON-RPC that has our contracts, or
    /// `off`. With `own` or a URL, vouchers count only as far as their channel holds money. Left out: a chain of its
    /// own for a node that joins nobody, with vouchers counting as they are.
    #[arg(long, value_name = "own|off|URL", value_parser = choice)]
    pub(crate) ledger: Option<Choice>,
    /// Where the RPC of an own chain listens, for wallets and other nodes [default: 127.0.0.1:8545, or any free port].
    #[arg(long, value_name = "ADDR")]
    pub(crate) ledger_rpc: Option<SocketAddr>,
    /// The network's genesis for a chain that begins here; a new one with this node as its validator if left out.
    /// `ledger genesis` makes one for several.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Seconds that a worker's proceeds can be challenged, on a chain that begins with this start.
    #[arg(long, value_name = "S", default_value_t = WINDOW_S)]
    pub(crate) challenge_window: u64,
    /// Seconds that either side of a dispute has for a move, on a chain that begins with this start.
    #[arg(long, value_name = "S", default_value_t = ANSWER_S)]
    pub(crate) dispute_clock: u64,
    /// What one unit (10^18 wei) of an outside chain's gas asset is worth, in tokens of money: nothing is claimed or
    /// deposited for less than 20 times its gas.
    #[arg(long, value_name = "TOKENS", default_value_t = 4_000)]
    pub(crate) gas_worth: u64,
}

/// What `--ledger` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Own,
    Off,
    Url(Url),
}

fn choice(text: &str) -> Result<Choice, String> {
    match text {
        "own" => Ok(Choice::Own),
        "off" => Ok(Choice::Off),
        url => url.parse().map(Choice::Url).map_err(|why: String| format!("`own`, `off`, or {why}")),
    }
}

pub(crate) fn account(text: &str) -> Result<Address, String> {
    let mut bytes = [0; 20];
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| "it is no address: 40 hexadecimal digits")?;
    // Letters of both sizes are a checksum (EIP-55).
    let mixed = digits.contains(char::is_lowercase) && digits.contains(char::is_uppercase);
    if mixed && alloy_primitives::Address::from(bytes).to_checksum(None)[2..] != *digits {
        return Err("a letter of it is mistyped: its checksum does not fit".into());
    }
    if bytes == [0; 20] {
        return Err("the zero address is nobody's".into());
    }
    Ok(Address(bytes))
}

fn staker(text: &str) -> Result<Staker, String> {
    let (address, mut rest) = text.split_at(text.find(['=', '@']).unwrap_or(text.len()));
    // No power yet: an equal share of what the founders have.
    let mut staker = Staker::own(account(address)?, 0);
    while !rest.is_empty() {
        let (kind, value) = rest.split_at(1);
        let (value, more) = value.split_at(value.find(['=', '@']).unwrap_or(value.len()));
        match kind {
            "@" => staker.operator = account(value)?,
            _ => {
                let power = value.parse().ok().filter(|power| *power > 0);
                staker.validator.power = power.ok_or("a power is a whole number above 0")?;
            }
        }
        rest = more;
    }
    Ok(staker)
}

impl LedgerArgs {
    /// Whether no other ledger than an own chain was asked for.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.ledger, None | Some(Choice::Own))
    }

    /// The ledger, and whether vouchers need money in it.
    pub(crate) fn choice(&self, joins: bool) -> (LedgerChoice, bool) {
        let (rpc, window_s, genesis) = (self.ledger_rpc, self.challenge_window, self.genesis.clone());
        let own = LedgerChoice::Own { rpc, window_s, answer_s: self.dispute_clock, genesis };
        match &self.ledger {
            Some(Choice::Own) => (own, true),
            Some(Choice::Url(url)) => {
                let gas_worth = url.list.map(|_| u128::from(self.gas_worth) * 1_000_000);
                (LedgerChoice::Url { url: url.clone(), gas_worth }, true)
            }
            Some(Choice::Off) => (LedgerChoice::Off, false),
            None if self.genesis.is_some() => (own, true),
            None if joins => (LedgerChoice::Off, false),
            None => (own, false),
        }
    }
}

/// Where a passphrase comes from.
#[derive(Args)]
pub(crate) struct Secret {
    /// File whose first line is the passphrase; asked for at a terminal unless told otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What a bond is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Answers jobs.
    Work,
    /// Keeps data.
    Store,
    /// Votes on blocks.
    Validate,
    /// Re-runs others' answers.
    Verify,
}

/// What `stake` does.
#[derive(Subcommand)]
pub(crate) enum StakeCommand {
    /// Add to the owner's bond.
    Add {
        /// How much, as 1000 or 2.5.
        amount: String,
        /// What for; what the bond is for already stays.
        #[arg(long, value_enum, default_values_t = [Role::Work])]
        role: Vec<Role>,
        #[command(flatten)]
        secret: Secret,
    },
    /// Start the way out of an amount, which takes 32 days; without one, take what has arrived.
    Withdraw {
        /// How much.
        amount: Option<String>,
        #[command(flatten)]
        secret: Secret,
    },
    /// Leave the jail of a validator that voted twice, after its time.
    Unjail {
        #[command(flatten)]
        secret: Secret,
    },
    /// Say what is bonded, for what, and what is on its way out.
    Status,
}

/// What can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Asset {
    /// What is paid with.
    Money,
    /// What is staked.
    Stake,
    /// What transactions cost, in units of 10^18 wei.
    Gas,
}

impl Asset {
    /// As the node calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Stake => "stake",
            Self::Gas => "gas",
        }
    }
}

/// What `wallet` does.
#[derive(Subcommand)]
pub(crate) enum WalletCommand {
    /// Say what is available, reserved for orders, and earned; `-v` also addresses, gas and nonce.
    Show,
    /// Claim what was earned and pay out what was held long enough, now.
    Settle,
    /// List what came and went: orders, earnings, credit, transfers.
    History {
        /// Comma-separated values instead of a table.
        #[arg(long)]
        csv: bool,
        /// The first block to look at; all of a chain of ours, and the last 10,000 of another, unless told otherwise.
        #[arg(long, value_name = "BLOCK")]
        since: Option<u64>,
    },
    /// Send money of the owner's to an account.
    Send {
        /// The account.
        #[arg(value_parser = account)]
        to: Address,
        /// How much, as 1.5.
        amount: String,
        /// What: money, what is staked, or the gas asset.
        #[arg(long, value_enum, default_value_t = Asset::Money)]
        asset: Asset,
        #[command(flatten)]
        secret: Secret,
    },
    /// Get starter credit on a test network; elsewhere say which account wants what.
    TopUp,
    /// List the node's keys: whose they are, what they do, where they lie.
    Keys,
    /// Print the owner's backup words: whoever has them has the money.
    Words,
    /// Make the account of some backup words the owner of a folder that has none; they are read from a pipe or asked for.
    Restore,
    /// Put the owner's key under a passphrase. The backup words leave this machine: write them down first.
    Lock {
        #[command(flatten)]
        secret: Secret,
    },
    /// Open the wallet of the running node until it stops.
    Unlock {
        #[command(flatten)]
        secret: Secret,
    },
    /// Write the owner's key under a passphrase, for other wallets: a Web3 Secret Storage file.
    Export {
        /// The file.
        to: PathBuf,
        #[command(flatten)]
        secret: Secret,
    },
    /// Take back what channels hold and no voucher promises; by itself it happens after an hour without orders.
    Close,
}

/// What `ledger` does.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// Say where the chain is and what is in it.
    Status {
        #[command(flatten)]
        at: LedgerAt,
    },
    /// Show a block.
    Block {
        /// Its number or hash; `latest`.
        block: String,
        #[command(flatten)]
        at: LedgerAt,
    },
    /// Show a transaction and what came of it.
    Tx {
        /// Its hash.
        hash: String,
        #[command(flatten)]
        at: LedgerAt,
    },
    /// Print the addresses of this folder's validator key and owner, for a genesis: KEY@OWNER.
    Key {
        /// Print instead the call of the staking contract (as data) with which this account's bond votes by this folder's
        /// key: `setValidatorKey`, signed by the key.
        #[arg(long, value_name = "ADDRESS", value_parser = account)]
        operator: Option<Address>,
    },
    /// Print a genesis for several validators: every node of the network starts with the same file.
    Genesis {
        /// A validator's address, and whose its bond is, as `ledger key` prints them there; its own unless told
        /// otherwise. `=POWER`, each unit a bond of 1,000 tokens; an equal share of half of all tokens unless
        /// told otherwise.
        #[arg(long = "validator", value_name = "ADDRESS[=POWER][@OPERATOR]", required = true, value_parser = staker)]
        stakers: Vec<Staker>,
        /// Who holds the rest of the token at first; the first operator unless told otherwise.
        #[arg(long, value_name = "ADDRESS", value_parser = account)]
        founder: Option<Address>,
        /// Seconds that a worker's proceeds can be challenged.
        #[arg(long, value_name = "S", default_value_t = WINDOW_S)]
        challenge_window: u64,
        /// Seconds that either side of a dispute has for a move.
        #[arg(long, value_name = "S", default_value_t = ANSWER_S)]
        dispute_clock: u64,
        /// Seconds of an epoch: the first block of each names those with the largest bonds as validators.
        #[arg(long, value_name = "S", default_value_t = EPOCH_S)]
        epoch: u64,
        /// Seconds in which a round of the public randomness is committed to, and as many in which it is revealed.
        #[arg(long, value_name = "S", default_value_t = BEACON_S)]
        beacon: u64,
    },
    /// Measure how many transfers and claims this machine executes and writes in a second, on one thread.
    Bench {
        /// Transactions of each kind.
        #[arg(long, default_value_t = 20_000)]
        count: usize,
        /// Other accounts in the state.
        #[arg(long, default_value_t = 0)]
        accounts: u64,
    },
    /// Say what the ledger answers about the payment of receipts, proving nothing.
    Receipt {
        /// Files of `<data-dir>/receipts`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        at: LedgerAt,
    },
    /// Prove from the chain's headers alone that receipts were paid: the server is not trusted. Exit code 3 if one was not.
    Verify {
        /// Files of `<data-dir>/receipts`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The network's genesis, whose validators are trusted; `<data-dir>/chain/genesis.json` unless told otherwise.
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        #[command(flatten)]
        at: LedgerAt,
    },
    /// Put our contracts on any Ethereum chain, and print the URL that nodes are started with: `up --ledger URL`.
    Deploy {
        /// URL of the chain's JSON-RPC.
        #[arg(long, value_name = "URL")]
        rpc: Url,
        /// File with the key of an account that has gas there, 64 hexadecimal digits; the owner's key of this folder
        /// unless told otherwise. It becomes the administrator.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// A token to pay with that is there already: 6 decimals, ERC-20 and ERC-3009, as USDC. Without it a new one,
        /// all of it the deployer's.
        #[arg(long, value_name = "ADDRESS", value_parser = account)]
        token: Option<Address>,
        /// Seconds that a worker's proceeds can be challenged.
        #[arg(long, value_name = "S", default_value_t = WINDOW_S)]
        challenge_window: u64,
    },
    /// Print every movement of the payment token: JSON lines, or a table.
    Export {
        /// Comma-separated values instead of JSON lines.
        #[arg(long)]
        csv: bool,
        /// The first block to look at; all of a chain of ours, and the last 10,000 of another, unless told otherwise.
        #[arg(long, value_name = "BLOCK")]
        since: Option<u64>,
        #[command(flatten)]
        at: LedgerAt,
    },
}

/// Which ledger to ask.
#[derive(Args)]
pub(crate) struct LedgerAt {
    /// URL of a JSON-RPC, with `#ADDRESS` as `ledger deploy` printed it if the chain is not ours; the node's own ledger
    /// unless told otherwise.
    #[arg(long, value_name = "URL")]
    rpc: Option<Url>,
}

impl LedgerCommand {
    /// The URL, if one was given.
    pub(crate) fn rpc(&self) -> Option<&Url> {
        match self {
            Self::Status { at }
            | Self::Block { at, .. }
            | Self::Tx { at, .. }
            | Self::Export { at, .. }
            | Self::Receipt { at, .. }
            | Self::Verify { at, .. } => at.rpc.as_ref(),
            Self::Bench { .. } | Self::Key { .. } | Self::Genesis { .. } | Self::Deploy { .. } => None,
        }
    }
}
