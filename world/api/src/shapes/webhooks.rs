//! Who is told what becomes of work that nobody waits for.

use utoipa::ToSchema;

/// Whom to tell.
#[derive(ToSchema)]
pub struct WebhookAsk {
    /// Where events are posted.
    #[schema(min_length = 1, max_length = 2048)]
    pub url: String,
    /// Types of events; left out, all of them.
    pub events: Option<Vec<String>>,
}

/// All webhooks.
#[derive(ToSchema)]
pub struct Webhooks {
    /// One for each.
    pub webhooks: Vec<Webhook>,
}

/// A webhook, without its secret.
#[derive(ToSchema)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Where events are posted.
    pub url: String,
    /// Types of events.
    pub events: Vec<String>,
    /// When it was added, in Unix seconds.
    pub created: u64,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Events that were given up.
    pub given_up: u64,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// Whether it said that it is gone.
    pub gone: bool,
}

/// A webhook that was added just now.
#[derive(ToSchema)]
pub struct NewWebhook {
    /// Its id.
    pub id: String,
    /// Where events are posted.
    pub url: String,
    /// Types of events.
    pub events: Vec<String>,
    /// When it was added, in Unix seconds.
    pub created: u64,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Events that were given up.
    pub given_up: u64,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// Whether it said that it is gone.
    pub gone: bool,
    /// With what its events are signed: this once.
    pub secret: String,
}

/// An event that was sent to try a webhook.
#[derive(ToSchema)]
pub struct WebhookTested {
    /// Its id.
    pub event: String,
}
