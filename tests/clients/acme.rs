//! ACME clients that prove by a TXT record that a domain is theirs: lego, certbot and acme.sh, from beginning to end.
//!
//! The authority looks the records up in the stand-in's own zone, so that a certificate is had only if the right records
//! went through tidegate and were there in time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::authority::Authority;
use super::certificates::Certificates;
use super::fixed_host::{HOST, Road};
use super::support::standin::Heard;
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::zone::NameServer;
use super::{NOWHERE_ELSE, installed, said_by};

/// What each client needs and no more: lego writes without a look, certbot looks for the zone and for its records.
const POLICY: &str = "
version: 1
roles:
  lego:
    allow: [{ scopes: ['domain:update'] }]
  certbot:
    allow: [{ scopes: ['domain:read', 'domain:update'] }]
  looks:
    allow: [{ scopes: ['domain:read'] }]
  zones:
    allow: [{ scopes: ['domain:read'], only: { domain: { name: example.com } } }]
  texts:
    allow:
      - scopes: ['domain:read', 'domain:update']
        only:
          domain: { name: ['example.com', 'zone-*'] }
          domain_record: { type: [A, TXT] }
  challenges:
    allow:
      - scopes: ['domain:read', 'domain:update']
        only:
          domain: { name: example.com }
          domain_record: { type: TXT, name: [_acme-challenge, '_acme-challenge.*'] }
";

const REFUSED: &str = "this sub-token lacks the scope domain:update for POST /v2/domains/{domain_name}/records; ask for a role that grants it";

/// All that a client of ACME meets.
struct Scene {
    api: Arc<StandInApi>,
    gate: Gate,
    names: NameServer,
    authority: Authority,
    certificates: Certificates,
    directory: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let api = Arc::new(StandInApi::start_with(crowded()).await);
        let certificates = Certificates::make(&["127.0.0.1", HOST]);
        let tls =
            json!({ "certificate": certificates.server(), "private_key": certificates.key() });
        let gate = Gate::builder(&api)
            .policy(POLICY)
            .set(
                "listen",
                json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.1:0", "tls": tls }]),
            )
            .start()
            .await;
        let names = NameServer::start(&api).await;
        let authority = Authority::start(&certificates, &names).await;
        let directory = TempDir::new().unwrap();
        Self {
            api,
            gate,
            names,
            authority,
            certificates,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// lego, with this sub-token, for a certificate of the zone and of all names in it.
    fn lego(&self, token: &str) -> Command {
        let mut command = Command::new("lego");
        command
            .args(["--accept-tos", "--email", "ops@example.com"])
            .args(["--server", &self.authority.url()])
            .args(["--dns", "digitalocean", "--dns.disable-cp"])
            .args(["--dns.resolvers", &self.names.address().to_string()])
            .args(["--domains", "example.com", "--domains", "*.example.com"])
            .arg("--path")
            .arg(self.path("lego"))
            .arg("run")
            .env("LEGO_CA_CERTIFICATES", self.certificates.authority())
            .env("DO_API_URL", self.gate.url())
            .env("DO_AUTH_TOKEN", token)
            .env("DO_POLLING_INTERVAL", "1");
        command
    }

    /// certbot with its plugin, with this sub-token, for the same certificate.
    fn certbot(&self, token: &str) -> Command {
        let credentials = self.path("digitalocean.ini");
        fs::write(&credentials, format!("dns_digitalocean_token = {token}\n")).unwrap();
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(installed().join("venv/bin/certbot"));
        command
            .args(["certonly", "--non-interactive", "--agree-tos"])
            .arg("--register-unsafely-without-email")
            .args(["--server", &self.authority.url()])
            .args(["--authenticator", "dns-digitalocean"])
            .args(["--dns-digitalocean-propagation-seconds", "0"])
            .arg("--dns-digitalocean-credentials")
            .arg(credentials)
            .args(["-d", "example.com", "-d", "*.example.com"])
            .env("REQUESTS_CA_BUNDLE", self.certificates.authority())
            .env("DIGITALOCEAN_END_POINT", format!("{}/v2/", self.gate.url()))
            .env_remove("DIGITALOCEAN_ACCESS_TOKEN");
        for directory in ["--config-dir", "--work-dir", "--logs-dir"] {
            command.arg(directory).arg(self.path("certbot"));
        }
        command
    }

    /// acme.sh with its hook, with this sub-token, for the same certificate. It takes no base URL, and keeps the token in a file.
    fn acme_sh(&self, token: &str, road: &Road) -> Command {
        let mut command = Command::new(installed().join("debian/usr/share/acme.sh/acme.sh"));
        command
            .args(["--issue", "--server", &self.authority.url()])
            .args(["--dns", "dns_dgon", "--dnssleep", "1"])
            .args(["-d", "example.com", "-d", "*.example.com"])
            .arg("--ca-bundle")
            .arg(self.certificates.authority())
            .arg("--home")
            .arg(installed().join("debian/usr/share/acme.sh"))
            .arg("--config-home")
            .arg(self.path("acme.sh"))
            .env("DO_API_KEY", token)
            .env("HOME", self.directory.path())
            .envs(NOWHERE_ELSE)
            .envs(road.environment());
        command
    }

    /// The listener that speaks TLS as the API.
    async fn road(&self) -> Road {
        Road::to(self.gate.addresses()[1].parse().unwrap()).await
    }

    /// What the reference has systemd tell certbot's timer, with this gate's address and this authority in the places of its own.
    fn of_the_timer(&self) -> Vec<(String, String)> {
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md");
        let address = format!("https://{}", self.gate.addresses()[1]);
        let bundle = self.certificates.authority().display().to_string();
        let lines = fs::read_to_string(reference).unwrap();
        lines
            .lines()
            .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
            .map(|(name, value)| {
                let value = value.replace("https://gate.example.com:8443", &address);
                (
                    name.to_owned(),
                    value.replace("/etc/tidegate/tls/bundle.pem", &bundle),
                )
            })
            .collect()
    }

    /// Runs a client; what it said, and whether it succeeded.
    async fn run(&self, mut command: Command) -> (bool, String) {
        let own = command.get_envs().any(|(name, _)| name == "https_proxy");
        if !own {
            command.envs(NOWHERE_ELSE);
        }
        command.stdin(Stdio::null());
        said_by(command).await
    }

    /// Runs a client that is to succeed, and takes what the API heard of it.
    async fn succeed(&self, command: Command) -> Vec<String> {
        let (succeeded, said) = self.run(command).await;
        assert!(succeeded, "{said}\npebble:\n{}", self.authority.log());
        let heard = self.api.heard();
        assert!(heard.iter().all(|heard| heard.bearer() == Some(REAL_TOKEN)));
        heard.iter().map(told).collect()
    }

    /// Runs a client that is to be refused, and checks that its user learns why.
    async fn be_refused(&self, command: Command) {
        let (succeeded, said) = self.run(command).await;
        assert!(!succeeded, "{said}");
        // Clients break lines where they like.
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(words.join(" ").contains(REFUSED), "{said}");
        assert_eq!(self.api.writes().len(), 0, "nothing was written");
    }

    async fn finish(self) {
        let left = self.api.world(|world| world.names(RECORDS));
        assert!(
            !left.iter().any(|name| name.starts_with("_acme-challenge")),
            "the challenges are cleaned away"
        );
        self.gate.finish(&self.api).await;
    }
}

/// An account in which the zone, and what is added to it, stand on the second page of 200.
fn crowded() -> World {
    let domain = |name: String| json!({ "name": name, "ttl": 1800, "zone_file": null });
    let others = (0..200).map(|number| domain(format!("zone-{number}.example")));
    let zone = [domain("example.com".to_owned())];
    let world = World::empty().with("domains", others.chain(zone));
    (0..200).fold(world, |world, number| {
        world.with_record(
            "example.com",
            1000 + number,
            "A",
            &format!("host-{number}"),
            "192.0.2.1",
        )
    })
}

/// What was heard, with the numbers of records taken out.
fn told(heard: &Heard) -> String {
    let line = heard.line();
    match line.rsplit_once('/') {
        Some((start, id)) if id.parse::<u64>().is_ok() => format!("{start}/ID"),
        _ => line,
    }
}

/// S7: lego proves by two records of one name that zone and wildcard are its user's, and reads nothing for it.
#[tokio::test]
async fn lego_gets_a_certificate() {
    let scene = Scene::start().await;
    let token = scene.gate.issue(&["lego", "--role", "lego"]).await;
    let mut heard = scene.succeed(scene.lego(&token)).await;
    heard.sort();
    assert_eq!(
        heard,
        [DELETED, DELETED, CREATED, CREATED],
        "and no look at anything"
    );
    let certificate = scene.path("lego/certificates/example.com.crt");
    assert!(
        fs::read_to_string(certificate)
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    scene.finish().await;
}

#[tokio::test]
async fn lego_tells_why_it_is_refused() {
    let scene = Scene::start().await;
    let token = scene.gate.issue(&["looks", "--role", "looks"]).await;
    scene.be_refused(scene.lego(&token)).await;
    scene.finish().await;
}

/// S7: certbot finds zone and records by following links, which lead back to tidegate.
#[tokio::test]
async fn certbot_gets_a_certificate() {
    let scene = Scene::start().await;
    let token = scene.gate.issue(&["certbot", "--role", "certbot"]).await;
    let heard = scene.succeed(scene.certbot(&token)).await;
    let create = [ZONES, MORE_ZONES, CREATED];
    let clean = [ZONES, MORE_ZONES, RECORDS_OF_ZONE, MORE_RECORDS, DELETED];
    assert_eq!(heard, [&create[..], &create, &clean, &clean].concat());
    let certificate = scene.path("certbot/live/example.com/fullchain.pem");
    assert!(
        fs::read_to_string(certificate)
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    scene.finish().await;
}

#[tokio::test]
async fn certbot_tells_why_it_is_refused() {
    let scene = Scene::start().await;
    let token = scene.gate.issue(&["looks", "--role", "looks"]).await;
    scene.be_refused(scene.certbot(&token)).await;
    scene.finish().await;
}

/// S7: the challenges of one zone are enough, and of the other zones and records no client learns anything.
#[tokio::test]
async fn all_get_theirs_with_nothing_but_the_challenges_of_one_zone() {
    let scene = Scene::start().await;
    let token = scene
        .gate
        .issue(&["challenges", "--role", "challenges"])
        .await;
    let road = scene.road().await;
    for command in [
        scene.lego(&token),
        scene.certbot(&token),
        scene.acme_sh(&token, &road),
    ] {
        scene.api.clear();
        let mut heard = scene.succeed(command).await;
        heard.retain(|line| !line.starts_with("GET"));
        heard.sort();
        assert_eq!(heard, [DELETED, DELETED, CREATED, CREATED]);
    }
    let other = scene.gate.get("/v2/domains/zone-1.example");
    assert_eq!(other.token(&token).send().await.status, 404);
    scene.finish().await;
}

/// S7: a timer has no shell's environment. What the reference tells systemd is enough for the first certificate and for the next.
#[tokio::test]
async fn certbot_renews_with_what_its_timer_is_told() {
    let scene = Scene::start().await;
    let token = scene
        .gate
        .issue(&["challenges", "--role", "challenges"])
        .await;
    let told = scene.of_the_timer();
    assert_eq!(told.len(), 2, "{told:?}");
    let mut first = scene.certbot(&token);
    first.env_clear().envs(told.clone());
    scene.succeed(first).await;
    scene.api.clear();
    let mut renewal = Command::new(installed().join("venv/bin/certbot"));
    renewal
        .args(["renew", "--force-renewal", "--no-random-sleep-on-renew"])
        .env_clear()
        .envs(told);
    for directory in ["--config-dir", "--work-dir", "--logs-dir"] {
        renewal.arg(directory).arg(scene.path("certbot"));
    }
    let mut heard = scene.succeed(renewal).await;
    heard.retain(|line| !line.starts_with("GET"));
    heard.sort();
    assert_eq!(heard, [DELETED, DELETED, CREATED, CREATED]);
    scene.finish().await;
}

/// S7: acme.sh cuts the address of the next page out of `links` with a regular expression, which takes what stands behind `next` with it.
/// The lists that tidegate makes have `next` last: it finds the zone on the eleventh page, and its records on as many.
#[tokio::test]
async fn acme_sh_gets_a_certificate() {
    let scene = Scene::start().await;
    let road = scene.road().await;
    let token = scene.gate.issue(&["texts", "--role", "texts"]).await;
    let mut heard = scene.succeed(scene.acme_sh(&token, &road)).await;
    heard.retain(|line| !line.starts_with("GET"));
    heard.sort();
    assert_eq!(heard, [DELETED, DELETED, CREATED, CREATED]);
    let asked = scene.gate.audit();
    let pages = |path: &str| {
        let own = |line: &&serde_json::Value| line["path"] == path && line["method"] == "GET";
        asked.iter().filter(own).count()
    };
    assert_eq!(pages("/v2/domains"), 4 * 11, "for each record twice");
    assert!(pages("/v2/domains/example.com/records") >= 2 * 11);
    let certificate = scene.path("acme.sh/example.com_ecc/fullchain.cer");
    assert!(
        fs::read_to_string(certificate)
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    let kept = fs::read_to_string(scene.path("acme.sh/account.conf")).unwrap();
    assert!(kept.contains(&token), "it keeps the token: {kept}");
    scene.finish().await;
}

/// It looks at no status: what it is told shows in what it logs, and the authority finds nothing.
#[tokio::test]
async fn acme_sh_logs_why_it_is_refused() {
    let scene = Scene::start().await;
    let road = scene.road().await;
    let token = scene.gate.issue(&["looks", "--role", "zones"]).await;
    let mut command = scene.acme_sh(&token, &road);
    command.args(["--debug", "2"]);
    scene.be_refused(command).await;
    scene.finish().await;
}

const ZONES: &str = "GET /v2/domains?per_page=200";
const MORE_ZONES: &str = "GET /v2/domains?page=2&per_page=200";
const RECORDS_OF_ZONE: &str = "GET /v2/domains/example.com/records?per_page=200";
const MORE_RECORDS: &str = "GET /v2/domains/example.com/records?page=2&per_page=200";
const CREATED: &str = "POST /v2/domains/example.com/records";
const DELETED: &str = "DELETE /v2/domains/example.com/records/ID";
const RECORDS: &str = "domains/example.com/records";
