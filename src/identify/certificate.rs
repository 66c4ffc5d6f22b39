use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use crate::token::{AttributeValue, Subject, SubjectAttribute};

/// For whom a client's certificate is. It was verified before; `None` if it can't be read, and then no condition on it holds.
pub fn subject(der: &[u8]) -> Option<Subject> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let sets = certificate.subject().iter_rdn();
    let sets = sets.map(|set| set.iter().map(attribute).collect());
    Some(Subject::new(sets.collect()))
}

/// Texts in the encodings that are ASCII or UTF-8; every other one is left as it is encoded, as no two readers agree on it.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> SubjectAttribute {
    let value = match attribute.as_str() {
        Ok(text) => AttributeValue::Text(text.to_owned()),
        Err(_) => AttributeValue::Der(encoded(attribute)),
    };
    SubjectAttribute::new(&attribute.attr_type().to_id_string(), value)
}

/// The value with its tag and length: DER.
fn encoded(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let content = attribute.as_slice();
    let tag = u8::try_from(attribute.attr_value().tag().0).unwrap_or(u8::MAX);
    let length: Vec<u8> = match u8::try_from(content.len()) {
        Ok(short @ ..=0x7f) => vec![short],
        Ok(long) => vec![0x81, long],
        Err(_) => {
            let bytes = content.len().to_be_bytes();
            let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            let count = u8::try_from(bytes.len()).unwrap_or_default();
            [vec![0x80 | count], bytes].concat()
        }
    };
    [&[tag], &length[..], content].concat()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    #[test]
    fn a_subject_is_read_out_of_a_certificate() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, "DE");
        name.push(
            DnType::OrganizationName,
            DnValue::PrintableString("Example".try_into().unwrap()),
        );
        name.push(
            DnType::OrganizationalUnitName,
            DnValue::BmpString("x".try_into().unwrap()),
        );
        name.push(DnType::CommonName, "ci,O=ä");
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let subject = subject(made.der()).unwrap();
        assert_eq!(
            subject.to_string(),
            "CN=ci\\,O=ä,OU=#1e020078,O=Example,C=DE"
        );
    }

    #[test]
    fn what_is_no_certificate_is_nobodys() {
        assert_eq!(subject(b"\x30\x03\x02\x01\x01"), None);
    }
}
