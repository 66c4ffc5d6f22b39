use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{Certificate, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::certificate::{Authority, NoAuthority};
use super::error::{Error, Wrong};

/// The authority's certificate, which clients trust.
pub const AUTHORITY: &str = "ca.pem";
/// The authority's key.
pub const AUTHORITY_KEY: &str = "ca.key";
/// The authority's certificate behind those that the system trusts: for programs that trust one file and nothing else.
pub const BUNDLE: &str = "bundle.pem";
/// Where systems keep the certificates that they trust, all in one file.
const SYSTEMS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The listener's certificate.
pub const CERTIFICATE: &str = "server.pem";
/// The listener's key.
pub const KEY: &str = "server.key";

/// The files of an authority, in its directory.
pub(super) struct Files<'d>(&'d Path);

impl<'d> Files<'d> {
    /// Those in that directory, which is made if it is missing, for its owner alone.
    pub fn of(directory: &'d Path) -> Result<Self, Error> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|error| Error::Directory(directory.to_owned(), error))?;
        Ok(Self(directory))
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The authority, if there is one.
    pub fn authority(&self) -> Result<Option<Authority>, Error> {
        let (certificate, key) = (
            self.certificate(AUTHORITY)?,
            self.private_key(AUTHORITY_KEY, 0o077)?,
        );
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(self.wrong(AUTHORITY, Wrong::WithoutKey)),
            (None, Some(_)) => return Err(self.wrong(AUTHORITY_KEY, Wrong::WithoutCertificate)),
            (Some(certificate), Some(key)) => (certificate, key),
        };
        Authority::read(&certificate, key)
            .map(Some)
            .map_err(|why| match why {
                NoAuthority::Unreadable => self.wrong(AUTHORITY, Wrong::NoCertificate),
                NoAuthority::Listener => self.wrong(AUTHORITY, Wrong::NoAuthority),
                NoAuthority::AnotherKey => self.wrong(AUTHORITY_KEY, Wrong::AnotherKey),
            })
    }

    /// The listener's key, if there is one. Its group may read it, as that may be the daemon's.
    pub fn key(&self) -> Result<Option<KeyPair>, Error> {
        self.private_key(KEY, 0o007)
    }

    /// Whether the listener's certificate may be replaced: there is none, or it is this authority's.
    pub(super) fn is_free_for(&self, authority: &Authority) -> Result<(), Error> {
        match self.certificate(CERTIFICATE)? {
            Some(certificate) if !authority.made(&certificate) => {
                Err(self.wrong(CERTIFICATE, Wrong::AnotherAuthority))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Writes a new authority. Its key comes first: without one it would be refused ever after.
    pub(super) fn put_authority(
        &self,
        authority: &Authority,
        certificate: &Certificate,
    ) -> Result<(), Error> {
        self.put_new(AUTHORITY_KEY, PRIVATE, &private(authority.key()))?;
        self.put_new(AUTHORITY, PUBLIC, &certificate.pem())
    }

    /// Writes a new key of the listener.
    pub(super) fn put_key(&self, key: &KeyPair) -> Result<(), Error> {
        self.put_new(KEY, PRIVATE, &private(key))
    }

    /// Writes the listener's certificate, or replaces it.
    pub(super) fn put_certificate(&self, certificate: &Certificate) -> Result<(), Error> {
        let path = self.path(CERTIFICATE);
        let draft = self.draft(CERTIFICATE, PUBLIC, &certificate.pem())?;
        draft
            .persist(&path)
            .map_err(|error| Error::Write(path, error.error))?;
        self.settle()
    }

    /// Writes what the system trusts and the authority into one file, or replaces it; false where the system has no such file.
    pub(super) fn put_bundle(&self) -> Result<bool, Error> {
        let Some(system) = system_bundle() else {
            return Ok(false);
        };
        let path = self.path(AUTHORITY);
        let own = fs::read_to_string(&path).map_err(|error| Error::Read(path, error))?;
        let path = self.path(BUNDLE);
        let draft = self.draft(BUNDLE, PUBLIC, &format!("{}\n{own}", system.trim_end()))?;
        draft
            .persist(&path)
            .map_err(|error| Error::Write(path, error.error))?;
        self.settle()?;
        Ok(true)
    }

    /// Never over what is there, as another run may just have put it.
    fn put_new(&self, name: &str, mode: u32, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let draft = self.draft(name, mode, text)?;
        draft
            .persist_noclobber(&path)
            .map_err(|error| Error::Write(path, error.error))?;
        Ok(())
    }

    /// A whole file beside, with its mode from the start.
    fn draft(&self, name: &str, mode: u32, text: &str) -> Result<NamedTempFile, Error> {
        let write = || {
            let mut draft = tempfile::Builder::new()
                .prefix(".draft-")
                .permissions(Permissions::from_mode(mode))
                .tempfile_in(self.0)?;
            draft.write_all(text.as_bytes())?;
            draft.as_file().sync_all()?;
            Ok(draft)
        };
        write().map_err(|error| Error::Write(self.path(name), error))
    }

    /// Makes the names durable, as well as what they name.
    fn settle(&self) -> Result<(), Error> {
        let settled = fs::File::open(self.0).and_then(|directory| directory.sync_all());
        settled.map_err(|error| Error::Directory(self.0.to_owned(), error))
    }

    fn certificate(&self, name: &str) -> Result<Option<CertificateDer<'static>>, Error> {
        let Some((text, _)) = self.text(name)? else {
            return Ok(None);
        };
        let read = CertificateDer::from_pem_slice(text.as_bytes());
        read.map(Some)
            .map_err(|_| self.wrong(name, Wrong::NoCertificate))
    }

    fn private_key(&self, name: &str, forbidden: u32) -> Result<Option<KeyPair>, Error> {
        let Some((text, meta)) = self.text(name)? else {
            return Ok(None);
        };
        if meta.permissions().mode() & forbidden != 0 {
            return Err(self.wrong(name, Wrong::Open));
        }
        let read = KeyPair::from_pem(&text);
        read.map(Some).map_err(|_| self.wrong(name, Wrong::NoKey))
    }

    fn text(&self, name: &str) -> Result<Option<(Zeroizing<String>, Metadata)>, Error> {
        let path = self.path(name);
        let meta = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Read(path, error)),
            Ok(meta) => meta,
        };
        if !meta.is_file() {
            return Err(self.wrong(name, Wrong::NoFile));
        }
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((Zeroizing::new(text), meta))),
            Err(error) => Err(Error::Read(path, error)),
        }
    }

    fn wrong(&self, name: &str, what: Wrong) -> Error {
        Error::Wrong(self.path(name), what)
    }
}

/// What the system trusts, in PEM form, where it keeps that in one file.
pub fn system_bundle() -> Option<String> {
    let mut places = SYSTEMS.iter();
    places.find_map(|path| fs::read_to_string(path).ok())
}

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

fn private(key: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(key.serialize_pem())
}
