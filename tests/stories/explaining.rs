//! `explain` says what the daemon would do, without a request being sent.

use hyper::Method;
use serde_json::Value;

use crate::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  ops:
    allow:
      - scopes: ['droplet:*', image:read, tag:read, sizes:read, regions:read]
        actions: [power_on, reboot]
      - requests: ['GET /v2/registry/docker-credentials\\?read_write=false']
      - scopes: ['volume:*', 'firewall:*']
        only: { tag: web }
    deny:
      - scopes: [droplet:delete]
  reader:
    allow: [{ scopes: [regions:read] }]
";

#[tokio::test]
async fn its_verdict_is_the_daemons_for_every_request_tried() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &POLICY.replace("'volume:*', ", "'block_storage:*', ")).await;
    let token = gate.issue(&["ops", "--role", "ops"]).await;
    let requests = [
        ("GET", "/v2/droplets", ""),
        ("GET", "/v2/droplets?tag_name=web", ""),
        ("HEAD", "/v2/droplets/12/", ""),
        ("DELETE", "/v2/droplets/12", ""),
        ("POST", "/v2/droplets", r#"{"name":"x","image":7}"#),
        (
            "POST",
            "/v2/droplets",
            r#"{"name":"x","image":7,"tags":["a"]}"#,
        ),
        ("POST", "/v2/droplets", r#"{"name":"x","Image":7}"#),
        ("POST", "/v2/droplets", r#"{"name":"#),
        ("POST", "/v2/droplets/12/actions", r#"{"type":"reboot"}"#),
        ("POST", "/v2/droplets/12/actions", r#"{"type":"rebuild"}"#),
        (
            "GET",
            "/v2/registry/docker-credentials?read_write=false",
            "",
        ),
        ("GET", "/v2/registry/docker-credentials?read_write=true", ""),
        ("GET", "/v2/firewalls", ""),
        // What a narrowed sub-token sends and nobody knows, and what says nothing.
        (
            "POST",
            "/v2/volumes",
            r#"{"name":"x","size_gigabytes":1,"region":"nyc3","tags":["web"],"surprise":true}"#,
        ),
        (
            "POST",
            "/v2/volumes",
            r#"{"name":"x","size_gigabytes":1,"region":"nyc3","tags":["web"],"surprise":null}"#,
        ),
        (
            "POST",
            "/v2/volumes",
            r#"{"name":{"x":1},"size_gigabytes":1,"region":"nyc3","tags":["web"]}"#,
        ),
        ("POST", "/v2/volumes", r#"["do:volume:x"]"#),
        (
            "POST",
            "/v2/volumes?dry_run=true",
            r#"{"name":"x","size_gigabytes":1,"region":"nyc3","tags":["web"]}"#,
        ),
        ("GET", "/v2/regions", ""),
        ("GET", "/v2/account", ""),
        ("GET", "/v2/nothing", ""),
        ("GET", "/v2/../x", ""),
        ("GET", "/v2/droplets/012", ""),
        // What tidegate answers itself, whatever the roles are.
        ("GET", "/.tidegate/v1/whoami", ""),
        ("HEAD", "/.tidegate/v1/whoami", ""),
        ("GET", "/v1/oauth/token/info", ""),
        ("GET", "/.tidegate/v1/tokens", ""),
        ("DELETE", "/.tidegate/v1/whoami", ""),
        ("GET", "/.tidegate/v1/nothing", ""),
        (
            "GET",
            "/v2/droplets?tag_name=dop_v1_0000000000000000000000000000000000000000000000000000000000000000",
            "",
        ),
    ];
    for (method, path, body) in requests {
        let mut ask = gate
            .request(Method::from_bytes(method.as_bytes()).unwrap(), path)
            .token(&token);
        let mut arguments = vec!["explain", method, path, "--token", "ops", "--json"];
        let file = gate.files().path("body.json").display().to_string();
        if !body.is_empty() {
            ask = ask.body(body);
            gate.files().write("body.json", body);
            arguments.extend(["--body", &file]);
        }
        let daemon = ask.send().await.reason().map(str::to_owned);
        let heard = api.heard_count();
        let output = gate.cli(&arguments).await;
        let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = (explained["decision"] == "deny")
            .then(|| explained["reason"].as_str().unwrap().to_owned());
        assert_eq!(code, daemon, "{method} {path} {body}");
        assert_eq!(output.status.code(), Some(i32::from(daemon.is_some())));
        // What the request touches may be looked up; the request itself is not sent.
        assert!(
            api.heard()
                .iter()
                .skip(heard)
                .all(|one| one.method == Method::GET),
            "explaining changes nothing"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn it_names_the_deciding_grant_or_what_is_missing_and_the_yaml_for_it() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &POLICY.replace("'volume:*', ", "")).await;
    let said = async |arguments: &[&str]| {
        let output = gate.cli(&[&["explain"], arguments].concat()).await;
        (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
            output.status.code(),
        )
    };
    let (out, _, code) = said(&["GET", "/v2/droplets", "--role", "ops"]).await;
    assert_eq!((out.as_str(), code), ("allow ops.allow[0]\n", Some(0)));
    let (out, _, code) = said(&["GET", "/v2/account", "--role", "ops"]).await;
    assert_eq!(
        (out.as_str(), code),
        (
            "deny scope\nthis sub-token lacks the scope account:read for GET /v2/account; ask for a role that grants it\n\nthis in a role would allow it:\n\nallow:\n  - scopes: [account:read]\n",
            Some(1)
        )
    );
    let (out, _, _) = said(&["GET", "/v2/brand.new", "--role", "reader"]).await;
    assert!(
        out.ends_with("allow:\n  - requests: ['GET /v2/brand\\.new']\n"),
        "{out}"
    );
    // Whose scopes can't be known may ask for the one that `ops` denies, so no grant of it would help there.
    let (out, _, _) = said(&["GET", "/v2/brand.new", "--role", "ops"]).await;
    assert!(!out.contains("would allow it"), "{out}");
    gate.issue(&["net", "--role", "ops", "--from", "203.0.113.0/24"])
        .await;
    let (out, _, _) = said(&[
        "GET",
        "/v2/droplets",
        "--token",
        "net",
        "--from",
        "198.51.100.1",
    ])
    .await;
    assert!(out.starts_with("deny source_ip\n"), "{out}");
    let (out, _, _) = said(&[
        "GET",
        "/v2/droplets",
        "--token",
        "net",
        "--from",
        "203.0.113.7",
    ])
    .await;
    assert!(out.starts_with("allow "), "{out}");
    assert!(gate.cli(&["token", "revoke", "net"]).await.status.success());
    assert!(
        said(&["GET", "/v2/droplets", "--token", "net"])
            .await
            .0
            .starts_with("deny revoked\n")
    );
    for (arguments, expected) in [
        (
            &["GET", "/v2/droplets", "--token", "nobody"][..],
            "there is no token `nobody`",
        ),
        (
            &["FETCH", "/v2/x", "--role", "ops"],
            "`FETCH`: the API has GET",
        ),
        (&["GET", "/v2/x"], "required"),
    ] {
        let (out, err, code) = said(arguments).await;
        assert_eq!(
            (out.as_str(), code),
            ("", Some(2)),
            "could not tell: {arguments:?}"
        );
        assert!(err.contains(expected), "{err}");
    }
    gate.finish(&api).await;
}

const NARROWED: &str = "version: 1
roles:
  w:
    allow:
      - scopes: ['droplet:*', image:read, tag:create]
        only: { droplet: { tag: client-a } }
        actions: [power_on]
      - scopes: [domain:read, domain:update]
        only: { domain: { name: example.com }, domain_record: { type: TXT, name: '_acme-*' } }
      - scopes: [block_storage:read]
        only: { tag: client-a }
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
";

const FACTS: &str = "
droplet: [{ id: 12, name: web, tags: [client-a] }, { id: 13, name: db, tags: [client-b, big] }, { id: 14, name: a-keep, tags: [client-a] }]
domain: [{ name: example.com }, { name: other.org }]
domain_record: [{ id: 7, domain: example.com, type: TXT, name: _acme-challenge }, { id: 8, domain: example.com, type: A, name: www }]
volume: [{ id: 506f78a4-e098-11e5-ad9f-000f53306ae1, name: v, tags: [] }]
";

/// What the operator reads of a refusal: which selector of which grant did not take which fact, and what would repair that alone.
#[tokio::test]
async fn it_says_which_selector_took_which_fact_amiss_and_repairs_no_more() {
    let api = StandInApi::start().await;
    let files = Gate::builder(&api)
        .policy(NARROWED)
        .file("facts.yaml", FACTS)
        .files();
    let facts = files.path("facts.yaml").display().to_string();
    let policy = files.path("policy.yaml").display().to_string();
    let cases = [
        (
            "GET /v2/droplets/13",
            "",
            "resource_hidden",
            "the droplet `13`: `w.allow[0]` (POLICY:5) asks for `only.droplet.tag` `client-a`, and it has `client-b`, `big`",
            "allow:\n  - scopes: [droplet:read]\n    only: { droplet: { id: 13 } }",
        ),
        (
            "DELETE /v2/droplets/14",
            "",
            "denied",
            "`w.deny[0]` (POLICY:13) strikes the droplet `14`",
            "",
        ),
        (
            "POST /v2/droplets/12/actions",
            r#"{"type":"resize","size":"s-1vcpu-1gb"}"#,
            "action",
            "",
            "allow:\n  - scopes: [droplet:update]\n    only: { droplet: { id: 12 } }\n    actions: [resize]",
        ),
        (
            "DELETE /v2/domains/example.com",
            "",
            "scope",
            "",
            "allow:\n  - scopes: [domain:delete]\n    only: { domain: { name: example.com } }",
        ),
        (
            "PUT /v2/domains/example.com/records/8",
            r#"{"type":"A","data":"192.0.2.1"}"#,
            "resource_hidden",
            "the domain_record `8`: `w.allow[1]` (POLICY:8) asks for `only.domain_record.type` `TXT`, and it has `a`",
            "allow:\n  - scopes: [domain:update]\n    only: { domain: { name: example.com }, domain_record: { id: 8 } }",
        ),
        (
            "GET /v2/volumes/506f78a4-e098-11e5-ad9f-000f53306ae1",
            "",
            "resource_hidden",
            "the volume `506f78a4-e098-11e5-ad9f-000f53306ae1`: `w.allow[2]` (POLICY:10) asks for `only.tag` `client-a`, and it has none",
            "allow:\n  - scopes: [block_storage:read]\n    only: { volume: { id: 506f78a4-e098-11e5-ad9f-000f53306ae1 } }",
        ),
        (
            "GET /v2/droplets/99",
            "",
            "resource_hidden",
            "the droplet `99` is not there, or the real token may not see it",
            "",
        ),
        (
            "GET /v2/account",
            "",
            "scope",
            "",
            "allow:\n  - scopes: [account:read]",
        ),
    ];
    let mut wrong = Vec::new();
    for (request, body, reason, detail, suggestion) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        let mut arguments = vec![
            "explain",
            method,
            path,
            "--role",
            "w",
            "--json",
            "--resource",
            &facts,
        ];
        let file = files.path("body.json").display().to_string();
        if !body.is_empty() {
            files.write("body.json", body);
            arguments.extend(["--body", &file]);
        }
        let output = files.cli(&arguments).await;
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{request}: {output:?}"));
        let told = said["why"]
            .as_str()
            .unwrap_or_default()
            .replace(&policy, "POLICY");
        let suggested = said["suggestion"].as_str().unwrap_or_default();
        if said["reason"] != reason
            || !detail.is_empty() && told != detail
            || suggested != suggestion
        {
            wrong.push(format!(
                "{request}\n  {}\n  {told}\n  {suggested}",
                said["reason"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The record has the same sentence, for what a look-up and for what the answer itself tells; the client reads neither.
#[tokio::test]
async fn the_record_says_why_something_is_hidden_and_the_client_is_not_told() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  w:\n    allow:\n      - { scopes: ['droplet:*'], only: { droplet: { name: 'no-such-*' } } }\n";
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["w", "--role", "w"]).await;
    for method in [Method::GET, Method::DELETE] {
        let answer = gate
            .request(method, "/v2/droplets/12")
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.reason(), Some("resource_hidden"));
        assert!(!answer.text().contains("no-such"), "{}", answer.text());
        let lines = gate.audit_of(&answer).await;
        let detail = lines.last().unwrap()["detail"].as_str().unwrap();
        assert!(
            detail
                .contains("policy.yaml:5) asks for `only.droplet.name` `no-such-*`, and it has `"),
            "{detail}"
        );
    }
    gate.finish(&api).await;
}
