//! Every route of the native API: its name, path, and the shapes of what is asked and answered.

use crate::shapes::{
    Accounts, Approvals, CancelledJob, Closing, DataAddAsk, DataAudit, DataAuditQuery, DataBought, DataBuyAsk,
    DataCheckAsk, DataChecked, DataDropped, DataFound, DataGetAsk, DataGiveAsk, DataGiven, DataGot, DataIdAsk,
    DataIncome, DataKeepAsk, DataKept, DataList, DataOnRequest, DataOnRequestAsk, DataPart, DataPriceAsk, DataPriced,
    DataPublishAsk, DataPublished, DataReadAsk, DataSearchAsk, DataShown, DealAsk, DealProvideAsk, DealQuote,
    DealTerms, Deals, DialAsk, Dialled, Dispute, Disputes, Doctor, Earnings, EarningsQuery, EraseAsk, Erased,
    Explanation, ForgottenJob, GrantAnswered, GrantAsk, GrantRevoked, Grants, HistoryQuery, Invite, Job, JobAsk,
    JobOutput, Jobs, Key, KeyAsk, KeyAudit, KeyDetail, KeySetAsk, Keys, LedgerAddress, LedgerBlockDetail, LedgerBlocks,
    LedgerShown, LedgerTransaction, Models, NewKey, NewWebhook, NothingAsk, Offers, OwnData, PageQuery, Payment,
    PaymentAsk, Peers, Posted, ProvideAsk, Provision, PullAsk, Quote, ReceiptAsk, ReceiptChecked, ReceiptShown,
    Receipts, RefuseAsk, Removed, RestoreAsk, Restored, Settings, Settled, Shape, Started, Status, Stopping, Timeline,
    UnlockAsk, Unlocked, Wallet, WalletHistory, WebhookAsk, WebhookTested, Webhooks, of,
};

/// HTTP method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Does.
    Post,
    /// Ends or removes.
    Delete,
}

/// What a request is worth that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is doing it once: no key is needed.
    Same,
    /// A key is heeded. If the node died while it did it, it is not tried again.
    Kept,
    /// The same, and its answer has a secret: it is told again while the node runs, and never written.
    Secret,
    /// A key is heeded, and what follows from it is found again: it is done once, whatever dies.
    Found,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Name of the call.
    pub name: &'static str,
    /// Method.
    pub verb: Verb,
    /// Path.
    pub path: &'static str,
    /// What it does, in a clause.
    pub summary: &'static str,
    /// Parameters behind the `?`.
    pub query: Option<Shape>,
    /// Fields of the body.
    pub body: Option<Shape>,
    /// The answer.
    pub answer: Shape,
    /// Whether it heeds an `Idempotency-Key`, and how.
    pub repeat: Repeat,
}

impl Route {
    const fn query<T: utoipa::ToSchema>(mut self) -> Self {
        self.query = Some(of::<T>());
        self
    }

    const fn body<T: utoipa::ToSchema>(mut self) -> Self {
        self.body = Some(of::<T>());
        self
    }

    const fn keyed(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }
}

const fn route<T: utoipa::ToSchema>(
    verb: Verb,
    name: &'static str,
    path: &'static str,
    summary: &'static str,
) -> Route {
    Route { name, verb, path, summary, query: None, body: None, answer: of::<T>(), repeat: Repeat::Same }
}

const fn get<T: utoipa::ToSchema>(name: &'static str, path: &'static str, summary: &'static str) -> Route {
    route::<T>(Verb::Get, name, path, summary)
}

/// Its body has no fields unless [`Route::body`] says which.
const fn post<T: utoipa::ToSchema>(name: &'static str, path: &'static str, summary: &'static str) -> Route {
    route::<T>(Verb::Post, name, path, summary).body::<NothingAsk>()
}

const fn delete<T: utoipa::ToSchema>(name: &'static str, path: &'static str, summary: &'static str) -> Route {
    route::<T>(Verb::Delete, name, path, summary)
}

/// All of them that the node answers; the event stream and the API's own description are apart.
pub const ROUTES: &[Route] = &[
    get::<Status>("status", "/api/v1/status", "How the node stands"),
    post::<Stopping>("stop", "/api/v1/stop", "Stops it: leases go back, the journal is flushed"),
    get::<Peers>("peers", "/api/v1/peers", "Connected nodes, their standing and what they offer"),
    post::<Dialled>("dial", "/api/v1/peers", "Connects to a multiaddress").body::<DialAsk>(),
    get::<Doctor>("doctor", "/api/v1/doctor", "How the node is reached, and what to do about what is amiss"),
    get::<Invite>("invite", "/api/v1/invite", "A code with which others join"),
    get::<Models>("models", "/api/v1/models", "Models that are here"),
    post::<Started>("pull", "/api/v1/models", "Starts to get a model").body::<PullAsk>(),
    delete::<Removed>("remove", "/api/v1/models/{name}", "Removes a model that nothing needs"),
    post::<Provision>("provide", "/api/v1/provide", "Offers compute or stops").body::<ProvideAsk>(),
    get::<Provision>("why", "/api/v1/provide", "What it offers, and what keeps work away"),
    get::<Earnings>("earnings", "/api/v1/earnings", "What came in, by day in UTC and by source")
        .query::<EarningsQuery>(),
    post::<Posted>("post", "/api/v1/jobs", "Posts a batch as a job").body::<JobAsk>().keyed(Repeat::Found),
    post::<Quote>("quote", "/api/v1/quotes", "What a job would take and cost if it were posted now").body::<JobAsk>(),
    get::<Jobs>("jobs", "/api/v1/jobs", "Jobs of this node, the newest first").query::<PageQuery>(),
    get::<Job>("job", "/api/v1/jobs/{id}", "One job, step by step; its id may be shortened"),
    get::<Explanation>("explain", "/api/v1/jobs/{id}/explain", "Who works for it, and why others do not"),
    get::<Timeline>("timeline", "/api/v1/jobs/{id}/timeline", "Who worked at which step of it, and when"),
    get::<JobOutput>("output", "/api/v1/jobs/{id}/output", "What came of it, once it is over"),
    delete::<CancelledJob>("cancel", "/api/v1/jobs/{id}", "Ends a job; what was done is paid and stays"),
    post::<ForgottenJob>("forget", "/api/v1/jobs/{id}/forget", "Deletes prompts and answers of a job that is over"),
    post::<Settled>("settle", "/api/v1/settle", "Claims everything earned").keyed(Repeat::Kept),
    post::<Unlocked>("unlock", "/api/v1/unlock", "Opens a locked wallet until the node stops").body::<UnlockAsk>(),
    post::<Closing>("close", "/api/v1/close", "Starts to take back what channels hold for nobody").keyed(Repeat::Kept),
    get::<Accounts>("accounts", "/api/v1/accounts", "What was signed for which worker, and what is contested"),
    get::<DataList>("data", "/api/v1/data", "Sealed data of ours and what was bought"),
    post::<OwnData>("data_add", "/api/v1/data", "Seals a file or folder").body::<DataAddAsk>().keyed(Repeat::Kept),
    get::<DataAudit>("data_audit", "/api/v1/data-audit", "What happened to data, from the audit log")
        .query::<DataAuditQuery>(),
    get::<Grants>("data_requests", "/api/v1/data-requests", "Grants of ours, also those that wait for their key"),
    post::<DataOnRequest>("data_on_request", "/api/v1/data-on-request", "Has paid grants wait for the owner's word")
        .body::<DataOnRequestAsk>(),
    post::<GrantAnswered>("data_approve", "/api/v1/data-approve", "Lets a grant that waits be delivered")
        .body::<GrantAsk>(),
    post::<GrantAnswered>("data_refuse", "/api/v1/data-refuse", "Refuses a grant that waits").body::<RefuseAsk>(),
    post::<GrantRevoked>("data_revoke", "/api/v1/data-revoke", "Ends a grant").body::<GrantAsk>().keyed(Repeat::Kept),
    post::<DataChecked>("data_check", "/api/v1/data-check", "Whether code may read under a grant")
        .body::<DataCheckAsk>(),
    post::<DataShown>("data_show", "/api/v1/data-show", "A published version and its offers").body::<DataIdAsk>(),
    post::<DataPublished>("data_publish", "/api/v1/data-publish", "Publishes data, and may offer it")
        .body::<DataPublishAsk>()
        .keyed(Repeat::Kept),
    post::<DataPriced>("data_price", "/api/v1/data-price", "Other terms for new buyers")
        .body::<DataPriceAsk>()
        .keyed(Repeat::Kept),
    post::<DataGiven>("data_give", "/api/v1/data-grant", "Gives a version to a node, for good")
        .body::<DataGiveAsk>()
        .keyed(Repeat::Kept),
    post::<DataBought>("data_buy", "/api/v1/data-buy", "Buys access to a version")
        .body::<DataBuyAsk>()
        .keyed(Repeat::Kept),
    post::<DataGot>("data_get", "/api/v1/data-get", "Writes what was bought to a place")
        .body::<DataGetAsk>()
        .keyed(Repeat::Kept),
    post::<DataKept>("data_keep", "/api/v1/data-keep", "Keeps shares and data for others").body::<DataKeepAsk>(),
    post::<DataDropped>("data_drop", "/api/v1/data-drop", "Lets a share go").body::<DataIdAsk>(),
    post::<DataIncome>("data_collect", "/api/v1/data-collect", "Collects the income of a version")
        .body::<DataIdAsk>()
        .keyed(Repeat::Kept),
    get::<Deals>("deals", "/api/v1/deals", "Storage for pay: what others keep for us, and we for them"),
    post::<DealQuote>("deal", "/api/v1/deals", "Has an object kept for pay").body::<DealAsk>().keyed(Repeat::Kept),
    post::<DealQuote>("deal_quote", "/api/v1/deals/quote", "Who would keep an object, and what that costs")
        .body::<DealAsk>(),
    post::<DealTerms>("deal_provide", "/api/v1/deals/provide", "Keeps others' objects for pay from now on")
        .body::<DealProvideAsk>(),
    post::<Restored>("deal_restore", "/api/v1/deals/restore", "Brings an object back from a replica")
        .body::<RestoreAsk>(),
    get::<Keys>("keys", "/api/v1/keys", "Keys for programs that ask this node"),
    post::<NewKey>("key_create", "/api/v1/keys", "Makes a key; its text is told this once")
        .body::<KeyAsk>()
        .keyed(Repeat::Secret),
    delete::<Key>("key_revoke", "/api/v1/keys/{id}", "Takes a key back; its id may be its name"),
    post::<Key>("key_set", "/api/v1/keys/{id}", "Changes what a key may do; what is left out stays")
        .body::<KeySetAsk>(),
    get::<KeyDetail>("key_show", "/api/v1/keys/{id}", "One key, what waits for the owner, and what was decided last"),
    get::<KeyAudit>("key_audit", "/api/v1/keys/{id}/audit", "What was decided about its payments"),
    get::<Approvals>("approvals", "/api/v1/approvals", "Payments of keys that wait for the owner"),
    post::<Payment>("approve", "/api/v1/approvals/{id}", "Lets one be made").keyed(Repeat::Kept),
    delete::<Payment>("decline", "/api/v1/approvals/{id}", "Refuses one"),
    get::<Wallet>("wallet", "/api/v1/wallet", "What there is, in micro-units"),
    get::<WalletHistory>("wallet_history", "/api/v1/wallet/history", "The last movements, the newest first")
        .query::<HistoryQuery>(),
    post::<Payment>("wallet_pay", "/api/v1/wallet/payments", "A payment of the owner's")
        .body::<PaymentAsk>()
        .keyed(Repeat::Kept),
    post::<ReceiptChecked>("receipt_verify", "/api/v1/receipts/verify", "Checks a receipt, without a model")
        .body::<ReceiptAsk>(),
    get::<Receipts>("receipts", "/api/v1/receipts", "Receipts of what was bought, the newest first")
        .query::<PageQuery>(),
    get::<ReceiptShown>("receipt_show", "/api/v1/receipts/{job}/{lease}", "One receipt, and what checking it finds"),
    get::<Offers>("offers", "/api/v1/offers", "Signed cards of other nodes: models and prices").query::<PageQuery>(),
    get::<Settings>("settings", "/api/v1/settings", "How this run of the node was started, without secrets"),
    get::<LedgerShown>("ledger", "/api/v1/ledger", "The chain that this node serves, and our contracts on it"),
    get::<LedgerBlocks>("ledger_blocks", "/api/v1/ledger/blocks", "Its blocks, the newest first").query::<PageQuery>(),
    get::<LedgerBlockDetail>("ledger_block", "/api/v1/ledger/blocks/{block}", "One block, by number or hash")
        .query::<PageQuery>(),
    get::<LedgerTransaction>("ledger_transaction", "/api/v1/ledger/transactions/{hash}", "One transaction"),
    get::<LedgerAddress>("ledger_address", "/api/v1/ledger/addresses/{address}", "What an address has"),
    post::<DataFound>("data_search", "/api/v1/data-search", "Published data by words").body::<DataSearchAsk>(),
    post::<DataPart>("data_read", "/api/v1/data-read", "A part of what was bought, which counts as a use")
        .body::<DataReadAsk>()
        .keyed(Repeat::Secret),
    get::<Webhooks>("webhooks", "/api/v1/webhooks", "Who is told what becomes of work that nobody waits for"),
    post::<NewWebhook>("webhook_add", "/api/v1/webhooks", "Adds one; its secret is told this once")
        .body::<WebhookAsk>()
        .keyed(Repeat::Secret),
    delete::<Removed>("webhook_remove", "/api/v1/webhooks/{id}", "Removes one"),
    post::<WebhookTested>("webhook_test", "/api/v1/webhooks/{id}/test", "Sends it an event").keyed(Repeat::Kept),
    post::<Erased>("erase", "/api/v1/erase", "Removes prompts, answers and what is kept of them")
        .body::<EraseAsk>()
        .keyed(Repeat::Kept),
    get::<Disputes>("disputes", "/api/v1/disputes", "Disputes with workers that this node's engine refuted"),
    get::<Dispute>("dispute", "/api/v1/disputes/{id}", "One dispute, move by move; its id may be shortened"),
];
