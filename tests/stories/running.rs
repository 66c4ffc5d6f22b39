//! Serving, reloading and stopping; and what tidegate answers itself.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::gate::Signal;
use crate::support::{Fault, Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  client:
    description: one Droplet
    vars: [id]
    allow:
      - requests: ['GET /v2/droplets/${id}']
      - scopes: ['droplet:*', registry:read]
        only: { droplet: { name: 'x-${id}' } }
    deny:
      - scopes: [droplet:delete]
";

#[tokio::test]
async fn a_reload_takes_the_new_policy_whole_or_keeps_the_old() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let status = async || {
        gate.get("/v2/droplets/12")
            .token(&token)
            .send()
            .await
            .status
            .as_u16()
    };
    assert_eq!(status().await, 200);
    gate.write_policy("version: 1\nroles:\n  all:\n    allow: [{ scopes: [droplet:reed, image:read], onyl: 1 }]\n  more: 3\n");
    gate.signal(Signal::Hup);
    let logs = gate
        .log_until("the old configuration and policy stay in force")
        .await
        .join("\n");
    for mistake in [
        "policy.yaml:4:24: error: unknown scope `droplet:reed`; no endpoint asks for it; did you mean `droplet:read`?",
        "policy.yaml:4:51: error: unknown key `onyl`; did you mean `only`?",
        "policy.yaml:5:9: error: a role is a mapping",
    ] {
        assert!(logs.contains(mistake), "{mistake} in\n{logs}");
    }
    assert_eq!(status().await, 200, "the old policy stays in force");
    gate.write_policy("version: 1\nroles: { all: { allow: [{ scopes: [image:read] }] } }\n");
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    assert_eq!(status().await, 403);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_reload_takes_a_new_real_token() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let next = format!("dop_v1_{}", "beef".repeat(16));
    std::fs::write(gate.files().path("do-token"), format!("{next}\n")).unwrap();
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    gate.get("/v2/account").token(&token).send().await;
    assert_eq!(api.heard()[0].bearer(), Some(next.as_str()));
    gate.finish(&api).await;
}

/// Asks until no connection is taken any more, and returns the answers that are no refusal to one that came just before.
async fn until_nobody_listens(gate: &Gate, token: &str) -> Vec<String> {
    let mut let_through = Vec::new();
    let ended = timeout(Duration::from_secs(20), async {
        while let Ok(answer) = gate.get("/v2/account").token(token).try_send().await {
            if answer.reason() != Some("draining") {
                let_through.push(answer.text());
            }
        }
    });
    ended.await.expect("the listener closes");
    let_through
}

#[tokio::test]
async fn sigterm_lets_requests_under_way_end_and_takes_no_more() {
    let api = StandInApi::start().await;
    let mut gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    api.fault_next(Fault::DelayHead(Duration::from_millis(700)));
    let (slow, late) = {
        let slow = gate.get("/v2/droplets/12").token(&token).send();
        let stop = async {
            api.heard_until(|heard| heard.len() == 1).await;
            gate.signal(Signal::Term);
            gate.log_until("stopping").await;
            until_nobody_listens(&gate, &token).await
        };
        tokio::join!(slow, stop)
    };
    assert_eq!(slow.status, 200, "{}", slow.text());
    assert_eq!(late, [] as [&str; 0], "let through while stopping");
    assert!(gate.wait_exit().await.success());
    assert_eq!(api.heard_count(), 1);
}

#[tokio::test]
async fn whoami_shows_a_token_what_it_is_and_costs_nothing() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate
        .issue(&[
            "c12",
            "--role",
            "client",
            "--var",
            "id=12",
            "--expires",
            "1h",
            "--max-uses",
            "7",
            "--from",
            "127.0.0.1",
        ])
        .await;
    for path in ["/.tidegate/v1/whoami", "/.tidegate/v1/whoami/"] {
        let me = gate.get(path).token(&token).send().await.json();
        assert_eq!(
            (&me["name"], &me["roles"], &me["account"]),
            (&json!("c12"), &json!(["client"]), &json!("default"))
        );
        assert_eq!(
            (&me["uses_left"], &me["sources"]),
            (&json!(7), &json!(["127.0.0.1/32"]))
        );
        assert_eq!(
            me["grants"][0],
            json!({ "requests": ["GET /v2/droplets/12"] })
        );
        assert_eq!(
            me["grants"][1]["only"],
            json!({ "droplet": { "name": "x-12" } })
        );
        assert!(
            me["scopes"]
                .as_array()
                .unwrap()
                .contains(&json!("droplet:read"))
        );
        assert!(me["expires_at"].as_str().unwrap().starts_with("20"));
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn token_info_answers_doctl_in_digitaloceans_shape() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate
        .issue(&["ci", "--role", "all", "--expires", "1h"])
        .await;
    assert_eq!(
        token.len(),
        64,
        "`doctl auth init` takes 64 characters at its prompt"
    );
    let info = gate
        .get("/v1/oauth/token/info")
        .token(&token)
        .send()
        .await
        .json();
    assert!(
        (3590..=3600).contains(&info["expires_in_seconds"].as_i64().unwrap()),
        "{info}"
    );
    let now = jiff::Timestamp::now().as_second();
    let created_at = info["created_at"].as_i64().unwrap();
    assert!((now - 60..=now).contains(&created_at), "{info}");
    assert!(info["scopes"].as_array().unwrap().len() > 100);
    // doctl reads the owner into an `int`, which may have 32 bits.
    let owner = info["resource_owner_id"].as_i64().unwrap();
    assert!((0..=i64::from(i32::MAX)).contains(&owner), "{info}");
    let rotated = gate.cli(&["token", "rotate", "ci"]).await.stdout;
    let rotated = String::from_utf8(rotated).unwrap().trim().to_owned();
    let forever = gate.issue(&["forever", "--role", "all"]).await;
    for (token, same) in [(&rotated, true), (&forever, false)] {
        let again = gate.get("/v1/oauth/token/info").token(token);
        let again = again.send().await.json();
        assert_eq!(again["resource_owner_id"] == owner, same, "{again}");
    }
    let endless = gate.get("/v1/oauth/token/info").token(&forever);
    let endless = endless.send().await.json();
    assert_eq!(endless["expires_in_seconds"], Value::Null);
    gate.finish(&api).await;
}

#[tokio::test]
async fn nothing_of_tidegates_own_is_ever_forwarded() {
    let api = StandInApi::start().await;
    let gate = Gate::start(
        &api,
        "version: 1\nroles: { any: { allow: [{ requests: ['.*'] }] } }\n",
    )
    .await;
    let token = gate.issue(&["any", "--role", "any"]).await;
    for path in [
        "/.tidegate/",
        "/.tidegate",
        "/.tidegate/v1/other",
        "/%2Etidegate/v1/x",
    ] {
        let answer = gate.get(path).token(&token).send().await;
        assert_eq!(answer.reason(), Some("unknown_endpoint"), "{path}");
    }
    let answer = gate
        .post("/.tidegate/v1/whoami", &json!({}))
        .token(&token)
        .send()
        .await;
    assert_eq!(answer.reason(), Some("unknown_endpoint"));
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_base_url_with_too_much_or_too_little_of_v2_is_explained() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let cases = [
        ("/v2/v2/account", "must be tidegate's address without `/v2`"), // godo, with the version in its base URL
        ("/domains", "must end in `/v2/`, with the slash"), // certbot, with `/v2` in its end point and no slash
        ("/v2/nothing", "see the API's reference for the path"),
    ];
    for (path, told) in cases {
        let answer = gate.get(path).token(&token).send().await;
        assert_eq!(answer.reason(), Some("unknown_endpoint"), "{path}");
        let message = answer.message();
        assert!(message.contains(told), "{path}: {message}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_daemon_with_mistakes_in_its_files_does_not_start_and_says_all_of_them() {
    let api = StandInApi::start().await;
    let builder = Gate::builder(&api)
        .policy("version: 2\n")
        .set("listen", json!([{ "address": "0.0.0.0:0" }]))
        .set("limits", json!({ "bdy": "1MiB" }));
    let files = builder.files();
    let checked = files.cli(&["check"]).await;
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1));
    for what in [
        "plain HTTP is served on loopback only",
        "unknown key `bdy`; did you mean `body`?",
    ] {
        assert!(said.contains(what), "{said}");
    }
}

#[tokio::test]
async fn check_reads_everything_and_runs_the_policys_tests() {
    let api = StandInApi::start().await;
    let policy = format!(
        "{POLICY}
tests:
  - {{ role: all, request: 'DELETE /v2/droplets/12', expect: allow }}
  - {{ role: client, vars: {{ id: '12' }}, request: 'GET /v2/droplets/12', expect: allow, given: {{ droplet: [{{ id: 12, name: x-12 }}] }} }}
  - {{ role: client, vars: {{ id: '1.' }}, request: 'GET /v2/droplets/12', expect: deny, reason: resource_hidden }}
  - {{ role: client, vars: {{ id: '12' }}, request: 'DELETE /v2/droplets/12', expect: deny, given: {{ droplet: [{{ id: 12, tags: [a] }}] }} }}
  - {{ role: all, request: 'POST /v2/droplets', body: {{ name: x, image: ubuntu-24-04-x64, size: [1, true, null] }}, expect: allow }}
"
    );
    let gate = Gate::start(&api, &policy).await;
    let good = gate.cli(&["check"]).await;
    let said = String::from_utf8(good.stderr).unwrap();
    assert!(good.status.success(), "{said}");
    assert!(
        said.contains("2 roles, 0 tokens in the policy, 5 of 5 tests passed"),
        "{said}"
    );
    gate.write_policy(&policy.replace(
        "'DELETE /v2/droplets/12', expect: allow",
        "'DELETE /v2/droplets/12', expect: deny",
    ));
    let bad = gate.cli(&["check"]).await;
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(1));
    assert!(said.contains("error: test failed: `DELETE /v2/droplets/12` by role `all` is allowed by `all.allow[0]`, expected deny"), "{said}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn check_warns_of_what_reaches_further_than_its_grant() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  keys:\n    allow: [{ scopes: [spaces_key:create_credentials] }]\n  login:\n    allow:\n      - requests: ['GET /v2/registry/docker-credentials']\n  fine:\n    allow: [{ scopes: ['*'] }]\n";
    let gate = Gate::start(&api, policy).await;
    let checked = gate.cli(&["check"]).await;
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success());
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.contains("warning: `"))
        .map(|line| line.split("policy.yaml").last().unwrap())
        .collect();
    assert_eq!(
        warnings,
        [
            ":4:13: warning: `keys.allow[0]` can call POST /v2/spaces/keys; it makes a key that logs in to Spaces, and that has no expiry at DigitalOcean, so it outlives the sub-token and works from anywhere",
            ":7:9: warning: `login.allow[0]` can call GET /v2/registry/docker-credentials; it logs in to the registry, and that opens every repository of the registry, whatever a grant is narrowed to",
            ":9:13: warning: `fine.allow[0]` allows `*`: all that is not sensitive, deletions too, and whatever scopes a later release knows; name the families that are needed, as `droplet:*`",
        ]
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_catalogue_can_be_looked_at_and_extended() {
    let api = StandInApi::start().await;
    let extra = "section: New\nendpoints:\n  GET /v2/new_things/{id}:\n    operation: new_get\n    scopes: new_thing:read\n";
    let policy = "version: 1\nroles: { new: { allow: [{ scopes: [new_thing:read] }] } }\n";
    let gate = Gate::builder(&api)
        .policy(policy)
        .file("extra.yaml", extra)
        .set("catalog", json!({ "extra": "extra.yaml" }))
        .start()
        .await;
    let token = gate.issue(&["new", "--role", "new"]).await;
    assert_eq!(
        gate.get("/v2/new_things/1")
            .token(&token)
            .send()
            .await
            .status,
        200
    );
    let listed: Value =
        serde_json::from_slice(&gate.cli(&["catalog", "endpoints", "--json"]).await.stdout)
            .unwrap();
    let of_origin = |origins: &[&str]| {
        let rows = listed.as_array().unwrap().iter();
        rows.filter(|row| origins.contains(&row["origin"].as_str().unwrap()))
            .count()
    };
    assert_eq!(of_origin(&["specification", "correction"]), 644);
    assert_eq!(of_origin(&["correction"]), 25);
    assert_eq!(of_origin(&["client"]), 222);
    let table = gate
        .cli(&["catalog", "endpoints", "/v2/microvms/options"])
        .await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("ORIGIN") && table.contains(" client "),
        "{table}"
    );
    let scopes: Value =
        serde_json::from_slice(&gate.cli(&["catalog", "scopes", "--json"]).await.stdout).unwrap();
    assert!(
        scopes
            .as_array()
            .unwrap()
            .iter()
            .any(|scope| scope["scope"] == "kubernetes:access_cluster")
    );
    gate.finish(&api).await;
}
