//! Certificates of a run: those that the gate shows, and the files by which clients trust them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;

use super::{Failed, Scratch};
use crate::authority::{self, Host};
use crate::rules;

/// An authority for this run, and what the gate shows of it.
pub(super) struct RunAuthority {
    /// What the gate shows.
    pub tls: Arc<ServerConfig>,
    authority: String,
}

/// The names by which clients come to the gate. `api.digitalocean.com` is what they ask for whose connections are intercepted.
const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", super::intercept::API];

/// A variable that names a file of authorities, and which of the caller's own its clients went by until now, the first that is
/// set. Where none is, that is what the system trusts.
struct Row {
    name: &'static str,
    before: &'static [&'static str],
    /// Whether what the system trusts stands beside it anyway.
    adds: bool,
}

const VARIABLES: [Row; 5] = [
    Row {
        name: "SSL_CERT_FILE",
        before: &["SSL_CERT_FILE"],
        adds: false,
    },
    Row {
        name: "REQUESTS_CA_BUNDLE",
        before: &["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"],
        adds: false,
    },
    Row {
        name: "CURL_CA_BUNDLE",
        before: &["CURL_CA_BUNDLE", "SSL_CERT_FILE"],
        adds: false,
    },
    Row {
        name: "CA_BUNDLE",
        before: &["CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"],
        adds: false,
    },
    Row {
        name: "NODE_EXTRA_CA_CERTS",
        before: &["NODE_EXTRA_CA_CERTS"],
        adds: true,
    },
];

impl RunAuthority {
    /// Makes it.
    ///
    /// # Errors
    /// If keys or certificates can't be made.
    pub fn of_this_run() -> Result<Self, Failed> {
        let hosts: Result<Vec<Host>, _> = HOSTS.iter().map(|host| host.parse()).collect();
        let hosts = hosts.map_err(Failed::because)?;
        let made = authority::passing(&hosts, Timestamp::now()).map_err(Failed::because)?;
        Ok(Self {
            tls: rules::shows(made.chain, made.key).map_err(Failed::because)?,
            authority: made.authority,
        })
    }

    /// The variables by which clients trust it beside what they trusted before.
    ///
    /// # Errors
    /// If that can't be read, or not be written anew.
    pub fn variables(
        &self,
        own: &[(OsString, OsString)],
        scratch: &Scratch,
    ) -> Result<Vec<(String, OsString)>, Failed> {
        let mut all = Vec::new();
        for row in VARIABLES {
            let mut set = row.before.iter().filter_map(|name| value(own, name));
            let before = match set.next() {
                Some(path) => certificates(Path::new(path)).map_err(|error| {
                    Failed::because(format!(
                        "the certificates that {} names can't be read: {error}",
                        row.before.join(" or ")
                    ))
                })?,
                None if row.adds => String::new(),
                None => authority::system_bundle().unwrap_or_default(),
            };
            let text = format!("{}\n{}", before.trim_end(), self.authority);
            let path = scratch.put(&format!("{}.pem", row.name), text.trim_start())?;
            all.push((row.name.to_owned(), path.into_os_string()));
        }
        Ok(all)
    }
}

fn value<'e>(own: &'e [(OsString, OsString)], wanted: &str) -> Option<&'e OsStr> {
    let mut set = own.iter().filter(|(_, value)| !value.is_empty());
    set.find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_os_str())
}

/// All certificates of a file, or of the files in a directory.
fn certificates(path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        return fs::read_to_string(path);
    }
    let mut all = String::new();
    for entry in fs::read_dir(path)? {
        // Links to the same file under the names by which OpenSSL looks for it are among them; twice is no harm.
        if let Ok(text) = fs::read_to_string(entry?.path())
            && text.contains("-----BEGIN CERTIFICATE-----")
        {
            all.push_str(text.trim_end());
            all.push('\n');
        }
    }
    Ok(all)
}
