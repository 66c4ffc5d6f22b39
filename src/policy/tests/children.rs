//! Delegation as a law: for any role, whatever a child says of itself and whatever it asks for, it is allowed what its maker is
//! allowed and what it says itself, and shown no more than either.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::widening::{ONLY, SCOPES, probes, requests, role, world};
use super::world::{World, asked};
use super::{CATALOG, grants};

const REQUESTS: [&str; 8] = [
    "'GET /v2/.*'",
    "'(GET|POST|PUT|PATCH|DELETE) /v2/.*'",
    "'GET /v2/droplets(/[0-9]+)?'",
    "'POST /v2/droplets/1/actions', 'GET /v2/actions.*'",
    "'(POST|DELETE) /v2/tags/web/resources', 'DELETE /v2/droplets/.*'",
    "'.* /v2/domains/example\\.com.*'",
    "'GET /v2/droplets\\?tag_name=web'",
    "'(PUT|DELETE) /v2/(firewalls|volumes|images)/.*'",
];
const ACTIONS: [&str; 3] = ["reboot, snapshot", "tag, assign", "rename, resize, attach"];

/// What a child may say of itself, in the words of `POST /.tidegate/v1/tokens`.
fn says() -> impl Strategy<Value = String> {
    let scopes = prop::collection::vec(prop::sample::select(&SCOPES[..]), 1..4);
    let members = (
        prop::option::weighted(0.5, scopes),
        prop::option::weighted(0.3, prop::sample::select(&REQUESTS[..])),
        prop::option::weighted(0.6, prop::sample::select(&ONLY[..])),
        prop::option::weighted(0.15, prop::sample::select(&ACTIONS[..])),
    );
    members.prop_map(|(scopes, requests, only, actions)| {
        let quoted = |scopes: Vec<&str>| format!("scopes: ['{}']", scopes.join("', '"));
        let members = [
            scopes.map(quoted),
            requests.map(|requests| format!("requests: [{requests}]")),
            only.map(|only| format!("only: {{ {only} }}")),
            actions.map(|actions| format!("actions: [{actions}]")),
        ];
        let members: Vec<_> = members.into_iter().flatten().collect();
        format!("{{ {} }}", members.join(", "))
    })
}

/// A role of one that makes others, which now and then adds something to what is created.
fn makers_role() -> impl Strategy<Value = String> {
    let adds = prop_oneof![
        3 => Just(""),
        1 => Just(", on_create: { tags: [web] }"),
        1 => Just(", on_create: { project: Prod }"),
    ];
    (role(), adds).prop_map(|(role, adds)| {
        let own = format!(
            "{{ scopes: ['droplet:*', 'block_storage:*', 'firewall:*', 'image:read']{adds} }}"
        );
        role.replacen("allow: [", &format!("allow: [{own}, "), 1)
    })
}

/// Everything that might be asked: what changes something, what reads or deletes each resource, lists, and what creates.
fn asked_for(world: &World) -> Vec<(String, String)> {
    let written = |body: &Value| {
        if body.is_null() {
            String::new()
        } else {
            body.to_string()
        }
    };
    let changes = requests().into_iter();
    let mut all: Vec<_> = changes
        .map(|(request, body)| (request, written(&body)))
        .collect();
    all.extend(world.things.iter().flat_map(probes));
    let droplet = json!({ "name": "a-new", "region": "nyc3", "size": "s-1", "image": "ubuntu" });
    let tagged = json!({ "name": "a-new", "region": "nyc3", "size": "s-1", "image": 7, "tags": ["web"], "vpc_uuid": "v1" });
    let volume = json!({ "name": "a-new", "region": "nyc3", "size_gigabytes": 1 });
    let creates = [
        ("/v2/droplets", droplet),
        ("/v2/droplets", tagged),
        ("/v2/volumes", volume),
        ("/v2/tags", json!({ "name": "new" })),
    ];
    let create = |(path, body): (&str, Value)| (format!("POST {path}"), body.to_string());
    all.extend(creates.into_iter().map(create));
    let lists = [
        "droplets",
        "volumes",
        "images",
        "domains",
        "firewalls",
        "tags",
    ];
    all.extend(lists.map(|list| (format!("GET /v2/{list}"), String::new())));
    all
}

fn child_of(maker: &Grants, says: &str) -> Grants {
    let own = read_narrowing(says, &CATALOG).unwrap_or_else(|_| panic!("{says}"));
    narrowed(maker, &own).unwrap()
}

fn rank(shown: Shown) -> u8 {
    match shown {
        Shown::Hidden => 0,
        Shown::WithoutChildren => 1,
        Shown::Whole => 2,
    }
}

/// What a list shows of each resource that is there.
fn seen(grants: &Grants, world: &World) -> Vec<(String, u8)> {
    let shown = |thing| {
        let (single, _) = probes(thing).remove(0);
        let (list, _) = single.rsplit_once('/').unwrap();
        let asked = asked(list, "");
        let touches = world.touches(grants, &asked).unwrap();
        let decision = decide(grants, &asked, &touches, &CATALOG);
        let touch = touches.iter().find(|touch| touch.is_first());
        let rank = match (decision, touch) {
            (Decision::Allow(_), Some(touch)) => {
                let state = world.state(thing);
                rank(shows(grants, &asked, touch, &state, &CATALOG))
            }
            // Of a list that scopes alone decide nothing is touched, and all of it is shown.
            (Decision::Allow(_), None) => 2,
            (Decision::Deny(_), _) => 0,
        };
        (single, rank)
    };
    world.things.iter().map(shown).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_child_may_what_its_maker_may_and_what_it_says(role in makers_role(), says in says(), again in says()) {
        let (maker, world) = (grants(&role), world());
        let child = child_of(&maker, &says);
        let grandchild = child_of(&child, &again);
        let adds = !maker.added_tags().is_empty() || !maker.added_projects().is_empty();
        for (request, body) in asked_for(&world) {
            let may = |grants: &Grants| world.allows(grants, &request, &body);
            let (makers, childs) = (may(&maker), may(&child));
            let by_itself = child.within.iter().all(|set| may(set));
            // Where the child's own words ask what a thing is, a change to what it is already is seen to be none.
            let changes = |grants: &Grants| world.touches(grants, &asked(&request, &body)).unwrap().iter().any(|touch| !touch.changes.is_empty());
            prop_assert!(!childs || makers || !changes(&child), "{role}\n{says}\n{request} {body}: the child may, its maker may not");
            // What is added to what it creates is added before what it says is asked, and may be what that asks for.
            prop_assert!(!childs || by_itself || adds || !changes(&child), "{role}\n{says}\n{request} {body}: the child may, by what it says it may not");
            prop_assert!(childs || !makers || !by_itself || adds, "{role}\n{says}\n{request} {body}: both may, the child may not");
            // None is ever made; were it, it would be held to both.
            prop_assert!(!may(&grandchild) || childs || !changes(&grandchild), "{role}\n{says}\n{again}\n{request} {body}");
        }
        let sets: Vec<_> = child.within.iter().map(|set| seen(set, &world)).collect();
        let (makers, childs) = (seen(&maker, &world), seen(&child, &world));
        for (at, ((what, shown), (_, most))) in childs.iter().zip(&makers).enumerate() {
            let least = sets.iter().map(|set| set[at].1).chain([*most]).min().unwrap();
            prop_assert_eq!(*shown, least, "{}\n{}\n{}", role, says, what);
        }
    }
}
