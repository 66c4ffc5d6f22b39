//! Members of bodies, and parameters, as the API gets them from a narrowed sub-token: all that is known, nothing else, and
//! never less than was asked.

use serde_json::{Value, json};

use super::{NONE, Story};
use crate::support::World;

const OWN: &str = "fb6045f1-cf1d-4ca3-bfac-18832663025b";
const BALANCER: &str = "11111111-1111-4111-8111-111111111111";
const CLUSTER: &str = "22222222-2222-4222-8222-222222222222";
const POOL: &str = "33333333-3333-4333-8333-333333333333";
const DATABASE: &str = "44444444-4444-4444-8444-444444444444";

fn world() -> World {
    let pool = json!({ "id": POOL, "name": "pool", "size": "s-1vcpu-2gb", "count": 1, "tags": [], "nodes": [] });
    World::default()
        .with(
            "load_balancers",
            [json!({ "id": BALANCER, "name": "a-lb", "region": "nyc3", "droplet_ids": [], "forwarding_rules": [],
                "ip": "192.0.2.1" })],
        )
        .with(
            "kubernetes/clusters",
            [json!({ "id": CLUSTER, "name": "a-cluster", "region": "nyc3", "tags": [], "node_pools": [pool] })],
        )
        .with("databases", [json!({ "id": DATABASE, "name": "a-db", "engine": "pg", "tags": [] })])
}

/// The allow form.
const ALLOWED: &str = "
    allow:
      - scopes: ['firewall:*', 'load_balancer:*', 'kubernetes:*', 'database:*', 'function:*', 'vpc:*']
        only:
          firewall: { id: fb6045f1-cf1d-4ca3-bfac-18832663025b }
          load_balancer: { name: 'a-*' }
          kubernetes_cluster: { name: 'a-*' }
          database: { name: 'a-*' }
          namespace: { name: 'a-*' }
          vpc: { name: 'a-*' }
";

/// The deny form: all but what is told apart by an `only`.
const DENIED: &str = "
    allow:
      - scopes: ['*']
    deny:
      - scopes: ['*']
        only: { droplet: { id: '401000020' } }
";

/// What left for the API after a request that was let through.
async fn sent(story: &Story, request: &str, body: &Value) -> (String, Value) {
    story.api.clear();
    let answer = story.ask(request, body).await;
    let heard = story.api.writes();
    let [one] = heard.as_slice() else {
        panic!("{request} {body}: {} {}", answer.status, answer.text());
    };
    (one.target.clone(), one.json())
}

fn requests() -> Vec<(String, Value)> {
    let rule = |more: Value| {
        let mut rule =
            json!({ "protocol": "tcp", "ports": "22", "sources": { "addresses": ["192.0.2.7"] } });
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "inbound_rules": [rule], "outbound_rules": [] })
    };
    let taint = json!([{ "Key": "gpu", "Value": "yes", "Effect": "NoSchedule" }]);
    vec![
        // A deny rule stays one.
        (
            format!("POST /v2/firewalls/{OWN}/rules"),
            rule(json!({ "action": "deny" })),
        ),
        (
            format!("DELETE /v2/firewalls/{OWN}/rules"),
            rule(json!({ "action": "deny" })),
        ),
        // What is only to be looked at is not made.
        (
            format!("PUT /v2/load_balancers/{BALANCER}"),
            json!({ "name": "a-lb", "region": "nyc3", "forwarding_rules": [], "validate_only": true,
                "health_check": { "protocol": "tcp", "port": 80, "proxy_protocol": true } }),
        ),
        // Go's capitals.
        (
            format!("PUT /v2/kubernetes/clusters/{CLUSTER}/node_pools/{POOL}"),
            json!({ "name": "pool", "count": 1, "tags": [], "taints": taint }),
        ),
        // A name that holds a dot.
        (
            format!("PATCH /v2/databases/{DATABASE}/config"),
            json!({ "config": { "pg_partman_bgw.role": "r", "pg_stat_statements.track": "all",
                "pg_parameters": { "x.y": 1 } } }),
        ),
    ]
}

#[tokio::test]
async fn what_real_clients_send_arrives_whole() {
    for role in [ALLOWED, DENIED] {
        let story = Story::in_world(role, world()).await;
        for (request, body) in requests() {
            let (_, arrived) = sent(&story, &request, &body).await;
            assert_eq!(arrived, body, "{request}");
        }
        story.finish().await;
    }
}

#[tokio::test]
async fn an_unknown_member_is_refused_by_name_and_nothing_is_sent() {
    let put = format!("PUT /v2/load_balancers/{BALANCER}");
    let body = |more: Value| {
        let mut body = json!({ "name": "a-lb", "region": "nyc3", "forwarding_rules": [] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        (body(json!({ "surprise": "x" })), "body.surprise"),
        (body(json!({ "surprise": false })), "body.surprise"), // false is a value
        (body(json!({ "surprise": 0 })), "body.surprise"),     // and 0
        (body(json!({ "surprise": [{}] })), "body.surprise[]"),
        (
            body(json!({ "forwarding_rules": [{ "entry_port": 80 }, { "x": 1 }] })),
            "body.forwarding_rules[].x",
        ),
        (
            body(json!({ "health_check": { "a.b": 1 } })),
            "body.health_check.\"a.b\"",
        ),
        (
            body(json!({ "health_check": "port: 80" })),
            "body.health_check",
        ), // a text for an object
        (body(json!({ "algorithm": { "x": 1 } })), "body.algorithm.x"), // and the other way round
    ];
    for role in [ALLOWED, DENIED] {
        let story = Story::in_world(role, world()).await;
        for (body, named) in &cases {
            let answer = story.ask(&put, body).await;
            let text = answer.text();
            assert_eq!(answer.status, 403, "{body}: {text}");
            assert_eq!(answer.reason(), Some("field_unknown"), "{body}: {text}");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(
                message.starts_with(&format!("`{named}` of PUT /v2/load_balancers/{{lb_id}}")),
                "{message}"
            );
        }
        for query in ["?dry_run=true", "?droplet=401000020", "?name=a-lb&force=0"] {
            let request = format!("DELETE /v2/load_balancers/{BALANCER}{query}");
            let answer = story.ask(&request, &NONE).await;
            assert_eq!(
                answer.reason(),
                Some("field_unknown"),
                "{request}: {}",
                answer.text()
            );
        }
        assert!(story.api.writes().is_empty(), "{:?}", story.api.writes());
        story.finish().await;
    }
}

#[tokio::test]
async fn what_says_or_means_nothing_stays_behind() {
    let put = format!("PUT /v2/load_balancers/{BALANCER}?page=1&per_page=200");
    let body = json!({ "name": "a-lb", "region": "nyc3", "forwarding_rules": [], "sticky_sessions": null,
        "surprise": null, "x": "", "y": [], "z": {}, "timeout": 30, "validate_certs": true });
    let known = json!({ "name": "a-lb", "region": "nyc3", "forwarding_rules": [], "sticky_sessions": null });
    for role in [ALLOWED, DENIED] {
        let story = Story::in_world(role, world()).await;
        let (target, arrived) = sent(&story, &put, &body).await;
        assert_eq!(arrived, known);
        assert_eq!(target, format!("/v2/load_balancers/{BALANCER}"));
        let delete = format!("DELETE /v2/load_balancers/{BALANCER}");
        let (_, arrived) = sent(&story, &delete, &json!({})).await; // as python-digitalocean does
        assert_eq!(arrived, NONE);
        story.finish().await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_not_read_past() {
    let own = format!("POST /v2/firewalls/{OWN}/droplets");
    let rows = [
        (own.as_str(), json!([401_000_020])),
        (own.as_str(), json!("401000020")),
        (own.as_str(), json!(401_000_020)),
        (own.as_str(), json!([{ "droplet_ids": [401_000_020] }])),
        (own.as_str(), json!([])),
        (
            "POST /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources",
            json!(["do:droplet:401000020"]),
        ),
        ("DELETE /v2/droplets/12", json!([1])),
    ];
    let story = Story::in_world(DENIED, world()).await;
    for (request, body) in rows {
        let answer = story.ask(request, &body).await;
        assert_eq!(
            answer.reason(),
            Some("ambiguous_request"),
            "{request} {body}: {}",
            answer.text()
        );
        assert_eq!(answer.status, 400, "{request} {body}");
    }
    assert!(story.api.writes().is_empty(), "{:?}", story.api.writes());
    story.finish().await;
}

/// A grant that is not narrowed is not less for standing beside one that is; but what a deny would have to know is told.
#[tokio::test]
async fn what_a_grant_without_only_covers_by_itself_goes_on_whole() {
    let body = json!({ "name": "a-check", "type": "https", "target": "https://example.com", "surprise": { "x": [1] } });
    let whole = "
    allow:
      - scopes: ['uptime:*']
      - scopes: [droplet:read]
        only: { droplet: { tag: client-a } }
";
    let story = Story::in_world(whole, world()).await;
    let (_, arrived) = sent(&story, "POST /v2/uptime/checks", &body).await;
    assert_eq!(arrived, body);
    story.finish().await;
    let others = [
        // The grant does not cover all of it: the other gives what the check is to be.
        "
    allow:
      - scopes: ['uptime:*']
        only: { uptime_check: { name: 'a-*' } }
      - scopes: [droplet:read]
",
        // The member could name what the deny is about.
        "
    allow:
      - scopes: ['uptime:*']
    deny:
      - scopes: [droplet:read]
        only: { droplet: { tag: client-a } }
",
    ];
    for role in others {
        let story = Story::in_world(role, world()).await;
        let answer = story.ask("POST /v2/uptime/checks", &body).await;
        assert_eq!(
            answer.reason(),
            Some("field_unknown"),
            "{role}: {}",
            answer.text()
        );
        assert!(story.api.writes().is_empty(), "{role}");
        story.finish().await;
    }
}

/// doctl names a namespace one level below where the reference does, pydo where the reference does.
#[tokio::test]
async fn a_functions_namespace_is_judged_wherever_its_name_stands() {
    let role = "
    allow:
      - scopes: [function:create, function:admin]
        only: { namespace: { name: 'a-*' } }
";
    let story = Story::in_world(role, world()).await;
    let at = "POST /v2/functions/namespaces";
    let doctl = |label: &str| json!({ "namespace": { "label": label, "Region": "nyc1" } });
    let both = json!({ "label": "a-x", "region": "nyc1", "namespace": { "label": "b-x" } });
    story
        .holds(&[
            (at, json!({ "label": "a-x", "region": "nyc1" }), "ok"),
            (at, doctl("a-x"), "ok"),
            (at, doctl("b-x"), "resource"),
            (at, both, "resource"),
            (at, json!({ "namespace": { "Region": "nyc1" } }), "resource"),
            (
                at,
                json!({ "namespace": { "label": "a-x", "region": "nyc1" } }),
                "ambiguous_request",
            ),
        ])
        .await;
    story.finish().await;
}

/// What is made: as the client says it, with what the grant adds, without what the API would not read.
#[tokio::test]
async fn what_is_made_is_what_was_asked_and_what_the_grant_adds() {
    let role = "
    allow:
      - scopes: ['droplet:*', image:read, 'kubernetes:*', tag:create, tag:read]
        only: { tag: client-a }
        on_create: { tags: [client-a] }
      - scopes: ['load_balancer:*', tag:create]
        only: { load_balancer: { name: 'a-*' }, tag: { name: 'client-a' } }
";
    let story = Story::in_world(role, world()).await;
    let droplet = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
    let with = |body: &Value, more: &Value| {
        let mut body = body.clone();
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        body
    };
    let tagged = json!({ "tags": ["client-a"] });
    let known = [
        json!({}),
        json!({ "monitoring": false, "ipv6": true, "user_data": "#!/bin/sh" }),
        json!({ "gpu_partition_mode": "mig", "anti_affinity_key": "web" }), // Terraform
        json!({ "volumes": null, "ssh_keys": [] }),
    ];
    let noise = [
        json!({}),
        json!({ "surprise": null, "x": "", "y": [], "z": {} }),
        // community.digitalocean sends all of its parameters.
        json!({ "project_name": "p", "firewall": ["f"], "resize_disk": false, "baseurl": "https://x.example/v2",
            "validate_certs": true, "timeout": 30, "unique_name": null }),
    ];
    for known in &known {
        for noise in &noise {
            let body = with(&with(&droplet, known), noise);
            let (_, arrived) = sent(&story, "POST /v2/droplets", &body).await;
            assert_eq!(arrived, with(&with(&droplet, known), &tagged), "{body}");
        }
    }
    let pools = json!([{ "name": "pool", "size": "s-1vcpu-2gb", "count": 1, "tags": ["client-a"],
        "taints": [{ "Key": "a", "Value": "b", "Effect": "NoSchedule" }] }]);
    let cluster = json!({ "name": "a-cluster", "region": "nyc3", "version": "1.31", "node_pools": pools,
        "nfs_csi_plugin": { "enabled": true } });
    let (_, arrived) = sent(&story, "POST /v2/kubernetes/clusters", &cluster).await;
    assert_eq!(arrived, with(&cluster, &tagged));
    // The cloud controller's admission webhook.
    let balancer = json!({ "name": "a-lb", "region": "nyc3", "forwarding_rules": [{ "entry_port": 80 }],
        "validate_only": true, "tags": ["client-a"] });
    let (_, arrived) = sent(&story, "POST /v2/load_balancers", &balancer).await;
    assert_eq!(arrived, balancer);
    story.finish().await;
}
