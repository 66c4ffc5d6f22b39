//! A private certificate authority in a directory, for listeners whose clients insist on TLS where no public authority
//! would give a certificate.
//!
//! The authority is made once and kept: clients trust it by its certificate, so a renewal never changes that. INVARIANT:
//! everything is made before anything is written, each file appears whole, and the key of the listener stays when its
//! certificate is renewed, so that who reads both at any moment has a pair that fits.

mod certificate;
mod error;
mod files;
mod host;

use std::path::Path;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use certificate::MOST_DAYS;
pub use error::Error;
pub use files::{AUTHORITY, AUTHORITY_KEY, BUNDLE, CERTIFICATE, KEY};
pub use host::{Host, NoHost};

use certificate::{Authority, Validity};
use files::Files;

pub use files::system_bundle;

/// A certificate whose authority is for one run of a program: the key of the authority is gone already, and that of the
/// certificate is in memory alone.
pub struct Passing {
    /// The authority, for those who are to trust it, in PEM form.
    pub authority: String,
    /// The certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Makes one for `hosts`.
///
/// # Errors
/// `Error`, if a key or certificate can't be made.
pub fn passing(hosts: &[Host], now: Timestamp) -> Result<Passing, Error> {
    let (authority, own) = Authority::new(now)?;
    let key = certificate::new_key()?;
    let validity = Validity::days(now, MOST_DAYS).within(&authority);
    let certificate = authority.certify(hosts, &key, validity)?;
    Ok(Passing {
        authority: own.pem(),
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    })
}

/// A certificate that was made.
#[derive(Debug)]
pub struct Certified {
    /// Whether the authority was made with it, so that clients have yet to be told of it.
    pub new_authority: bool,
    /// When the certificate ends.
    pub ends: Timestamp,
    /// Whether it ends sooner than asked, as the authority itself does.
    pub cut_short: bool,
    /// Whether there is a bundle of it and of what the system trusts.
    pub bundled: bool,
}

/// Makes a certificate for `hosts` in `directory`, by the authority that is there, or by a new one.
///
/// # Errors
/// `Error` if the directory has files that this is not for, or can't be written. Nothing was changed then, unless writing
/// itself failed.
pub fn certify(
    directory: &Path,
    hosts: &[Host],
    days: u16,
    now: Timestamp,
) -> Result<Certified, Error> {
    let files = Files::of(directory)?;
    let (authority, own) = match files.authority()? {
        Some(authority) => (authority, None),
        None => Authority::new(now).map(|(authority, own)| (authority, Some(own)))?,
    };
    authority.serves(now, &files.path(AUTHORITY))?;
    files.is_free_for(&authority)?;
    let kept_key = files.key()?;
    let key = match &kept_key {
        Some(key) => key,
        None => &certificate::new_key()?,
    };
    let asked = Validity::days(now, days);
    let validity = asked.within(&authority);
    let certificate = authority.certify(hosts, key, validity)?;
    if let Some(own) = &own {
        files.put_authority(&authority, own)?;
    }
    if kept_key.is_none() {
        files.put_key(key)?;
    }
    files.put_certificate(&certificate)?;
    Ok(Certified {
        new_authority: own.is_some(),
        ends: validity.ends,
        cut_short: validity != asked,
        bundled: files.put_bundle()?,
    })
}
