//! The server that rmcp drives: lists tools, calls them, shows resources.

use crate::ask::{No, Office, no_json};
use crate::tools;
use axum::http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod, CompleteRequestParams,
    CompleteResult, ContentBlock, ErrorData, Implementation, ListPromptsRequestMethod, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use std::sync::Arc;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::Who;

/// What a client is told to begin with.
const INSTRUCTIONS: &str = "A node of Talkoo, a peer-to-peer AI computer. `search` finds models and data sets, `run` asks a model, \
    `batch_submit` many prompts at once. Answers of the tier `exact` are the same on every machine for the same model, prompt and seed; bought ones have a \
    receipt that `receipt_verify` checks. Tools that spend keep to the policy of the key (`policy_show`); a payment may wait for the owner's word.";

/// One connection's view of the node; there is no state of a connection.
#[derive(Clone)]
pub(crate) struct Service(Arc<Office>);

/// A refusal as a tool's error: `isError`, the words for a model, and `{code, message, hint}`.
#[must_use]
pub fn refused(refusal: Refusal) -> CallToolResult {
    error(&refusal.into())
}

fn error(no: &No) -> CallToolResult {
    let words = if no.hint.is_empty() { no.message.clone() } else { format!("{}. Hint: {}", no.message, no.hint) };
    let mut result = CallToolResult::error(vec![ContentBlock::text(format!("{} ({})", words, no.code))]);
    result.structured_content = Some(no_json(no));
    result
}

/// An answer: its words if it has some, and itself.
fn answer(value: Value) -> CallToolResult {
    let words = value["text"].as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut result = CallToolResult::success(vec![ContentBlock::text(words)]);
    result.structured_content = Some(value);
    result
}

/// Who asks, as the guard found; a call that came past it is nobody's.
fn who_of(context: &RequestContext<RoleServer>) -> Result<Who, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let who = parts.and_then(|parts| parts.extensions.get::<Who>()).cloned();
    who.ok_or_else(|| ErrorData::internal_error("nobody said who asks", None))
}

impl Service {
    pub(crate) fn new(office: Arc<Office>) -> Self {
        Self(office)
    }

    async fn run(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let Some(tool) = tools::find(&request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        };
        let who = who_of(context)?;
        let args = Value::Object(request.arguments.unwrap_or_default());
        let Ok(_place) = self.0.places.clone().try_acquire_owned() else {
            let message = "too many tools are at work";
            return Ok(refused(Refusal::new(RefusalCode::Busy, message, "wait for some to finish")));
        };
        let call = tools::Call { office: &self.0, who, args, context };
        tokio::select! {
            done = tool.call(call) => Ok(match done {
                Ok(value) => answer(value),
                Err(no) => error(&no),
            }),
            // The client wants no more: dropping the call ends its work.
            () = context.ct.cancelled() => Ok(refused(Refusal::new(RefusalCode::Cancelled, "the call was cancelled", ""))),
        }
    }
}

impl ServerHandler for Service {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let me = Implementation::new("talkoo", env!("CARGO_PKG_VERSION")).with_title("Talkoo");
        ServerConfig::new(capabilities).with_server_info(me).with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).map(|tool| tool.shown.clone())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all().iter().map(|tool| tool.shown.clone()).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.run(request, &context).await.map(CallToolResponse::from)
    }

    // What is not declared is not there, and not an empty list.
    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let models = Resource::new(tools::MODELS, "models").with_title("Models").with_mime_type("application/json");
        Ok(ListResourcesResult::with_all_items(vec![
            models.with_description("The models that can be asked, and who runs them"),
        ]))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let receipt = ResourceTemplate::new(format!("{}{{id}}", tools::RECEIPTS), "receipt").with_title("Receipt");
        let receipt = receipt.with_description("What a receipt says and whether it holds, without prompt and answer");
        Ok(ListResourceTemplatesResult::with_all_items(vec![receipt.with_mime_type("application/json")]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let who = who_of(&context)?;
        let found = tools::resource(&self.0, &who, &request.uri).await;
        let value = found.map_err(|no| {
            if no.code == RefusalCode::UnknownId.as_str() {
                ErrorData::resource_not_found(no.message.clone(), Some(no_json(&no)))
            } else {
                ErrorData::invalid_params(no.message.clone(), Some(no_json(&no)))
            }
        })?;
        let text = ResourceContents::text(value.to_string(), request.uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![text]).into())
    }
}
