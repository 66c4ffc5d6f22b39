//! `--url` with `--oidc`: a job proves who it is, and its command gets a sub-token of minutes; nothing is stored (S16, S17).

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{LIST, Run};
use crate::support::{Gate, Issuer, REAL_TOKEN, StandInApi};

const POLICY: &str = r#"
version: 1
roles:
  look: { allow: [{ scopes: [droplet:read] }] }
  both: { allow: [{ scopes: [domain:read] }] }
trust:
  - { name: job, issuer: ci, claims: { repository_id: "81236", ref: "refs/heads/*" }, roles: [look, both], ttl: 5m }
"#;

async fn scene() -> (StandInApi, Issuer, Gate) {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let issuers = json!({ "ci": { "url": issuer.url, "audience": "tidegate" } });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("issuers", issuers)
        .start()
        .await;
    (api, issuer, gate)
}

fn job() -> serde_json::Value {
    json!({ "sub": "job", "repository_id": "81236", "ref": "refs/heads/main", "run_id": "7" })
}

/// Gives out this identity as Actions does, to who shows the job's token and asks for this audience.
pub async fn actions(identity: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/token?api-version=2.0",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            let known = head
                .starts_with("GET /token?api-version=2.0&audience=tidegate HTTP/1.1\r\n")
                && head
                    .to_lowercase()
                    .contains("authorization: bearer of-the-job-and-long-enough\r\n");
            let (status, body) = if known {
                (200, json!({ "value": identity }).to_string())
            } else {
                (401, json!({ "message": head }).to_string())
            };
            let answer = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn s17_a_job_runs_a_command_with_a_token_for_its_identity() {
    let (api, issuer, gate) = scene().await;
    let github = actions(issuer.token(&job())).await;
    for oidc in ["github", "gitlab", "identity"] {
        let options = ["--url", &gate.url(), "--oidc", oidc, "--role", "look"];
        let mut run = Run::bare(&options)
            .env("DIGITALOCEAN_TOKEN", REAL_TOKEN)
            .env("MINE", REAL_TOKEN);
        run = match oidc {
            "github" => run.env("ACTIONS_ID_TOKEN_REQUEST_URL", &github).env(
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
                "of-the-job-and-long-enough",
            ),
            "gitlab" => run.env("TIDEGATE_ID_TOKEN", issuer.token(&job())),
            _ => run.file("identity", &issuer.token(&job())),
        };
        let ran = run.shell(&format!("{LIST} -f -o list && env | grep -E 'f00df00d|TIDEGATE_ID'; echo $DIGITALOCEAN_API_URL")).await;
        assert_eq!(
            ran.stdout,
            format!("{}\n", gate.url()),
            "{oidc}: {}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains(&format!(
                "tidegate exec: {} gives the command look\n",
                gate.url()
            )),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("the real token stands there: MINE"),
            "{}",
            ran.stderr
        );
    }
    let list = gate.cli(&["token", "list", "--json"]).await.stdout;
    let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
    assert_eq!(list.len(), 3);
    let looks = |token: &serde_json::Value| token["roles"] == json!(["look"]);
    assert!(list.iter().all(looks), "{list:?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn who_is_not_trusted_runs_nothing_and_learns_why() {
    let (api, issuer, gate) = scene().await;
    let url = gate.url();
    let mut stranger = job();
    stranger["ref"] = json!("refs/tags/v1");
    let cases = [
        (
            &["--url", &url, "--oidc", "identity"][..],
            "gives no sub-token for this identity (401 Unauthorized): ",
        ),
        (
            &["--url", &url, "--oidc", "none"],
            "the identity in `none` can't be read",
        ),
        (
            &["--url", &url, "--oidc", "gitlab"],
            "TIDEGATE_ID_TOKEN is not set",
        ),
        (
            &["--url", &url, "--oidc", "github"],
            "permissions: { id-token: write }",
        ),
        (
            &["--url", "http://192.0.2.1", "--oidc", "identity"],
            "would travel in the clear",
        ),
        (
            &["--url", "http://127.0.0.1:1", "--oidc", "identity"],
            "127.0.0.1 can't be asked",
        ),
    ];
    for (options, expected) in cases {
        let run = Run::bare(options).file("identity", &issuer.token(&stranger));
        let ran = run.shell("echo ran").await;
        assert_eq!(
            (ran.status, &*ran.stdout),
            (Some(1), ""),
            "{options:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(expected), "{options:?}: {}", ran.stderr);
        assert!(
            !ran.stderr.contains("eyJ"),
            "no identity is told: {}",
            ran.stderr
        );
    }
    for mixed in [
        &[
            "--url",
            "http://127.0.0.1:1",
            "--oidc",
            "github",
            "--ttl",
            "5m",
        ][..],
        &["--oidc", "github"],
        &["--url", "http://127.0.0.1:1", "--oidc", "github", "--https"],
    ] {
        assert_eq!(
            Run::bare(mixed).shell("echo ran").await.status,
            Some(2),
            "{mixed:?}"
        );
    }
    gate.finish(&api).await;
}

/// S18: the holder of a sub-token gives its command a weaker one, which ends with it.
#[tokio::test]
async fn s18_a_command_gets_a_weaker_token_than_its_caller_has() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  look: { allow: [{ scopes: [droplet:read] }], delegate: { ttl: 1h, count: 2 } }\n  both: { allow: [{ scopes: [domain:read] }], delegate: { ttl: 1h, count: 2 } }\n  kept: { allow: [{ scopes: [domain:read] }] }\n";
    let gate = Gate::start(&api, policy).await;
    let parent = gate
        .issue(&["parent", "--role", "look", "--role", "both"])
        .await;
    let script = format!(
        r#"{LIST} -f -o list && echo list; env | grep -c "$(tail -c 30 parent)"; curl -s -H "Authorization: Bearer $DO_TOKEN" $DIGITALOCEAN_API_URL/.tidegate/v1/whoami"#
    );
    for by_file in [true, false] {
        let options = ["--url", &gate.url(), "--role", "look", "--ttl", "5m"];
        let mut run = Run::bare(&options).file("parent", &parent);
        run = if by_file {
            run.options(&["--sub-token-file", "parent"])
        } else {
            run.env("TIDEGATE_TOKEN", &parent).env("MINE", &parent)
        };
        let ran = run.shell(&script).await;
        let lines: Vec<_> = ran.stdout.lines().collect();
        assert_eq!(lines[..2], ["list", "0"], "{}", ran.stderr);
        let whoami: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(whoami["roles"], json!(["look"]));
        assert_eq!(whoami["name"], "parent/exec");
    }
    let listed = gate.get("/.tidegate/v1/tokens").token(&parent).send().await;
    let kept = gate.issue(&["kept", "--role", "kept"]).await;
    let run = Run::bare(&["--url", &gate.url()]).env("TIDEGATE_TOKEN", &kept);
    let ran = run.shell("echo ran").await;
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
    assert!(
        ran.stderr
            .contains("makes no weaker sub-token of this one (403 Forbidden): "),
        "{}",
        ran.stderr
    );
    let listed = listed.json();
    let children = listed["tokens"].as_array().unwrap();
    assert_eq!(children.len(), 2, "{listed}");
    assert!(
        children.iter().all(|child| child["state"] == "revoked"),
        "they ended with their commands: {listed}"
    );
    gate.finish(&api).await;
}
