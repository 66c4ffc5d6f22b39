//! A client's certificate as a condition on a sub-token: it works for those whom its issuer meant, and for nobody who writes
//! their name into his own.

use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use super::listening::{authority, certificate, connect};
use crate::support::{Answer, Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// The attributes of a subject.
type Written<'w> = &'w [(DnType, &'w str)];

/// A certificate for this subject and its key, both in PEM form.
fn shown_by(
    authority: &CertifiedIssuer<'static, KeyPair>,
    subject: Written<'_>,
) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, authority).unwrap();
    (made.pem(), key.serialize_pem())
}

/// A gate with a listener that asks for certificates, and a plain one.
struct Ground {
    api: StandInApi,
    gate: Gate,
    pem: String,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Ground {
    async fn new(trusted: Value) -> Self {
        Self::with(trusted, None).await
    }

    /// The same with an `admin` listener, which makes the gate ask the API whether it takes the real token.
    async fn with(trusted: Value, admin: Option<Value>) -> Self {
        let api = StandInApi::start().await;
        let (pem, key) = certificate();
        let authority = authority();
        let tls =
            json!({ "certificate": "tls.crt", "private_key": "tls.key", "client_ca": "ca.pem" });
        let listen =
            json!([{ "address": "127.0.0.1:0", "tls": tls }, { "address": "127.0.0.1:0" }]);
        let gate = Gate::builder(&api)
            .policy(POLICY)
            .file("tls.crt", &pem)
            .file("tls.key", &key)
            .file("ca.pem", &authority.pem())
            .set("listen", listen)
            .set("trusted_proxies", trusted);
        let gate = match admin {
            Some(admin) => gate.set("admin", admin).start().await,
            None => gate.start().await,
        };
        Self {
            api,
            gate,
            pem,
            authority,
        }
    }

    async fn ask(
        &self,
        path: &str,
        token: &str,
        subject: Written<'_>,
        forwarded: Option<&str>,
    ) -> Answer {
        let (own, key) = shown_by(&self.authority, subject);
        let stream = connect(&self.gate, &self.pem, "http/1.1", Some((&own, &key))).await;
        let mut ask = self.gate.get(path).token(token);
        if let Some(from) = forwarded {
            ask = ask.header("x-forwarded-for", from);
        }
        let open = ask.open_over(stream.unwrap()).await.unwrap();
        open.rest().await.unwrap()
    }
}

const CN: DnType = DnType::CommonName;
const O: DnType = DnType::OrganizationName;

#[tokio::test]
async fn a_token_works_with_the_certificates_that_it_was_issued_for() {
    let ground = Ground::new(json!([])).await;
    let gate = &ground.gate;
    let token = gate
        .issue(&["ci", "--role", "all", "--client-cert", "CN=ci*,O=Example"])
        .await;
    let twice = DnType::CustomDnType(vec![2, 5, 4, 3]);
    let cases: [(Written<'_>, Option<&str>, &str); 7] = [
        (&[(O, "Example"), (CN, "ci-1")], None, "CN=ci-1,O=Example"),
        (
            &[(DnType::CountryName, "DE"), (O, "Example"), (CN, "ci")],
            None,
            "CN=ci,O=Example,C=DE",
        ),
        (
            &[(O, "Example"), (CN, "root")],
            Some("source_ip"),
            "CN=root,O=Example",
        ),
        (&[(CN, "ci-1")], Some("source_ip"), "CN=ci-1"),
        (
            &[(CN, "ci,O=Example")],
            Some("source_ip"),
            "CN=ci\\,O=Example",
        ),
        (
            &[(O, "Other"), (CN, "ci,O=Example")],
            Some("source_ip"),
            "CN=ci\\,O=Example,O=Other",
        ),
        (
            &[(O, "Example"), (CN, "root"), (twice, "ci")],
            Some("source_ip"),
            "CN=ci,CN=root,O=Example",
        ),
    ];
    for (subject, reason, recorded) in cases {
        let answer = ground.ask("/v2/account", &token, subject, None).await;
        assert_eq!(answer.reason(), reason, "{recorded}: {}", answer.text());
        let line = gate.audit_of(&answer).await.remove(0);
        assert_eq!(line["client_cert"], recorded);
    }
    assert_eq!(ground.api.heard_count(), 2);
    // Where no certificate is asked for it is refused, and tokens without the condition are not.
    let plain = gate.addresses()[1].clone();
    let over_plain = async |token: &str| {
        let stream = tokio::net::TcpStream::connect(&plain).await.unwrap();
        let open = gate.get("/v2/account").token(token).open_over(stream).await;
        open.unwrap().rest().await.unwrap()
    };
    let refused = over_plain(&token).await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (403, Some("source_ip"))
    );
    assert!(
        refused.message().contains("none was shown here"),
        "{}",
        refused.text()
    );
    let free = gate.issue(&["free", "--role", "all"]).await;
    assert_eq!(over_plain(&free).await.status, 200);
    ground.gate.finish(&ground.api).await;
}

#[tokio::test]
async fn a_certificate_of_a_proxy_is_not_its_clients() {
    let ground = Ground::new(json!(["127.0.0.0/8"])).await;
    let token = ground
        .gate
        .issue(&["ci", "--role", "all", "--client-cert", "*"])
        .await;
    let proxy: Written<'_> = &[(CN, "proxy")];
    let own = ground.ask("/v2/account", &token, proxy, None).await;
    assert_eq!(own.status, 200, "it asks for itself");
    let behind = ground
        .ask("/v2/account", &token, proxy, Some("203.0.113.7"))
        .await;
    assert_eq!(behind.reason(), Some("source_ip"));
    assert_eq!(
        ground.gate.audit_of(&behind).await[0]["client_cert"],
        Value::Null
    );
    ground.gate.finish(&ground.api).await;
}

#[tokio::test]
async fn the_condition_is_shown_wherever_a_token_is() {
    let ground = Ground::new(json!([])).await;
    let gate = &ground.gate;
    let made = gate
        .cli(&[
            "token",
            "issue",
            "listed",
            "--role",
            "all",
            "--client-cert",
            "CN=\"a\\,b\"",
            "--yaml",
        ])
        .await;
    let said = String::from_utf8(made.stderr).unwrap();
    let listed = said.split_whitespace().last().unwrap().to_owned();
    let entry = String::from_utf8(made.stdout).unwrap();
    gate.write_policy(&format!("{POLICY}tokens:\n{entry}"));
    gate.log_until("reloaded").await;
    let subject: Written<'_> = &[(CN, "\"a,b\"")];
    let answer = ground
        .ask("/.tidegate/v1/whoami", &listed, subject, None)
        .await;
    assert_eq!(answer.json()["client_cert"], "CN=\"a\\,b\"");
    let refused = ground.ask("/v2/account", &listed, &[(CN, "a")], None).await;
    assert_eq!(refused.reason(), Some("source_ip"));
    gate.issue(&[
        "ci",
        "--role",
        "all",
        "--client-cert",
        "CN=ci*",
        "--from",
        "127.0.0.1",
    ])
    .await;
    let list = gate.cli(&["token", "list"]).await.stdout;
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.contains("anywhere with CN=\"a\\,b\"") && list.contains("127.0.0.1/32 with CN=ci*"),
        "{list}"
    );
    let shown = gate.cli(&["token", "show", "ci", "--json"]).await.stdout;
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["client_cert"], "CN=ci*");
    let wrong = gate
        .cli(&[
            "token",
            "issue",
            "x",
            "--role",
            "all",
            "--client-cert",
            "ci*",
        ])
        .await;
    let wrong = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.contains("is no attribute of a subject"), "{wrong}");
    ground.gate.finish(&ground.api).await;
}

#[tokio::test]
async fn check_says_where_nobody_could_show_a_certificate() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    gate.issue(&["ci", "--role", "all", "--client-cert", "CN=ci*"])
        .await;
    let said = String::from_utf8(gate.cli(&["check"]).await.stderr).unwrap();
    assert!(
        said.contains("can't be used: it asks for a client certificate of `CN=ci*`, and no listener asks for one"),
        "{said}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn who_shows_no_certificate_or_a_stranger_s_is_counted() {
    let admin = json!({ "address": "127.0.0.1:0" });
    let ground = Ground::with(json!([]), Some(admin)).await;
    let count = async |cause: &str| {
        let text = crate::admin::ask(&ground.gate, hyper::Method::GET, "/metrics");
        let text = text.await.text();
        let name = format!("tidegate_handshake_failures_total{{cause=\"{cause}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let until = async |cause: &str, wanted: &str| {
        let began = std::time::Instant::now();
        while count(cause).await != wanted {
            assert!(began.elapsed().as_secs() < 20, "{cause} is not {wanted}");
        }
    };
    let _ = connect(&ground.gate, &ground.pem, "http/1.1", None).await; // told once the handshake is over
    until("client_certificate", "1").await;
    let (own, key) = certificate();
    let _ = connect(&ground.gate, &ground.pem, "http/1.1", Some((&own, &key))).await;
    until("client_certificate", "2").await;
    let (_, distrusted) = (count("timeout").await, certificate().0);
    let refused = connect(&ground.gate, &distrusted, "http/1.1", None).await;
    assert!(refused.is_err(), "the client distrusts the gate's");
    until("other", "1").await;
    assert_eq!(count("client_certificate").await, "2");
    ground.gate.finish(&ground.api).await;
}
