//! The ways around a grant that requests have: each tried against a small account, as a table that reads like its contract.

use std::sync::LazyLock;

use super::*;
use crate::catalog::Catalog;
use crate::request::{Asked, Json, Target};
use crate::resource::Given;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap().naming_plainly());

/// Two Droplets, and what belongs to each: `mine` carries the tag that the roles are narrowed to, `other` another.
const ACCOUNT: &str = "
      droplet:
        - { id: 1, name: mine, tags: [mine], region: nyc3, size: s-1, project: ours }
        - { id: 2, name: other, tags: [other], region: nyc3, size: s-1, project: theirs }
      volume:
        - { id: vm, name: vol-mine, tags: [mine], region: nyc3, size: 10, droplet: 1, project: ours }
        - { id: vo, name: vol-other, tags: [other], region: nyc3, size: 10, droplet: 2, project: theirs }
      image:
        - { id: 70, name: ubuntu, slug: ubuntu-1, public: true }
        - { id: 71, name: snap-mine, tags: [mine], public: false }
        - { id: 72, name: snap-other, tags: [other], public: false }
      snapshot:
        - { id: 71, name: snap-mine, tags: [mine], source: 1 }
        - { id: 72, name: snap-other, tags: [other], source: 2 }
      firewall:
        - { id: f, name: fw, droplet: 1 }
      load_balancer:
        - { id: lb, name: lb, droplet: 1, project: ours }
      reserved_ip:
        - { id: 10.0.0.1, ip: 10.0.0.1, droplet: 1, project: ours }
        - { id: 10.0.0.2, ip: 10.0.0.2, droplet: 2, project: theirs }
      project:
        - { id: p1, name: ours, default: true }
        - { id: p2, name: theirs, default: false }
      vpc:
        - { id: v1, name: net, default: false }
      domain_record:
        - { id: 5, domain: a.org, type: TXT, name: _acme-challenge, data: x }
        - { id: 6, domain: a.org, type: A, name: www, data: 10.0.0.1 }
      registry:
        - { id: reg, name: reg }
      ssh_key:
        - { id: 3, name: mine, fingerprint: 'aa:bb' }
";

fn policy(role: &str) -> Policy {
    let text = format!(
        "version: 1\nroles:\n  r: {{ {role} }}\ntests:\n  - role: r\n    request: GET /v2/regions\n    expect: deny\n    given: {ACCOUNT}"
    );
    match read("p.yaml", &text, &["default".to_owned()], &CATALOG) {
        Ok(policy) => policy,
        Err(mistakes) => panic!("{}\n{text}", mistakes.into_lines().join("\n")),
    }
}

fn verdict(role: &str, request: &str, body: &str) -> String {
    let policy = policy(role);
    let given: &Given = &policy.tests[0].given;
    let grants = bind(&policy, &["r".to_owned()], &Vars::new()).unwrap();
    let (method, target) = request.split_once(' ').unwrap();
    let target = Target::read(target).unwrap();
    let mut asked = Asked::new(method.parse().unwrap(), target, &CATALOG);
    asked.body = (!body.is_empty()).then(|| Json::read(body.as_bytes()).unwrap());
    let decision = match touches(&grants, &asked, given, &CATALOG) {
        Ok(touches) => decide(&grants, &asked, &touches, &CATALOG),
        Err(refusal) => Decision::Deny(refusal),
    };
    match decision {
        Decision::Allow(_) => "allow".to_owned(),
        Decision::Deny(refusal) => refusal.code.to_string(),
    }
}

const BY_TAG: &str = "allow: [{ scopes: ['*', image:read, snapshot:read, block_storage_snapshot:read], only: { tag: mine } }, { scopes: [ssh_key:read] }]";
const BY_PROJECT: &str = "allow: [{ scopes: ['*'], only: { project: ours } }]";
const ONE_FIREWALL: &str = "allow: [{ scopes: ['firewall:*'], only: { firewall: { id: f } } }]";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn no_door_at_the_side_is_open() {
    let table = [
        (BY_TAG, "GET /v2/droplets/1", "", "allow"),
        (BY_TAG, "GET /v2/droplets/2", "", "resource_hidden"),
        (BY_TAG, "DELETE /v2/droplets/1", "", "allow"),
        (BY_TAG, "DELETE /v2/droplets?tag_name=mine", "", "allow"),
        (BY_TAG, "DELETE /v2/droplets?tag_name=other", "", "resource"),
        (BY_TAG, "DELETE /v2/droplets", "", "resource"),
        // Creating.
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":"ubuntu-1"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"names":["a","b"],"tags":["mine"],"image":"ubuntu-1"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","image":"ubuntu-1"}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine","other"],"image":"ubuntu-1"}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":71}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":72}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"ssh_keys":[3]}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"volumes":["vm"]}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"volumes":["vo"]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"volumes":[{"id":"vo"}]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"volumes":[{"name":"vol-other"}],"region":"nyc3"}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"volumes":[["vo"]]}"#,
            "ambiguous_request",
        ),
        (
            BY_TAG,
            "POST /v2/droplets",
            r#"{"name":"a","tags":["mine"],"image":70,"vpc_uuid":"v1"}"#,
            "resource",
        ),
        // Images and snapshots.
        (
            BY_TAG,
            "POST /v2/droplets/1/actions",
            r#"{"type":"rebuild","image":"ubuntu-1"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets/1/actions",
            r#"{"type":"rebuild","image":72}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/droplets/1/actions",
            r#"{"type":"snapshot","name":"s"}"#,
            "resource", // it has none of the tags of its Droplet
        ),
        (
            BY_TAG,
            "POST /v2/droplets/2/actions",
            r#"{"type":"snapshot","name":"s"}"#,
            "resource_hidden",
        ),
        (
            BY_TAG,
            "POST /v2/droplets/actions?tag_name=mine",
            r#"{"type":"power_off"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/droplets/actions?tag_name=other",
            r#"{"type":"power_off"}"#,
            "resource",
        ),
        (BY_TAG, "GET /v2/images/70", "", "allow"),
        (BY_TAG, "GET /v2/images/72", "", "resource_hidden"),
        (BY_TAG, "DELETE /v2/images/71", "", "allow"),
        (BY_TAG, "DELETE /v2/images/70", "", "resource"),
        (
            BY_TAG,
            "POST /v2/images/71/account_transfer",
            r#"{"recipient_uuid":"x"}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/volumes",
            r#"{"name":"n","tags":["mine"],"region":"nyc3","snapshot_id":"71"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/volumes",
            r#"{"name":"n","tags":["mine"],"region":"nyc3","snapshot_id":"72"}"#,
            "resource",
        ),
        // Volumes.
        (
            BY_TAG,
            "POST /v2/volumes/vm/actions",
            r#"{"type":"attach","droplet_id":1}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vm/actions",
            r#"{"type":"attach","droplet_id":2}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vo/actions",
            r#"{"type":"attach","droplet_id":1}"#,
            "resource_hidden",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vm/actions",
            r#"{"type":"attach","droplet_id":1,"tags":["other"]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/actions",
            r#"{"type":"attach","droplet_id":1,"volume_name":"vol-other","region":"nyc3"}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/actions",
            r#"{"type":"attach","droplet_id":1,"volume_name":"vol-mine","region":"nyc3"}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/actions",
            r#"{"type":"attach","droplet_id":1}"#,
            "resource",
        ),
        (
            BY_TAG,
            "DELETE /v2/volumes?name=vol-other&region=nyc3",
            "",
            "resource",
        ),
        (
            BY_TAG,
            "DELETE /v2/volumes?name=vol-mine&region=nyc3",
            "",
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vm/snapshots",
            r#"{"name":"s"}"#,
            "resource", // it will be without the tag
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vm/snapshots",
            r#"{"name":"s","tags":["mine"]}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/volumes/vm/snapshots",
            r#"{"name":"s","volume_id":"vo"}"#,
            "ambiguous_request",
        ),
        // Tags.
        (
            BY_TAG,
            "POST /v2/tags/mine/resources",
            r#"{"resources":[{"resource_id":"1","resource_type":"droplet"}]}"#,
            "allow",
        ),
        (
            BY_TAG,
            "POST /v2/tags/mine/resources",
            r#"{"resources":[{"resource_id":"2","resource_type":"droplet"}]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/tags/other/resources",
            r#"{"resources":[{"resource_id":"1","resource_type":"droplet"}]}"#,
            "resource_hidden",
        ),
        (
            BY_TAG,
            "DELETE /v2/tags/mine/resources",
            r#"{"resources":[{"resource_id":"1","resource_type":"droplet"}]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/tags",
            r#"{"name":"mine","resources":[{"resource_id":"2","resource_type":"droplet"}]}"#,
            "resource",
        ),
        (
            BY_TAG,
            "POST /v2/tags",
            r#"{"name":"mine","resources":null}"#,
            "allow",
        ),
        (BY_TAG, "DELETE /v2/tags/mine", "", "resource"),
        // Reserved IPs have no tags.
        (
            BY_TAG,
            "POST /v2/reserved_ips/10.0.0.1/actions",
            r#"{"type":"assign","droplet_id":1}"#,
            "resource_hidden",
        ),
        (
            BY_TAG,
            "POST /v2/reserved_ips",
            r#"{"droplet_id":1}"#,
            "resource",
        ),
        // Projects.
        (
            BY_PROJECT,
            "POST /v2/reserved_ips",
            r#"{"droplet_id":1,"project_id":"p1"}"#,
            "allow",
        ),
        (
            BY_PROJECT,
            "POST /v2/reserved_ips",
            r#"{"droplet_id":2,"project_id":"p1"}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "POST /v2/reserved_ips",
            r#"{"droplet_id":1,"project_id":"p2"}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "POST /v2/reserved_ips/10.0.0.1/actions",
            r#"{"type":"assign","droplet_id":1}"#,
            "allow",
        ),
        (
            BY_PROJECT,
            "POST /v2/reserved_ips/10.0.0.1/actions",
            r#"{"type":"assign","droplet_id":2}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "POST /v2/floating_ips/10.0.0.2/actions",
            r#"{"type":"assign","droplet_id":1}"#,
            "resource_hidden",
        ),
        (
            BY_PROJECT,
            "POST /v2/projects/p1/resources",
            r#"{"resources":["do:droplet:1"]}"#,
            "allow",
        ),
        (
            BY_PROJECT,
            "POST /v2/projects/p1/resources",
            r#"{"resources":["do:droplet:2"]}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "POST /v2/projects/p2/resources",
            r#"{"resources":["do:droplet:1"]}"#,
            "resource_hidden",
        ),
        (
            BY_PROJECT,
            "POST /v2/projects/default/resources",
            r#"{"resources":["do:droplet:2"]}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "PATCH /v2/projects/p1",
            r#"{"description":"x"}"#,
            "allow",
        ),
        (
            BY_PROJECT,
            "PATCH /v2/projects/p1",
            r#"{"is_default":true}"#,
            "allow",
        ), // it is already
        (
            BY_PROJECT,
            "PATCH /v2/projects/p1",
            r#"{"is_default":false}"#,
            "resource",
        ),
        (
            BY_PROJECT,
            "PATCH /v2/projects/p1",
            r#"{"name":"theirs"}"#,
            "resource",
        ),
        (BY_PROJECT, "GET /v2/projects/default", "", "allow"),
        (BY_PROJECT, "GET /v2/projects/p2", "", "resource_hidden"),
        (
            BY_PROJECT,
            "PUT /v2/load_balancers/lb",
            r#"{"name":"lb","droplet_ids":[1],"project_id":"p2"}"#,
            "resource",
        ),
        (
            "allow: [{ scopes: ['vpc:*'], only: { vpc: any } }]",
            "PATCH /v2/vpcs/v1",
            r#"{"name":"b"}"#,
            "allow",
        ),
        (
            "allow: [{ scopes: ['vpc:*'], only: { vpc: any } }]",
            "PATCH /v2/vpcs/v1",
            r#"{"default":true}"#,
            "resource",
        ),
        // Firewalls.
        (
            ONE_FIREWALL,
            "POST /v2/firewalls/f/rules",
            r#"{"inbound_rules":[{"protocol":"tcp","ports":"80","sources":{"addresses":["0.0.0.0/0"]}}]}"#,
            "allow",
        ),
        (
            ONE_FIREWALL,
            "POST /v2/firewalls/f/droplets",
            r#"{"droplet_ids":[2]}"#,
            "resource",
        ),
        (
            ONE_FIREWALL,
            "POST /v2/firewalls/f/rules",
            r#"{"inbound_rules":[{"sources":{"droplet_ids":[2]}}]}"#,
            "resource",
        ),
        (
            ONE_FIREWALL,
            "PUT /v2/firewalls/f",
            r#"{"name":"fw","droplet_ids":[2]}"#,
            "field_scope",
        ),
        (ONE_FIREWALL, "GET /v2/firewalls/f", "", "allow"),
        (
            "allow: [{ scopes: ['firewall:*', 'tag:create'], only: { firewall: { id: f } } }]",
            "POST /v2/firewalls/f/tags",
            r#"{"tags":["other"]}"#,
            "resource",
        ),
        // Domains.
        (
            "allow: [{ scopes: ['domain:*'], only: { domain: { name: a.org }, domain_record: { type: TXT } } }]",
            "DELETE /v2/domains/a.org/records/5",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['domain:*'], only: { domain: { name: a.org }, domain_record: { type: TXT } } }]",
            "DELETE /v2/domains/a.org/records/6",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{ scopes: ['domain:*'], only: { domain: { name: a.org }, domain_record: { type: TXT } } }]",
            "PATCH /v2/domains/a.org/records/5",
            r#"{"type":"A"}"#,
            "resource",
        ),
        (
            "allow: [{ scopes: ['domain:*'], only: { domain: { name: a.org }, domain_record: { type: TXT } } }]",
            "DELETE /v2/domains/a.org",
            "",
            "resource",
        ),
        // Registries.
        (
            "allow: [{ scopes: ['registry:*', registry:read, registry:update], only: { registry: { name: reg } } }]",
            "GET /v2/registry/docker-credentials",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['registry:*', registry:read, registry:update], only: { registry: { name: x } } }]",
            "GET /v2/registry/docker-credentials",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{ scopes: ['registry:*', registry:read, registry:update], only: { registry: { name: reg }, repository: { name: a } } }]",
            "GET /v2/registry/docker-credentials",
            "",
            "resource",
        ),
        (
            "allow: [{ scopes: ['registry:*'], only: { registry: { name: reg }, repository: { name: a } } }]",
            "DELETE /v2/registries/reg/repositories/a",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['registry:*'], only: { registry: { name: reg }, repository: { name: a } } }]",
            "DELETE /v2/registries/reg/repositories/b",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{ scopes: ['registry:*'], only: { registry: { name: reg }, repository: { name: a } } }]",
            "DELETE /v2/registry",
            "",
            "resource",
        ),
        // What is denied is not led out, whatever it is called.
        (
            "allow: [{ scopes: ['*', image:read] }], deny: [{ scopes: ['droplet:*'], only: { droplet: { image: 72 } } }]",
            "POST /v2/droplets",
            r#"{"name":"a","image":72}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*', image:read] }], deny: [{ scopes: ['droplet:*'], only: { droplet: { image: ubuntu-1 } } }]",
            "POST /v2/droplets",
            r#"{"name":"a","image":70}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['droplet:*'], only: { tag: mine } }]",
            "DELETE /v2/tags/mine",
            "",
            "denied",
        ),
        (
            "allow: [{ scopes: ['image:*'], only: { image: any } }, { scopes: ['snapshot:*'], only: { snapshot: { name: x } } }]",
            "PUT /v2/images/72",
            r#"{"name":"x"}"#,
            "resource",
        ),
        (
            "allow: [{ scopes: ['image:*'], only: { image: any } }]",
            "PUT /v2/images/72",
            r#"{"name":"x"}"#,
            "allow",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['block_storage_action:create'], only: { volume: { droplet: 1 } } }]",
            "POST /v2/volumes/vm/actions",
            r#"{"type":"detach","droplet_id":1}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['reserved_ip:*'], only: { reserved_ip: { droplet: 2 } } }]",
            "POST /v2/reserved_ips/10.0.0.1/actions",
            r#"{"type":"assign","droplet_id":2}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['droplet:update'], only: { droplet: { id: 2 } } }]",
            "POST /v2/firewalls/f/droplets",
            r#"{"droplet_ids":[2]}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['droplet:update'], only: { droplet: { id: 2 } } }]",
            "POST /v2/projects/p1/resources",
            r#"{"resources":["do:droplet:2"]}"#,
            "denied",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['snapshot:*'], only: { snapshot: { name: snap-other } } }]",
            "DELETE /v2/images/72",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['snapshot:delete'], only: { snapshot: { name: snap-other } } }]",
            "DELETE /v2/images/71",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['snapshot:delete'], only: { snapshot: { name: snap-other } } }]",
            "GET /v2/images/72",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['image:*'], only: { image: { name: snap-other } } }]",
            "DELETE /v2/snapshots/72",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['domain:*'], only: { domain_record: { name: www } } }]",
            "DELETE /v2/domains/a.org",
            "",
            "denied",
        ),
        // What would be gained by it.
        (
            "allow: [{ scopes: ['droplet:read', 'droplet:update', 'tag:create'] }, { scopes: ['droplet:delete'], only: { tag: mine } }]",
            "POST /v2/tags/mine/resources",
            r#"{"resources":[{"resource_id":"2","resource_type":"droplet"}]}"#,
            "resource",
        ),
        (
            "allow: [{ scopes: ['droplet:read', 'droplet:update'] }, { scopes: ['droplet:delete'], only: { droplet: { name: 'x-*' } } }]",
            "POST /v2/droplets/2/actions",
            r#"{"type":"rename","name":"x-1"}"#,
            "resource",
        ),
        (
            "allow: [{ scopes: ['droplet:read', 'droplet:update'] }, { scopes: ['droplet:delete'], only: { droplet: { name: 'x-*' } } }]",
            "POST /v2/droplets/2/actions",
            r#"{"type":"rename","name":"y"}"#,
            "allow",
        ),
        (
            "allow: [{ scopes: ['droplet:*'] }, { scopes: ['block_storage_action:create', 'block_storage:read'] }, { scopes: ['block_storage:delete'], only: { volume: { droplet: 2 } } }]",
            "POST /v2/volumes/vm/actions",
            r#"{"type":"attach","droplet_id":2}"#,
            "resource",
        ),
        // The account.
        (
            "allow: [{ scopes: [account:read], only: { account: any } }]",
            "GET /v2/account",
            "",
            "allow",
        ),
        (BY_TAG, "GET /v2/account", "", "resource"), // there is one for everybody
        (
            "allow: [{ scopes: ['*'], only: { ssh_key: { name: mine } } }]",
            "GET /v2/account/keys/aa:bb",
            "",
            "allow",
        ),
        (
            "allow: [{ scopes: ['*'], only: { ssh_key: { name: mine } } }]",
            "PUT /v2/account/keys/3",
            r#"{"name":"x"}"#,
            "resource",
        ),
    ];
    let wrong: Vec<_> = table
        .iter()
        .map(|(role, request, body, expected)| {
            (verdict(role, request, body), role, request, body, expected)
        })
        .filter(|(got, _, _, _, expected)| got != *expected)
        .map(|(got, role, request, body, expected)| {
            format!("{request} {body}\n    by {role}\n    is {got}, not {expected}")
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
