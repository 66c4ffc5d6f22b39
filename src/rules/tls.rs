use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroize;

use crate::config::TlsFiles;
use crate::secret;

/// Reads a listener's certificate and key, and whose certificates its clients must show.
///
/// # Errors
/// What is wrong, with the file's name, in one line.
pub(super) fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authorities(path)?.into(), provider)
                    .build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error))?)
        }
    };
    let chain = certificates(&files.certificate)?;
    let key = key(&files.private_key)?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().map_err(|error| {
        format!(
            "`{}` and `{}` can't be used together: {error}",
            files.certificate.display(),
            files.private_key.display()
        )
    })?;
    Ok(showing(builder, pair))
}

/// What a listener shows that has its certificate and key in memory alone, and asks its clients for none.
///
/// # Errors
/// What is wrong with them, in one line.
pub fn shows(
    chain: Vec<CertificateDer<'static>>,
    mut der: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let key = any_supported_type(&der).map_err(|error| format!("TLS can't be set up: {error}"));
    der.zeroize();
    let pair = CertifiedKey::new(chain, key?);
    Ok(showing(builder.with_no_client_auth(), pair))
}

fn showing(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    pair: CertifiedKey,
) -> Arc<ServerConfig> {
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Reads a key. What was read is wiped; what the key is used by keeps it.
fn key(path: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let pem = secret::file::read(path).map_err(|error| error.to_string())?;
    let mut der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
        .map_err(|error| wrong(path, &error))?;
    let key = any_supported_type(&der).map_err(|error| wrong(path, &error));
    der.zeroize();
    key
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| wrong(path, &error))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(path)?).collect();
    let certificates = read.map_err(|error| wrong(path, &error))?;
    if certificates.is_empty() {
        return Err(format!(
            "`{}` has no certificate in PEM form",
            path.display()
        ));
    }
    Ok(certificates)
}

/// When the first of the certificates in a file ends.
pub(super) fn ends(path: &Path) -> Option<Timestamp> {
    let end = |der: &CertificateDer<'_>| {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        Timestamp::from_second(read.validity().not_after.timestamp()).ok()
    };
    certificates(path).ok()?.iter().filter_map(end).min()
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("`{}` can't be used: {error}", path.display())
}
