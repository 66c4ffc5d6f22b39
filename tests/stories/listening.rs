//! Where tidegate listens: plain on loopback, over TLS, on a unix socket, and on several at once.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gate::Signal;
use crate::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// A certificate for this machine, and its key.
pub(crate) fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts `certificate` and offers `alpn` (nothing where that is empty), and shows a certificate of its own if it is given one.
pub(crate) async fn connect(
    gate: &Gate,
    certificate: &str,
    alpn: &str,
    own: Option<(&str, &str)>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = client(certificate, alpn, own);
    over(gate.connect().await, config).await
}

/// The same from another address of this machine.
pub(crate) async fn connect_from(
    gate: &Gate,
    certificate: &str,
    alpn: &str,
    from: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(std::net::SocketAddr::new(from.parse().unwrap(), 0))?;
    let stream = socket.connect(gate.address()).await?;
    over(stream, client(certificate, alpn, None)).await
}

async fn over(stream: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

fn client(certificate: &str, alpn: &str, own: Option<(&str, &str)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                    key,
                )
                .unwrap()
        }
    };
    config.alpn_protocols = [alpn]
        .iter()
        .filter(|alpn| !alpn.is_empty())
        .map(|alpn| alpn.as_bytes().to_vec())
        .collect();
    config
}

/// A gate that listens over TLS, and its certificate; the role is `all`.
pub(crate) async fn tls_gate(api: &StandInApi, more: serde_json::Value) -> (Gate, String) {
    limited_tls_gate(api, more, json!({})).await
}

/// The same with these limits.
pub(crate) async fn limited_tls_gate(
    api: &StandInApi,
    more: serde_json::Value,
    limits: serde_json::Value,
) -> (Gate, String) {
    let (pem, key) = certificate();
    let mut tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    tls.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let listen = json!([{ "address": "127.0.0.1:0", "tls": tls }]);
    let gate = Gate::builder(api)
        .policy(POLICY)
        .file("tls.crt", &pem)
        .file("tls.key", &key)
        .set("limits", limits)
        .set("listen", listen);
    (gate.file("ca.pem", &authority().pem()).start().await, pem)
}

/// An authority of clients' certificates; the same one whenever it is asked for in a test would need a file, so tests keep it.
pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn tls_serves_http_1_and_2_and_links_lead_back_by_https() {
    let api = StandInApi::start().await;
    let (gate, pem) = tls_gate(&api, json!({})).await;
    assert!(
        gate.logs()
            .iter()
            .any(|line| line.contains("listening address=127.0.0.1:") && line.contains("tls=true"))
    );
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let stream = connect(&gate, &pem, "http/1.1", None).await.unwrap();
    let answer = gate
        .get("/v2/droplets?per_page=2")
        .token(&token)
        .open_over(stream)
        .await
        .unwrap()
        .rest()
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let next = answer.json()["links"]["pages"]["next"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(next.starts_with("https://127.0.0.1:"), "{next}");

    let stream = connect(&gate, &pem, "h2", None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get("https://gate.example:8443/v2/droplets?per_page=2")
            .header("authorization", format!("Bearer {token}"));
        let answer = sender
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body["links"]["pages"]["next"],
            "https://gate.example:8443/v2/droplets?page=2&per_page=2"
        );
    }
    // A `host` beside the authority says the same, or which of them is meant can't be known.
    for (host, status) in [("Gate.example:8443", 200), ("other.example", 400)] {
        let request = Request::get("https://gate.example:8443/v2/account")
            .header("authorization", format!("Bearer {token}"))
            .header("host", host);
        let answer = sender
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "host {host}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_never() {
    let api = StandInApi::start().await;
    let (gate, old) = tls_gate(&api, json!({})).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let kept = connect(&gate, &old, "h2", None).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(kept))
            .await
            .unwrap();
    tokio::spawn(connection);
    let (pem, key) = certificate();
    gate.files().write("tls.crt", &pem);
    gate.signal(Signal::Hup);
    let logs = gate.log_until("stay in force").await.join("\n");
    assert!(
        logs.contains("can't be used together"),
        "the key of the old certificate: {logs}"
    );
    connect(&gate, &old, "h2", None)
        .await
        .expect("the old certificate stays");
    gate.files().write("tls.key", &key);
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    connect(&gate, &pem, "h2", None)
        .await
        .expect("the new certificate is shown");
    let request = Request::get("https://localhost/v2/account")
        .header("authorization", format!("Bearer {token}"));
    let answer = sender
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "a connection that is there goes on");
    gate.finish(&api).await;
}

#[tokio::test]
async fn new_certificates_are_shown_without_a_signal_at_admin_too() {
    let api = StandInApi::start().await;
    let (pem, key) = certificate();
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let place = json!({ "address": "127.0.0.1:0", "tls": tls });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("tls.crt", &pem)
        .file("tls.key", &key)
        .set("listen", json!([place]))
        .set("admin", place.clone())
        .start()
        .await;
    let shown = async |pem: &str| {
        connect(&gate, pem, "h2", None).await?;
        let stream = TcpStream::connect(gate.admin_address().unwrap()).await?;
        let stream = over(stream, client(pem, "http/1.1", None)).await?;
        let asked = gate.get("/healthz").open_over(stream).await.unwrap();
        assert_eq!(asked.rest().await.unwrap().status, 200);
        Ok::<_, std::io::Error>(())
    };
    shown(&pem).await.unwrap();
    let (next, key) = certificate();
    gate.files().write("tls.crt", &next);
    gate.files().write("tls.key", &key);
    gate.log_until("reloaded").await;
    shown(&next).await.unwrap();
    assert!(shown(&pem).await.is_err(), "the old one is gone");
    gate.finish(&api).await;
}

#[tokio::test]
async fn with_client_ca_only_who_shows_a_certificate_of_it_comes_in() {
    let api = StandInApi::start().await;
    let (gate, pem) = tls_gate(&api, json!({ "client_ca": "ca.pem" })).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let authority = authority();
    gate.files().write("ca.pem", &authority.pem());
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["ci".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let own = (own.pem(), key.serialize_pem());
    let ask = async |own: Option<(&str, &str)>| {
        let stream = connect(&gate, &pem, "http/1.1", own)
            .await
            .map_err(|error| error.to_string())?;
        gate.get("/v2/account")
            .token(&token)
            .open_over(stream)
            .await?
            .rest()
            .await
    };
    assert_eq!(ask(Some((&own.0, &own.1))).await.unwrap().status, 200);
    assert!(ask(None).await.is_err(), "without a certificate");
    let (stranger, stranger_key) = certificate();
    assert!(
        ask(Some((&stranger, &stranger_key))).await.is_err(),
        "with one of nobody's"
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_unix_socket_is_a_source_of_its_own() {
    let api = StandInApi::start().await;
    let listen = json!([{ "address": "127.0.0.1:0" }, { "unix": "api.sock" }]);
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("listen", listen)
        .listeners(2)
        .start()
        .await;
    let (local, other) = (
        gate.issue(&["local", "--role", "all", "--from", "unix"])
            .await,
        gate.issue(&["net", "--role", "all", "--from", "127.0.0.0/8"])
            .await,
    );
    let socket = gate.files().path("api.sock");
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let over_socket = async |token: &str| {
        let stream = UnixStream::connect(&socket).await.unwrap();
        gate.get("/v2/account")
            .token(token)
            .open_over(stream)
            .await
            .unwrap()
            .rest()
            .await
            .unwrap()
    };
    let answer = over_socket(&local).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gate.audit_of(&answer).await[0]["client_ip"], "unix");
    assert_eq!(over_socket(&other).await.reason(), Some("source_ip"));
    assert_eq!(
        gate.get("/v2/account").token(&local).send().await.reason(),
        Some("source_ip")
    );
    assert_eq!(
        gate.get("/v2/account").token(&other).send().await.status,
        200
    );
    gate.finish(&api).await;
    assert!(!socket.exists(), "the socket goes with the daemon");
}
