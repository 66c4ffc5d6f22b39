//! What the holder of a stolen sub-token tries, and what a stranger on the network does.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::standin::{Heard, gzip};
use crate::support::{Fault, Framing, Gate, Hold, RawUpstream, Reply, StandInApi};

const SECOND: Duration = Duration::from_secs(1);
/// On Linux: a reader that comes first does not wait for a writer.
const O_NONBLOCK: i32 = 0o4000;

async fn gate(roles: &str) -> (StandInApi, Gate) {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &format!("version: 1\nroles:\n{roles}")).await;
    (api, gate)
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let ended = timeout(20 * SECOND, stream.read_to_end(&mut said)).await;
    assert!(
        ended.is_ok(),
        "still open, having said {:?}",
        String::from_utf8_lossy(&said)
    );
    String::from_utf8_lossy(&said).into_owned()
}

fn head(line: &str, token: &str, more: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\nconnection: close\r\n{more}\r\n"
    )
}

// A longer life.

/// `line` asks for a write with `body`, all of which comes in time but its last byte, which comes after `end`.
async fn trickled<F: Future<Output = ()>>(
    gate: &Gate,
    token: &str,
    line: &str,
    body: &str,
    end: F,
) -> String {
    let mut stream = gate.connect().await;
    let (first, last) = body.split_at(body.len() - 1);
    let head = head(line, token, &format!("content-length: {}\r\n", body.len()));
    stream
        .write_all(format!("{head}{first}").as_bytes())
        .await
        .unwrap();
    sleep(SECOND / 2).await;
    end.await;
    let _ = stream.write_all(last.as_bytes()).await;
    read_all(&mut stream).await
}

#[tokio::test]
async fn a_request_that_is_held_open_does_not_outlive_its_token() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate
        .issue(&["short", "--role", "all", "--expires", "2s"])
        .await;
    let said = trickled(
        &gate,
        &token,
        "POST /v2/tags",
        r#"{"name":"late"}"#,
        sleep(3 * SECOND),
    )
    .await;
    assert_eq!(api.writes().len(), 0, "after its end: {said}");
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_request_that_is_held_open_does_not_outlive_revocation() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["gone", "--role", "all"]).await;
    let revoke = async {
        gate.cli(&["token", "revoke", "gone"]).await;
        sleep(2 * SECOND).await;
    };
    let said = trickled(&gate, &token, "POST /v2/tags", r#"{"name":"late"}"#, revoke).await;
    assert_eq!(api.writes().len(), 0, "after it was revoked: {said}");
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_that_streams_does_not_outlive_revocation() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["gone", "--role", "all"]).await;
    let revoke = async {
        gate.cli(&["token", "revoke", "gone"]).await;
        sleep(2 * SECOND).await;
    };
    // Nothing in this body decides, so it is not read before it goes.
    let said = trickled(
        &gate,
        &token,
        "POST /v2/vpcs",
        r#"{"name":"late","region":"fra1"}"#,
        revoke,
    )
    .await;
    assert_eq!(api.writes().len(), 0, "after it was revoked: {said}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn credentials_for_an_old_secret_do_not_outlive_its_grace() {
    let (api, gate) = gate("  pull: { allow: [{ scopes: [registry:read] }] }\n").await;
    let old = gate.issue(&["ci", "--role", "pull"]).await;
    let rotated = gate.cli(&["token", "rotate", "ci", "--grace", "1m"]).await;
    assert!(rotated.status.success());
    sleep(SECOND).await;
    let answer = gate
        .get("/v2/registry/docker-credentials")
        .token(&old)
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (_, seconds) = api.heard()[0].query().remove(0);
    assert!(
        seconds.parse::<u64>().unwrap() <= 60,
        "a minute is left, and the login is for {seconds} s"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_state_file_that_was_replaced_still_revokes() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(
        gate.get("/v2/account").token(&token).send().await.status,
        200
    );
    // A backup is brought back, as people do it: copied beside, moved into place, old logs removed.
    let path = |suffix: &str| gate.files().path(&format!("tidegate.db{suffix}"));
    let (db, wal) = (
        std::fs::read(path("")).unwrap(),
        std::fs::read(path("-wal")).unwrap(),
    );
    std::fs::write(path(".new"), db).unwrap();
    std::fs::write(path(".new-wal"), wal).unwrap();
    let _ = std::fs::remove_file(path("-shm"));
    std::fs::rename(path(".new-wal"), path("-wal")).unwrap();
    std::fs::rename(path(".new"), path("")).unwrap();
    let revoked = gate.cli(&["token", "revoke", "ci"]).await;
    assert!(
        revoked.status.success(),
        "{}",
        String::from_utf8_lossy(&revoked.stderr)
    );
    sleep(3 * SECOND).await;
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_ne!(
        answer.status, 200,
        "`token revoke` said that it is revoked, and the daemon goes on with it"
    );
    gate.finish(&api).await;
}

// More than the scopes allow.

#[tokio::test]
async fn what_a_request_touches_asks_for_its_scope() {
    let (api, gate) = gate(
        "
  update: { allow: [{ scopes: [droplet:update] }] }
  no-images: { allow: [{ scopes: ['droplet:*'] }, { scopes: [image:read] }], deny: [{ scopes: [image:read] }] }
  no-volumes: { allow: [{ scopes: ['*'] }], deny: [{ scopes: [block_storage_action:create] }] }
",
    )
    .await;
    let volumes = json!({ "name": "x", "size": "s-1vcpu-1gb", "region": "fra1", "image": "ubuntu-24-04-x64", "volumes": ["506f78a4-e098-11e5-ad9f-000f53306ae1"] });
    let rebuild = json!({ "type": "rebuild", "image": 7777 });
    let cases = [
        (
            "no-volumes",
            "/v2/droplets",
            &volumes,
            "a volume is attached, which is denied",
        ),
        (
            "update",
            "/v2/droplets/12/actions",
            &rebuild,
            "a private image is read without image:read",
        ),
        (
            "no-images",
            "/v2/droplets/12/actions",
            &rebuild,
            "an image is read, which is denied",
        ),
    ];
    let mut wrong = Vec::new();
    for (role, path, body, what) in cases {
        let token = gate.issue(&["--role", role]).await;
        let answer = gate.post(path, body).token(&token).send().await;
        if answer.status != 403 {
            wrong.push(format!("{what}: {}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(api.writes().len(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_parameter_in_brackets_is_not_another_one() {
    let (api, gate) =
        gate("  pull: { allow: [{ scopes: [registry:read, droplet:delete] }] }\n").await;
    let token = gate.issue(&["--role", "pull"]).await;
    // Rack reads a name by `\A[\[\]]*([^\[\]]+)\]*`: all of these are `read_write` to it.
    let mut gone = Vec::new();
    for name in [
        "%5Bread_write%5D",
        "%5Dread_write",
        "read_write%5D",
        "%5B%5Dread_write",
    ] {
        let target = format!("/v2/registry/docker-credentials?{name}=true");
        let answer = gate.get(&target).token(&token).send().await;
        if answer.status == 200 {
            gone.push(target);
        }
    }
    let answer = gate
        .delete("/v2/droplets?%5Btag_name%5D=prod")
        .token(&token)
        .send()
        .await;
    if answer.status.is_success() {
        gone.push("DELETE by tag without tag:read".to_owned());
    }
    assert!(
        gone.is_empty(),
        "a login that pushes, without registry:update: {gone:#?}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_broad_pattern_does_not_reach_what_is_sensitive_under_another_spelling() {
    let (api, gate) = gate("  broad: { allow: [{ requests: ['GET /v2/.*'] }] }\n").await;
    let token = gate.issue(&["--role", "broad"]).await;
    let targets = [
        "/v2/registry/docker-credentials",
        // Rails routes end in `(.:format)`, and then there is no limit to the life of these either.
        "/v2/registry/docker-credentials.json",
        "/v2/kubernetes/clusters/c/kubeconfig.json",
        "/v2/kubernetes/clusters/c/Kubeconfig",
        "/v2/kubernetes/clusters/c/kubeconfig%20",
    ];
    let mut gone = Vec::new();
    for target in targets {
        let answer = gate.get(target).token(&token).send().await;
        if answer.reason().is_none() {
            gone.push(target);
        }
    }
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_denied_request_stays_denied_under_another_spelling() {
    let (api, gate) = gate(
        r"
  some: { allow: [{ scopes: ['*'] }], deny: [{ requests: ['DELETE /v2/droplets/12', 'DELETE /v2/domains/example\.com', 'DELETE /v2/volumes/506f78a4-e098-11e5-ad9f-000f53306ae1'] }] }
",
    )
    .await;
    let token = gate.issue(&["--role", "some"]).await;
    let targets = [
        "/v2/droplets/12",
        "/v2/droplets/12/",
        "/v2/droplets/12?x=1",
        "/v2/droplets/%31%32",
        "/v2/droplets/012", // Go's ParseInt and Ruby's to_i read 12
        "/v2/droplets/+12",
        "/v2/droplets/12.0",
        "/v2/droplets/%2012",
        "/v2/domains/EXAMPLE.com",
        "/v2/domains/example.com.",
        "/v2/volumes/506F78A4-E098-11E5-AD9F-000F53306AE1",
    ];
    let mut gone = Vec::new();
    for target in targets {
        let answer = gate.delete(target).token(&token).send().await;
        if answer.reason().is_none() {
            gone.push(target);
        }
    }
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_denied_action_stays_denied_under_another_spelling() {
    let (api, gate) = gate(
        "  some: { allow: [{ scopes: ['*'] }], deny: [{ scopes: [droplet:update], actions: [rebuild] }] }\n",
    )
    .await;
    let token = gate.issue(&["--role", "some"]).await;
    let bodies = [
        r#"{"type":"rebuild","image":7}"#,
        r#"{"type":["rebuild"],"image":7}"#,
        r#"[{"type":"power_on"},{"type":"rebuild","image":7}]"#,
        r#"{"type":{"a":"rebuild"},"image":7}"#,
        r#"{"type":"power_on","Type":"rebuild","image":7}"#,
        r#"{"type":"power_on","type":"rebuild","image":7}"#,
        r#"{"image":7}"#,
        "",
        // none of the actions that the API has: what is not known counts as matching
        r#"{"type":"REBUILD","image":7}"#,
        r#"{"type":" rebuild","image":7}"#,
        r#"{"type":"rebuild\u0000","image":7}"#,
        r#"{"type":"power_on","type\u0000":"rebuild","image":7}"#,
    ];
    let mut gone = Vec::new();
    for body in bodies {
        let answer = gate
            .request(Method::POST, "/v2/droplets/12/actions")
            .header("content-type", "application/json")
            .body(body)
            .token(&token)
            .send()
            .await;
        if answer.reason().is_none() {
            gone.push(body);
        }
    }
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_method_in_a_body_is_refused_wherever_it_is() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["--role", "all"]).await;
    let cases = [
        ("/v2/tags", json!({ "name": "x", "_method": "DELETE" })),
        ("/v2/tags", json!({ "name": "x", "_Method": "DELETE" })),
        ("/v2/vpcs", json!({ "name": "x", "_method": "DELETE" })), // a body in which nothing else decides
    ];
    let mut gone = Vec::new();
    for (path, body) in cases {
        let answer = gate.post(path, &body).token(&token).send().await;
        if answer.reason() != Some("ambiguous_request") {
            gone.push(format!("{path} {body}: {}", answer.status));
        }
    }
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
    gate.finish(&api).await;
}

/// Sends these bodies with a token that has `droplet:create` and `app:create` alone; returns those that went on.
async fn gone_without_a_field_scope(cases: &[(&str, &str)]) -> Vec<String> {
    let (api, gate) = gate("  some: { allow: [{ scopes: [droplet:create, app:create] }] }\n").await;
    let token = gate.issue(&["--role", "some"]).await;
    let mut gone = Vec::new();
    for (target, body) in cases {
        let answer = gate
            .request(Method::POST, target)
            .header("content-type", "application/json")
            .body((*body).to_owned())
            .token(&token)
            .send()
            .await;
        if answer.reason().is_none() {
            gone.push(format!("{target} {body}"));
        }
    }
    gate.finish(&api).await;
    gone
}

#[tokio::test]
async fn a_field_does_not_pass_in_disguise() {
    let gone = gone_without_a_field_scope(&[
        ("/v2/droplets", r#"{"name":"x","vpc_uuid":"v"}"#),
        ("/v2/droplets", r#"{"name":"x","VPC_UUID":"v"}"#),
        ("/v2/droplets", r#"{"name":"x","vpc_uuid":["v"]}"#),
        ("/v2/droplets", r#"{"name":"x","vpc_uuid":{"a":"v"}}"#),
        ("/v2/droplets", r#"{"name":"x","vpc_uuid":false}"#),
        ("/v2/droplets", r#"[{"name":"x","vpc_uuid":"v"}]"#),
        (
            "/v2/droplets",
            r#"{"name":"x","vpc_uuid":null,"vpc_uuid":"v"}"#,
        ),
        ("/v2/droplets", r#"{"name":"x","\u0076pc_uuid":"v"}"#),
        ("/v2/droplets", r#"{"name":"x","ſſh_keys":[1]}"#),
        ("/v2/droplets", r#"{"name":"x","ssh_\u212aeys":[1]}"#),
    ])
    .await;
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
}

#[tokio::test]
async fn a_field_does_not_pass_in_another_style_of_naming() {
    // protojson reads a member's name in either style, and Rails reads `tags[]` as `tags`.
    let gone = gone_without_a_field_scope(&[
        ("/v2/apps", r#"{"spec":{},"projectId":"p"}"#),
        ("/v2/droplets", r#"{"name":"x","vpcUuid":"v"}"#),
        ("/v2/droplets", r#"{"name":"x","tags[]":["v"]}"#),
    ])
    .await;
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
}

#[tokio::test]
async fn a_field_does_not_pass_in_the_query() {
    // Rails has one set of parameters, of query and body.
    let gone = gone_without_a_field_scope(&[
        ("/v2/droplets?vpc_uuid=v", r#"{"name":"x"}"#),
        ("/v2/droplets?tags[]=v", r#"{"name":"x"}"#),
    ])
    .await;
    assert!(gone.is_empty(), "they were sent on: {gone:#?}");
}

/// The contract's own example lists `snapshot` beside `on_create`: the snapshot of one's Droplet is part of the action. What is
/// created by itself never goes without what its grant adds.
#[tokio::test]
async fn what_is_created_does_not_pass_by_on_create() {
    let (api, gate) = gate(
        "  some: { allow: [{ scopes: ['droplet:*', 'firewall:*', 'database:*', image:read], on_create: { tags: [mine] } }] }\n",
    )
    .await;
    let token = gate.issue(&["--role", "some"]).await;
    let snapshot = json!({ "type": "snapshot", "name": "x" });
    let cases = [
        ("/v2/droplets/12/actions", snapshot, 201),
        ("/v2/firewalls", json!({ "name": "x" }), 403), // its `tags` say what it applies to
        ("/v2/databases", json!({ "name": "x", "tags": [] }), 201),
    ];
    for (path, body, status) in cases {
        let answer = gate.post(path, &body).token(&token).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let new =
        json!({ "name": "x", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64" });
    api.clear();
    gate.post("/v2/droplets", &new).token(&token).send().await;
    let sent: Vec<_> = api.writes().iter().map(Heard::json).collect();
    let tagged = |body: &serde_json::Value| body["tags"] == json!(["mine"]);
    assert!(sent.len() == 1 && sent.iter().all(tagged), "{sent:?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_empty_variable_in_the_policy_file_is_a_mistake() {
    let api = StandInApi::start().await;
    let files = Gate::builder(&api)
        .policy(&format!(
            "version: 1\nroles:\n  one: {{ vars: [id], allow: [{{ requests: ['GET /v2/droplets/${{id}}.*'] }}] }}\ntokens:\n  - {{ name: t, id: 4fZ0aB9cD8eF, hash: \"sha256:{}\", roles: [one], vars: {{ id: \"\" }} }}\n",
            "0".repeat(64)
        ))
        .files();
    let checked = files.cli(&["check"]).await;
    assert!(
        !checked.status.success(),
        "left empty, it widens the pattern to every Droplet"
    );
}

// Two requests in one, and more than was asked.

#[tokio::test]
async fn nothing_is_smuggled_in_a_body() {
    let (api, gate) = gate(
        "  read: { allow: [{ scopes: ['*:read'] }] }\n  all: { allow: [{ scopes: ['*'] }] }\n",
    )
    .await;
    let token = gate.issue(&["--role", "all"]).await;
    let hidden = head("DELETE /v2/droplets/12", &token, "content-length: 0\r\n");
    let keep =
        |line: &str, more: &str| head(line, &token, more).replace("connection: close\r\n", "");
    let cases = [
        // a body on GET is no second request
        keep(
            "GET /v2/account",
            &format!("content-length: {}\r\n", hidden.len()),
        ) + &hidden,
        keep(
            "HEAD /v2/account",
            &format!("content-length: {}\r\n", hidden.len()),
        ) + &hidden,
        // one on a request that is refused before it is read
        keep(
            "POST /v2/nothing",
            &format!("content-length: {}\r\n", hidden.len()),
        ) + &hidden,
        keep("POST /v2/nothing", "transfer-encoding: chunked\r\n")
            + &format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        // doubtful framings
        keep(
            "POST /v2/tags",
            "content-length: 4\r\ncontent-length: 5\r\n",
        ) + &hidden,
        keep("POST /v2/tags", "content-length: +5\r\n") + &hidden,
        keep("POST /v2/tags", "transfer-encoding: xchunked\r\n") + &hidden,
        keep("POST /v2/tags", "transfer-encoding: chunked, identity\r\n") + &hidden,
        keep(
            "POST /v2/tags",
            "transfer-encoding : chunked\r\ncontent-length: 2\r\n",
        ) + "{}",
    ];
    for case in cases {
        let mut stream = gate.connect().await;
        let _ = stream.write_all(case.as_bytes()).await;
        let _ = stream.shutdown().await;
        let said = read_all(&mut stream).await;
        assert!(
            api.writes().iter().all(|one| one.method != Method::DELETE),
            "{case}\nwas taken for two: {said}"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_sub_token_in_a_target_does_not_reach_the_api() {
    // In a body it may be meant: a Droplet's `user_data` can give it one to use.
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["--role", "all"]).await;
    for target in [
        format!("/v2/droplets?access_token={token}"),
        format!("/v2/tags/{token}"),
    ] {
        let answer = gate.get(&target).token(&token).send().await;
        assert_eq!(answer.reason(), Some("ambiguous_request"));
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

/// The id of a function's key begins as tokens do, and is none: the secret is another text.
#[tokio::test]
async fn the_id_of_a_key_may_stand_where_its_endpoint_has_it_and_nowhere_else() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*', function:admin] }] }\n").await;
    let token = gate.issue(&["--role", "all"]).await;
    let keys = "/v2/functions/namespaces/fn-0f5fd1b6-2c3c-4b0d-8d0a-2b1b6c5c4f55/keys";
    let id = "dof_v1_0123456789abcdef";
    let ask = async |method: Method, target: String| {
        let ask = gate.request(method.clone(), &target).token(&token);
        let answer = match method {
            Method::PUT => ask.json(&json!({ "name": "x" })).send().await,
            _ => ask.send().await,
        };
        let line = gate.audit_of(&answer).await.pop().unwrap();
        (answer.reason().map(str::to_owned), line)
    };
    for method in [Method::PUT, Method::DELETE] {
        let (reason, line) = ask(method.clone(), format!("{keys}/{id}")).await;
        assert_ne!(reason.as_deref(), Some("ambiguous_request"), "{method}");
        assert_eq!(api.heard().last().unwrap().path(), format!("{keys}/{id}"));
        let line = line.to_string();
        assert!(line.contains("dof_v1_…") && !line.contains(id), "{line}");
    }
    api.clear();
    let real = "dop_v1_0123456789abcdef";
    for (method, target) in [
        (Method::DELETE, format!("{keys}/{token}")),
        (Method::DELETE, format!("{keys}/{real}")),
        (Method::DELETE, format!("{keys}/{id}_{real}")),
        (Method::DELETE, format!("{keys}/{id}?x={real}")),
        (Method::GET, format!("{keys}?id={id}")),
        (Method::GET, format!("/v2/tags/{id}")),
    ] {
        let (reason, _) = ask(method, target.clone()).await;
        assert_eq!(reason.as_deref(), Some("ambiguous_request"), "{target}");
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_answer_that_says_twice_how_it_is_encoded_is_not_handed_on() {
    let (api, gate) = gate("  all: { allow: [{ scopes: ['*'] }] }\n").await;
    let token = gate.issue(&["--role", "all"]).await;
    let reply = Reply::bytes(200, "application/json", gzip(br#"{"a":1}"#))
        .with("content-encoding", "identity")
        .with("content-encoding", "gzip");
    api.fault_next(Fault::Reply(reply));
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(
        answer.reason(),
        Some("upstream_bad_answer"),
        "what is in it can't have been searched for the real token"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_log_of_everything_holds_no_secret() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy("version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n")
        .env("TIDEGATE_LOG", "trace")
        .start()
        .await;
    let token = gate.issue(&["--role", "all"]).await;
    gate.get("/v2/account").token(&token).send().await;
    gate.get(&format!("/v2/{token}")).token(&token).send().await;
    api.fault_next(Fault::echo_authorization(Framing::Length));
    gate.get("/v2/account").token(&token).send().await;
    api.fault_next(Fault::echo_authorization_in_header());
    gate.post("/v2/tags", &json!({ "name": "x" }))
        .token(&token)
        .send()
        .await;
    gate.finish(&api).await; // looks for them
}

// A write whose end nobody knows.

#[tokio::test]
async fn a_write_whose_body_breaks_off_is_unknown_once_some_of_it_has_left_and_unsent_before() {
    // An API that decodes one JSON value does not wait for the body's last chunk: the write may have been carried out.
    let upstream = RawUpstream::silent().await;
    let gate = Gate::builder_to(&upstream.url())
        .policy("version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n")
        .set("limits.idle_timeout", json!("1s"))
        .set("upstream.timeout", json!("2s"))
        .start()
        .await;
    let token = gate.issue(&["--role", "all"]).await;
    let breaks_off = async |name: &str| {
        let body = format!(r#"{{"name":"{name}"}}"#);
        let mut stream = gate.connect().await;
        let head = head(
            "POST /v2/registry/subscription",
            &token,
            "transfer-encoding: chunked\r\n",
        );
        let _ = stream
            .write_all(format!("{head}{:x}\r\n{body}\r\n", body.len()).as_bytes())
            .await;
        read_all(&mut stream).await
    };
    let said = breaks_off("short").await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert_eq!(upstream.connections(), 0, "nothing of it was sent");
    let said = breaks_off(&"x".repeat(3 << 20)).await;
    assert_eq!(upstream.connections(), 1);
    assert!(
        said.starts_with("HTTP/1.1 409") && said.contains("outcome_unknown"),
        "azure-core sends again on 408: {said}"
    );
}

// What holds others up.

#[tokio::test]
async fn long_lists_in_a_body_do_not_hold_up_the_others() {
    let (api, gate) = gate("  create: { allow: [{ scopes: [droplet:create] }] }\n  read: { allow: [{ scopes: ['*:read'] }] }\n").await;
    let (thief, other) = (
        gate.issue(&["--role", "create"]).await,
        gate.issue(&["--role", "read"]).await,
    );
    let tags: Vec<_> = (0..120_000).map(|number| format!("t{number}")).collect();
    let body = json!({ "name": "x", "tags": tags }).to_string();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = gate.connect().await;
        let head = head(
            "POST /v2/droplets",
            &thief,
            &format!("content-length: {}\r\n", body.len()),
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        streams.push(stream);
    }
    sleep(3 * SECOND).await;
    let began = Instant::now();
    let answer = gate
        .get("/v2/account")
        .token(&other)
        .deadline(5 * SECOND)
        .try_send()
        .await;
    assert!(
        answer.is_ok(),
        "one token's four requests keep everyone out: {answer:?} after {:?}",
        began.elapsed()
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_that_is_read_takes_memory_in_proportion() {
    const AT_ONCE: usize = 8;
    let (api, gate) = gate("  create: { allow: [{ scopes: [droplet:create] }] }\n").await;
    let token = gate.issue(&["--role", "create"]).await;
    let hold = Hold::new();
    api.fault_on(Method::POST, "/v2/droplets", Fault::HoldHead(hold.clone()));
    let body = format!(r#"{{"name":"x","y":[{}0]}}"#, "0,".repeat(1_000_000));
    let mut streams = Vec::new();
    for _ in 0..AT_ONCE {
        let mut stream = gate.connect().await;
        let head = head(
            "POST /v2/droplets",
            &token,
            &format!("content-length: {}\r\n", body.len()),
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        streams.push(stream);
    }
    // Either they are all with the API, or they were refused.
    let began = Instant::now();
    while api.heard_count() < AT_ONCE && began.elapsed() < 10 * SECOND {
        sleep(SECOND / 10).await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let peak: usize = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap();
    hold.release();
    assert!(
        peak / 1024 < 60 + AT_ONCE * 2 * 8,
        "{AT_ONCE} bodies of 2 MiB take {} MiB; {} connections may be open",
        peak / 1024,
        4096
    );
    drop(streams);
    gate.finish(&api).await;
}

async fn narrow(gate: &Gate) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(gate.address()).await.unwrap()
}

#[tokio::test]
async fn a_stranger_who_does_not_read_answers_does_not_keep_a_connection() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .set("limits.idle_timeout", json!("1s"))
        .set("limits.header_timeout", json!("1s"))
        .start()
        .await;
    let mut stream = narrow(&gate).await;
    let many = "GET /v2/account HTTP/1.1\r\nhost: gate\r\n\r\n".repeat(500);
    let began = Instant::now();
    // Ask until the gate takes no more, because its answers go nowhere.
    while let Ok(Ok(())) = timeout(2 * SECOND, stream.write_all(many.as_bytes())).await {
        assert!(began.elapsed() < 120 * SECOND, "it always takes more");
    }
    let stalled = Instant::now();
    let mut ended = false;
    while !ended && stalled.elapsed() < 8 * SECOND {
        ended = matches!(timeout(SECOND, stream.write_all(b"x")).await, Ok(Err(_)));
        sleep(SECOND / 5).await;
    }
    assert!(
        ended,
        "a connection that moved no byte for 8 s is kept, with an idle timeout of 1 s; 4096 of them keep everyone out"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_does_not_keep_it() {
    const MIB: u64 = 64;
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy("version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n")
        .set("limits.idle_timeout", json!("1s"))
        .set("limits.header_timeout", json!("1s"))
        .set("upstream.timeout", json!("1s"))
        .start()
        .await;
    let token = gate.issue(&["--role", "all"]).await;
    api.fault_next(Fault::Huge { mib: MIB });
    let mut stream = narrow(&gate).await;
    stream
        .write_all(head("GET /v2/account", &token, "").as_bytes())
        .await
        .unwrap();
    sleep(8 * SECOND).await;
    let mut said = Vec::new();
    let _ = timeout(20 * SECOND, stream.read_to_end(&mut said)).await;
    assert!(
        (said.len() as u64) < MIB << 20,
        "it read nothing for 8 s, with an idle timeout of 1 s, and two connections were kept for it"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_audit_sink_that_hangs_refuses_in_time() {
    let api = StandInApi::start().await;
    let place = tempfile::TempDir::new().unwrap();
    let fifo = place.path().join("audit");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let _reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    let gate = Gate::builder(&api)
        .policy("version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n")
        .set("audit", json!({ "file": fifo }))
        .start()
        .await;
    let token = gate.issue(&["--role", "all"]).await;
    // Strangers fill the pipe, which nobody reads.
    let many = "GET /v2/account HTTP/1.1\r\nhost: gate\r\n\r\n".repeat(500);
    let mut stream = gate.connect().await;
    stream.write_all(many.as_bytes()).await.unwrap();
    let mut sink = vec![0; 1 << 16];
    while let Ok(Ok(1..)) = timeout(SECOND, stream.read(&mut sink)).await {}
    let answer = gate
        .post("/v2/tags", &json!({ "name": "x" }))
        .token(&token)
        .deadline(15 * SECOND)
        .try_send()
        .await;
    let status = answer.as_ref().map(|answer| answer.status.as_u16());
    assert_eq!(status, Ok(503), "a write waits for its line without end");
    assert_eq!(api.heard_count(), 0);
}

// Who runs the command line is root, and who runs the daemon may have been taken over.

#[tokio::test]
async fn roots_command_line_gives_away_no_file_of_others() {
    let api = StandInApi::start().await;
    let files = Gate::builder(&api)
        .policy("version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n")
        .set("state", json!("state/tidegate.db"))
        .files();
    let victim = files.path("victim");
    std::fs::write(&victim, "").unwrap();
    if std::fs::metadata(&victim).unwrap().uid() != 0 {
        return; // only root can give files away
    }
    let state = files.path("state");
    std::fs::create_dir(&state).unwrap();
    chown(&state, Some(65534), Some(65534)).unwrap();
    files.issue(&["first", "--role", "all"]).await;
    for suffix in ["-wal", "-shm"] {
        let path = state.join(format!("tidegate.db{suffix}"));
        let _ = std::fs::remove_file(&path);
        symlink(&victim, &path).unwrap();
        let output = files.cli(&["token", "list", "--json"]).await;
        assert_eq!(
            std::fs::metadata(&victim).unwrap().uid(),
            0,
            "tidegate.db{suffix} was a link to another's file, and root gave that file to the daemon's user: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let _ = std::fs::remove_file(&path);
    }
}
