//! TLS on real sockets.

use super::{Held, Renewed, Tls, acceptor, changed, read};
use crate::{Api, Attach, Feed};
use axum::Router;
use axum::routing::get;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const NAME: &str = "node.example";
/// Deadline of all that a test waits for.
const SOON: Duration = Duration::from_secs(30);

/// A certificate that signs itself, in files.
fn made(folder: &Path) -> Tls {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
    Tls { addr: "127.0.0.1:0".parse().unwrap(), certificate, key }
}

fn connector(certificate: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

#[tokio::test]
async fn others_come_in_by_the_certificates_name_and_nobody_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, stop) = (made(folder.path()), CancellationToken::new());
    let connector = connector(&tls.certificate);
    let attach = Attach {
        addr: "127.0.0.1:0".parse().unwrap(),
        token: "secret".into(),
        calls: mpsc::channel(1).0,
        events: Feed::new(1),
        repeats: folder.path().join("repeats"),
        faces: Router::new().route("/face", get(|| async { "here" })),
        tls: Some(tls),
        stop: stop.clone(),
    };
    let api = Api::bind(attach).await.unwrap();
    let (addr, plain) = (api.tls_addr.unwrap(), api.addr);
    let served = tokio::spawn(api.serve());
    let name = rustls::pki_types::ServerName::try_from(NAME).unwrap();
    let ask = async |path: &str| {
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut stream = connector.connect(name.clone(), stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        timeout(SOON, stream.read_to_string(&mut said)).await.expect("an answer").ok();
        said
    };
    assert!(ask("/face").await.ends_with("here"));
    assert!(ask("/api/v1/status").await.starts_with("HTTP/1.1 401"));
    // The same name on the port without TLS may be anybody's page.
    let mut stream = TcpStream::connect(plain).await.unwrap();
    let request = format!("GET /face HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(SOON, stream.read_to_string(&mut said)).await.expect("an answer").unwrap();
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
    // Who speaks no TLS gets none of it, and one who says nothing keeps no stop waiting.
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    timeout(SOON, stream.read_to_end(&mut said)).await.expect("it is let go").ok();
    assert!(!String::from_utf8_lossy(&said).contains("here"));
    let _silent = TcpStream::connect(addr).await.unwrap();
    stop.cancel();
    timeout(SOON, served).await.expect("it ends").unwrap().unwrap();
}

#[test]
fn files_that_are_no_certificate_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let good = made(folder.path());
    let other = made(tempfile::tempdir().unwrap().keep().as_path());
    let nowhere = folder.path().join("none.pem");
    for (tls, says) in [
        (Tls { certificate: nowhere.clone(), ..good.clone() }, "no certificate"),
        (Tls { key: nowhere, ..good.clone() }, "no private key"),
        (Tls { key: good.certificate.clone(), ..good.clone() }, "no private key"),
        (Tls { certificate: good.key.clone(), ..good.clone() }, "cannot be used"),
        (Tls { key: other.key, ..good.clone() }, "cannot be used"),
    ] {
        let no = acceptor(&tls).map(drop).unwrap_err().to_string();
        assert!(no.contains(says), "{says}: {no}");
    }
    assert!(acceptor(&good).is_ok());
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let tls = made(folder.path());
    let provider = Arc::new(default_provider());
    let key = Arc::new(read(&tls, &provider).unwrap());
    let first = key.cert[0].clone();
    let mut held = Held { key, of: [None, None], looked: Instant::now() };
    let renewed = Renewed {
        tls: made(folder.path()),
        provider,
        now: Mutex::new(Held { key: held.key.clone(), of: held.of, looked: held.looked }),
    };
    renewed.look(&mut held, Duration::MAX);
    assert_eq!(held.key.cert[0], first, "it is too early to look");
    renewed.look(&mut held, Duration::ZERO);
    let second = held.key.cert[0].clone();
    assert!(second != first && held.of == changed(&renewed.tls));
    std::fs::write(&renewed.tls.certificate, "half of it").unwrap();
    held.of = [None, None];
    renewed.look(&mut held, Duration::ZERO);
    assert_eq!(held.key.cert[0], second);
}
