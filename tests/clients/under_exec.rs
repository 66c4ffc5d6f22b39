//! S16: clients as they come, run by `tidegate exec` with a role, and without it no further.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::authority::Authority;
use super::certificates::Certificates;
use super::support::less::each_scope_less;
use super::support::standin::Heard;
use super::support::{REAL_TOKEN, StandInApi, World};
use super::zone::NameServer;
use super::{NOWHERE_ELSE, installed, said_by, script};

const POLICY: &str = "
version: 1
roles:
  errand:
    allow: [{ scopes: [droplet:read, domain:update] }]
  looks:
    allow: [{ scopes: [droplet:read, domain:read] }]
  acme:
    allow: [{ scopes: [domain:update] }]
  records:
    allow: [{ scopes: [domain:read, domain:update] }]
";

/// What came of a run.
struct Ran {
    succeeded: bool,
    said: String,
}

/// Runs a command by `tidegate exec` before `api`, with these options.
async fn exec(api: &StandInApi, directory: &Path, options: &[&str], command: &Command) -> Ran {
    let mut exec = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    std::fs::write(directory.join("policy.yaml"), POLICY).unwrap();
    exec.args(["exec", "--upstream", &api.url()]);
    if !options.contains(&"--policy") {
        exec.args(["--policy", "policy.yaml"]);
    }
    exec.args(options)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(directory)
        .envs(NOWHERE_ELSE)
        .env("DIGITALOCEAN_TOKEN", REAL_TOKEN)
        .env("TLDEXTRACT_CACHE_PATH", directory.join("tlds"))
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null());
    let (succeeded, said) = said_by(exec).await;
    let heard = api.heard();
    assert!(heard.iter().all(|heard| heard.bearer() == Some(REAL_TOKEN)));
    Ran { succeeded, said }
}

fn errand(client: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.arg(script("under_exec.py")).arg(client);
    command
}

#[tokio::test]
async fn s16_python_libraries_find_token_and_gate_in_the_environment() {
    let place = TempDir::new().unwrap();
    for (client, over_tls) in [("python-digitalocean", None), ("pydo", Some("--https"))] {
        let api = StandInApi::start().await;
        let options = |role| {
            ["--role", role]
                .into_iter()
                .chain(over_tls)
                .collect::<Vec<_>>()
        };
        let ran = exec(&api, place.path(), &options("errand"), &errand(client)).await;
        assert!(ran.succeeded, "{client}: {}", ran.said);
        assert!(ran.said.starts_with("a-web a-db"), "{}", ran.said);
        let writes: Vec<_> = api
            .writes()
            .iter()
            .map(|heard| heard.method.to_string())
            .collect();
        assert_eq!(writes, ["POST", "DELETE"], "{client}");
        api.clear();
        let ran = exec(&api, place.path(), &options("looks"), &errand(client)).await;
        assert!(!ran.succeeded, "{client}: {}", ran.said);
        assert!(
            ran.said
                .contains("POST /v2/domains/example.com/records: scope, needs domain:update"),
            "{}",
            ran.said
        );
        assert_eq!(api.writes().len(), 0);
    }
}

/// A host that no variable changes: the client comes to the gate all the same, and to nobody else with it.
#[tokio::test]
async fn s16_lexicon_is_led_to_the_gate_by_the_proxy_of_the_run() {
    let api = StandInApi::start().await;
    let place = TempDir::new().unwrap();
    let lexicon = |verb: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "TOKEN=$DIGITALOCEAN_TOKEN exec \"$@\"", "sh"])
            .arg(installed().join("venv/bin/python"))
            .arg(script("lexicon_record.py"))
            .arg(verb);
        command
    };
    let names = || api.world(|world| world.names("domains/example.com/records"));
    let is_there = || names().iter().any(|name| name == "_acme-challenge.new");
    let records = ["--role", "records", "--intercept"];
    for (verb, there) in [("create", true), ("delete", false)] {
        let ran = exec(&api, place.path(), &records, &lexicon(verb)).await;
        assert!(ran.succeeded && is_there() == there, "{}", ran.said);
    }
    let looks = ["--role", "looks", "--intercept"];
    let ran = exec(&api, place.path(), &looks, &lexicon("create")).await;
    assert!(!ran.succeeded && !is_there(), "{}", ran.said);
    let ran = exec(
        &api,
        place.path(),
        &["--role", "records"],
        &lexicon("create"),
    )
    .await;
    assert!(
        !ran.succeeded && !is_there(),
        "it would go to the API itself: {}",
        ran.said
    );
}

/// Runs lego to a certificate by `tidegate exec` with these options; and what the API heard.
async fn lego(directory: &Path, options: &[&str]) -> (Ran, Vec<String>) {
    let world = World::empty().with(
        "domains",
        [serde_json::json!({ "name": "example.com", "ttl": 1800, "zone_file": null })],
    );
    let api = std::sync::Arc::new(StandInApi::start_with(world).await);
    let names = NameServer::start(&api).await;
    let certificates = Certificates::make(&["127.0.0.1"]);
    let authority = Authority::start(&certificates, &names).await;
    let account = TempDir::new().unwrap();
    let mut lego = Command::new("lego");
    lego.args(["--accept-tos", "--email", "ops@example.com"])
        .args(["--server", &authority.url()])
        .args(["--dns", "digitalocean", "--dns.disable-cp"])
        .args(["--dns.resolvers", &names.address().to_string()])
        .args(["--domains", "*.example.com", "--path"])
        .arg(account.path())
        .arg("run")
        .env("LEGO_CA_CERTIFICATES", certificates.authority())
        .env("DO_POLLING_INTERVAL", "1");
    let mut ran = exec(&api, directory, options, &lego).await;
    if !ran.succeeded {
        ran.said.push_str("\npebble:\n");
        ran.said.push_str(&authority.log());
    }
    (ran, api.heard().iter().map(Heard::line).collect())
}

/// S7 without a daemon: nothing is installed, and nothing stays.
#[tokio::test]
async fn s16_lego_gets_a_certificate() {
    let place = TempDir::new().unwrap();
    let (ran, _) = lego(place.path(), &["--role", "looks"]).await;
    assert!(
        !ran.succeeded && ran.said.contains("needs domain:update"),
        "{}",
        ran.said
    );
    let (ran, heard) = lego(place.path(), &["--role", "acme"]).await;
    assert!(ran.succeeded, "{}", ran.said);
    assert_eq!(heard.len(), 2, "made and deleted: {heard:?}");
    assert!(
        ran.said
            .contains("tidegate exec: 2 calls let through, 0 refused"),
        "{}",
        ran.said
    );
}

/// S15 for a client that makes something and takes it away again: the record has another id the next time.
#[tokio::test]
async fn s15_the_role_that_lego_needs_is_learned_from_one_certificate() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("role.yaml");
    let (ran, _) = lego(place.path(), &["--learn", "--out", "role.yaml"]).await;
    assert!(ran.succeeded, "{}", ran.said);
    let role = std::fs::read_to_string(&path).unwrap();
    let with = ["--policy", "role.yaml", "--role", "learned"];
    let (ran, _) = lego(place.path(), &with).await;
    assert!(ran.succeeded, "{}\n{role}", ran.said);
    for (scope, policy) in each_scope_less(&role) {
        std::fs::write(&path, &policy).unwrap();
        let (ran, _) = lego(place.path(), &with).await;
        assert!(!ran.succeeded, "without {scope}: {}\n{policy}", ran.said);
    }
}

/// S15: what each client takes is learned while it runs, is enough for it, and with any one scope less is not.
#[tokio::test]
async fn s15_the_role_that_a_client_needs_is_learned_from_one_run() {
    let curl = r#"curl -sf -o answer -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/droplets/12" &&
        curl -sf -o answer -X DELETE -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/droplets/12""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", curl]);
    for (command, over_tls) in [
        (errand("python-digitalocean"), None),
        (errand("pydo"), Some("--https")),
        (shell, None),
    ] {
        let place = TempDir::new().unwrap();
        let path = place.path().join("role.yaml");
        let api = StandInApi::start().await;
        let learn = ["--learn", "--out", "role.yaml"];
        let options: Vec<_> = learn.into_iter().chain(over_tls).collect();
        let ran = exec(&api, place.path(), &options, &command).await;
        assert!(ran.succeeded, "{command:?}: {}", ran.said);
        let role = std::fs::read_to_string(&path).unwrap();
        let with = ["--policy", "role.yaml", "--role", "learned"];
        let options: Vec<_> = with.into_iter().chain(over_tls).collect();
        let ran = exec(&StandInApi::start().await, place.path(), &options, &command).await;
        assert!(ran.succeeded, "{command:?}: {}\n{role}", ran.said);
        for (scope, policy) in each_scope_less(&role) {
            std::fs::write(&path, &policy).unwrap();
            let ran = exec(&StandInApi::start().await, place.path(), &options, &command).await;
            assert!(!ran.succeeded, "without {scope}: {}\n{policy}", ran.said);
        }
    }
}
