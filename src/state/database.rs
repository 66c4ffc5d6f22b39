use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::record::StateError;
use crate::config::{Database, UrlSource};
use crate::secret::{Secret, file};

impl Database {
    /// What to connect to, and by what TLS; none on this machine. Nothing of the address is in an error: a password is.
    pub(super) fn target(&self) -> Result<(Config, Option<ClientConfig>), StateError> {
        let url = match &self.url {
            UrlSource::Written(url) => url.clone(),
            UrlSource::File(path) => {
                let read = file::read(path);
                Arc::new(read.map_err(|error| StateError::Address(error.to_string()))?)
            }
            UrlSource::Env(name) => {
                let found = std::env::var(name);
                let missing = || format!("there is no variable `{name}` in the environment");
                Arc::new(Secret::new(
                    found.map_err(|_| StateError::Address(missing()))?,
                ))
            }
        };
        let mut config: Config = url.expose().trim().parse().map_err(|_| {
            StateError::Address("it is no address of PostgreSQL; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
        })?;
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.application_name("tidegate");
        if is_here(&config) && config.get_ssl_mode() != SslMode::Require {
            config.ssl_mode(SslMode::Disable);
            return Ok((config, None));
        }
        config.ssl_mode(SslMode::Require);
        Ok((config, Some(self.tls()?)))
    }

    fn tls(&self) -> Result<ClientConfig, StateError> {
        let mut store = RootCertStore::empty();
        if let Some(path) = &self.ca_file {
            let wrong = |error: String| {
                StateError::Address(format!(
                    "`ca_file` `{}` can't be read: {error}",
                    path.display()
                ))
            };
            let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_reader_iter(file) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                let added = store.add(certificate);
                added.map_err(|error| wrong(error.to_string()))?;
            }
        } else {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if store.is_empty() {
            return Err(StateError::Address(
                "there is no authority to trust; name that of the database as `ca_file`".to_owned(),
            ));
        }
        let provider = rustls::crypto::ring::default_provider();
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| StateError::Address(format!("TLS can't be set up: {error}")))?;
        Ok(builder.with_root_certificates(store).with_no_client_auth())
    }
}

/// Whether the way leads over loopback and unix sockets alone.
fn is_here(config: &Config) -> bool {
    let loopback = |address: &IpAddr| address.is_loopback();
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address| loopback(&address))
        }
    });
    hosts && config.get_hostaddrs().iter().all(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_on_this_machine_is_there_no_tls() {
        let cases = [
            ("postgresql://u:p@127.0.0.1/d", true),
            ("postgresql://u:p@localhost:5433/d", true),
            ("host=/run/postgresql user=u", true),
            ("postgresql://u:p@[::1]/d?sslmode=disable", true),
            ("postgresql://u:p@127.0.0.1/d?sslmode=require", false), // asked for
            ("postgresql://u:p@db.example.com/d", false),
            ("postgresql://u:p@db.example.com/d?sslmode=disable", false), // not for the asking
            ("postgresql://u:p@127.0.0.1,db.example.com/d", false),       // one of them
            ("host=localhost hostaddr=192.0.2.1 user=u", false),          // what it connects to
        ];
        for (url, plain) in cases {
            let url = UrlSource::Written(Arc::new(Secret::new(url.to_owned())));
            let database = Database::at(url);
            let (config, tls) = database.target().unwrap();
            assert_eq!(tls.is_none(), plain, "{database:?}");
            let mode = if plain {
                SslMode::Disable
            } else {
                SslMode::Require
            };
            assert_eq!(config.get_ssl_mode(), mode);
        }
    }

    #[test]
    fn an_address_that_is_none_is_told_without_its_password() {
        let url = UrlSource::Written(Arc::new(Secret::new("mysql://u:hush@h/d".to_owned())));
        let error = Database::at(url).target().map(drop).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
