use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFiles;

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
    let key = PrivateKeyDer::from_pem_reader(open(&files.private_key)?)
        .map_err(|error| wrong(&files.private_key, &error))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        format!(
            "`{}` and `{}` can't be used together: {error}",
            files.certificate.display(),
            files.private_key.display()
        )
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("`{}` can't be used: {error}", path.display())
}
