//! The tools. What they are called, take and give stands in `tools.json`; here is what they do.

mod batch;
mod check;
mod data;
mod run;
mod search;
mod wallet;

use crate::ask::{No, Office};
use crate::limits::NODE_WAIT;
use rmcp::model::{JsonObject, Tool as Shown, ToolAnnotations};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::{Scope, Who};

/// The resource that lists models.
pub(crate) const MODELS: &str = "talkoo://models";
/// The resources of receipts; the id is what an answer calls `receipt`.
pub(crate) const RECEIPTS: &str = "talkoo://receipts/";

/// A tool.
pub(crate) struct Tool {
    pub(crate) shown: Shown,
    scope: Scope,
}

/// A tool's call.
pub(crate) struct Call<'a> {
    pub(crate) office: &'a Office,
    pub(crate) who: Who,
    pub(crate) args: Value,
    pub(crate) context: &'a RequestContext<RoleServer>,
}

static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let all: Vec<Value> = serde_json::from_str(include_str!("tools.json")).expect("our own file");
    all.iter().map(read).collect()
});

fn read(tool: &Value) -> Tool {
    let object = |value: &Value| -> Arc<JsonObject> { Arc::new(value.as_object().cloned().expect("a schema")) };
    let text = |key: &str| tool[key].as_str().expect("a text").to_owned();
    let flag = |key: &str| tool["annotations"][key].as_bool();
    let annotations = ToolAnnotations::from_raw(
        None,
        flag("readOnlyHint"),
        flag("destructiveHint"),
        flag("idempotentHint"),
        flag("openWorldHint"),
    );
    let shown = Shown::new(text("name"), text("description"), object(&tool["inputSchema"]))
        .with_title(text("title"))
        .with_raw_output_schema(object(&tool["outputSchema"]))
        .with_annotations(annotations);
    Tool { shown, scope: Scope::parse(&text("scope")).expect("a scope") }
}

/// All of them.
pub(crate) fn all() -> &'static [Tool] {
    &ALL
}

/// One by its name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.shown.name == name)
}

impl Tool {
    /// Does it.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Value, No> {
        call.office.may(&call.who, self.scope)?;
        check::arguments(&self.shown.input_schema, &call.args)?;
        if matches!(&*self.shown.name, "wallet_pay" | "data_buy") && !matches!(call.who, Who::Key(_)) {
            return Err(no_policy());
        }
        match &*self.shown.name {
            "search" => search::search(&call).await,
            "run" => run::run(&call).await,
            "batch_submit" => batch::submit(&call).await,
            "batch_status" => batch::status(&call).await,
            "batch_results" => batch::results(&call).await,
            "batch_cancel" => batch::cancel(&call).await,
            "data_search" => data::search(&call).await,
            "data_show" => data::show(&call).await,
            "data_buy" => data::buy(&call).await,
            "data_read" => data::read(&call).await,
            "wallet_show" => wallet::show(&call).await,
            "wallet_history" => wallet::history(&call).await,
            "wallet_pay" => wallet::pay(&call).await,
            "policy_show" => wallet::policy(&call).await,
            "receipt_verify" => receipt(call.office, call.text("receipt").unwrap_or_default()).await,
            other => unreachable!("{other} is in tools.json and nowhere else"),
        }
    }
}

impl Call<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.args[key].as_str()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.args[key].as_u64()
    }

    /// Asks the loop; answers that may take a block have longer waits of their own.
    async fn ask(&self, name: &'static str, args: Value) -> Result<Value, No> {
        self.office.call(name, args, NODE_WAIT).await
    }

    /// The key that asks, for calls that keep to its policy; the owner and who has no key have none.
    fn key(&self) -> Value {
        match &self.who {
            Who::Key(id) => json!(id),
            Who::Owner | Who::Anybody | Who::Payer(_) => Value::Null,
        }
    }
}

/// A language model can be talked into paying: nothing is paid at its word without rules, whoever started it.
fn no_policy() -> No {
    let hint = "talkoo key create --scopes inference,batch,data,wallet,mcp --per-payment 1 --per-day 3 --allow ADDRESS, \
        then `talkoo mcp --key KEY`, or TALKOO_KEY; the owner himself pays with `talkoo wallet send` and `talkoo data buy`";
    Refusal::new(
        RefusalCode::Denied,
        "tools spend under the policy of a key only, and the owner's token has none",
        hint,
    )
    .into()
}

/// Whether each word that people look for stands somewhere in the texts.
#[must_use]
pub fn matches(words: &str, texts: &[&str]) -> bool {
    let all = texts.join("\n").to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

/// Checks a receipt of the data folder.
async fn receipt(office: &Office, id: &str) -> Result<Value, No> {
    office.call("receipt_verify", json!({"receipt": id}), NODE_WAIT).await
}

/// What a resource shows.
pub(crate) async fn resource(office: &Office, who: &Who, uri: &str) -> Result<Value, No> {
    office.may(who, Scope::Inference)?;
    if uri == MODELS {
        return office.json(who, "GET", "/v1/models", None).await;
    }
    match uri.strip_prefix(RECEIPTS) {
        Some(id) => receipt(office, id).await,
        None => {
            let hint = "resources/list and resources/templates/list tell which there are";
            Err(Refusal::new(RefusalCode::UnknownId, format!("there is no resource {uri:?}"), hint).into())
        }
    }
}
