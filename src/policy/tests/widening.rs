//! Rule 6 as a law: after any request that was let through, a token holds over every resource no more than it held before,
//! and no resource is free of a deny that struck it. What a request does is told here by the API's reference, and not by the
//! table of touches.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::world::{Thing, World, asked, text};
use super::{CATALOG, grants};
use crate::catalog::KindId;

pub(super) fn world() -> World {
    let mut world = World::default();
    let things = [
        (
            KindId::Droplet,
            json!({"id":1,"name":"a-one","tags":["web"],"region":{"slug":"nyc3"},"size_slug":"s-1","vpc_uuid":"v1","image":{"id":8,"slug":"ubuntu"},"volume_ids":["vol1"]}),
        ),
        (
            KindId::Droplet,
            json!({"id":2,"name":"b-two","tags":["db"],"region":{"slug":"nyc3"},"size_slug":"s-2","vpc_uuid":"v1","image":{"id":7,"slug":null},"volume_ids":[]}),
        ),
        (
            KindId::Volume,
            json!({"id":"vol1","name":"a-vol","tags":["web"],"region":{"slug":"nyc3"},"droplet_ids":[1],"size_gigabytes":10}),
        ),
        (
            KindId::Volume,
            json!({"id":"vol2","name":"b-vol","tags":[],"region":{"slug":"nyc3"},"droplet_ids":[],"size_gigabytes":10}),
        ),
        (
            KindId::Image,
            json!({"id":7,"name":"theirs","public":false,"slug":null,"regions":["nyc3"],"tags":["db"],"type":"snapshot","distribution":"x"}),
        ),
        (
            KindId::Snapshot,
            json!({"id":"7","name":"theirs","regions":["nyc3"],"tags":["db"],"resource_id":"2","resource_type":"droplet"}),
        ),
        (
            KindId::Image,
            json!({"id":8,"name":"Ubuntu","public":true,"slug":"ubuntu","regions":["nyc3"],"tags":[],"type":"base","distribution":"x"}),
        ),
        (KindId::Domain, json!({"name":"example.com"})),
        (
            KindId::Firewall,
            json!({"id":"f1","name":"edge","droplet_ids":[1],"tags":[]}),
        ),
        (
            KindId::Firewall,
            json!({"id":"f2","name":"mine","droplet_ids":[],"tags":[]}),
        ),
        (
            KindId::LoadBalancer,
            json!({"id":"l1","name":"lb","project_id":"p2","region":{"slug":"nyc3"},"droplet_ids":[2],"tag":"","vpc_uuid":"v1"}),
        ),
        (
            KindId::ReservedIp,
            json!({"ip":"192.0.2.1","region":{"slug":"nyc3"},"project_id":"p2","droplet":{"id":2}}),
        ),
        (
            KindId::ReservedIp,
            json!({"ip":"192.0.2.2","region":{"slug":"nyc3"},"project_id":"p1","droplet":null}),
        ),
        (
            KindId::SshKey,
            json!({"id":5,"name":"theirs","fingerprint":"aa:bb"}),
        ),
        (
            KindId::Vpc,
            json!({"id":"v1","name":"net","region":"nyc3","default":true}),
        ),
        (
            KindId::Vpc,
            json!({"id":"v2","name":"other","region":"nyc3","default":false}),
        ),
        (KindId::Tag, json!({"name":"web"})),
        (KindId::Tag, json!({"name":"db"})),
        (
            KindId::Project,
            json!({"id":"p1","name":"Prod","is_default":false}),
        ),
        (
            KindId::Project,
            json!({"id":"p2","name":"Rest","is_default":true}),
        ),
    ];
    for (kind, json) in things {
        world.things.push(Thing::known(kind, &[], json));
    }
    for json in [
        json!({"id":11,"type":"TXT","name":"_acme","data":"x"}),
        json!({"id":12,"type":"A","name":"www","data":"1.2.3.4"}),
    ] {
        world
            .things
            .push(Thing::known(KindId::DomainRecord, &["example.com"], json));
    }
    for (urn, project) in [
        ("do:droplet:1", "p1"),
        ("do:droplet:2", "p2"),
        ("do:volume:vol1", "p1"),
        ("do:domain:example.com", "p2"),
    ] {
        world.projects.insert(urn.to_owned(), project.to_owned());
    }
    world
}

/// What a token might try that changes something: every request of the families that people narrow.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn requests() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut add = |request: &str, body: Value| all.push((request.to_owned(), body));
    for id in ["1", "2"] {
        let actions = format!("POST /v2/droplets/{id}/actions");
        add(&actions, json!({"type":"rename","name":"a-new"}));
        add(&actions, json!({"type":"rename","name":"b-new"}));
        add(&actions, json!({"type":"resize","size":"s-1"}));
        add(&actions, json!({"type":"rebuild","image":"ubuntu"}));
        add(&actions, json!({"type":"rebuild","image":7}));
        add(&format!("DELETE /v2/droplets/{id}"), Value::Null);
        for fw in ["f1", "f2"] {
            add(
                &format!("POST /v2/firewalls/{fw}/droplets"),
                json!({"droplet_ids":[id.parse::<u8>().unwrap()]}),
            );
            add(
                &format!("DELETE /v2/firewalls/{fw}/droplets"),
                json!({"droplet_ids":[id.parse::<u8>().unwrap()]}),
            );
        }
        for volume in ["vol1", "vol2"] {
            let actions = format!("POST /v2/volumes/{volume}/actions");
            add(&actions, json!({"type":"attach","droplet_id":id}));
            add(
                &actions,
                json!({"type":"attach","droplet_id":id,"tags":["web"]}),
            );
        }
        for ip in ["192.0.2.1", "192.0.2.2"] {
            add(
                &format!("POST /v2/reserved_ips/{ip}/actions"),
                json!({"type":"assign","droplet_id":id}),
            );
            add(
                &format!("POST /v2/floating_ips/{ip}/actions"),
                json!({"type":"unassign"}),
            );
        }
    }
    add(
        "POST /v2/volumes/vol1/actions",
        json!({"type":"detach","droplet_id":1}),
    );
    for tag in ["web", "DB"] {
        for (kind, id) in [
            ("droplet", "1"),
            ("droplet", "2"),
            ("image", "7"),
            ("volume", "vol1"),
            ("volume", "vol2"),
            ("volume_snapshot", "7"),
        ] {
            let of = json!({"resources":[{"resource_id":id,"resource_type":kind}]});
            add(&format!("POST /v2/tags/{tag}/resources"), of.clone());
            add(&format!("DELETE /v2/tags/{tag}/resources"), of.clone());
        }
        add(
            "POST /v2/tags",
            json!({"name":tag,"resources":[{"resource_id":"2","resource_type":"droplet"}]}),
        );
        add(&format!("DELETE /v2/tags/{tag}"), Value::Null);
        add(&format!("DELETE /v2/droplets?tag_name={tag}"), Value::Null);
    }
    add("PUT /v2/images/7", json!({"name":"mine"}));
    for record in ["11", "12"] {
        let at = format!("/v2/domains/example.com/records/{record}");
        add(&format!("PUT {at}"), json!({"type":"TXT"}));
        add(&format!("PATCH {at}"), json!({"name":"_acme-two"}));
        add(&format!("PATCH {at}"), json!({"name":"www","type":"A"}));
        add(&format!("DELETE {at}"), Value::Null);
    }
    add("PUT /v2/firewalls/f1", json!({"name":"mine"}));
    add(
        "PUT /v2/firewalls/f2",
        json!({"name":"edge","droplet_ids":[1,2]}),
    );
    add(
        "PUT /v2/load_balancers/l1",
        json!({"name":"mine","project_id":"p2","vpc_uuid":"v1","droplet_ids":[2]}),
    );
    add(
        "PUT /v2/load_balancers/l1",
        json!({"name":"lb","project_id":"p1","vpc_uuid":"v1","droplet_ids":[1]}),
    );
    for project in ["p1", "p2"] {
        for name in ["Prod", "Pr", "Free"] {
            add(
                &format!("PATCH /v2/projects/{project}"),
                json!({"name":name}),
            );
        }
        add(
            &format!("PATCH /v2/projects/{project}"),
            json!({"is_default":true}),
        );
        for urn in [
            "do:droplet:1",
            "do:droplet:2",
            "do:volume:vol2",
            "do:domain:example.com",
        ] {
            add(
                &format!("POST /v2/projects/{project}/resources"),
                json!({"resources":[urn]}),
            );
        }
    }
    add(
        "POST /v2/projects/default/resources",
        json!({"resources":["do:droplet:1","do:volume:vol1"]}),
    );
    for vpc in ["v1", "v2"] {
        add(&format!("PATCH /v2/vpcs/{vpc}"), json!({"name":"mine"}));
        add(&format!("PUT /v2/vpcs/{vpc}"), json!({"default":true}));
    }
    add("PUT /v2/account/keys/aa:bb", json!({"name":"mine"}));
    add("DELETE /v2/volumes/vol1", Value::Null);
    add("DELETE /v2/images/7", Value::Null);
    all
}

/// What is held over a resource is what of these is let through. None of them changes what a selector asks about.
pub(super) fn probes(thing: &Thing) -> Vec<(String, String)> {
    let id = thing.id();
    let base = match thing.kind {
        KindId::Droplet => "/v2/droplets",
        KindId::Volume => "/v2/volumes",
        KindId::Image => "/v2/images",
        KindId::Snapshot => "/v2/snapshots",
        KindId::Domain => "/v2/domains",
        KindId::DomainRecord => "/v2/domains/example.com/records",
        KindId::Firewall => "/v2/firewalls",
        KindId::LoadBalancer => "/v2/load_balancers",
        KindId::ReservedIp => "/v2/reserved_ips",
        KindId::SshKey => "/v2/account/keys",
        KindId::Vpc => "/v2/vpcs",
        KindId::Tag => "/v2/tags",
        KindId::Project => "/v2/projects",
        other => panic!("no path for {other}"),
    };
    let mut probes = vec![(format!("GET {base}/{id}"), String::new())];
    if thing.kind != KindId::Tag {
        probes.push((format!("DELETE {base}/{id}"), String::new())); // a tag's deletion changes what carries it
    }
    let mut add = |request: String, body: Value| probes.push((request, body.to_string()));
    match thing.kind {
        KindId::Droplet => {
            add(
                format!("POST {base}/{id}/actions"),
                json!({"type":"reboot"}),
            );
            add(
                format!("POST {base}/{id}/actions"),
                json!({"type":"snapshot","name":"s"}),
            );
            add(
                "POST /v2/firewalls/f2/rules".to_owned(),
                json!({"inbound_rules":[{"sources":{"droplet_ids":[id]}}]}),
            );
            add(
                "POST /v2/firewalls".to_owned(),
                json!({"name":"mine","droplet_ids":[id]}),
            );
        }
        KindId::Volume => {
            add(format!("POST {base}/{id}/snapshots"), json!({"name":"s"}));
            add(
                format!("POST {base}/{id}/actions"),
                json!({"type":"resize"}),
            );
        }
        KindId::Image | KindId::SshKey | KindId::Vpc => {
            for name in ["a-new", "c-new"] {
                let mut body = json!({"name":name,"size":"s-1","region":"nyc3"});
                match thing.kind {
                    KindId::Image => body["image"] = json!(id),
                    KindId::SshKey => body["ssh_keys"] = json!([id]),
                    _ => body["vpc_uuid"] = json!(id),
                }
                add("POST /v2/droplets".to_owned(), body);
            }
        }
        KindId::Domain => add(
            format!("POST {base}/{id}/records"),
            json!({"type":"TXT","name":"_acme","data":"y"}),
        ),
        KindId::DomainRecord => add(format!("PUT {base}/{id}"), json!({"ttl":60})),
        _ => {}
    }
    probes
}

/// What the API does with a request that it takes.
#[expect(clippy::too_many_lines, reason = "a table")]
fn happen(world: &World, request: &str, body: &Value) -> World {
    let mut new = world.clone();
    let (method, target) = request.split_once(' ').unwrap();
    let path: Vec<&str> = target
        .trim_start_matches("/v2/")
        .split(['/', '?'])
        .collect();
    let mut set = |kind: KindId, id: &str, change: &dyn Fn(&mut Value)| {
        for thing in &mut new.things {
            let named = text(&thing.json["fingerprint"]) == id;
            if thing.kind == kind && (thing.id() == id || named) {
                change(&mut thing.json);
            }
        }
    };
    let ids = |value: &Value| -> Vec<Value> { value.as_array().cloned().unwrap_or_default() };
    let number = |value: &Value| json!(text(value).parse::<u64>().unwrap());
    let given = |json: &mut Value, members: &[&str]| {
        for member in members {
            if !body[*member].is_null() {
                json[*member] = body[*member].clone();
            }
        }
    };
    match (method, path.as_slice()) {
        ("POST", ["droplets", id, "actions"]) => set(
            KindId::Droplet,
            id,
            &|json| match body["type"].as_str().unwrap() {
                "rename" => json["name"] = body["name"].clone(),
                "resize" => json["size_slug"] = body["size"].clone(),
                "rebuild" if body["image"] == "ubuntu" => {
                    json["image"] = json!({"id":8,"slug":"ubuntu"});
                }
                "rebuild" => json["image"] = json!({"id":7,"slug":null}),
                other => panic!("no action {other}"),
            },
        ),
        ("DELETE", ["droplets", id]) => gone(&mut new, id),
        ("POST", ["firewalls", id, "droplets"]) => set(KindId::Firewall, id, &|json| {
            for droplet in ids(&body["droplet_ids"]) {
                if !ids(&json["droplet_ids"]).contains(&droplet) {
                    json["droplet_ids"].as_array_mut().unwrap().push(droplet);
                }
            }
        }),
        ("DELETE", ["firewalls", id, "droplets"]) => set(KindId::Firewall, id, &|json| {
            let rest = ids(&json["droplet_ids"])
                .into_iter()
                .filter(|droplet| !ids(&body["droplet_ids"]).contains(droplet));
            json["droplet_ids"] = rest.collect();
        }),
        ("PUT", ["firewalls", id]) => set(KindId::Firewall, id, &|json| {
            json["name"] = body["name"].clone();
            json["droplet_ids"] = json!(ids(&body["droplet_ids"]));
        }),
        ("PUT", ["load_balancers", id]) => set(KindId::LoadBalancer, id, &|json| {
            given(json, &["name", "project_id", "vpc_uuid"]);
            json["droplet_ids"] = json!(ids(&body["droplet_ids"]));
        }),
        ("POST", ["volumes", id, "actions"]) => {
            let attach = body["type"] == "attach";
            set(KindId::Volume, id, &|json| {
                json["droplet_ids"] = if attach {
                    json!([number(&body["droplet_id"])])
                } else {
                    json!([])
                };
                for tag in ids(&body["tags"]) {
                    retag(json, tag.as_str().unwrap(), true);
                }
            });
            for droplet in ["1", "2"] {
                set(KindId::Droplet, droplet, &|json| {
                    let mut volumes = ids(&json["volume_ids"]);
                    volumes.retain(|volume| volume != *id);
                    if attach && text(&body["droplet_id"]) == droplet {
                        volumes.push(json!(id));
                    }
                    json["volume_ids"] = json!(volumes);
                });
            }
        }
        ("POST", ["reserved_ips" | "floating_ips", ip, "actions"]) => {
            set(KindId::ReservedIp, ip, &|json| {
                json["droplet"] = if body["type"] == "assign" {
                    json!({"id":number(&body["droplet_id"])})
                } else {
                    Value::Null
                };
            });
        }
        ("POST" | "DELETE", ["tags", rest @ ..]) if !body.is_null() => {
            let tag = rest
                .first()
                .copied()
                .unwrap_or_else(|| body["name"].as_str().unwrap());
            for resource in ids(&body["resources"]) {
                let id = text(&resource["resource_id"]);
                let kinds: &[KindId] = match resource["resource_type"].as_str().unwrap() {
                    "droplet" => &[KindId::Droplet],
                    "volume" => &[KindId::Volume],
                    _ => &[KindId::Image, KindId::Snapshot], // one thing
                };
                for kind in kinds {
                    set(*kind, &id, &|json| retag(json, tag, method == "POST"));
                }
            }
        }
        ("DELETE", ["tags", tag]) => {
            new.things
                .retain(|thing| thing.kind != KindId::Tag || !thing.id().eq_ignore_ascii_case(tag));
            for thing in &mut new.things {
                if matches!(
                    thing.kind,
                    KindId::Droplet | KindId::Volume | KindId::Image | KindId::Snapshot
                ) {
                    retag(&mut thing.json, tag, false);
                }
            }
        }
        ("PUT", ["images", id]) => {
            for kind in [KindId::Image, KindId::Snapshot] {
                set(kind, id, &|json| given(json, &["name"]));
            }
        }
        ("DELETE", ["images", id]) => new.things.retain(|thing| {
            !matches!(thing.kind, KindId::Image | KindId::Snapshot) || thing.id() != *id
        }),
        ("DELETE", ["volumes", id]) => new
            .things
            .retain(|thing| thing.kind != KindId::Volume || thing.id() != *id),
        ("PUT" | "PATCH", ["domains", _, "records", id]) => {
            set(KindId::DomainRecord, id, &|json| {
                given(json, &["name", "type", "data"]);
            });
        }
        ("DELETE", ["domains", _, "records", id]) => new
            .things
            .retain(|thing| thing.kind != KindId::DomainRecord || thing.id() != *id),
        ("PATCH", ["projects", id]) => {
            if body["is_default"] == true {
                set(KindId::Project, "p1", &|json| {
                    json["is_default"] = json!(false);
                });
                set(KindId::Project, "p2", &|json| {
                    json["is_default"] = json!(false);
                });
            }
            set(KindId::Project, id, &|json| {
                given(json, &["name", "is_default"]);
            });
        }
        ("POST", ["projects", id, "resources"]) => {
            let default = world
                .things
                .iter()
                .find(|thing| thing.json["is_default"] == true)
                .unwrap()
                .id();
            let id = if *id == "default" {
                default
            } else {
                (*id).to_owned()
            };
            for urn in ids(&body["resources"]) {
                new.projects.insert(text(&urn), id.clone());
            }
        }
        ("PUT" | "PATCH", ["vpcs", id]) => {
            if body["default"] == true {
                set(KindId::Vpc, "v1", &|json| json["default"] = json!(false));
                set(KindId::Vpc, "v2", &|json| json["default"] = json!(false));
            }
            set(KindId::Vpc, id, &|json| given(json, &["name", "default"]));
        }
        ("PUT", ["account", "keys", key]) => {
            set(KindId::SshKey, key, &|json| given(json, &["name"]));
        }
        _ => panic!("nothing is told of {request}"),
    }
    if let ("DELETE", ["droplets", query]) = (method, path.as_slice())
        && let Some(tag) = query.strip_prefix("tag_name=")
    {
        for thing in &world.things {
            let tags = ids(&thing.json["tags"]);
            let carries = tags
                .iter()
                .any(|known| text(known).eq_ignore_ascii_case(tag));
            if thing.kind == KindId::Droplet && carries {
                gone(&mut new, &thing.id());
            }
        }
    }
    new
}

fn retag(json: &mut Value, tag: &str, on: bool) {
    let tags = json["tags"].as_array_mut().unwrap();
    tags.retain(|known| !known.as_str().unwrap().eq_ignore_ascii_case(tag));
    if on {
        tags.push(json!(tag.to_lowercase()));
    }
}

/// A Droplet goes, and with it what says that something is on it.
fn gone(world: &mut World, id: &str) {
    world
        .things
        .retain(|thing| thing.kind != KindId::Droplet || thing.id() != id);
    for thing in &mut world.things {
        if let Some(on) = thing.json["droplet_ids"].as_array_mut() {
            on.retain(|droplet| text(droplet) != id);
        }
        if text(&thing.json["droplet"]["id"]) == id {
            thing.json["droplet"] = Value::Null;
        }
    }
}

pub(super) const SCOPES: [&str; 24] = [
    "*",
    "droplet:*",
    "droplet:*",
    "droplet:read",
    "droplet:update",
    "droplet:delete",
    "tag:*",
    "tag:*",
    "block_storage:*",
    "block_storage_action:create",
    "image:*",
    "image:read",
    "image:update",
    "snapshot:*",
    "domain:*",
    "domain:update",
    "firewall:*",
    "load_balancer:*",
    "reserved_ip:*",
    "project:*",
    "project:assign_resource",
    "vpc:*",
    "vpc:read",
    "ssh_key:*",
];
pub(super) const ONLY: [&str; 34] = [
    "tag: web",
    "tag: db",
    "tag: [web, db]",
    "project: Prod",
    "project: p2",
    "project: [Prod, Rest]",
    "region: nyc3",
    "droplet: any",
    "droplet: { name: 'a-*' }",
    "droplet: { id: 1 }",
    "droplet: { size: s-1 }",
    "droplet: { image: ubuntu }",
    "droplet: { project: 'Pr*' }",
    "droplet: { tag: web, name: 'a-*' }",
    "volume: any",
    "volume: { droplet: 1 }",
    "image: any",
    "image: { name: mine }",
    "snapshot: { name: mine }",
    "snapshot: { tag: web }",
    "domain: any",
    "domain_record: { type: TXT }",
    "domain_record: any, project: Prod",
    "domain: any, domain_record: { name: '_a*' }",
    "firewall: any",
    "firewall: { droplet: 1 }",
    "load_balancer: { name: mine }",
    "load_balancer: { droplet: 1 }",
    "reserved_ip: any",
    "reserved_ip: { droplet: 1 }",
    "vpc: { name: mine }",
    "vpc: any",
    "project: { id: '*' }",
    "tag: { name: web }, droplet: any",
];

const CHANGES: [&str; 17] = [
    "droplet:read",
    "droplet:update",
    "tag:read",
    "tag:create",
    "tag:delete",
    "block_storage_action:create",
    "image:read",
    "image:update",
    "domain:update",
    "firewall:update",
    "load_balancer:update",
    "reserved_ip:update",
    "project:update",
    "project:assign_resource",
    "vpc:read",
    "vpc:update",
    "ssh_key:update",
];
const DELETES: [&str; 6] = [
    "droplet:delete",
    "block_storage:delete",
    "image:delete",
    "snapshot:delete",
    "domain:delete",
    "reserved_ip:delete",
];

fn grant(narrowed: f64) -> impl Strategy<Value = String> {
    let scopes = prop::collection::vec(prop::sample::select(&SCOPES[..]), 1..4);
    let only = prop::option::weighted(narrowed, prop::sample::select(&ONLY[..]));
    let actions = prop_oneof![6 => Just(""), 1 => Just(", actions: [tag, assign]"), 1 => Just(", actions: [rename, reboot, attach]")];
    (scopes, only, actions).prop_map(|(scopes, only, actions)| {
        let only = only
            .map(|only| format!(", only: {{ {only} }}"))
            .unwrap_or_default();
        let scopes: Vec<_> = scopes.iter().map(|scope| format!("'{scope}'")).collect();
        format!("{{ scopes: [{}]{only}{actions} }}", scopes.join(", "))
    })
}

/// All that is held over what is there, as requests that are let through.
fn held(grants: &Grants, world: &World, over: &World) -> Vec<bool> {
    let old = over
        .things
        .iter()
        .filter(|thing| world.find(thing.kind, &thing.id()).is_some());
    old.flat_map(probes)
        .map(|(request, body)| world.allows(grants, &request, &body))
        .collect()
}

/// The value that a pattern means, tried letter by letter in every way.
fn naively(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => naively(rest, text),
        (Some(('*', rest)), Some((_, after))) => naively(rest, text) || naively(pattern, after),
        (Some(('?', rest)), Some((_, after))) => naively(rest, after),
        (Some((wanted, rest)), Some((letter, after))) => wanted == letter && naively(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn names(grants: &Grants, attribute: &str, value: &str) -> bool {
    let thing = match attribute {
        "name" => json!({"id":1,"name":value,"tags":[]}),
        _ => json!({"id":1,"name":"x","tags":[value]}),
    };
    let mut world = World::default();
    world.things.push(Thing::known(KindId::Droplet, &[], thing));
    world.allows(grants, "GET /v2/droplets/1", "")
}

/// A role that has what it takes to change things, something to gain by it, and now and then something that is denied.
pub(super) fn role() -> impl Strategy<Value = String> {
    let changer = prop::sample::subsequence(&CHANGES[..], 5..CHANGES.len());
    let over =
        prop_oneof![3 => Just(""), 1 => Just(", only: { droplet: any, tag: { name: '*' } }")];
    let allow = prop::collection::vec(grant(0.85), 1..3);
    let denied = (
        prop::sample::subsequence(&DELETES[..], 1..4),
        prop::sample::select(&ONLY[..]),
    );
    (changer, over, allow, prop::option::of(denied)).prop_map(
        |(changer, over, mut allow, denied)| {
            allow.push(format!("{{ scopes: [{}]{over} }}", changer.join(", ")));
            let deny = denied.map(|(scopes, only)| {
                let scopes = scopes.join(", ");
                format!(", deny: [{{ scopes: [{scopes}], only: {{ {only} }} }}]")
            });
            format!("allow: [{}]{}", allow.join(", "), deny.unwrap_or_default())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_matcher_agrees_with_a_naive_one(pattern in "[abAB*?.]{1,8}", text in "[abAB.]{1,8}", var in "[ab*?/.]{1,3}") {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        let folded = |text: &str| letters(&text.to_lowercase());
        let role = |attribute: &str, value: &str| grants(&format!("allow: [{{scopes: ['droplet:*'], only: {{droplet: {{{attribute}: '{value}'}}}}}}]"));
        let by_name = naively(&letters(&pattern), &letters(&text));
        prop_assert_eq!(names(&role("name", &pattern), "name", &text), by_name, "the name {} by {}", text, pattern);
        let by_tag = naively(&folded(&pattern), &folded(&text));
        prop_assert_eq!(names(&role("tag", &pattern), "tag", &text), by_tag, "the tag {} by {}", text, pattern);
        // The same as a regular expression, whose dot is any letter.
        let regex = pattern.replace('*', "[^~]*").replace('?', "[^~]").replace('.', "\\.");
        prop_assert_eq!(names(&role("name", &format!("/{regex}/")), "name", &text), by_name, "the name {} by /{}/", text, regex);
        // A variable stands for itself, letter by letter.
        let policy = super::policy_of("  r: { vars: [v], allow: [{scopes: ['droplet:*'], only: {droplet: {name: 'a${v}*'}}}] }\n");
        let bound = bind(&policy, &["r".to_owned()], &Vars::from([("v".to_owned(), var.clone())])).unwrap();
        let starts = text.starts_with(&format!("a{var}"));
        prop_assert_eq!(names(&bound, "name", &text), starts, "the name {} by a, {} and anything", text, var);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_request_widens_or_frees(role in role()) {
        let grants = grants(&role);
        prop_assume!(grants.has_only);
        let world = world();
        for (request, body) in requests() {
            let sent = if body.is_null() { String::new() } else { body.to_string() };
            // Which one is the default a grant without `only` may change, though what is created goes there then.
            if sent.contains("default") || !world.allows(&grants, &request, &sent) {
                continue;
            }
            let new = happen(&world, &request, &body);
            let rest = World { things: world.things.iter().filter(|thing| new.find(thing.kind, &thing.id()).is_some()).cloned().collect(), ..world.clone() };
            let (before, after) = (held(&grants, &world, &rest), held(&grants, &new, &rest));
            let what: Vec<_> = rest.things.iter().flat_map(|thing| probes(thing).into_iter().map(|probe| (thing.kind, probe))).collect();
            // A deny may be about what would go along (volumes where Droplets are deleted), and strikes no more once that is
            // elsewhere: it is still denied there, and nothing was denied of what it was with.
            let by_way = |kind: KindId| grants.deny.iter().filter_map(|grant| grant.wants().only).any(|only| !only.reaches(kind, CATALOG.kinds()));
            for ((had, has), (kind, probe)) in before.iter().zip(&after).zip(&what) {
                prop_assert!(!has || *had || by_way(*kind), "{role}\n{request} {sent}\ngives {probe:?}");
            }
            for thing in &rest.things {
                let now = new.find(thing.kind, &thing.id()).unwrap();
                for only in grants.deny.iter().filter_map(|grant| grant.wants().only) {
                    let strikes = |world: &World, thing: &Thing| only.strikes(&world.state(thing), Use::Look, CATALOG.kinds());
                    let freed = strikes(&world, thing) == Fit::Yes && strikes(&new, now) == Fit::No;
                    prop_assert!(!freed, "{role}\n{request} {sent}\nfrees the {} {}", thing.kind, thing.id());
                }
            }
        }
    }

    #[test]
    fn what_a_list_shows_is_what_can_be_read(allow in prop::collection::vec(grant(0.7), 1..4), deny in prop::collection::vec(grant(0.95), 0..2)) {
        let deny = if deny.is_empty() { String::new() } else { format!(", deny: [{}]", deny.join(", ")) };
        let role = format!("allow: [{}]{deny}", allow.join(", "));
        let (grants, world) = (grants(&role), world());
        prop_assume!(grants.has_only);
        for thing in &world.things {
            let (single, _) = probes(thing).remove(0);
            let (list, _) = single.rsplit_once('/').unwrap();
            let asked = asked(list, "");
            let touches = world.touches(&grants, &asked).unwrap();
            let listed = matches!(decide(&grants, &asked, &touches, &CATALOG), Decision::Allow(_));
            let touch = touches.iter().find(|touch| touch.is_first());
            let shown = listed && touch.is_some_and(|touch| shows(&grants, &asked, touch, &world.state(thing), &CATALOG) != Shown::Hidden);
            // Two scopes that only the single one asks for are no matter of visibility.
            if thing.kind != KindId::Snapshot {
                prop_assert_eq!(shown, world.allows(&grants, &single, ""), "{}\n{}", role, single);
            }
        }
    }
}
