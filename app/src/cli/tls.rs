//! TLS of `up`.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use talkoo_api::Tls;

/// Flags of `up` with which others reach the API safely.
#[derive(Args, Clone)]
pub(crate) struct TlsArgs {
    /// Where others reach the API by TLS, besides `--api`; port 0 lets the system choose. Then every request needs a key or the token.
    #[arg(long, value_name = "ADDR", requires_all = ["tls_cert", "tls_key"])]
    pub(crate) tls_listen: Option<SocketAddr>,
    /// PEM file of the certificate and those that signed it; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// What they say.
    pub(crate) fn tls(self) -> Option<Tls> {
        Some(Tls { addr: self.tls_listen?, certificate: self.tls_cert?, key: self.tls_key? })
    }
}
