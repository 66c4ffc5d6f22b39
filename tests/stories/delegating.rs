//! S18: who holds a sub-token hands on weaker ones, to a sub-process, a matrix job or an agent; none of them may what it may not, and
//! all end with it.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Gate, StandInApi, World};

const POLICY: &str = r#"
version: 1
roles:
  team:
    delegate: { ttl: 1h, count: 3 }
    allow:
      - { scopes: ["droplet:*", "image:read", "domain:*", "tag:*", "regions:read", "kubernetes:read", "kubernetes:access_cluster"] }
    deny: [{ scopes: ["droplet:delete"], only: { droplet: { name: "*-keep" } } }]
  tagged:
    delegate: { ttl: 1h, count: 3 }
    allow:
      - { scopes: ["droplet:*", "image:read", "tag:read", "tag:create", "ssh_key:read"], only: { tag: web }, on_create: { tags: [web] } }
  open: { delegate: { ttl: 1h, count: 3 }, allow: [{ scopes: ["droplet:*", "image:read"] }] }
  keeps: { allow: [{ scopes: [account:read] }] }
"#;

const TOKENS: &str = "/.tidegate/v1/tokens";

async fn gate() -> (StandInApi, Gate) {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    (api, gate)
}

async fn ask(gate: &Gate, parent: &str, child: &Value) -> Answer {
    gate.post(TOKENS, child)
        .token(parent)
        .gives_a_token()
        .send()
        .await
}

async fn child(gate: &Gate, parent: &str, child: &Value) -> String {
    let answer = ask(gate, parent, child).await;
    assert_eq!(answer.status, 201, "{child}: {}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

async fn whoami(gate: &Gate, token: &str) -> Answer {
    gate.get("/.tidegate/v1/whoami").token(token).send().await
}

async fn refused_within_a_second(gate: &Gate, token: &str, reason: &str) {
    let began = Instant::now();
    loop {
        let answer = whoami(gate, token).await;
        if answer.reason() == Some(reason) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{}",
            answer.text()
        );
    }
}

/// S18, from the making of a child to its end.
#[tokio::test]
async fn s18_a_child_may_what_its_parent_may_and_what_it_says_itself() {
    let (api, gate) = gate().await;
    let parent = gate
        .issue(&["ci", "--role", "team", "--role", "keeps"])
        .await;
    let made = ask(&gate, &parent, &json!({ "name": "job-1", "expires_in": 600, "scopes": ["droplet:read", "domain:*"], "only": { "domain": { "name": "example.com" }, "droplet": "any" } })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let body = made.json();
    assert_eq!(
        (&body["name"], &body["roles"]),
        (&json!("ci/job-1"), &json!(["team"])),
        "a role without `delegate` is not handed on"
    );
    let token = body["token"].as_str().unwrap();
    let told = whoami(&gate, token).await.json();
    assert_eq!(
        (&told["parent"], &told["name"]),
        (&json!("ci"), &json!("ci/job-1"))
    );
    assert!(told["within"][0]["only"]["domain"].is_object(), "{told:#}");
    let scopes = told["scopes"].to_string();
    assert!(
        scopes.contains("domain:delete")
            && !scopes.contains("droplet:delete")
            && !scopes.contains("tag:"),
        "{scopes}"
    );
    let cases = [
        (Method::GET, "/v2/droplets", 200),
        (Method::DELETE, "/v2/droplets/12", 403), // a scope that it left out
        (Method::GET, "/v2/images", 403),
        (Method::GET, "/v2/account", 403), // not of the roles that were handed on
        (Method::GET, "/v2/domains/other.example", 404),
    ];
    for (method, path, status) in cases {
        let answer = gate.request(method, path).token(token).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let lines = gate.audit_of(&made).await;
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["decision", "answer"],
        "on record before it is handed out"
    );
    assert_eq!(
        lines[0]["created"],
        json!({ "id": body["id"], "name": "ci/job-1" })
    );
    let used = gate.get("/v2/droplets").token(token).send().await;
    let lines = gate.audit_of(&used).await;
    assert_eq!(
        (&lines[0]["token"]["name"], &lines[0]["parent"]),
        (&json!("ci/job-1"), &json!("ci"))
    );

    let listed = gate.get(TOKENS).token(&parent).send().await.json();
    assert_eq!(listed["tokens"][0]["id"], body["id"]);
    assert_eq!(listed["tokens"][0]["state"], "active");
    assert!(listed["tokens"][0].get("token").is_none());
    let end = format!("{TOKENS}/{}", body["id"].as_str().unwrap());
    assert_eq!(gate.delete(&end).token(&parent).send().await.status, 204);
    assert_eq!(
        whoami(&gate, token).await.reason(),
        Some("revoked"),
        "at once, where it was ended"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_a_child_says_narrows_lists_answers_and_what_it_makes() {
    let api = StandInApi::start_with(World::empty()).await;
    let gate = Gate::start(&api, POLICY).await;
    let parent = gate.issue(&["ci", "--role", "tagged"]).await;
    let own = child(&gate, &parent, &json!({ "expires_in": 600, "only": { "droplet": { "name": "web-*", "tag": "web" }, "image": "any" }, "scopes": ["droplet:*", "image:read"] })).await;
    let create = |name: &str| json!({ "name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
    // The parent's `on_create` adds the tag first, then the child's `only` is asked.
    let made = gate
        .post("/v2/droplets", &create("web-1"))
        .token(&own)
        .send()
        .await;
    assert_eq!(made.status, 202, "{}", made.text());
    let other = gate
        .post("/v2/droplets", &create("db-1"))
        .token(&own)
        .send()
        .await;
    assert_eq!(
        (other.status.as_u16(), other.reason()),
        (403, Some("resource")),
        "{}",
        other.text()
    );
    let of_parent = gate
        .post("/v2/droplets", &create("db-1"))
        .token(&parent)
        .send()
        .await;
    assert_eq!(of_parent.status, 202, "{}", of_parent.text());
    let names = async |token: &str| {
        gate.get("/v2/droplets")
            .token(token)
            .send()
            .await
            .names("droplets")
    };
    assert_eq!(names(&own).await, ["web-1"]);
    let mut all = names(&parent).await;
    all.sort();
    assert_eq!(all, ["db-1", "web-1"]);
    let id = |answer: &Answer| answer.json()["droplet"]["id"].to_string();
    let path = format!("/v2/droplets/{}", id(&of_parent));
    assert_eq!(gate.get(&path).token(&own).send().await.status, 404);
    assert_eq!(gate.get(&path).token(&parent).send().await.status, 200);
    // The grants of this one are not narrowed; what its child says is all that narrows.
    let open = gate.issue(&["open", "--role", "open"]).await;
    let says = json!({ "expires_in": 600, "only": { "droplet": { "name": "web-*" } } });
    let of_open = child(&gate, &open, &says).await;
    assert_eq!(names(&of_open).await, ["web-1"]);
    assert_eq!(gate.get(&path).token(&of_open).send().await.status, 404);
    // No wider selector of its own opens what the parent's does not.
    let wide = child(
        &gate,
        &parent,
        &json!({ "expires_in": 600, "only": { "droplet": "any" } }),
    )
    .await;
    let mut seen = names(&wide).await;
    seen.sort();
    assert_eq!(seen, all);
    let others = gate.post("/v2/droplets", &create("other-1"));
    let others = others.token(&open).send().await;
    let path = format!("/v2/droplets/{}", id(&others));
    let renamed = json!({ "type": "rename", "name": "web-2" });
    let asked = [
        gate.get(&path),
        gate.delete(&path),
        gate.post(&format!("{path}/actions"), &renamed),
    ];
    for ask in asked {
        let answer = ask.token(&wide).send().await;
        assert_eq!(
            answer.reason(),
            Some("resource_hidden"),
            "{}",
            answer.text()
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn nothing_that_a_child_says_widens() {
    let (api, gate) = gate().await;
    let parent = gate.issue(&["ci", "--role", "team"]).await;
    let credentials = "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig";
    let cases = [
        (json!({ "scopes": ["*"] }), Method::GET, "/v2/account", 403), // what the parent lacks
        (
            json!({ "scopes": ["account:read"] }),
            Method::GET,
            "/v2/account",
            403,
        ),
        (
            json!({ "requests": ["GET /v2/account"] }),
            Method::GET,
            "/v2/account",
            403,
        ),
        (
            json!({ "requests": ["GET /v2/droplets"] }),
            Method::GET,
            "/v2/droplets",
            200,
        ),
        (
            json!({ "requests": ["GET /v2/droplets"] }),
            Method::GET,
            "/v2/droplets/12",
            403,
        ),
        (
            json!({ "requests": ["GET /v2/droplets"], "scopes": ["domain:read"] }),
            Method::GET,
            "/v2/droplets",
            403,
        ), // both must cover
        (
            json!({ "requests": ["GET /v2/droplets"], "scopes": ["*:read"] }),
            Method::GET,
            "/v2/droplets",
            200,
        ),
        (
            json!({ "requests": ["GET /v2/droplets"], "scopes": ["*:read"] }),
            Method::GET,
            "/v2/droplets/12",
            403,
        ), // by its scopes alone it might
        (
            json!({ "actions": ["reboot"] }),
            Method::POST,
            "/v2/droplets/12/actions",
            403,
        ),
        (json!({ "scopes": ["*"] }), Method::GET, credentials, 403), // no wildcard covers the sensitive
    ];
    for (mut says, method, path, status) in cases {
        let made = says.clone();
        says["expires_in"] = json!(60);
        let answer = ask(&gate, &parent, &says).await;
        assert_eq!(answer.status, 201, "{made}: {}", answer.text());
        let (token, id) = (
            answer.json()["token"].as_str().unwrap().to_owned(),
            answer.json()["id"].as_str().unwrap().to_owned(),
        );
        let mut asked = gate.request(method.clone(), path).token(&token);
        if method == Method::POST {
            asked = asked.json(&json!({ "type": "power_off" }));
        }
        let answer = asked.send().await;
        assert_eq!(
            answer.status,
            status,
            "{made} {method} {path}: {}",
            answer.text()
        );
        assert_eq!(
            gate.delete(&format!("{TOKENS}/{id}"))
                .token(&parent)
                .send()
                .await
                .status,
            204
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_can_t_be_handed_on_is_told() {
    let (api, gate) = gate().await;
    let parent = gate
        .issue(&["ci", "--role", "team", "--role", "keeps"])
        .await;
    let no_delegate = gate.issue(&["plain", "--role", "keeps"]).await;
    let first = child(&gate, &parent, &json!({ "expires_in": 60 })).await;
    let refusals = [
        (&first, json!({ "expires_in": 60 }), "makes none"), // a grandchild
        (&no_delegate, json!({ "expires_in": 60 }), "`delegate`"),
        (&parent, json!({ "expires_in": 3601 }), "3600 s at most"),
        (
            &parent,
            json!({ "expires_in": 60, "roles": ["keeps"] }),
            "can't hand on the role `keeps`",
        ),
        (
            &parent,
            json!({ "expires_in": 60, "roles": ["none"] }),
            "can't hand on the role `none`",
        ),
    ];
    for (token, says, why) in refusals {
        let answer = ask(&gate, token, &says).await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (403, Some("delegation")),
            "{says}"
        );
        assert!(
            answer.message().contains(why),
            "{:?} has no {why:?}",
            answer.message()
        );
    }
    let malformed = [
        (json!({}), "`expires_in` is missing"),
        (json!({ "expires_in": "60" }), "whole number"),
        (json!({ "expires_in": 0 }), "whole number"),
        (json!({ "expires_in": 1.5 }), "whole number"),
        (
            json!({ "expires_in": 60, "ceiling": "team" }),
            "unknown member `ceiling`",
        ),
        (
            json!({ "expires_in": 60, "scopes": ["droplet:reed"] }),
            "unknown scope `droplet:reed`",
        ),
        (json!({ "expires_in": 60, "scopes": [] }), "is empty"),
        (
            json!({ "expires_in": 60, "only": {} }),
            "would narrow nothing",
        ),
        (
            json!({ "expires_in": 60, "only": { "dropelt": "any" } }),
            "unknown kind `dropelt`",
        ),
        (
            json!({ "expires_in": 60, "only": null, "scopes": null }),
            "not nothing",
        ),
        (json!({ "expires_in": 60, "roles": [] }), "`roles` is empty"),
        (
            json!({ "expires_in": 60, "sources": ["nowhere"] }),
            "a source is",
        ),
        (
            json!({ "expires_in": 60, "rate": "often" }),
            "`rate` can't be",
        ),
        (json!({ "expires_in": 60, "name": "a\nb" }), "control"),
        (json!([]), "no JSON object"),
    ];
    for (says, why) in malformed {
        let answer = ask(&gate, &parent, &says).await;
        assert_eq!(answer.status, 400, "{says}: {}", answer.text());
        assert!(
            answer.message().contains(why),
            "{:?} has no {why:?}",
            answer.message()
        );
    }
    // As many living ones as the role says, and one more once one has ended.
    let second = child(&gate, &parent, &json!({ "expires_in": 60 })).await;
    child(&gate, &parent, &json!({ "expires_in": 60 })).await;
    let full = ask(&gate, &parent, &json!({ "expires_in": 60 })).await;
    assert_eq!(
        (full.status.as_u16(), full.reason()),
        (403, Some("delegation"))
    );
    assert!(
        full.message().contains("3 living children"),
        "{}",
        full.message()
    );
    assert_eq!(
        gate.delete(&format!("{TOKENS}/self"))
            .token(&second)
            .send()
            .await
            .status,
        204
    );
    child(&gate, &parent, &json!({ "expires_in": 60 })).await;
    // Nobody ends another's child.
    let stranger = gate.issue(&["other", "--role", "team"]).await;
    let id = whoami(&gate, &first).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for named in [id.as_str(), "000000000000", "nonsense"] {
        let answer = gate
            .delete(&format!("{TOKENS}/{named}"))
            .token(&stranger)
            .send()
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (404, Some("resource_hidden")),
            "{named}"
        );
    }
    assert_eq!(
        gate.get(TOKENS).token(&stranger).send().await.json(),
        json!({ "tokens": [] })
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_child_ends_with_its_parent_its_secret_and_its_role() {
    let (api, gate) = gate().await;
    let make = async |name: &str| {
        let parent = gate.issue(&[name, "--role", "team"]).await;
        let own = child(&gate, &parent, &json!({ "expires_in": 600 })).await;
        assert_eq!(whoami(&gate, &own).await.status, 200);
        (parent, own)
    };
    let (_, of_revoked) = make("revoked").await;
    gate.cli(&["token", "revoke", "revoked"]).await;
    refused_within_a_second(&gate, &of_revoked, "revoked").await;

    let (parent, of_self) = make("self").await;
    assert_eq!(
        gate.delete(&format!("{TOKENS}/self"))
            .token(&parent)
            .send()
            .await
            .status,
        204
    );
    assert_eq!(whoami(&gate, &of_self).await.reason(), Some("revoked"));

    let (_, of_rotated) = make("rotated").await;
    let rotated = gate.cli(&["token", "rotate", "rotated"]).await;
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert!(said.contains("1 living child"), "{said}");
    refused_within_a_second(&gate, &of_rotated, "revoked").await;

    let (_, of_graced) = make("graced").await;
    gate.cli(&["token", "rotate", "graced", "--grace", "1h"])
        .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(
        whoami(&gate, &of_graced).await.status,
        200,
        "as long as its parent's old secret"
    );

    let (_, of_role) = make("role").await;
    gate.write_policy(&POLICY.replacen(
        "delegate: { ttl: 1h, count: 3 }",
        "description: no more",
        1,
    ));
    gate.log_until("reloaded").await;
    assert_eq!(whoami(&gate, &of_role).await.reason(), Some("role_missing"));
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_of_the_policy_file_has_children_too() {
    let (api, gate) = gate().await;
    let issued = ["token", "issue", "kept", "--role", "team", "--yaml"];
    let issued = gate.cli(&issued).await;
    let (entry, said) = (
        String::from_utf8(issued.stdout).unwrap(),
        String::from_utf8(issued.stderr).unwrap(),
    );
    let parent = said.split_whitespace().last().unwrap().to_owned();
    gate.write_policy(&format!("{POLICY}tokens:\n{entry}"));
    gate.log_until("reloaded").await;
    let says = json!({ "name": "job", "expires_in": 600, "scopes": ["droplet:read"] });
    let (one, other) = (
        child(&gate, &parent, &says).await,
        child(&gate, &parent, &says).await,
    );
    for own in [&one, &other] {
        let told = whoami(&gate, own).await.json();
        let names = (&told["name"], &told["parent"]);
        assert_eq!(names, (&json!("kept/job"), &json!("kept")), "both");
        let used = gate.get("/v2/droplets").token(own).send().await;
        assert_eq!(used.status, 200, "{}", used.text());
    }
    let itself = format!("{TOKENS}/self");
    let ended = gate.delete(&itself).token(&one).send().await;
    assert_eq!(ended.status, 204);
    assert_eq!(whoami(&gate, &one).await.reason(), Some("revoked"));
    assert_eq!(whoami(&gate, &other).await.status, 200);
    let began = Instant::now();
    let lost = entry.replace("\"team\"", "\"keeps\"");
    for (entry, reason) in [(&lost, Some("role_missing")), (&entry, None)] {
        gate.write_policy(&format!("{POLICY}tokens:\n{entry}"));
        while whoami(&gate, &other).await.reason() != reason {
            assert!(began.elapsed() < Duration::from_secs(20), "{reason:?}");
        }
    }
    let ended = gate.delete(&itself).token(&parent).send().await;
    assert_eq!(ended.status, 204);
    for ended in [&parent, &other] {
        assert_eq!(whoami(&gate, ended).await.reason(), Some("revoked"));
    }
    gate.finish(&api).await;
}

/// However busy they are: from the second on in which its end was told, nothing goes with what a token made.
#[tokio::test]
async fn the_end_of_a_parent_ends_its_children_within_a_second_under_load() {
    let api = StandInApi::start().await;
    let policy = POLICY.replace("count: 3", "count: 20");
    let gate = Gate::start(&api, &policy).await;
    let parent = gate.issue(&["busy", "--role", "team"]).await;
    let mut children = Vec::new();
    for _ in 0..20 {
        children.push(child(&gate, &parent, &json!({ "expires_in": 600 })).await);
    }
    let ended = std::sync::OnceLock::new();
    let busy = async |own: &String| {
        let mut went = 0;
        loop {
            let began = Instant::now();
            let answer = gate.get("/v2/droplets").token(own).pooled().send().await;
            if answer.status == 401 {
                assert_eq!(answer.reason(), Some("revoked"));
                return went;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            let late = ended.get().map(|end| began.duration_since(*end));
            assert!(
                late.unwrap_or_default() < Duration::from_secs(1),
                "{late:?}"
            );
            went += 1;
        }
    };
    let all = futures_util::future::join_all(children.iter().map(busy));
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await; // under load
        let revoked = gate.cli(&["token", "revoke", "busy"]).await;
        assert!(revoked.status.success());
        ended.set(Instant::now()).unwrap();
    };
    let (went, ()) = tokio::join!(all, end);
    assert!(went.iter().all(|went| *went > 0), "{went:?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn uses_rates_and_sources_of_both_count() {
    let (api, gate) = gate().await;
    let parent = gate
        .issue(&["few", "--role", "team", "--max-uses", "3"])
        .await;
    let own = child(&gate, &parent, &json!({ "expires_in": 600, "max_uses": 2 })).await;
    let get = async |token: &str| gate.get("/v2/droplets").token(token).send().await;
    for status in [200, 200, 401] {
        assert_eq!(get(&own).await.status, status);
    }
    let left = whoami(&gate, &parent).await.json()["uses_left"].clone();
    assert_eq!(
        left, 1,
        "a use is taken of both, and one that is refused of neither"
    );
    let second = child(&gate, &parent, &json!({ "expires_in": 600 })).await;
    assert_eq!(get(&parent).await.status, 200);
    let used_up = get(&second).await;
    assert_eq!(used_up.reason(), Some("uses_exhausted"));

    let slow = gate
        .issue(&["slow", "--role", "team", "--rate", "2/h"])
        .await;
    let own = child(&gate, &slow, &json!({ "expires_in": 600, "rate": "100/s" })).await;
    assert_eq!(get(&own).await.status, 200);
    assert_eq!(
        get(&own).await.reason(),
        Some("rate_limited"),
        "the parent's own request was the first"
    );

    let office = gate.issue(&["office", "--role", "team"]).await;
    let own = child(
        &gate,
        &office,
        &json!({ "expires_in": 600, "sources": ["203.0.113.0/24"] }),
    )
    .await;
    assert_eq!(get(&own).await.reason(), Some("source_ip"));
    let ends = whoami(
        &gate,
        &child(
            &gate,
            &gate
                .issue(&["short", "--role", "team", "--expires", "5m"])
                .await,
            &json!({ "expires_in": 3000 }),
        )
        .await,
    )
    .await
    .json();
    let listed = gate.cli(&["token", "show", "short", "--json"]).await;
    let parent: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        ends["expires_at"], parent["expires_at"],
        "no child outlives its parent"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_child_comes_from_its_parents_sources_alone() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await;
    let (near, far) = ("203.0.113.7", "198.51.100.7");
    let parent = gate
        .issue(&["office", "--role", "team", "--from", "203.0.113.0/24"])
        .await;
    let wish = json!({ "expires_in": 600, "sources": ["0.0.0.0/0"] });
    let made = gate.post(TOKENS, &wish).token(&parent).gives_a_token();
    let made = made.header("x-forwarded-for", near).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let own = made.json()["token"].as_str().unwrap().to_owned();
    for (from, reason) in [(near, None), (far, Some("source_ip"))] {
        let ask = gate.get("/v2/droplets").token(&own);
        let answer = ask.header("x-forwarded-for", from).send().await;
        assert_eq!(answer.reason(), reason, "from {from}: {}", answer.text());
    }
    gate.finish(&api).await;
}

/// Many come at once with a child that may be used once: its parent is charged for the one that went.
#[tokio::test]
async fn a_use_that_a_child_has_not_is_none_of_its_parent() {
    let (api, gate) = gate().await;
    let parent = gate
        .issue(&["few", "--role", "team", "--max-uses", "100"])
        .await;
    let own = child(&gate, &parent, &json!({ "expires_in": 600, "max_uses": 1 })).await;
    let all = (0..24).map(|_| gate.get("/v2/droplets").token(&own).send());
    let all = futures_util::future::join_all(all).await;
    let went = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(went, 1);
    let left = whoami(&gate, &parent).await.json()["uses_left"].clone();
    assert_eq!(left, 99);
    gate.finish(&api).await;
}

/// So that it keeps one alive that ends when it is idle.
#[tokio::test]
async fn a_use_of_a_child_is_one_of_its_parent() {
    let (api, gate) = gate().await;
    let parent = gate
        .issue(&["quiet", "--role", "team", "--idle", "1h"])
        .await;
    let own = child(&gate, &parent, &json!({ "expires_in": 600 })).await;
    let used = async || {
        let shown = gate.cli(&["token", "show", "quiet", "--json"]).await;
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown["last_used_at"].clone()
    };
    assert_eq!(used().await, Value::Null, "to make one is no use");
    let answer = gate.get("/v2/droplets").token(&own).send().await;
    assert_eq!(answer.status, 200);
    let began = Instant::now();
    while used().await.is_null() {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(10), "it is written down soon");
    }
    gate.finish(&api).await;
}

/// What the commands say of a token: its state in the list, and why in `show`; whether `explain` lets it through.
async fn told_of(gate: &Gate, name: &str) -> (String, String, String) {
    let listed = gate.cli(&["token", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let all = listed.as_array().unwrap();
    let own = all.iter().find(|token| token["name"] == name).unwrap();
    let shown = gate.cli(&["token", "show", name, "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["state"], own["state"], "{name}");
    let state = own["state"].as_str().unwrap();
    let of_state = gate
        .cli(&["token", "list", "--json", "--state", state])
        .await;
    let of_state: Value = serde_json::from_slice(&of_state.stdout).unwrap();
    let is_there = |token: &Value| token["name"] == name;
    assert!(of_state.as_array().unwrap().iter().any(is_there), "{name}");
    let explained = ["explain", "GET", "/v2/account", "--token", name];
    let explained = gate.cli(&explained).await;
    let explained = String::from_utf8(explained.stdout).unwrap();
    let first = explained.lines().next().unwrap().to_owned();
    let why = shown["why"].as_str().unwrap_or_default().to_owned();
    (state.to_owned(), why, first)
}

#[tokio::test]
async fn what_is_told_of_a_child_is_what_is_done_to_it() {
    let api = StandInApi::start().await;
    let policy = POLICY.replacen("\"droplet:*\", ", "\"droplet:*\", \"account:read\", ", 1);
    let gate = Gate::builder(&api).policy(&policy);
    let admin = json!({ "address": "127.0.0.1:0" });
    let gate = gate.set("admin", admin).start().await;
    let mut tokens = Vec::new();
    for name in ["revoked", "rotated", "graced", "used", "deleted", "lives"] {
        let parent = gate
            .issue(&[name, "--role", "team", "--max-uses", "2"])
            .await;
        let says = json!({ "name": "job", "expires_in": 600, "requests": ["GET /v2/account"] });
        tokens.push((parent.clone(), child(&gate, &parent, &says).await));
        let told = told_of(&gate, &format!("{name}/job")).await;
        let (state, why, explained) = told;
        assert_eq!((state.as_str(), why.as_str()), ("active", ""));
        assert_eq!(explained, "allow team.allow[0]");
    }
    gate.cli(&["token", "revoke", "revoked"]).await;
    gate.cli(&["token", "rotate", "rotated"]).await;
    gate.cli(&["token", "rotate", "graced", "--grace", "1h"])
        .await;
    for _ in 0..2 {
        let used = gate.get("/v2/account").token(&tokens[3].0).send().await;
        assert_eq!(used.status, 200);
    }
    let own = format!("{TOKENS}/self");
    let ended = gate.delete(&own).token(&tokens[4].0).send().await;
    assert_eq!(ended.status, 204);
    let cases = [
        ("revoked", "revoked", "was revoked", "deny revoked"),
        ("rotated", "revoked", "has another secret", "deny revoked"),
        ("graced", "active", "", "allow team.allow[0]"),
        (
            "used",
            "expired",
            "was used as often as it may be",
            "deny uses_exhausted",
        ),
        ("deleted", "revoked", "was revoked", "deny revoked"),
        ("lives", "active", "", "allow team.allow[0]"),
    ];
    for ((name, state, why, explained), (_, own)) in cases.iter().zip(&tokens) {
        let told = told_of(&gate, &format!("{name}/job")).await;
        assert_eq!((&*told.0, &*told.2), (*state, *explained), "{name}");
        assert!(told.1.contains(why), "{name}: {:?}", told.1);
        match explained.strip_prefix("deny ") {
            Some(reason) => refused_within_a_second(&gate, own, reason).await,
            None => assert_eq!(whoami(&gate, own).await.status, 200, "{name}"),
        }
    }
    // A child of a secret that was rotated away does not end with the next one.
    let again = gate.cli(&["token", "rotate", "rotated"]).await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!said.contains("child"), "{said}");
    let metrics = crate::admin::ask(&gate, Method::GET, "/metrics")
        .await
        .text();
    let active = "tidegate_tokens{state=\"active\"} 5\n"; // `rotated`, and `graced` and `lives` with their children
    assert!(metrics.contains(active), "{metrics}");
    gate.finish(&api).await;
}

/// Runs a command that hears this on standard input.
fn heard(mut command: Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let _ = pipe.write_all(stdin.as_bytes()); // it may not wait to hear all
    drop(pipe);
    child.wait_with_output().unwrap()
}

/// S18 from a command line that has a sub-token and nothing else: neither configuration nor state.
#[tokio::test]
async fn s18_a_sub_token_is_weakened_where_tidegate_runs_elsewhere() {
    let (api, gate) = gate().await;
    let parent = gate.issue(&["ci", "--role", "team"]).await;
    let url = gate.url();
    let narrowed = [
        "--expires",
        "10m",
        "--name",
        "job-1",
        "--role",
        "team",
        "--scope",
        "droplet:read",
        "--only",
        "{droplet: {name: web-*}}",
        "--max-uses",
        "5",
        "--rate",
        "60/min",
        "--from",
        "127.0.0.1",
    ];
    let run = async |how: &[&str], stdin: Option<&str>, variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["token", "weaken", "--url", &url]).args(how);
        command.env_remove("TIDEGATE_TOKEN");
        command.env("TIDEGATE_CONFIG", "/nowhere/tidegate.yaml");
        if let Some(token) = variable {
            command.env("TIDEGATE_TOKEN", token);
        }
        let stdin = stdin.unwrap_or_default().to_owned();
        let ran = tokio::task::spawn_blocking(move || heard(command, &stdin));
        let ran = ran.await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let (status, stdout, stderr) = run(&narrowed, None, Some(&parent)).await;
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.starts_with("`ci/job-1` (") && stderr.contains("with team, valid until 20"),
        "{stderr}"
    );
    let own = stdout.trim_end();
    let told = whoami(&gate, own).await.json();
    assert_eq!(
        (&told["name"], &told["parent"], &told["uses_left"]),
        (&json!("ci/job-1"), &json!("ci"), &json!(5)),
        "{told:#}"
    );
    let listed = gate.get("/v2/droplets").token(own).send().await;
    assert!(
        listed
            .names("droplets")
            .iter()
            .all(|name| name.starts_with("web-"))
    );

    let mut kept = tempfile::NamedTempFile::new().unwrap(); // beside the gate's directory: in that one no secret may be
    writeln!(kept, "{parent}").unwrap();
    let file = kept.path().display().to_string();
    let ways: [(&[&str], Option<&str>); 2] = [
        (
            &["--expires", "1m", "--json", "--sub-token-file", &file],
            None,
        ),
        (&["--expires", "1m", "--json", "-"], Some(&parent)),
    ];
    for (how, stdin) in ways {
        let (status, stdout, stderr) = run(how, stdin, None).await;
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{how:?}");
        let told: Value = serde_json::from_str(&stdout).unwrap();
        let own = told["token"].as_str().unwrap();
        assert_eq!(whoami(&gate, own).await.json()["id"], told["id"]);
    }
    let refused: [(&[&str], Option<&str>, &str); 5] = [
        (
            &["ci", "--expires", "1m"],
            None,
            "with `--url` the sub-token itself",
        ),
        (&["--expires", "1m"], None, "TIDEGATE_TOKEN is not set"),
        (&["--expires", "2h"], Some(&parent), "3600 s at most"), // as the daemon says it
        (
            &["--expires", "1m", "--role", "keeps"],
            Some(&parent),
            "can't hand on the role `keeps`",
        ),
        (&["--expires", "1m"], Some(own), "makes none"), // a grandchild
    ];
    for (how, variable, why) in refused {
        let (status, stdout, stderr) = run(how, None, variable).await;
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{how:?}");
        assert!(stderr.contains(why), "{how:?}: {stderr}");
        assert!(!stderr.contains("tdg_v1_"), "{stderr}");
    }
    gate.finish(&api).await;
}
