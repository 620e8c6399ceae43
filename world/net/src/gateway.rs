//! The second source of blocks: trustless gateways (specs.ipfs.tech/http-gateways/trustless-gateway),
//! asked for one raw block at a time. What they send is hashed like any peer's block.

use crate::error::NetError;
use crate::ledger::is_private;
use crate::limits::{GATEWAY_DEADLINE, GATEWAY_REDIRECTS_MAX, GATEWAY_REQUESTS_MAX};
use std::sync::Arc;
use talkoo_base::Cid;
use talkoo_store::limits::BLOCK_BYTES_MAX;
use talkoo_store::{Block, BlockError};
use thiserror::Error;
use tokio::sync::Semaphore;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Why a gateway gave no block.
#[derive(Debug, Error)]
pub(crate) enum GatewayError {
    #[error("answered {0}")]
    Status(u16),
    #[error(transparent)]
    Wrong(#[from] BlockError),
    #[error(transparent)]
    Http(#[from] ureq::Error),
}

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) url: String,
    agent: ureq::Agent,
    requests: Semaphore,
}

impl Gateway {
    /// A gateway at `url`, such as `https://trustless-gateway.link`.
    pub(crate) fn new(url: &str) -> Result<Arc<Self>, NetError> {
        let bad = || NetError::Gateway { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let host = uri.authority().ok_or_else(bad)?.as_str().to_owned();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(bad());
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(GATEWAY_REDIRECTS_MAX)
            .max_idle_connections_per_host(GATEWAY_REQUESTS_MAX)
            // A proxy would resolve names itself, past the check of addresses.
            .proxy(None)
            .timeout_global(Some(GATEWAY_DEADLINE));
        let resolver = PublicOnly { named: host, inner: DefaultResolver::default() };
        let agent = ureq::Agent::with_parts(config.build(), DefaultConnector::default(), resolver);
        let url = url.trim_end_matches('/').to_owned();
        Ok(Arc::new(Self { url, agent, requests: Semaphore::new(GATEWAY_REQUESTS_MAX) }))
    }

    /// One block, checked; `None` if the gateway does not give it in time.
    pub(crate) async fn get(self: Arc<Self>, cid: Cid) -> Option<Block> {
        let permit = self.requests.acquire().await.ok()?;
        let gateway = Arc::clone(&self);
        let answer = tokio::task::spawn_blocking(move || gateway.get_blocking(&cid)).await;
        drop(permit);
        match answer.ok()? {
            Ok(block) => Some(block),
            Err(error) => {
                tracing::debug!(gateway = self.url, %cid, %error, "no block from a gateway");
                None
            }
        }
    }

    fn get_blocking(&self, cid: &Cid) -> Result<Block, GatewayError> {
        let request = self.agent.get(format!("{}/ipfs/{cid}?format=raw", self.url));
        let mut response = request.header("Accept", "application/vnd.ipld.raw").call()?;
        if response.status() != 200 {
            return Err(GatewayError::Status(response.status().as_u16()));
        }
        // The limit is where reading fails, so a block of the full size needs one byte more.
        let bytes = response.body_mut().with_config().limit(BLOCK_BYTES_MAX as u64 + 1).read_to_vec()?;
        Ok(Block::verified(*cid, bytes.into())?)
    }
}

/// Lets a gateway send us on to public addresses only. Where the owner of this node pointed it
/// itself is the owner's business.
#[derive(Debug)]
struct PublicOnly {
    named: String,
    inner: DefaultResolver,
}

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let is_named = uri.authority().is_some_and(|authority| authority.as_str() == self.named);
        if is_named || found.iter().all(|addr| !is_private(addr.ip())) {
            return Ok(found);
        }
        Err(ureq::Error::HostNotFound)
    }
}
