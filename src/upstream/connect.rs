use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tower_service::Service;

use crate::config::UpstreamSettings;

/// Makes connections to the API, each within a bounded time, TLS included.
#[derive(Clone)]
pub struct Connector {
    inner: HttpsConnector<HttpConnector>,
    patience: Duration,
}

/// Why no connection could be prepared.
#[derive(Debug)]
pub enum NoUpstream {
    /// The file of authorities can't be read, or has none.
    Authorities(PathBuf, String),
    /// The system has none.
    SystemAuthorities,
    /// Its URL is none.
    Address,
    /// TLS itself can't be set up.
    Tls(rustls::Error),
}

impl fmt::Display for NoUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(path, error) => write!(f, "`upstream.ca_file` `{}`: {error}; it holds certificates in PEM form", path.display()),
            Self::SystemAuthorities => f.write_str("the system has no certificate authorities to trust; install `ca-certificates`, or name a file by `upstream.ca_file`"),
            Self::Address => f.write_str("`upstream.url` has no host; write it as https://api.digitalocean.com"),
            Self::Tls(error) => write!(f, "TLS can't be set up: {error}"),
        }
    }
}

impl std::error::Error for NoUpstream {}

pub(super) fn connector(settings: &UpstreamSettings) -> Result<Connector, NoUpstream> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.connect_timeout));
    http.set_keepalive(Some(Duration::from_secs(30)));
    let provider = rustls::crypto::ring::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(NoUpstream::Tls)?;
    let tls = tls
        .with_root_certificates(authorities(settings)?)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let schemes = if settings.url.is_https() {
        builder.https_only()
    } else {
        builder.https_or_http()
    };
    Ok(Connector {
        inner: schemes.enable_http1().enable_http2().wrap_connector(http),
        patience: settings.connect_timeout,
    })
}

fn authorities(settings: &UpstreamSettings) -> Result<RootCertStore, NoUpstream> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        let wrong = |error: String| NoUpstream::Authorities(path.clone(), error);
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in CertificateDer::pem_reader_iter(file) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            store
                .add(certificate)
                .map_err(|error| wrong(error.to_string()))?;
        }
        if store.is_empty() {
            return Err(wrong("it has no certificate".to_owned()));
        }
        return Ok(store);
    }
    let found = rustls_native_certs::load_native_certs();
    let (_added, _unreadable) = store.add_parsable_certificates(found.certs);
    if store.is_empty() && settings.url.is_https() {
        return Err(NoUpstream::SystemAuthorities);
    }
    Ok(store)
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let patience = self.patience;
        Box::pin(async move {
            match tokio::time::timeout(patience, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}
