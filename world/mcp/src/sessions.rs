//! Sessions of the versions that have them, so many and no more.

use crate::limits::{SESSION_WAIT, SESSIONS_MAX};
use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::server_side_http::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// rmcp's own sessions, in the order in which they were last heard of.
pub(crate) struct Sessions {
    all: LocalSessionManager,
    heard: Mutex<VecDeque<SessionId>>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut all = LocalSessionManager::default();
        all.session_config.keep_alive = Some(SESSION_WAIT);
        Self { all, heard: Mutex::default() }
    }
}

impl Sessions {
    /// Puts a session last; what has to go for it.
    fn touch(&self, id: &SessionId) -> Option<SessionId> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|one| one != id);
        heard.push_back(id.clone());
        if heard.len() > SESSIONS_MAX { heard.pop_front() } else { None }
    }

    fn forget(&self, id: &SessionId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| one != id);
    }
}

impl SessionManager for Sessions {
    type Error = <LocalSessionManager as SessionManager>::Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.all.create_session().await?;
        if let Some(old) = self.touch(&id) {
            self.all.close_session(&old).await?;
        }
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.all.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        let is_here = self.all.has_session(id).await?;
        if is_here {
            // It is in the list, so nothing has to go for it.
            self.touch(id);
        }
        Ok(is_here)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.forget(id);
        self.all.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.all.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.all.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.all.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.all.resume(id, last_event_id).await
    }
}
