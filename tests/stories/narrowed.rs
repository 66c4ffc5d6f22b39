//! Sub-tokens narrowed to single resources: what they reach, and the doors to everything else.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Gate, StandInApi};

/// A request, its body (`null` for none), and what becomes of it: `ok`, or the code of its refusal.
type Row<'r> = (&'r str, Value, &'r str);

struct Story {
    api: StandInApi,
    gate: Gate,
    token: String,
}

impl Story {
    async fn of(role: &str) -> Self {
        let api = StandInApi::start().await;
        let policy = format!("version: 1\nroles:\n  r:\n{role}");
        let gate = Gate::start(&api, &policy).await;
        let token = gate.issue(&["t", "--role", "r"]).await;
        Self { api, gate, token }
    }

    async fn ask(&self, request: &str, body: &Value) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = self.gate.request(method, path).token(&self.token);
        if body.is_null() {
            ask.send().await
        } else {
            ask.json(body).send().await
        }
    }

    /// Each row by itself: what is refused changes nothing upstream.
    async fn holds(&self, rows: &[Row<'_>]) {
        for (request, body, expected) in rows {
            self.api.clear();
            let answer = self.ask(request, body).await;
            let outcome = answer.reason().unwrap_or("ok");
            assert_eq!(outcome, *expected, "{request} {body}: {}", answer.text());
            let writes = self.api.writes();
            let changes = !request.starts_with("GET") && *expected == "ok";
            assert_eq!(!writes.is_empty(), changes, "{request} {body}: {writes:?}");
        }
    }

    async fn finish(self) {
        self.gate.finish(&self.api).await;
    }
}

/// The ids, names or other members of a list in an answer.
fn all(answer: &Answer, list: &str, member: &str) -> Vec<String> {
    let items = answer.json()[list].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| match &item[member] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

const ACME: &str = "
    allow:
      - scopes: [domain:read, domain:update]
        only:
          domain: { name: example.com }
          domain_record: { type: TXT, name: [_acme-challenge, '_acme-challenge.*'] }
";

#[tokio::test]
async fn s7_an_acme_client_reaches_its_challenges_and_nothing_else_of_the_zone() {
    let story = Story::of(ACME).await;
    let txt = |name: &str| json!({ "type": "TXT", "name": name, "data": "x", "ttl": 30 });
    let records = "POST /v2/domains/example.com/records";
    story
        .holds(&[
            (records, txt("_acme-challenge.new"), "ok"),
            (records, txt("_acme-challenge.www.example.com."), "ok"), // lego
            (records, txt("_acme-challenge"), "ok"),
            (records, txt("www"), "resource"),
            (
                records,
                txt("_acme-challenge.example.com"),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "A", "name": "_acme-challenge", "data": "192.0.2.9" }),
                "resource",
            ),
            (
                "POST /v2/domains/example.org/records",
                txt("_acme-challenge"),
                "resource_hidden",
            ),
            ("GET /v2/domains/example.com/records/105", Value::Null, "ok"),
            (
                "GET /v2/domains/example.com/records/106",
                Value::Null,
                "resource_hidden",
            ),
            (
                "GET /v2/domains/example.com/records/999",
                Value::Null,
                "resource_hidden",
            ),
            (
                "PUT /v2/domains/example.com/records/105",
                json!({ "type": "TXT", "name": "_acme-challenge", "data": "y" }),
                "ok",
            ),
            (
                "PUT /v2/domains/example.com/records/105",
                json!({ "type": "TXT", "name": "www" }),
                "resource",
            ),
            (
                "PATCH /v2/domains/example.com/records/105",
                json!({ "type": "A" }),
                "resource",
            ),
            (
                "PATCH /v2/domains/example.com/records/106",
                json!({ "type": "TXT", "name": "_acme-challenge" }),
                "resource_hidden",
            ),
            (
                "DELETE /v2/domains/example.com/records/107",
                Value::Null,
                "ok",
            ),
            (
                "DELETE /v2/domains/example.com/records/106",
                Value::Null,
                "resource_hidden",
            ),
            (
                "DELETE /v2/domains/example.com/records/999",
                Value::Null,
                "resource_hidden",
            ),
            ("DELETE /v2/domains/example.com", Value::Null, "scope"),
            (
                "GET /v2/domains/example.org",
                Value::Null,
                "resource_hidden",
            ),
            (
                "GET /v2/domains/example.org/records",
                Value::Null,
                "resource_hidden",
            ),
        ])
        .await;
    let domains = story
        .ask("GET /v2/domains/?per_page=200", &Value::Null)
        .await;
    assert_eq!(all(&domains, "domains", "name"), ["example.com"]); // certbot lists them first
    assert_eq!(domains.json()["meta"]["total"], 1);
    assert_eq!(domains.json()["domains"][0]["zone_file"], Value::Null);
    let domain = story.ask("GET /v2/domains/example.com", &Value::Null).await;
    assert_eq!(
        domain.json()["domain"]["zone_file"],
        Value::Null,
        "it shows every record"
    );
    let records = story
        .ask(
            "GET /v2/domains/example.com/records?per_page=200",
            &Value::Null,
        )
        .await;
    let names = all(&records, "domain_records", "name");
    assert!(
        names.iter().all(|name| name.starts_with("_acme-challenge")),
        "{names:?}"
    );
    assert!(names.contains(&"_acme-challenge".to_owned()), "{names:?}");
    story.finish().await;
}

const CLIENT: &str = "
    allow:
      - scopes: ['droplet:*', image:read, snapshot:read, tag:read, tag:create, actions:read]
        only: { tag: client-a }
        actions: [power_on, power_off, reboot, resize, snapshot]
        on_create: { tags: [client-a] }
      - scopes: [ssh_key:read, regions:read, sizes:read]
      - scopes: [vpc:read]
        only: { vpc: { name: 'default-*' } }
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
";

#[tokio::test]
async fn s8_a_team_creates_uses_and_deletes_its_own_droplets() {
    let story = Story::of(CLIENT).await;
    let new = |more: Value| {
        let mut body = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let list = story
        .ask("GET /v2/droplets?page=1&per_page=2", &Value::Null)
        .await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13"]);
    assert_eq!(list.json()["meta"]["total"], 3);
    assert!(
        list.json()["links"]["pages"]["last"]
            .as_str()
            .unwrap()
            .contains("page=2")
    );
    story
        .holds(&[
            ("GET /v2/droplets/12", Value::Null, "ok"),
            ("GET /v2/droplets/22", Value::Null, "resource_hidden"),
            ("GET /v2/droplets/999", Value::Null, "resource_hidden"),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "reboot" }),
                "ok",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "rebuild", "image": "debian-12-x64" }),
                "action",
            ),
            (
                "POST /v2/droplets/22/actions",
                json!({ "type": "reboot" }),
                "resource_hidden",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a",
                json!({ "type": "reboot" }),
                "ok",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-b",
                json!({ "type": "reboot" }),
                "resource",
            ),
            ("POST /v2/droplets", new(json!({})), "ok"),
            (
                "POST /v2/droplets",
                new(json!({ "tags": ["client-b"] })),
                "resource",
            ),
            ("POST /v2/droplets", new(json!({ "image": 7001 })), "ok"), // its own snapshot, by name in the role
            (
                "POST /v2/droplets",
                new(json!({ "image": 7002 })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "image": 7777 })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "vpc_uuid": "d455e75d-4858-4eec-8c95-da2f0a5f93a7" })),
                "ok",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4" })),
                "resource",
            ),
            ("DELETE /v2/droplets/22", Value::Null, "resource_hidden"),
            ("DELETE /v2/droplets/14", Value::Null, "denied"),
            (
                "DELETE /v2/droplets?tag_name=client-a",
                Value::Null,
                "denied",
            ), // one of them may be kept
            (
                "DELETE /v2/droplets?tag_name=client-b",
                Value::Null,
                "denied",
            ),
            ("DELETE /v2/droplets/12", Value::Null, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn what_is_created_carries_the_tags_that_its_grant_adds() {
    let story = Story::of(CLIENT).await;
    let body = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "tags": ["Client-A"], "surprise": { "x": 1 } });
    let answer = story.ask("POST /v2/droplets", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let heard = story.api.writes();
    let sent: Value = serde_json::from_slice(&heard[0].body).unwrap();
    assert_eq!(
        sent["tags"],
        json!(["Client-A"]),
        "it has the tag, in another spelling"
    );
    assert_eq!(
        sent["surprise"],
        Value::Null,
        "a member that nobody knows is dropped"
    );
    let id = answer.json()["droplet"]["id"].to_string();
    let read = story
        .ask(&format!("GET /v2/droplets/{id}"), &Value::Null)
        .await;
    assert_eq!(read.status, 200, "what it made is its own: {}", read.text());
    story.finish().await;
}

#[tokio::test]
async fn an_action_that_went_through_here_is_polled_at_one_call_each() {
    let story = Story::of(CLIENT).await;
    let reboot = story
        .ask("POST /v2/droplets/12/actions", &json!({ "type": "reboot" }))
        .await;
    let action = reboot.json()["action"]["id"].to_string();
    story.api.clear();
    for _ in 0..3 {
        let poll = story
            .ask(&format!("GET /v2/actions/{action}"), &Value::Null)
            .await;
        assert_eq!(poll.status, 200, "{}", poll.text());
    }
    assert_eq!(story.api.heard_count(), 3);
    story.finish().await;
}
