//! The server of the official conformance suite's fixtures (xtask/judges/mcp/fixtures.json), on our own transport, guard and
//! refusals, for `cargo xtask judge mcp`. What it serves is the suite's, how it serves it is ours.
//!
//! Usage: conformance FOLDER; prints its address. It ends with its standard input.

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ErrorData, ListPromptsRequestMethod,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceTemplate, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use talkoo_api::{Api, Attach, Feed};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::Keys;
use talkoo_mcp::{Shape, mount, refused};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

static FIXTURES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../xtask/judges/mcp/fixtures.json")).expect("our own file")
});

/// A part of the fixtures as a type of the protocol.
fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a fixture")
}

struct Fixtures;

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().build())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let tools = of::<Vec<Tool>>(FIXTURES["tools"].clone());
        tools.into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(of(FIXTURES["tools"].clone())))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = &*request.name;
        if self.get_tool(name).is_none() {
            return Err(ErrorData::invalid_params(format!("there is no tool {name:?}"), None));
        }
        let has_sampling = context.client_capabilities().is_some_and(|has| has.sampling.is_some());
        if name == "test_missing_capability" && !has_sampling {
            let needed = of::<ClientCapabilities>(json!({"sampling": {}}));
            return Err(ErrorData::missing_required_client_capability(needed));
        }
        if name == "test_error_handling" {
            let no = Refusal::new(RefusalCode::Other, "this tool intentionally returns an error", "for testing");
            return Ok(refused(no).into());
        }
        if let (true, Some(token)) = (name == "test_tool_with_progress", context.meta.get_progress_token()) {
            for progress in [0.0, 50.0, 100.0] {
                let told = ProgressNotificationParam::new(token.clone(), progress).with_total(100.0);
                context.peer.notify_progress(told).await.ok();
            }
        }
        let text = json!([{"type": "text", "text": "This is a simple text response for testing."}]);
        let content = FIXTURES["results"].get(name).cloned().unwrap_or(text);
        Ok(of::<CallToolResult>(json!({"resultType": "complete", "content": content})).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(of::<Vec<Resource>>(FIXTURES["resources"].clone())))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template =
            ResourceTemplate::new("test://template/{id}/data", "template").with_mime_type("application/json");
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = &request.uri;
        let fixed =
            FIXTURES["resources"].as_array().into_iter().flatten().find(|one| one["uri"] == uri.as_str()).cloned();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let made = id.map(|id| {
            let text = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")}).to_string();
            json!({"uri": uri, "mimeType": "application/json", "text": text})
        });
        let unknown = || ErrorData::resource_not_found(format!("there is no {uri}"), Some(json!({"uri": uri})));
        let content = fixed.or(made).ok_or_else(unknown)?;
        Ok(of::<ReadResourceResult>(json!({"resultType": "complete", "contents": [content]})).into())
    }
}

#[tokio::main]
async fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: conformance FOLDER"));
    let keys = Arc::new(Keys::open(&folder.join("keys.json"), true).expect("a folder"));
    let stop = CancellationToken::new();
    let faces = mount(Shape { keys, stop: stop.clone() }, || Fixtures);
    let (calls, _calls) = mpsc::channel(1);
    let events = Feed::new(1);
    let addr = "127.0.0.1:0".parse().expect("an address");
    let attach = Attach {
        addr,
        token: "fixtures".into(),
        calls,
        events,
        repeats: folder.join("repeats.log"),
        faces,
        tls: None,
        stop: stop.clone(),
    };
    let api = Api::bind(attach).await.expect("a port");
    writeln!(std::io::stdout(), "{}", api.addr).expect("somebody reads");
    let served = tokio::spawn(api.serve());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.expect("it ends").ok();
    stop.cancel();
    served.await.expect("no panic").expect("it served");
}
