//! Hidden is missing: every endpoint that names something in its path answers alike for what may not be seen and for what is
//! not there.

use serde_json::{Value, json};

use super::oracle::told;
use super::{NONE, Story};
use crate::every_endpoint::rows;
use crate::support::{Fault, World};

/// What the paths of a family name first: its kind in a policy, one that is there, and one that is not.
struct Family {
    path: &'static str,
    kind: &'static str,
    there: &'static str,
    nowhere: &'static str,
}

const fn family(
    path: &'static str,
    kind: &'static str,
    there: &'static str,
    nowhere: &'static str,
) -> Family {
    Family {
        path,
        kind,
        there,
        nowhere,
    }
}

const NOWHERE: &str = "99999999-9999-4999-8999-999999999999";

const FAMILIES: &[Family] = &[
    family("/v2/account/keys", "ssh_key", "512190", "999999"),
    family(
        "/v2/apps",
        "app",
        "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf",
        NOWHERE,
    ),
    family(
        "/v2/cdn/endpoints",
        "cdn_endpoint",
        "19f06b6a-3ace-4315-b086-499a0e521b76",
        NOWHERE,
    ),
    family(
        "/v2/certificates",
        "certificate",
        "892071a0-bb95-49bc-8021-3afd67a210bf",
        NOWHERE,
    ),
    family(
        "/v2/databases",
        "database",
        "b92438f6-ba03-416c-b642-e9236db91976",
        NOWHERE,
    ),
    family("/v2/domains", "domain", "example.org", "example.net"),
    family("/v2/droplets", "droplet", "22", "99"),
    family(
        "/v2/firewalls",
        "firewall",
        "bb4b2611-3d72-467b-8602-280330ecd65c",
        NOWHERE,
    ),
    family(
        "/v2/floating_ips",
        "reserved_ip",
        "45.55.96.48",
        "45.55.96.99",
    ),
    family("/v2/images", "image", "7002", "9999"),
    family(
        "/v2/kubernetes/clusters",
        "kubernetes_cluster",
        "bd5f5959-5e1e-4205-a714-a914373942af",
        NOWHERE,
    ),
    family(
        "/v2/load_balancers",
        "load_balancer",
        "4de7ac8b-495b-4884-9a69-1050c6793cd6",
        NOWHERE,
    ),
    family(
        "/v2/monitoring/alerts",
        "alert_policy",
        "78b3da62-27e5-49ba-ac70-5db0b5935c64",
        NOWHERE,
    ),
    family(
        "/v2/projects",
        "project",
        "746c6152-2fa2-11ed-92d3-27aaa54e4988",
        NOWHERE,
    ),
    family("/v2/registries", "registry", "example", "nowhere"),
    family(
        "/v2/reserved_ips",
        "reserved_ip",
        "45.55.96.48",
        "45.55.96.99",
    ),
    family(
        "/v2/snapshots",
        "snapshot",
        "fbe805e8-866b-11e6-96bf-000000000002",
        NOWHERE,
    ),
    family("/v2/tags", "tag", "client-b", "client-x"),
    family(
        "/v2/uptime/checks",
        "uptime_check",
        "5a4981aa-9653-4bd1-bef5-d6bff52042e7",
        NOWHERE,
    ),
    family(
        "/v2/volumes",
        "volume",
        "506f78a4-e098-11e5-ad9f-000000000002",
        NOWHERE,
    ),
    family(
        "/v2/vpcs",
        "vpc",
        "5a4981aa-9653-4bd1-bef5-d6bff52042e4",
        NOWHERE,
    ),
];

impl Family {
    /// The requests of the whole family, with a mark for what they name first.
    fn requests(&self) -> Vec<String> {
        let table = include_str!("../../facts/endpoints.tsv");
        let of_family = |[method, path, ..]: [&'static str; 5]| {
            let rest = path.strip_prefix(self.path)?.strip_prefix("/{")?;
            let (_, rest) = rest.split_once('}')?;
            if rest.starts_with("/account_transfer/") {
                return None; // what another team offers is none of the account's yet
            }
            let mut more = String::new();
            for segment in rest.split('/').skip(1) {
                more.push('/');
                more.push_str(if segment.starts_with('{') {
                    "1"
                } else {
                    segment
                });
            }
            Some(format!("{method} {}/{{}}{more}", self.path))
        };
        rows(table).filter_map(of_family).collect()
    }
}

/// Every request of a family, once for what is there and once for what is not.
async fn alike(story: &Story, family: &Family, wrong: &mut Vec<String>) -> usize {
    let requests = family.requests();
    for request in &requests {
        let body = match request.split_once(' ') {
            Some(("GET" | "DELETE", _)) => NONE,
            // Of what kind the entities are that it names is asked before anything else.
            Some(("PUT", "/v2/monitoring/alerts/{}")) => {
                json!({ "type": "v1/insights/droplet/cpu" })
            }
            _ => json!({}),
        };
        let ask = async |name: &str| {
            story.api.clear();
            let answer = story.ask(&request.replace("{}", name), &body).await;
            let status = answer.status.as_u16();
            (
                status,
                text_without(&told(&answer), name),
                story.api.heard().len(),
            )
        };
        let hidden = ask(family.there).await;
        let missing = ask(family.nowhere).await;
        let (told_alike, is_broken) = (hidden.1 == missing.1, missing.0 >= 500 || hidden.0 < 400);
        if !told_alike || is_broken {
            wrong.push(format!(
                "{request}: hidden {hidden:?}\n   missing {missing:?}"
            ));
        }
    }
    requests.len()
}

/// What was told, whatever the request named, which refusals may repeat.
fn text_without(told: &impl std::fmt::Debug, name: &str) -> String {
    format!("{told:?}").replace(&format!("/{name}"), "/{}")
}

async fn every_family_of(role: impl Fn(&Family) -> String) {
    let world = || {
        let check = json!({ "id": "5a4981aa-9653-4bd1-bef5-d6bff52042e7", "name": "b", "type": "https", "target": "https://b.example" });
        World::default().with("uptime/checks", [check])
    };
    let mut wrong = Vec::new();
    let mut requests = 0;
    for family in FAMILIES {
        let story = Story::in_world(&role(family), world()).await;
        let path = format!("{}/{}", family.path, family.nowhere);
        // The stand-in has an answer for whatever it does not model; the API has none below what is not there.
        let not_found = Fault::problem(
            404,
            "not_found",
            "The resource you were accessing could not be found.",
        );
        story.api.fault_all(&path, not_found);
        requests += alike(&story, family, &mut wrong).await;
        story.finish().await;
    }
    assert!(
        wrong.is_empty(),
        "{} of {requests}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(requests > 200, "only {requests} requests");
}

#[tokio::test]
async fn what_no_grant_shows_answers_as_what_is_not_there() {
    every_family_of(|_| {
        "\n    allow:\n      - scopes: ['*']\n        only: { tag: nobody-has-this }\n".to_owned()
    })
    .await;
}

#[tokio::test]
async fn what_another_project_has_answers_as_what_is_not_there() {
    every_family_of(|_| {
        "\n    allow:\n      - scopes: ['*']\n        only: { project: nobodys }\n".to_owned()
    })
    .await;
}

#[tokio::test]
async fn what_a_deny_takes_answers_as_what_is_not_there() {
    every_family_of(|family| {
        let Family { kind, there, .. } = family;
        format!("\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: {{ {kind}: {{ id: '{there}' }} }}\n")
    })
    .await;
}

/// A node pool has tags of its own, a replica too: their list is their parent's all the same.
#[tokio::test]
async fn a_list_below_what_is_hidden_is_not_there() {
    let story = Story::of("\n    allow:\n      - scopes: ['kubernetes:*', 'database:*']\n        only: { tag: mine }\n").await;
    for (path, list) in [
        (
            "/v2/kubernetes/clusters/{}/node_pools",
            "bd5f5959-5e1e-4205-a714-a914373942af",
        ),
        (
            "/v2/databases/{}/replicas",
            "b92438f6-ba03-416c-b642-e9236db91976",
        ),
    ] {
        let hidden = story.get(&path.replace("{}", list)).await;
        let hidden_calls = story.heard().len();
        let missing = story.get(&path.replace("{}", NOWHERE)).await;
        assert_eq!(told(&hidden), told(&missing), "{path}");
        assert_eq!(hidden_calls, story.heard().len(), "{path}");
        assert_eq!(hidden.status, 404, "{path}");
        assert_eq!(hidden.reason(), Some("resource_hidden"), "{path}");
    }
    story.finish().await;
}

/// Terraform polls what it deleted until it is 404.
#[tokio::test]
async fn a_change_to_what_went_meanwhile_is_told_as_one_to_what_is_not_there() {
    let role =
        "\n    allow:\n      - scopes: ['droplet:*']\n        only: { droplet: { name: 'a-*' } }\n";
    let story = Story::of(role).await;
    story.api.fault_on(
        hyper::Method::DELETE,
        "/v2/droplets/12",
        Fault::problem(
            404,
            "not_found",
            "The resource you were accessing could not be found.",
        ),
    );
    let late = story.ask("DELETE /v2/droplets/12", &NONE).await;
    let missing = story.ask("DELETE /v2/droplets/999999", &NONE).await;
    assert_eq!(told(&late), told(&missing));
    assert_eq!(late.status, 404);
    assert_eq!(
        late.json()["message"],
        "The resource you requested could not be found."
    );
    let body: Value = late.json();
    assert_eq!(
        body["request_id"],
        late.header("tidegate-request-id").unwrap()
    );
    story.finish().await;
}
