//! The workflows of `examples` in which a job or workload proves who it is, run as far as they can be: their shell lines, as the
//! runners of GitHub and GitLab and the kubelet run them, before issuers of this machine. In place of `doctl` stands a script that asks
//! what `doctl` would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exec::elsewhere::actions;
use crate::support::{Gate, Issuer, StandInApi, World};

const POLICY: &str = include_str!("../../examples/ci/exchange/policy.yaml");
const GITHUB: &str = include_str!("../../examples/ci/exchange/github.yaml");
const GITLAB: &str = include_str!("../../examples/ci/exchange/gitlab.yaml");
const KUBERNETES: &str = include_str!("../../examples/kubernetes/exchange.yaml");

/// What `doctl` would ask, by its arguments.
const DOCTL: &str = r#"#!/bin/sh -eu
case "$*" in
"compute droplet create web-2 "*) set -- --json '{"name":"web-2","region":"fra1","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}' v2/droplets ;;
"compute domain records list example.com") set -- v2/domains/example.com/records ;;
*) echo "doctl $*?" >&2; exit 9 ;;
esac
for path; do :; done
[ "$1" = --json ] && set -- --header 'Content-Type: application/json' --data "$2"
[ "$1" = "$path" ] && set --
exec curl --fail --silent --show-error --header "Authorization: Bearer $DIGITALOCEAN_ACCESS_TOKEN" "$@" "$DIGITALOCEAN_API_URL/$path"
"#;
/// What the examples ask of `jq`.
const JQ: &str = r#"#!/bin/sh -eu
exec sed -n "s/.*\"${2#.}\":\"\([^\"]*\)\".*/\1/p"
"#;

/// A gate with the examples' policy before issuers of this machine, and a place to run in.
struct Ground {
    api: StandInApi,
    gate: Gate,
    github: Issuer,
    gitlab: Issuer,
    cluster: Issuer,
    place: TempDir,
}

impl Ground {
    async fn new() -> Self {
        let api = StandInApi::start_with(World::empty()).await;
        let (github, gitlab) = (Issuer::start().await, Issuer::start().await);
        let cluster = Issuer::start().await;
        let one = |issuer: &Issuer| json!({ "url": issuer.url, "audience": "tidegate" });
        let mut of_cluster = one(&cluster);
        of_cluster["once"] = json!(false);
        let issuers =
            json!({ "github": one(&github), "gitlab": one(&gitlab), "cluster": of_cluster });
        let gate = Gate::builder(&api).policy(POLICY);
        let gate = gate.set("issuers", issuers).start().await;
        let place = TempDir::new().unwrap();
        for (name, text) in [("doctl", DOCTL), ("jq", JQ)] {
            let path = place.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            api,
            gate,
            github,
            gitlab,
            cluster,
            place,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Runs lines in a shell with these variables.
    async fn run(&self, shell: &[&str], lines: &str, variables: &[(&str, &str)]) -> Output {
        let own = std::env::var("PATH").unwrap();
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .arg(lines)
            .env_clear()
            .env("PATH", format!("{}:{own}", self.place.path().display()))
            .env("DIGITALOCEAN_API_URL", self.gate.url())
            .envs(variables.iter().copied())
            .current_dir(&self.place)
            .stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
        ran.await.unwrap()
    }

    async fn whoami(&self, token: &str) -> Value {
        let asked = self.gate.get("/.tidegate/v1/whoami").token(token);
        asked.send().await.json()
    }

    /// The names of the sub-tokens that there are, and their states.
    async fn tokens(&self) -> Vec<(String, String)> {
        let listed = self.gate.cli(&["token", "list", "--json"]).await.stdout;
        let listed: Vec<Value> = serde_json::from_slice(&listed).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let told = |token: &Value| (text(&token["name"]), text(&token["state"]));
        listed.iter().map(told).collect()
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[track_caller]
fn well(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// How Actions runs a step that says `shell: bash`.
const BASH: [&str; 6] = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"];

#[tokio::test]
async fn s17_the_workflow_of_github_actions_deploys_and_leaves_nothing() {
    let ground = Ground::new().await;
    let claims = json!({ "sub": "repo:acme/shop:environment:staging", "repository_id": "81236", "ref": "refs/heads/main", "environment": "staging", "run_id": "7" });
    let url = actions(ground.github.token(&claims)).await;
    let known = ground.path("github.env").display().to_string();
    let variables = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        (
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "of-the-job-and-long-enough",
        ),
        ("GITHUB_ENV", &known),
    ];
    let workflow = yaml(GITHUB);
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap();
    let lines = |step: usize| steps[step]["run"].as_str().unwrap();
    let masked = well(&ground.run(&BASH, lines(0), &variables).await);
    let token = fs::read_to_string(&known).unwrap();
    let (_, token) = token.trim_end().split_once('=').unwrap();
    assert_eq!(masked.lines().count(), 2, "{masked}");
    assert!(
        masked.lines().all(|line| line.starts_with("::add-mask::")),
        "{masked}"
    );
    assert!(
        masked.contains(token),
        "the sub-token is kept out of the log"
    );
    assert_eq!(ground.whoami(token).await["name"], "deploy-from-main/7");
    let after = [("DIGITALOCEAN_ACCESS_TOKEN", token)];
    let made: Value =
        serde_json::from_str(&well(&ground.run(&BASH, lines(1), &after).await)).unwrap();
    assert_eq!(made["droplet"]["tags"], json!(["staging"]), "{made}");
    well(&ground.run(&BASH, lines(2), &after).await);
    assert_eq!(
        ground.tokens().await,
        [("deploy-from-main/7".to_owned(), "revoked".to_owned())]
    );

    // Of another branch nothing is given, and the step says why and fails.
    let mut other = claims.clone();
    other["ref"] = json!("refs/heads/x");
    let url = actions(ground.github.token(&other)).await;
    let variables = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        variables[1],
        variables[2],
    ];
    fs::remove_file(&known).unwrap();
    let refused = ground.run(&BASH, lines(0), &variables).await;
    assert!(!refused.status.success() && !Path::new(&known).exists());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("`ref`") && !said.contains("refs/heads/main"),
        "{said}"
    );
    ground.gate.finish(&ground.api).await;
}

#[tokio::test]
async fn s17_the_job_of_gitlab_deploys() {
    let ground = Ground::new().await;
    let claims = json!({ "sub": "project_path:acme/shop", "project_id": "4711", "ref": "main", "ref_type": "branch", "ref_protected": "true", "environment": "staging", "job_id": "9" });
    let job = yaml(GITLAB);
    let job = &job["deploy"];
    let part = |name: &str| {
        let lines = job[name].as_array().unwrap().iter();
        lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let lines = [part("before_script"), part("script")].concat().join("\n");
    let identity = ground.gitlab.token(&claims);
    let made = well(
        &ground
            .run(&BASH, &lines, &[("TIDEGATE_IDENTITY", &identity)])
            .await,
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["droplet"]["tags"], json!(["staging"]), "{made}");
    // It is taken once: who reads it from a log later has nothing.
    let again = ground
        .run(&BASH, &lines, &[("TIDEGATE_IDENTITY", &identity)])
        .await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("`jti`"), "{said}");
    ground.gate.finish(&ground.api).await;
}

#[tokio::test]
async fn s17_the_job_in_a_cluster_reads_its_zone() {
    let ground = Ground::new().await;
    let job = KUBERNETES.split("---\n").nth(1).unwrap();
    let container = &yaml(job)["spec"]["template"]["spec"]["containers"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let command: Vec<_> = container["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let shell: Vec<_> = command.iter().map(String::as_str).collect();
    let projected = ground.path("token").display().to_string();
    let lines = text(&container["args"][0]).replace("/var/run/tidegate/token", &projected);
    let account =
        json!({ "namespace": "external-dns", "serviceaccount": { "name": "external-dns" } });
    let claims = json!({ "sub": "system:serviceaccount:external-dns:external-dns", "jti": null, "kubernetes.io": account });
    fs::write(&projected, ground.cluster.token(&claims)).unwrap();
    let ca = [("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")];
    for _ in 0..2 {
        // The projected token stays the same while it lives, and is exchanged anew by each pod that has it.
        let listed = ground.run(&shell, &lines, &ca).await;
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        assert!(!said.contains("401") && !said.contains("403"), "{said}");
    }
    let states: Vec<_> = ground
        .tokens()
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states.len(), 2);
    assert!(
        states.contains(&"revoked".to_owned()) && states.contains(&"active".to_owned()),
        "{states:?}"
    );
    let mut other = claims.clone();
    other["kubernetes.io"]["namespace"] = json!("default");
    fs::write(&projected, ground.cluster.token(&other)).unwrap();
    let refused = ground.run(&shell, &lines, &ca).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("namespace"),
        "{said}"
    );
    ground.gate.finish(&ground.api).await;
}
