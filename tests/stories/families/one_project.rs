//! S4: a token confined to one project, over everything that a project can hold.

use serde_json::{Value, json};

use super::{CLIENT_A, CLIENT_B, MINE, OTHER, mine_and_not_the_other_of, only_mine};
use crate::narrowed::{NONE, Story, all};
use crate::support::World;

/// Something of which one is in the project and one outside.
struct Held {
    /// The path of its list.
    path: &'static str,
    /// The member that holds the list and, after a dot, the one that names each.
    list: &'static str,
    /// What the two are called.
    ids: [&'static str; 2],
    /// What URNs call it, if they do.
    urn: Option<&'static str>,
    /// What changes one, and what is in it; `{}` is the one.
    changes: Vec<(&'static str, Value)>,
    /// What makes one, but for the project.
    new: Value,
    /// Whether what makes one says into which project it goes.
    told: bool,
    /// What would move it to another project, beside the project's own path.
    moves: Option<(&'static str, Value)>,
}

fn held(path: &'static str, list: &'static str, urn: Option<&'static str>) -> Held {
    Held {
        path,
        list,
        ids: [MINE, OTHER],
        urn,
        changes: Vec::new(),
        new: NONE,
        told: true,
        moves: None,
    }
}

fn all_that_a_project_holds() -> Vec<Held> {
    let moved = || json!({ "project_id": CLIENT_B });
    vec![
        Held {
            ids: ["12", "22"],
            changes: vec![
                ("POST {}/actions", json!({ "type": "reboot" })),
                ("GET {}/firewalls", NONE),
                ("GET {}/backups/policy", NONE),
            ],
            new: json!({ "name": "new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" }),
            told: false,
            ..held("/v2/droplets", "droplets.id", Some("droplet"))
        },
        Held {
            changes: vec![
                (
                    "POST {}/actions",
                    json!({ "type": "resize", "size_gigabytes": 20 }),
                ),
                ("GET {}/snapshots", NONE),
            ],
            new: json!({ "name": "new", "region": "nyc3", "size_gigabytes": 10 }),
            told: false,
            ..held("/v2/volumes", "volumes.id", Some("volume"))
        },
        Held {
            ids: ["a.example", "b.example"],
            changes: vec![
                (
                    "POST {}/records",
                    json!({ "type": "A", "name": "www", "data": "192.0.2.1" }),
                ),
                ("GET {}/records", NONE),
            ],
            new: json!({ "name": "new.example" }),
            told: false,
            ..held("/v2/domains", "domains.name", Some("domain"))
        },
        Held {
            changes: vec![
                (
                    "PUT {}/resize",
                    json!({ "size": "db-s-4vcpu-8gb", "num_nodes": 1 }),
                ),
                ("POST {}/users", json!({ "name": "app" })),
                ("GET {}/backups", NONE),
            ],
            new: json!({ "name": "new", "engine": "pg", "region": "nyc3", "size": "db-s-1vcpu-1gb", "num_nodes": 1 }),
            ..held("/v2/databases", "databases.id", Some("dbaas"))
        },
        Held {
            changes: vec![(
                "POST {}/forwarding_rules",
                json!({ "forwarding_rules": [] }),
            )],
            new: json!({ "name": "new", "region": "nyc3", "forwarding_rules": [] }),
            moves: Some((
                "PUT {}",
                json!({ "name": "lb", "region": "nyc3", "forwarding_rules": [], "project_id": CLIENT_B }),
            )),
            ..held(
                "/v2/load_balancers",
                "load_balancers.id",
                Some("loadbalancer"),
            )
        },
        Held {
            ids: ["192.0.2.1", "192.0.2.2"],
            changes: vec![
                ("POST {}/actions", json!({ "type": "unassign" })),
                ("GET {}/actions", NONE),
            ],
            new: json!({ "region": "nyc3" }),
            ..held("/v2/reserved_ips", "reserved_ips.ip", Some("reservedip"))
        },
        Held {
            changes: vec![
                ("PUT {}", json!({ "name": "cluster" })),
                ("GET {}/node_pools", NONE),
                ("GET {}/upgrades", NONE),
            ],
            new: json!({ "name": "new", "region": "nyc3", "version": "1.33.1-do.0", "node_pools": [{ "name": "p", "size": "s-1", "count": 1 }] }),
            told: false,
            ..held(
                "/v2/kubernetes/clusters",
                "kubernetes_clusters.id",
                Some("kubernetes"),
            )
        },
        Held {
            changes: vec![("POST {}/restart", json!({})), ("GET {}/deployments", NONE)],
            new: json!({ "spec": { "name": "new" } }),
            ..held("/v2/apps", "apps.id", Some("app"))
        },
        Held {
            changes: vec![("PATCH {}", json!({ "description": "ours" }))],
            new: json!({ "name": "new", "region": "nyc3" }),
            told: false,
            ..held("/v2/vpcs", "vpcs.id", Some("vpc"))
        },
        Held {
            changes: vec![
                ("POST {}/resize", json!({ "size": "large" })),
                ("GET {}/backups", NONE),
            ],
            new: json!({ "name": "new", "region": "nyc3", "size": "small" }),
            moves: Some(("PUT {}", moved())),
            ..held("/v2/vector-databases", "vector_dbs.id", None)
        },
        Held {
            changes: vec![
                ("PUT {}", json!({ "instruction": "be brief" })),
                ("GET {}/api_keys", NONE),
            ],
            new: json!({ "name": "new" }),
            moves: Some(("PUT {}", moved())),
            ..held("/v2/gen-ai/agents", "agents.uuid", None)
        },
        Held {
            changes: vec![
                ("PUT {}", json!({ "name": "docs" })),
                ("GET {}/data_sources", NONE),
            ],
            new: json!({ "name": "new" }),
            moves: Some(("PUT {}", moved())),
            ..held("/v2/gen-ai/knowledge_bases", "knowledge_bases.uuid", None)
        },
        Held {
            changes: vec![("PUT {}", json!({ "name": "nat", "size": 1 }))],
            new: json!({ "name": "new", "type": "PUBLIC", "region": "nyc3", "size": 1 }),
            moves: Some((
                "PUT {}",
                json!({ "name": "nat", "size": 1, "project_id": CLIENT_B }),
            )),
            ..held("/v2/vpc_nat_gateways", "vpc_nat_gateways.id", None)
        },
    ]
}

/// An account with one of each in the project of the client a, and one in that of b.
fn world() -> World {
    let project = |id: &str, name: &str| json!({ "id": id, "name": name, "is_default": false, "description": "", "purpose": "" });
    let world = World::empty()
        .with(
            "projects",
            [project(CLIENT_A, "client-a"), project(CLIENT_B, "client-b")],
        )
        .with(
            "_buckets",
            [("a-files", CLIENT_A), ("b-files", CLIENT_B)]
                .map(|(name, project)| json!({ "name": name, "project_id": project })),
        );
    all_that_a_project_holds()
        .into_iter()
        .fold(world, |world, held| {
            let homes = held.ids.into_iter().zip([CLIENT_A, CLIENT_B]);
            let items = homes.map(|(id, project)| of_each(&held, id, project));
            world.with(held.path.trim_start_matches("/v2/"), items)
        })
}

/// A resource as lists of each kind have it: members that a kind does not have do no harm.
fn of_each(held: &Held, id: &str, project: &str) -> Value {
    let (_, key) = held.list.split_once('.').unwrap();
    let name = if key == "name" { id } else { "one" };
    let mut item = json!({ "name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "size_gigabytes": 10, "tags": [],
        "image": "ubuntu-24-04-x64", "spec": { "name": "one" }, "node_pools": [], "droplet_ids": [], "droplet": null,
        "forwarding_rules": [], "vpcs": [], "project_id": project });
    item[key] = id.parse::<u64>().map_or_else(|_| json!(id), Value::from);
    item
}

const CONFINED: &str = "
    allow:
      - scopes: ['*']
        only: { project: client-a }
";

#[tokio::test]
async fn s4_of_everything_that_a_project_can_hold_its_own_is_reached() {
    let story = Story::in_world(CONFINED, world()).await;
    for held in all_that_a_project_holds() {
        let Held {
            path,
            list,
            ids: [mine, other],
            ..
        } = held;
        only_mine(&story, path, list, mine, other).await;
        let at = |id: &str, request: &str| request.replace("{}", &format!("{path}/{id}"));
        let changes: Vec<(String, Value)> = held
            .changes
            .iter()
            .map(|(request, body)| (request.replace("{}", &format!("{path}/{{}}")), body.clone()))
            .collect();
        mine_and_not_the_other_of(&story, [mine, other], &changes).await;
        if let Some((request, body)) = &held.moves {
            story
                .holds(&[(&at(mine, request), body.clone(), "resource")])
                .await;
        }
        if let Some(urn) = held.urn {
            moved_nowhere(&story, urn, mine, other).await;
        }
        let create = format!("POST {path}");
        let into = |project: &str| {
            let mut new = held.new.clone();
            new["project_id"] = json!(project);
            new
        };
        story
            .holds(&[(&create, held.new.clone(), "resource")])
            .await; // it would be in the default one
        if held.told {
            story
                .holds(&[
                    (&create, into(CLIENT_B), "resource"),
                    (&create, into(CLIENT_A), "ok"),
                ])
                .await;
        }
        story
            .holds(&[
                (&format!("DELETE {path}/{other}"), NONE, "resource_hidden"),
                (&format!("DELETE {path}/{mine}"), NONE, "ok"),
            ])
            .await;
    }
    story.finish().await;
}

/// Nothing of the project goes to another, and nothing of another comes in.
async fn moved_nowhere(story: &Story, urn: &str, mine: &str, other: &str) {
    let assign = |id: &str| json!({ "resources": [format!("do:{urn}:{id}")] });
    let (own, another) = (
        format!("POST /v2/projects/{CLIENT_A}/resources"),
        format!("POST /v2/projects/{CLIENT_B}/resources"),
    );
    story
        .holds(&[
            (&own, assign(mine), "ok"), // it is there already
            (&own, assign(other), "resource"),
            (&another, assign(mine), "resource_hidden"),
            (&another, assign(other), "resource_hidden"),
            (
                "POST /v2/projects/default/resources",
                assign(mine),
                "resource_hidden",
            ),
        ])
        .await;
}

/// What the API makes in the default project is put into its own.
#[tokio::test]
async fn s4_what_is_made_goes_into_the_project_whatever_it_is() {
    let role = "
    allow:
      - scopes: ['*']
        only: { project: client-a }
        on_create: { project: client-a }
";
    let story = Story::in_world(role, world()).await;
    let urns = story
        .get(&format!("/v2/projects/{CLIENT_A}/resources?per_page=200"))
        .await;
    let before = all(&urns, "resources", "urn").len();
    let made: Vec<_> = all_that_a_project_holds()
        .into_iter()
        .filter(|held| held.urn.is_some())
        .collect();
    for held in &made {
        let answer = story.ask(&format!("POST {}", held.path), &held.new).await;
        assert!(
            answer.status.is_success(),
            "{}: {}",
            held.path,
            answer.text()
        );
        assert_eq!(answer.header("tidegate-warning"), None, "{}", held.path);
    }
    let urns = story
        .get(&format!("/v2/projects/{CLIENT_A}/resources?per_page=200"))
        .await;
    let urns = all(&urns, "resources", "urn");
    assert_eq!(urns.len(), before + made.len(), "{urns:?}");
    story.finish().await;
}

/// Buckets have no list and no path: the API shows them among a project's resources, and keys open them by name.
#[tokio::test]
async fn s4_a_key_opens_only_buckets_of_the_project() {
    let role = "
    allow:
      - scopes: ['spaces_key:*', spaces_key:create_credentials]
        only: { spaces_key: any, space: { project: client-a } }
";
    let story = Story::in_world(role, world()).await;
    let key = |bucket: &str| json!({ "name": "ci", "grants": [{ "bucket": bucket, "permission": "readwrite" }] });
    story
        .holds(&[
            ("POST /v2/spaces/keys", key("a-files"), "ok"),
            ("POST /v2/spaces/keys", key("b-files"), "resource"),
            ("POST /v2/spaces/keys", key("none"), "resource"),
            ("POST /v2/spaces/keys", key(""), "resource"),
        ])
        .await;
    story.finish().await;
    let story = Story::in_world(CONFINED, world()).await;
    moved_nowhere(&story, "space", "a-files", "b-files").await;
    story.finish().await;
}
