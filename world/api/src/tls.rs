//! TLS, for those who reach the node from elsewhere: a second listener with the same routes. A certificate that changes on the disk is
//! read again, so that whoever renews it needs no restart.

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(60);

/// Where to listen with TLS, and with what.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// PEM file of the certificate, those that signed it behind it.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// Why a certificate is no good.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read, or has not what it should have.
    #[error("{} has no {what} that can be read: it has to be a PEM file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("the certificate of {} cannot be used with its key: {why}", path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        why: rustls::Error,
    },
}

/// A certificate that is read again when its files change.
struct Renewed {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    now: Mutex<Held>,
}

struct Held {
    key: Arc<CertifiedKey>,
    of: [Option<SystemTime>; 2],
    looked: Instant,
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("certificate", &self.tls.certificate).finish_non_exhaustive()
    }
}

fn changed(tls: &Tls) -> [Option<SystemTime>; 2] {
    let of = |path: &Path| std::fs::metadata(path).and_then(|there| there.modified()).ok();
    [of(&tls.certificate), of(&tls.key)]
}

fn read(tls: &Tls, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let file = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&tls.certificate).map_err(file(&tls.certificate, "certificate"))?.collect();
    let chain = chain.map_err(file(&tls.certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(file(&tls.key, "private key"))?;
    let pair = |why| TlsError::Pair { path: tls.certificate.clone(), why };
    if chain.is_empty() {
        return Err(pair(rustls::Error::NoCertificatesPresented));
    }
    CertifiedKey::from_der(chain, key, provider).map_err(pair)
}

impl Renewed {
    /// What is held, or what has come since. A pair that is no good, half of it written perhaps, changes nothing yet.
    fn look(&self, held: &mut Held, wait: Duration) {
        if held.looked.elapsed() < wait {
            return;
        }
        held.looked = Instant::now();
        let of = changed(&self.tls);
        if of == held.of {
            return;
        }
        match read(&self.tls, &self.provider) {
            Ok(key) => (held.key, held.of) = (Arc::new(key), of),
            Err(why) => tracing::warn!(%why, "the certificate changed and is no good: the one of before stays"),
        }
    }
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // What a panic left is whole: it is one assignment.
        let mut held = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut held, LOOK);
        Some(held.key.clone())
    }
}

/// Takes connections by TLS 1.2 and 1.3.
///
/// # Errors
/// If the certificate or its key is no good.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(default_provider());
    let key = Arc::new(read(tls, &provider)?);
    let now = Mutex::new(Held { key, of: changed(tls), looked: Instant::now() });
    let renewed = Renewed { tls: tls.clone(), provider: provider.clone(), now };
    let pair = |why| TlsError::Pair { path: tls.certificate.clone(), why };
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(pair)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(renewed));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
