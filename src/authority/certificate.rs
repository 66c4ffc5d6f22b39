use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::error::Error;
use super::host::Host;

/// The longest life of a listener's certificate. Public authorities may give no more (CA/Browser Forum, ballot SC31), and
/// clients that hold private ones to a limit hold them to a longer one.
pub const MOST_DAYS: u16 = 397;

/// The life of an authority.
const AUTHORITY_DAYS: u16 = 3652;

/// How long before now a certificate begins, as clients' clocks differ.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// A time in which a certificate is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Validity {
    /// From here.
    pub begins: Timestamp,
    /// To here.
    pub ends: Timestamp,
}

impl Validity {
    /// So many days, of which the first has begun.
    pub fn days(now: Timestamp, days: u16) -> Self {
        let begins = whole_seconds(now) - BEFORE;
        Self {
            begins,
            ends: begins + SignedDuration::from_hours(24 * i64::from(days)),
        }
    }

    /// No longer than the authority, without which it would be good for nothing.
    pub fn within(self, authority: &Authority) -> Self {
        Self {
            ends: self.ends.min(authority.validity.ends),
            ..self
        }
    }
}

/// Certificates have no fractions of a second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Who vouches for listeners' certificates.
pub(super) struct Authority {
    subject: Vec<u8>,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one with a key of its own, and its certificate for those who trust it.
    pub fn new(now: Timestamp) -> Result<(Self, Certificate), Error> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&authority_name(&params.key_identifier(&key)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        last(&mut params, Validity::days(now, AUTHORITY_DAYS));
        let certificate = params.self_signed(&key).map_err(Error::Make)?;
        match Self::read(certificate.der(), key) {
            Ok(authority) => Ok((authority, certificate)),
            Err(_) => Err(Error::Make(rcgen::Error::CouldNotParseCertificate)),
        }
    }

    /// The one of a certificate and its key.
    pub fn read(certificate: &CertificateDer<'_>, key: KeyPair) -> Result<Self, NoAuthority> {
        let (_, read) =
            X509Certificate::from_der(certificate).map_err(|_| NoAuthority::Unreadable)?;
        if !read.is_ca() {
            return Err(NoAuthority::Listener);
        }
        if read.public_key().raw != key.subject_public_key_info() {
            return Err(NoAuthority::AnotherKey);
        }
        let (subject, validity) = (
            read.subject().as_raw().to_vec(),
            validity(&read).ok_or(NoAuthority::Unreadable)?,
        );
        let issuer =
            Issuer::from_ca_cert_der(certificate, key).map_err(|_| NoAuthority::Unreadable)?;
        Ok(Self {
            subject,
            validity,
            issuer,
        })
    }

    /// Whether it may still vouch.
    pub fn serves(&self, now: Timestamp, file: &Path) -> Result<(), Error> {
        if now >= self.validity.ends {
            return Err(Error::Ended(file.to_owned(), self.validity.ends));
        }
        if now < self.validity.begins {
            return Err(Error::NotBegun(file.to_owned(), self.validity.begins));
        }
        Ok(())
    }

    /// Whether a certificate names this authority as the one that made it.
    pub fn made(&self, certificate: &CertificateDer<'_>) -> bool {
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, read)| read.issuer().as_raw() == self.subject && !read.is_ca())
    }

    /// A certificate for a listener.
    pub fn certify(
        &self,
        hosts: &[Host],
        key: &KeyPair,
        validity: Validity,
    ) -> Result<Certificate, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&common_name(hosts));
        for host in hosts {
            let name = alternative(host)?;
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        // Explicitly none: so it carries both key identifiers, which Python 3.13 asks for (`VERIFY_X509_STRICT`).
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        last(&mut params, validity);
        params.signed_by(key, &self.issuer).map_err(Error::Make)
    }

    /// Its key.
    pub fn key(&self) -> &KeyPair {
        self.issuer.key()
    }
}

/// Why a certificate and a key are no authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoAuthority {
    /// It is no certificate that can be read.
    Unreadable,
    /// It is a listener's.
    Listener,
    /// The key is another's.
    AnotherKey,
}

/// A new key: ECDSA on P-256, which every client knows.
pub(super) fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(Error::Make)
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Two authorities of one name in the same trust store would be mistaken for each other, so it has a part of the key's own.
fn authority_name(key: &[u8]) -> String {
    let told_apart = key
        .iter()
        .take(4)
        .fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
    format!("tidegate private CA {told_apart:08x}")
}

/// A subject for people who look at it; clients go by the alternative names. X.520 bounds it to 64 characters.
fn common_name(hosts: &[Host]) -> String {
    let first = hosts.first().map(ToString::to_string);
    first
        .filter(|name| name.len() <= 64)
        .unwrap_or_else(|| "tidegate".to_owned())
}

fn alternative(host: &Host) -> Result<SanType, Error> {
    Ok(match host {
        Host::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(Error::Make)?),
        Host::Ip(ip) => SanType::IpAddress(*ip),
    })
}

fn last(params: &mut CertificateParams, validity: Validity) {
    params.not_before = system_time(validity.begins).into();
    params.not_after = system_time(validity.ends).into();
}

fn system_time(time: Timestamp) -> SystemTime {
    let since = u64::try_from(time.as_second()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since)
}

fn validity(certificate: &X509Certificate<'_>) -> Option<Validity> {
    let validity = certificate.validity();
    Some(Validity {
        begins: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        ends: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::ParsedExtension;

    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn noon() -> Timestamp {
        "2026-11-25T12:00:00.5Z".parse().unwrap()
    }

    fn authority() -> (Authority, Certificate) {
        Authority::new(noon()).unwrap()
    }

    fn certificate(authority: &Authority, hosts: &[&str], days: u16) -> CertificateDer<'static> {
        let hosts: Vec<_> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let validity = Validity::days(noon(), days).within(authority);
        let made = authority.certify(&hosts, &new_key().unwrap(), validity);
        made.unwrap().der().clone()
    }

    #[test]
    fn an_authority_vouches_for_listeners_alone() {
        let (authority, own) = authority();
        let (_, read) = X509Certificate::from_der(own.der()).unwrap();
        let constraints = read.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = read.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());
        let life = authority
            .validity
            .ends
            .duration_since(authority.validity.begins);
        assert_eq!(life, DAY * 3652);
    }

    #[test]
    fn a_listeners_certificate_has_what_strict_clients_ask_for() {
        let (authority, own) = authority();
        let made = certificate(
            &authority,
            &[
                "gate.example.com",
                "*.example.com",
                "127.0.0.1",
                "::1",
                "Gate.example.com",
            ],
            30,
        );
        let (_, read) = X509Certificate::from_der(&made).unwrap();
        let names = read.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 4, "each once: {names:?}");
        let constraints = read.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        let identifies = |wanted: fn(&ParsedExtension<'_>) -> bool| {
            read.iter_extensions()
                .any(|extension| wanted(extension.parsed_extension()))
        };
        assert!(identifies(|it| matches!(
            it,
            ParsedExtension::AuthorityKeyIdentifier(_)
        )));
        assert!(identifies(|it| matches!(
            it,
            ParsedExtension::SubjectKeyIdentifier(_)
        )));
        assert!(
            read.extended_key_usage()
                .unwrap()
                .unwrap()
                .value
                .server_auth
        );
        assert_eq!(read.version().0, 2, "version 3");
        let (_, issuer) = X509Certificate::from_der(own.der()).unwrap();
        read.verify_signature(Some(issuer.public_key())).unwrap();
    }

    #[test]
    fn a_certificate_is_good_from_a_little_ago_for_its_days_and_no_longer_than_its_authority() {
        let (authority, _) = authority();
        let made = certificate(&authority, &["gate.example.com"], 30);
        let (_, read) = X509Certificate::from_der(&made).unwrap();
        let good = validity(&read).unwrap();
        assert_eq!(good.begins.to_string(), "2026-11-25T11:00:00Z");
        assert_eq!(good.ends.to_string(), "2026-12-25T11:00:00Z");
        let late = Validity::days(authority.validity.ends - DAY * 3, 30);
        assert_eq!(late.within(&authority).ends, authority.validity.ends);
    }

    #[test]
    fn an_authority_that_has_ended_or_not_begun_makes_nothing() {
        let (authority, _) = authority();
        let file = Path::new("ca.pem");
        assert!(authority.serves(noon(), file).is_ok());
        assert!(matches!(
            authority.serves(authority.validity.ends, file),
            Err(Error::Ended(..))
        ));
        assert!(matches!(
            authority.serves(noon() - DAY, file),
            Err(Error::NotBegun(..))
        ));
    }

    #[test]
    fn an_authority_is_its_certificate_and_its_key_and_no_others() {
        let ((one, own), (other, _)) = (authority(), authority());
        let read = |certificate: &CertificateDer<'static>, key: &KeyPair| {
            let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
            Authority::read(certificate, key).err()
        };
        let listener = certificate(&one, &["gate.example.com"], 30);
        assert_eq!(read(own.der(), one.key()), None);
        assert_eq!(read(own.der(), other.key()), Some(NoAuthority::AnotherKey));
        assert_eq!(read(&listener, one.key()), Some(NoAuthority::Listener));
        assert_eq!(
            read(&vec![1, 2].into(), one.key()),
            Some(NoAuthority::Unreadable)
        );
        assert!(one.made(&listener) && !other.made(&listener));
        assert_ne!(one.subject, other.subject);
    }
}
