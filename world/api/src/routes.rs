//! Every route of the native API.

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

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Name of the call.
    pub name: &'static str,
    /// Method.
    pub verb: Verb,
    /// Path.
    pub path: &'static str,
}

const fn route(name: &'static str, verb: Verb, path: &'static str) -> Route {
    Route { name, verb, path }
}

/// All of them; `GET /api/v1/events`, the event stream, is apart.
pub const ROUTES: &[Route] = &[
    route("status", Verb::Get, "/api/v1/status"),
    route("stop", Verb::Post, "/api/v1/stop"),
    route("peers", Verb::Get, "/api/v1/peers"),
    route("dial", Verb::Post, "/api/v1/peers"),
    route("doctor", Verb::Get, "/api/v1/doctor"),
    route("invite", Verb::Get, "/api/v1/invite"),
    route("models", Verb::Get, "/api/v1/models"),
    route("pull", Verb::Post, "/api/v1/models"),
    route("remove", Verb::Delete, "/api/v1/models/{name}"),
    route("provide", Verb::Post, "/api/v1/provide"),
    route("why", Verb::Get, "/api/v1/provide"),
    route("post", Verb::Post, "/api/v1/jobs"),
    route("quote", Verb::Post, "/api/v1/quotes"),
    route("jobs", Verb::Get, "/api/v1/jobs"),
    route("job", Verb::Get, "/api/v1/jobs/{id}"),
    route("explain", Verb::Get, "/api/v1/jobs/{id}/explain"),
    route("timeline", Verb::Get, "/api/v1/jobs/{id}/timeline"),
    route("output", Verb::Get, "/api/v1/jobs/{id}/output"),
    route("cancel", Verb::Delete, "/api/v1/jobs/{id}"),
    route("forget", Verb::Post, "/api/v1/jobs/{id}/forget"),
    route("settle", Verb::Post, "/api/v1/settle"),
    route("unlock", Verb::Post, "/api/v1/unlock"),
    route("close", Verb::Post, "/api/v1/close"),
    route("accounts", Verb::Get, "/api/v1/accounts"),
    route("data", Verb::Get, "/api/v1/data"),
    route("data_add", Verb::Post, "/api/v1/data"),
    route("data_audit", Verb::Get, "/api/v1/data-audit"),
    route("data_requests", Verb::Get, "/api/v1/data-requests"),
    route("data_revoke", Verb::Post, "/api/v1/data-revoke"),
    route("data_check", Verb::Post, "/api/v1/data-check"),
    route("data_show", Verb::Post, "/api/v1/data-show"),
    route("data_publish", Verb::Post, "/api/v1/data-publish"),
    route("data_price", Verb::Post, "/api/v1/data-price"),
    route("data_give", Verb::Post, "/api/v1/data-grant"),
    route("data_buy", Verb::Post, "/api/v1/data-buy"),
    route("data_get", Verb::Post, "/api/v1/data-get"),
    route("data_keep", Verb::Post, "/api/v1/data-keep"),
    route("data_drop", Verb::Post, "/api/v1/data-drop"),
    route("data_collect", Verb::Post, "/api/v1/data-collect"),
    route("deals", Verb::Get, "/api/v1/deals"),
    route("deal", Verb::Post, "/api/v1/deals"),
    route("deal_quote", Verb::Post, "/api/v1/deals/quote"),
    route("deal_provide", Verb::Post, "/api/v1/deals/provide"),
    route("deal_restore", Verb::Post, "/api/v1/deals/restore"),
    route("keys", Verb::Get, "/api/v1/keys"),
    route("webhooks", Verb::Get, "/api/v1/webhooks"),
    route("webhook_add", Verb::Post, "/api/v1/webhooks"),
    route("webhook_remove", Verb::Delete, "/api/v1/webhooks/{id}"),
    route("webhook_test", Verb::Post, "/api/v1/webhooks/{id}/test"),
    route("key_create", Verb::Post, "/api/v1/keys"),
    route("key_revoke", Verb::Delete, "/api/v1/keys/{id}"),
    route("key_set", Verb::Post, "/api/v1/keys/{id}"),
    route("key_show", Verb::Get, "/api/v1/keys/{id}"),
    route("key_audit", Verb::Get, "/api/v1/keys/{id}/audit"),
    route("approvals", Verb::Get, "/api/v1/approvals"),
    route("approve", Verb::Post, "/api/v1/approvals/{id}"),
    route("decline", Verb::Delete, "/api/v1/approvals/{id}"),
    route("wallet", Verb::Get, "/api/v1/wallet"),
    route("wallet_history", Verb::Get, "/api/v1/wallet/history"),
    route("wallet_pay", Verb::Post, "/api/v1/wallet/payments"),
    route("receipt_verify", Verb::Post, "/api/v1/receipts/verify"),
    route("data_search", Verb::Post, "/api/v1/data-search"),
    route("data_read", Verb::Post, "/api/v1/data-read"),
    route("disputes", Verb::Get, "/api/v1/disputes"),
    route("dispute", Verb::Get, "/api/v1/disputes/{id}"),
];
