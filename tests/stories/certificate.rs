//! `tidegate cert`: a private authority and a listener's certificate, for clients that refuse plain HTTP.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gate::Signal;
use crate::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// A directory that the command has not made yet, in one where there is no configuration.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("tls").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn cert(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(self.0.path())
            .env_remove("TIDEGATE_CONFIG")
            .args(["cert", "--dir", "tls"])
            .args(arguments)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn made(&self, arguments: &[&str]) -> String {
        let output = self.cert(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], why: &str) {
        let output = self.cert(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} was taken");
        assert!(said.contains(why), "{arguments:?}: {said:?} has no {why:?}");
    }

    fn all(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| (name.clone(), self.read(&name)))
            .collect();
        files.sort();
        files
    }
}

async fn connect(
    gate: &Gate,
    authority: &str,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(
            ServerName::try_from(host.to_owned()).unwrap(),
            gate.connect().await,
        )
        .await
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_gets_through_before_and_after_a_renewal() {
    let api = StandInApi::start().await;
    let place = Place::new();
    place.made(&[
        "--host",
        "gate.example.com",
        "*.gate.example.com",
        "--host",
        "127.0.0.1",
    ]);
    let tls =
        json!({ "certificate": place.path("server.pem"), "private_key": place.path("server.key") });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let authority = place.read("ca.pem");
    for host in ["gate.example.com", "a.gate.example.com", "127.0.0.1"] {
        let stream = connect(&gate, &authority, host).await.unwrap();
        let answer = gate
            .get("/v2/account")
            .token(&token)
            .open_over(stream)
            .await;
        assert_eq!(
            answer.unwrap().rest().await.unwrap().status,
            200,
            "as {host}"
        );
    }
    assert!(
        connect(&gate, &authority, "other.example.com")
            .await
            .is_err()
    );

    let (key, before) = (place.read("server.key"), place.read("server.pem"));
    place.made(&["--host", "other.example.com"]);
    assert_eq!(place.read("ca.pem"), authority, "clients trust it already");
    assert_eq!(place.read("server.key"), key, "the pair fits at any moment");
    assert_ne!(place.read("server.pem"), before);
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    connect(&gate, &authority, "other.example.com")
        .await
        .unwrap();
    assert!(
        connect(&gate, &authority, "gate.example.com")
            .await
            .is_err()
    );
    gate.finish(&api).await;
}

#[test]
fn keys_are_for_their_owner_alone_and_nothing_else_is_left_there() {
    let place = Place::new();
    place.made(&["--host", "localhost"]);
    assert_eq!(place.mode(""), 0o700);
    assert_eq!([place.mode("ca.key"), place.mode("server.key")], [0o600; 2]);
    let names: Vec<_> = place.all().into_iter().map(|(name, _)| name).collect();
    let bundle = has_system_bundle().then_some("bundle.pem");
    let others = ["ca.key", "ca.pem", "server.key", "server.pem"];
    assert_eq!(names, bundle.into_iter().chain(others).collect::<Vec<_>>());
}

/// Where Debian and Ubuntu keep what is trusted.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

fn has_system_bundle() -> bool {
    std::path::Path::new(SYSTEM).exists()
}

#[test]
fn a_bundle_trusts_what_the_system_does_and_the_authority() {
    if !has_system_bundle() {
        return; // there is nothing to put it behind
    }
    let place = Place::new();
    place.made(&["--host", "localhost"]);
    let bundle = place.read("bundle.pem");
    let system = fs::read_to_string(SYSTEM).unwrap();
    assert!(bundle.starts_with(system.trim_end()));
    assert!(bundle.ends_with(&place.read("ca.pem")));
    assert_eq!(place.mode("bundle.pem"), 0o644);
    place.made(&["--host", "localhost"]);
    assert_eq!(place.read("bundle.pem"), bundle, "renewed, and not grown");
}

#[test]
fn it_says_how_to_serve_with_it_and_how_clients_trust_it() {
    let place = Place::new();
    let said = place.made(&["--host", "localhost", "--days", "30"]);
    let file = fs::canonicalize(place.path("ca.pem")).unwrap();
    let bundle = file.with_file_name("bundle.pem");
    let python = if has_system_bundle() { &bundle } else { &file };
    for (name, file) in [
        ("SSL_CERT_FILE", &file),
        ("REQUESTS_CA_BUNDLE", python),
        ("NODE_EXTRA_CA_CERTS", &file),
    ] {
        assert!(
            said.contains(&format!("{name}={}", file.display())),
            "{said}"
        );
    }
    assert!(
        said.contains("tls: { certificate: ") && said.contains("the authority, new"),
        "{said}"
    );
    assert!(!said.contains("/etc/hosts"), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    let said = place.made(&["--host", "api.digitalocean.com"]);
    assert!(
        said.contains("ADDRESS api.digitalocean.com") && said.contains("port 443"),
        "{said}"
    );
    assert!(said.contains("the authority, as it was"), "{said}");
}

#[test]
fn clear_mistakes_in_what_is_asked_are_told_and_make_nothing() {
    let place = Place::new();
    let cases: [(&[&str], &str); 8] = [
        (&[], "--host"),
        (&["--host", ""], "it is empty"),
        (
            &["--host", "https://gate.example.com"],
            "leave scheme and path out",
        ),
        (&["--host", "gate.example.com:8443"], "leave the port out"),
        (&["--host", "*.com"], "`*` stands for the whole first label"),
        (&["--host", "a_b c"], "neither a DNS name"),
        (&["--host", "localhost", "--days", "0"], "1..=397"),
        (&["--host", "localhost", "--days", "398"], "1..=397"),
    ];
    for (arguments, why) in cases {
        place.refused(arguments, why);
        assert!(!place.path("").exists(), "{arguments:?}");
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_told_and_left_as_they_are() {
    const HOST: &[&str] = &["--host", "localhost"];
    let other = Place::new();
    other.made(HOST);
    let refuses = |spoil: &dyn Fn(&Place), why: &str| {
        let place = Place::new();
        place.made(HOST);
        spoil(&place);
        let before = place.all();
        place.refused(HOST, why);
        assert_eq!(place.all(), before, "{why}");
    };
    let put = |name: &'static str, text: &str| {
        let text = text.to_owned();
        move |place: &Place| fs::write(place.path(name), &text).unwrap()
    };
    refuses(
        &|it| fs::remove_file(it.path("ca.pem")).unwrap(),
        "without its certificate `ca.pem`",
    );
    refuses(
        &|it| fs::remove_file(it.path("ca.key")).unwrap(),
        "without its key `ca.key`",
    );
    refuses(
        &|it| it.set_mode("ca.key", 0o640),
        "a private key that others may read",
    );
    refuses(
        &|it| it.set_mode("server.key", 0o644),
        "a private key that others may read",
    );
    refuses(
        &put("ca.pem", "no certificate"),
        "is no certificate in PEM form",
    );
    refuses(
        &put("ca.pem", &other.read("ca.pem")),
        "is not the key of the certificate",
    );
    refuses(
        &put("ca.pem", &other.read("server.pem")),
        "not of an authority",
    );
    refuses(&put("ca.key", "no key"), "is no private key in PEM form");
    refuses(
        &put("server.key", "no key"),
        "is no private key in PEM form",
    );
    refuses(
        &put("server.pem", "no certificate"),
        "is no certificate in PEM form",
    );
    refuses(
        &put("server.pem", &other.read("server.pem")),
        "made by another authority",
    );
    refuses(
        &|it| {
            fs::rename(it.path("server.pem"), it.path("kept.pem")).unwrap();
            symlink("kept.pem", it.path("server.pem")).unwrap();
        },
        "is no regular file",
    );
}

#[test]
fn the_daemons_group_may_read_the_listeners_key_and_a_removed_one_is_made_anew() {
    let place = Place::new();
    place.made(&["--host", "localhost"]);
    place.set_mode("server.key", 0o640);
    place.made(&["--host", "localhost"]);
    assert_eq!(place.mode("server.key"), 0o640);
    let old = place.read("server.key");
    fs::remove_file(place.path("server.key")).unwrap();
    place.made(&["--host", "localhost"]);
    assert_ne!(place.read("server.key"), old);
}
