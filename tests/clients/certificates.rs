//! Certificates for this machine, of an authority that clients are told to trust.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// `ca.pem`, `server.pem` and `server.key` for `localhost` and `127.0.0.1`; they go with this.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    pub fn make() -> Self {
        let directory = TempDir::new().unwrap();
        let (authority, server, key) = made();
        for (name, text) in [
            ("ca.pem", authority),
            ("server.pem", server),
            ("server.key", key),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    /// What clients trust.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// What a server shows.
    pub fn server(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// The key to it.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }
}

fn made() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Without a name of its own, each would be called alike, and OpenSSL takes the second for self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let server = params.signed_by(&key, &authority).unwrap();
    (authority.pem(), server.pem(), key.serialize_pem())
}
