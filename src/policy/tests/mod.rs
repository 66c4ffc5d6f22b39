//! The decision as a table that reads like its specification, and the laws that it keeps.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::catalog::Catalog;
use crate::request::{Asked, Json, Target};
use crate::resource::Given;

mod children;
mod fields;
mod narrowed;
mod settled;
mod widening;
mod world;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap().naming_plainly());

fn policy_of(roles: &str) -> Policy {
    let text = format!("version: 1\nroles:\n{roles}");
    match read(
        "p.yaml",
        &text,
        &["default".to_owned(), "other".to_owned()],
        &CATALOG,
    ) {
        Ok(policy) => policy,
        Err(mistakes) => panic!("{}\n{text}", mistakes.into_lines().join("\n")),
    }
}

fn grants(role: &str) -> Grants {
    bind(
        &policy_of(&format!("  r: {{ {role} }}\n")),
        &["r".to_owned()],
        &Vars::new(),
    )
    .unwrap()
}

fn asked(request: &str, body: &str) -> Asked<'static> {
    let (method, target) = request.split_once(' ').unwrap();
    let mut asked = Asked::new(
        method.parse().unwrap(),
        Target::read(target).unwrap(),
        &CATALOG,
    );
    asked.body = (!body.is_empty()).then(|| Json::read(body.as_bytes()).unwrap());
    asked
}

fn decided(grants: &Grants, asked: &Asked<'_>, given: &Given) -> Decision {
    match touches(grants, asked, given, &CATALOG) {
        Ok(touches) => decide(grants, asked, &touches, &CATALOG),
        Err(refusal) => Decision::Deny(refusal),
    }
}

/// `allow`, or the code of the refusal and what would have done.
fn verdict(grants: &Grants, request: &str, body: &str) -> String {
    let mut asked = asked(request, body);
    let known = decided(grants, &asked, &Given::default());
    asked.body = None;
    // What the head alone refuses, the whole refuses too.
    if let Err(early) = precheck(grants, &asked, &CATALOG) {
        assert!(
            matches!(known, Decision::Deny(_)),
            "{request} is refused by its head alone: {early}"
        );
    }
    match known {
        Decision::Allow(allowed) => {
            assert!(!allowed.place().is_empty());
            "allow".to_owned()
        }
        Decision::Deny(refusal) => {
            let needs = refusal
                .needs
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("+");
            format!("{} {needs}", refusal.code).trim_end().to_owned()
        }
    }
}

#[test]
fn a_policys_test_is_judged_in_the_order_of_the_daemon() {
    // request, body, what it comes to
    let table = [
        ("GET /v2/droplets/12", "", "r.allow[0]"),
        ("GET /v2/droplets/012", "", "ambiguous_request"),
        (
            "GET /v2/droplets?tag_name=dop_v1_0000000000000000000000000000000000000000000000000000000000000000",
            "",
            "ambiguous_request",
        ),
        ("GET /.tidegate/v1/whoami", "", "every sub-token"),
        ("GET /v1/oauth/token/info", "", "every sub-token"),
        ("GET /.tidegate/v1/tokens", "", "every sub-token"),
        ("GET /.tidegate/v1/exchange", "", "unknown_endpoint"),
        ("POST /.tidegate/v1/tokens", "", "can't run"),
        ("DELETE /.tidegate/v1/tokens/self", "", "can't run"),
        // What scopes refuse is refused before the body is read, and a GET has none.
        ("POST /v2/volumes", "{ Name: x, name: y }", "scope"),
        (
            "POST /v2/droplets",
            "{ Image: 7, name: x }",
            "ambiguous_request",
        ),
        ("GET /v2/droplets", "{ _method: DELETE }", "r.allow[0]"),
    ];
    for (request, body, expected) in table {
        let body = if body.is_empty() {
            String::new()
        } else {
            format!(", body: {body}")
        };
        let test = format!("{{ role: r, request: '{request}', expect: allow{body} }}");
        let roles = "  r: { allow: [{ scopes: ['droplet:*', image:read, tag:read] }] }";
        let policy = policy_of(&format!("{roles}\ntests:\n  - {test}\n"));
        let came_to = match judge_test(&policy.tests[0], &policy, &CATALOG) {
            Ok(Ok(place)) => place,
            Ok(Err(refusal)) => refusal.code.to_string(),
            Err(why) => why,
        };
        assert!(came_to.contains(expected), "{request}: {came_to}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_decision() {
    // role, request, body, verdict, and why
    let table = [
        // Scopes.
        (
            "allow: [{scopes: [droplet:read]}]",
            "GET /v2/droplets",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [droplet:read]}]",
            "GET /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [droplet:read]}]",
            "DELETE /v2/droplets/12",
            "",
            "scope droplet:delete",
        ),
        (
            "allow: [{scopes: ['droplet:*']}]",
            "DELETE /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: ['*:read']}]",
            "GET /v2/account",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: ['*:read']}]",
            "POST /v2/tags",
            r#"{"name":"x"}"#,
            "scope tag:create",
        ),
        // `project:update` gives `project:assign_resource`, as at DigitalOcean, however it is written; not the other way round.
        (
            "allow: [{scopes: [project:update]}]",
            "POST /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources",
            r#"{"resources":["do:droplet:12"]}"#,
            "allow",
        ),
        (
            "allow: [{scopes: ['*:update']}]",
            "POST /v2/projects/default/resources",
            r#"{"resources":["do:droplet:12"]}"#,
            "allow",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [project:update]}]",
            "POST /v2/projects/default/resources",
            r#"{"resources":["do:droplet:12"]}"#,
            "denied",
        ),
        (
            "allow: [{scopes: [project:assign_resource]}]",
            "PATCH /v2/projects/default",
            r#"{"name":"x"}"#,
            "scope project:update",
        ),
        (
            "allow: [{scopes: ['*:read']}]",
            "GET /v2/volumes",
            "",
            "allow",
        ), // api:read is no scope that can be given
        (
            "allow: [{scopes: ['*:read']}]",
            "GET /v2/organizations/teams",
            "",
            "scope organization_membership:read_teams",
        ), // not exactly `read`
        (
            "allow: [{scopes: ['*']}]",
            "GET /v2/organizations/teams",
            "",
            "allow",
        ),
        // Sets and alternatives; the grants of a role add up.
        (
            "allow: [{scopes: [sizes:read]}]",
            "GET /v2/sizes",
            "",
            "scope regions:read",
        ),
        (
            "allow: [{scopes: [sizes:read]}, {scopes: [regions:read]}]",
            "GET /v2/sizes",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [domain:create]}]",
            "POST /v2/domains/example.com/records",
            "{}",
            "allow",
        ),
        (
            "allow: [{scopes: [domain:update]}]",
            "POST /v2/domains/example.com/records",
            "{}",
            "allow",
        ),
        (
            "allow: [{scopes: [domain:read]}]",
            "POST /v2/domains/example.com/records",
            "{}",
            "scope domain:update",
        ),
        (
            "allow: [{scopes: [droplet:create]}]",
            "PUT /v2/droplets/autoscale/p1",
            "{}",
            "scope droplet:update",
        ), // the verb rule
        // What is sensitive is reached by name alone.
        (
            "allow: [{scopes: ['*']}]",
            "GET /v2/kubernetes/clusters/c/kubeconfig",
            "",
            "scope kubernetes:access_cluster",
        ),
        (
            "allow: [{scopes: ['kubernetes:*']}]",
            "GET /v2/kubernetes/clusters/c/credentials",
            "",
            "scope kubernetes:access_cluster",
        ),
        (
            "allow: [{scopes: [kubernetes:access_cluster]}]",
            "GET /v2/kubernetes/clusters/c/kubeconfig",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: ['*', database:update]}]",
            "GET /v2/databases/metrics/credentials",
            "",
            "scope database:view_credentials",
        ), // all of them by name
        (
            "allow: [{scopes: [database:update, database:view_credentials]}]",
            "GET /v2/databases/metrics/credentials",
            "",
            "allow",
        ),
        // Scopes that depend on a parameter.
        (
            "allow: [{scopes: [registry:read]}]",
            "GET /v2/registry/docker-credentials",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [registry:read]}]",
            "GET /v2/registry/docker-credentials?read_write=false",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [registry:read]}]",
            "GET /v2/registry/docker-credentials?read_write=true",
            "",
            "scope registry:update",
        ),
        (
            "allow: [{scopes: [registry:read]}]",
            "GET /v2/registry/docker-credentials?read_write=1",
            "",
            "scope registry:update",
        ), // what else it could mean
        (
            "allow: [{scopes: [registry:read]}]",
            "GET /v2/registry/docker-credentials?read_write=",
            "",
            "scope registry:update",
        ),
        (
            "allow: [{scopes: [registry:read, registry:update]}]",
            "GET /v2/registry/docker-credentials?read_write=true",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [registry:read, 'registry:*']}]",
            "GET /v2/registry/docker-credentials?read_write=true",
            "",
            "scope registry:update",
        ),
        // Fields of the request.
        (
            "allow: [{scopes: [droplet:create]}]",
            "POST /v2/droplets",
            r#"{"name":"x"}"#,
            "allow",
        ),
        (
            "allow: [{scopes: [droplet:create]}]",
            "POST /v2/droplets",
            r#"{"image":"ubuntu"}"#,
            "field_scope image:read",
        ),
        (
            "allow: [{scopes: [droplet:create, image:read]}]",
            "POST /v2/droplets",
            r#"{"image":7,"ssh_keys":null,"tags":[],"vpc_uuid":""}"#,
            "allow",
        ), // null and empty are not used
        (
            "allow: [{scopes: [droplet:create, image:read]}]",
            "POST /v2/droplets",
            r#"{"image":7,"tags":["a"]}"#,
            "field_scope tag:create",
        ),
        (
            "allow: [{scopes: [droplet:read]}]",
            "GET /v2/droplets?tag_name=web",
            "",
            "field_scope tag:read",
        ),
        (
            "allow: [{scopes: [droplet:read]}]",
            "GET /v2/droplets?tag_name=",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: [firewall:update]}]",
            "POST /v2/firewalls/f/rules",
            r#"{"inbound_rules":[{"sources":{"addresses":["0.0.0.0/0"]}}]}"#,
            "allow",
        ),
        (
            "allow: [{scopes: [firewall:update]}]",
            "POST /v2/firewalls/f/rules",
            r#"{"inbound_rules":[{},{"sources":{"tags":["a"]}}]}"#,
            "field_scope tag:create",
        ),
        (
            "allow: [{scopes: [firewall:update]}]",
            "POST /v2/firewalls/f/rules",
            r#"{"inbound_rules":{"sources":{"tags":["a"]}}}"#,
            "field_scope tag:create",
        ), // wrapped otherwise
        // Actions.
        (
            "allow: [{scopes: [droplet:update], actions: [power_on, resize]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_on"}"#,
            "allow",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on, resize]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"rebuild"}"#,
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"Power_On"}"#,
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            "{}",
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":["power_on","rebuild"]}"#,
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"[{"type":"power_on"},{"type":"rebuild"}]"#,
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            "",
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update, 'tag:*', droplet:read], actions: [power_on]}]",
            "POST /v2/tags/x/resources",
            "{}",
            "action",
        ), // `tag` is not in it
        (
            "allow: [{scopes: [droplet:update, 'tag:*', droplet:read], actions: [tag]}]",
            "POST /v2/tags/x/resources",
            r#"{"resources":[{}]}"#,
            "allow",
        ),
        (
            "allow: [{scopes: [droplet:update, 'tag:*', droplet:read], actions: [tag]}]",
            "DELETE /v2/tags/x/resources",
            r#"{"resources":[{}]}"#,
            "action",
        ),
        (
            "allow: [{scopes: [droplet:update, 'tag:*', droplet:read], actions: [tag]}]",
            "GET /v2/droplets/1",
            "",
            "allow",
        ), // it limits actions alone
        (
            "allow: [{scopes: [droplet:read], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_on"}"#,
            "scope droplet:update",
        ),
        // Requests.
        (
            "allow: [{requests: ['GET /v2/droplets/(12|13)']}]",
            "GET /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets/(12|13)']}]",
            "GET /v2/droplets/123",
            "",
            "scope droplet:read",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets']}]",
            "GET /v2/droplets?page=2&per_page=200",
            "",
            "allow",
        ), // paging
        (
            "allow: [{requests: ['GET /v2/droplets']}]",
            "GET /v2/droplets?tag_name=web",
            "",
            "scope droplet:read",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets\\?tag_name=web']}]",
            "GET /v2/droplets?tag_name=web",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets\\?tag_name=web']}]",
            "GET /v2/droplets",
            "",
            "scope droplet:read",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets\\?page=1&tag_name=web']}]",
            "GET /v2/droplets?tag_name=web&page=1",
            "",
            "allow",
        ), // sorted by name
        (
            "allow: [{requests: ['POST /v2/droplets']}]",
            "POST /v2/droplets",
            r#"{"image":7,"tags":["a"]}"#,
            "allow",
        ), // fields included
        (
            "allow: [{requests: ['GET /v2/new/thing']}]",
            "GET /v2/new/thing",
            "",
            "allow",
        ), // an endpoint that the catalogue does not know
        (
            "allow: [{requests: ['.*']}]",
            "DELETE /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['.*']}]",
            "GET /v2/kubernetes/clusters/c/kubeconfig",
            "",
            "scope kubernetes:access_cluster",
        ), // not spelled
        (
            "allow: [{requests: ['GET /v2/kubernetes/clusters/c/kubeconfig']}]",
            "GET /v2/kubernetes/clusters/c/kubeconfig",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['GET /v2/registry/docker-credentials\\?.*read_write=false']}]",
            "GET /v2/registry/docker-credentials?read_write=false",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['POST /v2/droplets/12/actions'], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_on"}"#,
            "allow",
        ),
        (
            "allow: [{requests: ['POST /v2/droplets/12/actions'], actions: [power_on]}]",
            "POST /v2/droplets/12/actions",
            r#"{"type":"rebuild"}"#,
            "action",
        ),
        (
            "allow: [{scopes: ['*']}]",
            "GET /v2/new/thing",
            "",
            "unknown_endpoint",
        ),
        (
            "allow: [{scopes: ['*']}]",
            "DELETE /v2/projects/default",
            "",
            "unknown_endpoint",
        ),
        // Deny wins.
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:delete]}]",
            "DELETE /v2/droplets/12",
            "",
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:delete]}]",
            "GET /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['.*']}], deny: [{scopes: [droplet:delete]}]",
            "DELETE /v2/droplets/12",
            "",
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [image:delete]}]",
            "DELETE /v2/droplets/12/destroy_with_associated_resources/dangerous",
            "",
            "denied",
        ), // one scope is enough
        (
            "allow: [{scopes: [domain:update]}], deny: [{scopes: [domain:create]}]",
            "POST /v2/domains/d/records",
            "{}",
            "denied",
        ), // of any alternative
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [tag:create]}]",
            "POST /v2/droplets",
            r#"{"name":"x","tags":["a"]}"#,
            "denied",
        ), // of a field
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [tag:create]}]",
            "POST /v2/droplets",
            r#"{"name":"x"}"#,
            "allow",
        ),
        (
            "allow: [{scopes: [kubernetes:access_cluster]}], deny: [{scopes: ['kubernetes:*']}]",
            "GET /v2/kubernetes/clusters/c/kubeconfig",
            "",
            "denied",
        ), // its wildcards include the sensitive
        (
            "allow: [{scopes: [registry:read, registry:update]}], deny: [{scopes: [registry:update]}]",
            "GET /v2/registry/docker-credentials?read_write=true",
            "",
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:update], actions: [rebuild, restore]}]",
            "POST /v2/droplets/1/actions",
            r#"{"type":"rebuild"}"#,
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:update], actions: [rebuild, restore]}]",
            "POST /v2/droplets/1/actions",
            r#"{"type":"reboot"}"#,
            "allow",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:update], actions: [rebuild, restore]}]",
            "POST /v2/droplets/1/actions",
            "{}",
            "denied",
        ), // not known which
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: ['droplet:*'], actions: [rebuild]}]",
            "DELETE /v2/droplets/1",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{requests: ['GET /v2/droplets']}]",
            "GET /v2/droplets",
            "",
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{requests: ['GET /v2/droplets']}]",
            "GET /v2/droplets?x=1",
            "",
            "denied",
        ), // a parameter leads not around it
        (
            "allow: [{scopes: ['*']}], deny: [{requests: ['GET /v2/droplets\\?tag_name=web']}]",
            "GET /v2/droplets?tag_name=web&zzz=1&aaa=2",
            "",
            "denied",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{requests: ['GET /v2/droplets\\?tag_name=web']}]",
            "GET /v2/droplets?tag_name=db",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['.*']}], deny: [{scopes: [droplet:delete]}]",
            "GET /v2/new/thing",
            "",
            "denied",
        ), // what it asks for can't be known
        (
            "deny: [{scopes: ['*']}]",
            "GET /v2/account",
            "",
            "scope account:read",
        ),
        // Narrowed grants: what belongs to nobody, and what is known to be theirs.
        (
            "allow: [{scopes: ['*'], only: {tag: web}}]",
            "GET /v2/regions",
            "",
            "allow",
        ),
        (
            "allow: [{scopes: ['*'], only: {tag: web}}]",
            "GET /v2/droplets/12",
            "",
            "resource_hidden",
        ),
        (
            "allow: [{scopes: [droplet:read], only: {tag: web}}]",
            "DELETE /v2/droplets/12",
            "",
            "scope droplet:delete",
        ),
        (
            "allow: [{scopes: [droplet:read], only: {droplet: {id: 12}}}, {scopes: [droplet:read]}]",
            "GET /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['GET /v2/droplets/12'], only: {droplet: any}}]",
            "GET /v2/droplets/12",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['GET /v2/new'], only: {droplet: any}}]",
            "GET /v2/new",
            "",
            "unknown_endpoint",
        ),
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: [droplet:delete], only: {droplet: {name: '*-keep'}}}]",
            "DELETE /v2/droplets/12",
            "",
            "resource_hidden",
        ), // what is not known to be there is told as what is hidden
        (
            "allow: [{scopes: ['*']}], deny: [{scopes: ['*'], only: {tag: x}}]",
            "GET /v2/regions",
            "",
            "allow",
        ),
        // What is added on creation asks for no scope of its own.
        (
            "allow: [{scopes: ['droplet:*'], on_create: {tags: [a]}}]",
            "POST /v2/droplets",
            r#"{"name":"x"}"#,
            "allow",
        ),
        (
            "allow: [{scopes: ['droplet:*'], on_create: {tags: [a]}}]",
            "GET /v2/droplets",
            "",
            "allow",
        ),
        (
            "allow: [{requests: ['.*'], on_create: {tags: [a]}}]",
            "POST /v2/new",
            "",
            "unknown_endpoint",
        ),
    ];
    for (role, request, body, expected) in table {
        assert_eq!(
            verdict(&grants(role), request, body),
            expected,
            "{role}: {request} {body}"
        );
    }
}

#[test]
fn refusals_say_what_would_do() {
    let message = |role: &str, request: &str, body: &str| match decided(
        &grants(role),
        &asked(request, body),
        &Given::default(),
    ) {
        Decision::Allow(_) => panic!("{request} is allowed"),
        Decision::Deny(refusal) => refusal.message,
    };
    assert_eq!(
        message(
            "allow: [{scopes: [droplet:read]}]",
            "GET /v2/droplets/1/destroy_with_associated_resources/status",
            ""
        ),
        "this sub-token lacks the scope droplet:delete for GET /v2/droplets/{droplet_id}/destroy_with_associated_resources/status; ask for a role that grants it"
    );
    assert_eq!(
        message(
            "allow: [{scopes: ['*']}]",
            "GET /v2/databases/metrics/credentials",
            ""
        ),
        "this sub-token lacks the scopes database:view_credentials and database:update for GET /v2/databases/metrics/credentials; it logs in to the metrics endpoints, so wildcards do not cover it and the role must name the scope"
    );
    assert_eq!(
        message(
            "allow: [{scopes: [droplet:create]}]",
            "POST /v2/droplets",
            r#"{"ssh_keys":[1]}"#
        ),
        "the field `body.ssh_keys` of POST /v2/droplets asks for the scope ssh_key:read, which this sub-token lacks; leave the field out, or ask for a role that grants the scope"
    );
    assert_eq!(
        message(
            "allow: [{scopes: [droplet:update], actions: [resize, power_on]}]",
            "POST /v2/droplets/1/actions",
            r#"{"type":"rebuild"}"#
        ),
        "this sub-token may not do the action `rebuild`; it may do power_on, resize"
    );
    // Of scopes of which one would do, the narrowest.
    for (request, body) in [
        ("POST /v2/domains/example.com/records", r#"{"type":"A"}"#),
        ("DELETE /v2/domains/example.com/records/7", ""),
    ] {
        let said = message("allow: [{scopes: [domain:read]}]", request, body);
        let told = said.starts_with("this sub-token lacks the scope domain:update for ");
        assert!(told, "{request}: {said}");
    }
    let replica = "POST /v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30/replicas";
    let refused = precheck(
        &grants("allow: [{scopes: ['*']}]"),
        &asked(replica, ""),
        &CATALOG,
    );
    assert_eq!(
        refused.map_err(|refusal| refusal.message),
        Err("`path.database_cluster_uuid` of POST /v2/databases/{database_cluster_uuid}/replicas names a database, and what is on it is handed out only where a role names the scope database:read; ask for such a role".to_owned())
    );
}

#[test]
fn a_token_is_bound_whole_or_not_at_all() {
    let policy = policy_of(
        "  a: { allow: [{ scopes: [droplet:read] }] }\n  b: { account: other, allow: [{ scopes: [image:read] }] }\n  v: { vars: [x], allow: [{ requests: ['GET /v2/${x}'] }] }\n",
    );
    let bound = |roles: &[&str], vars: &[(&str, &str)]| {
        let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
        let vars = vars
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        bind(&policy, &roles, &vars).map(|grants| grants.allow.len())
    };
    assert_eq!(bound(&["a"], &[]), Ok(1));
    assert_eq!(bound(&["a", "v"], &[("x", "1")]), Ok(2));
    assert_eq!(bound(&[], &[]), Err(Unbound::NoRole));
    assert_eq!(
        bound(&["a", "gone"], &[]),
        Err(Unbound::Role("gone".into()))
    );
    assert_eq!(
        bound(&["v"], &[]),
        Err(Unbound::Variable("v".into(), "x".into()))
    );
    assert_eq!(
        bound(&["a", "b"], &[]),
        Err(Unbound::Accounts("default".into(), "other".into()))
    );
}

fn mistakes_of(text: &str) -> Vec<String> {
    match read("p.yaml", text, &["default".to_owned()], &CATALOG) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.into_lines(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn mistakes_have_their_place_and_what_to_write_instead() {
    let roles = |role: &str| format!("version: 1\nroles:\n  r: {{ {role} }}\n");
    let cases = [
        (
            roles("allow: [{scopes: [droplet:reed]}]"),
            "p.yaml:3:26: unknown scope `droplet:reed`; no endpoint asks for it; did you mean `droplet:read`?",
        ),
        (
            roles("allow: [{scopes: [droplet:admin]}]"),
            "p.yaml:3:26: the scope `droplet:admin` exists at DigitalOcean, but no endpoint asks for it, so it opens nothing; leave it out",
        ),
        (
            roles("allow: [{scopes: [role_management:read]}]"),
            "p.yaml:3:26: the scope `role_management:read` exists at DigitalOcean, but no endpoint asks for it, so it opens nothing; leave it out",
        ),
        (
            roles("allow: [{scopes: [api:read]}]"),
            "p.yaml:3:26: the scope `api:read` exists at DigitalOcean, but no endpoint asks for it, so it opens nothing; leave it out",
        ),
        (
            roles("allow: [{scopes: ['drop:*']}]"),
            "p.yaml:3:26: unknown scope `drop:*`; no endpoint asks for it; `tidegate catalog scopes` lists them all",
        ),
        (
            roles("allow: [{scopes: [], only: {tag: x}}]"),
            "p.yaml:3:25: `scopes` is empty; fill it or leave it out",
        ),
        (
            roles("allow: [{scopes: ~}]"),
            "p.yaml:3:25: `scopes` is a list, not nothing; write `[…]`",
        ),
        (
            roles("allow: []"),
            "p.yaml:3:15: `allow` is empty; fill it or leave it out",
        ),
        (
            roles("description: x"),
            "p.yaml:3:3: role `r` has neither `allow` nor `deny`; a role grants something or is left out",
        ),
        (
            roles("allow: [{actions: [reboot]}]"),
            "p.yaml:3:16: a grant has either `scopes` or `requests`",
        ),
        (
            roles("allow: [{scopes: [tag:read], requests: [x]}]"),
            "p.yaml:3:16: a grant has either `scopes` or `requests`",
        ),
        (
            roles("allow: [{requests: ['(']}]"),
            "p.yaml:3:28: `(` is no pattern for `METHOD /path`: unclosed group",
        ),
        (
            roles("allow: [{requests: ['a)|(b']}]"),
            "p.yaml:3:28: `a)|(b` is no pattern for `METHOD /path`: unopened group",
        ),
        (
            roles("allow: [{requests: ['GET /v2/${x}']}]"),
            "p.yaml:3:28: `GET /v2/${x}` is no pattern for `METHOD /path`: the variable `x` is not declared; add it to the role's `vars`",
        ),
        (
            roles("allow: [{scopes: [tag:read], actions: [rebot]}]"),
            "p.yaml:3:47: unknown action `rebot`; no `…/actions` endpoint has it; did you mean `reboot`?",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {}}]"),
            "p.yaml:3:43: `only` with nothing in it would narrow nothing; name what it is narrowed to, or leave it out",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: }]"),
            "p.yaml:3:41: `only` is a mapping of names to values, not nothing",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {tag: any}}]"),
            "p.yaml:3:49: `tag: any` would narrow nothing; write the tags, projects or regions meant; what is not narrowed needs no `only`",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {drplet: any}}]"),
            "p.yaml:3:44: unknown kind `drplet` in `only`; did you mean `droplet`?",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {droplet: {nam: x}}}]"),
            "p.yaml:3:54: a droplet has no attribute `nam`; did you mean `name`?",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {droplet: {}}}]"),
            "p.yaml:3:44: `droplet` with nothing under it would narrow nothing; name attributes, or write `any`",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {firewall: {tag: x}}}]"),
            "p.yaml:3:55: a firewall has no attribute `tag`; it has",
        ), // its tags say what it applies to
        (
            roles("allow: [{scopes: [tag:read], only: {tag: []}}]"),
            "p.yaml:3:49: an empty list matches nothing and is likely a slip; name what is meant",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {tag: ''}}]"),
            "p.yaml:3:49: an empty value matches nothing and is likely a slip; name what is meant",
        ),
        (
            roles("allow: [{scopes: [tag:read], only: {tag: '/(/'}}]"),
            "p.yaml:3:49: `(` is no regular expression: unclosed group",
        ),
        (
            roles("allow: [{scopes: [tag:read], on_create: {}}]"),
            "p.yaml:3:48: `on_create` with nothing in it; it has `tags` and `project`",
        ),
        (
            roles("deny: [{scopes: [tag:read], on_create: {tags: [a]}}]"),
            "p.yaml:3:47: a deny grant creates nothing; `on_create` belongs to an allow",
        ),
        (
            roles("account: othr, allow: [{scopes: [tag:read]}]"),
            "p.yaml:3:17: unknown account `othr`; the configuration's `accounts` has no such entry; known: default",
        ),
        (
            "version: 2\nfuture: {}\n".to_owned(),
            "p.yaml:1:10: unknown policy version `2`; this tidegate reads `version: 1`, so it refuses the whole file rather than half-understand it",
        ),
        (
            "roles: {}\n".to_owned(),
            "p.yaml:1:1: `version` is missing here; it must be given",
        ),
        (
            "version: 1\nroles: {}\n".to_owned(),
            "p.yaml:2:8: `roles` is empty; fill it or leave it out",
        ),
    ];
    for (text, expected) in cases {
        let found = mistakes_of(&text);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{text}\ngave {found:#?}"
        );
    }
}

#[test]
fn tokens_of_the_file_are_checked_like_issued_ones() {
    let token = |more: &str| {
        format!(
            "version: 1\nroles: {{ r: {{ vars: [x], allow: [{{ requests: ['GET /${{x}}'] }}] }} }}\ntokens:\n  - {{ name: t, id: 4fZ0aB9cD8eF, hash: \"sha256:{}\", {more} }}\n",
            "0".repeat(64)
        )
    };
    assert_eq!(
        mistakes_of(&token(
            "roles: [r], vars: {x: '1'}, sources: [], expires_at: 2027-01-31T00:00:00Z, idle: 1h, max_uses: 3, rate: 60/min, owner: me"
        )),
        [""; 0]
    );
    let cases = [
        ("roles: [q], vars: {x: '1'}", "unknown role `q`"),
        (
            "roles: [r]",
            "this token can't be used: its role `r` needs the variable `x`, which it does not have",
        ),
        (
            "roles: [r], vars: {x: '1', y: '2'}",
            "no role of this token has a variable `y`",
        ),
        (
            "roles: [r], vars: {x: '1'}, sources: [10.0.0.1/8]",
            "a source can't be `10.0.0.1/8`: the address has bits set behind its prefix; write `10.0.0.0/8` for the network",
        ),
        (
            "roles: [r], vars: {x: '1'}, sources: ~",
            "`sources` is a list, not nothing; write `[…]`",
        ),
        (
            "roles: [r], vars: {x: '1'}, expires_at: soon",
            "a time (`2027-01-31T00:00:00Z`)",
        ),
        (
            "roles: [r], vars: {x: '1'}, max_uses: -1",
            "`max_uses` can't be `-1`: it is a whole number, in digits",
        ),
        ("roles: []", "`roles` is empty; fill it or leave it out"),
    ];
    for (more, expected) in cases {
        let found = mistakes_of(&token(more)).join("\n");
        assert!(found.contains(expected), "{more} gave {found}");
    }
}

// Laws: whatever the roles and the request, taking away never adds.

const SCOPES: [&str; 14] = [
    "droplet:read",
    "droplet:create",
    "droplet:update",
    "droplet:delete",
    "image:read",
    "tag:create",
    "tag:read",
    "domain:create",
    "domain:update",
    "registry:read",
    "registry:update",
    "kubernetes:access_cluster",
    "droplet:*",
    "*:read",
];
const PATTERNS: [&str; 6] = [
    "GET /v2/droplets/12",
    ".*",
    "POST /v2/.*",
    "GET /v2/droplets\\\\?tag_name=web",
    "GET /v2/kubernetes/clusters/c/kubeconfig",
    "GET /v2/new",
];
const ACTIONS: [&str; 3] = ["power_on", "rebuild", "tag"];
const REQUESTS: [(&str, &str); 16] = [
    ("GET /v2/droplets", ""),
    ("GET /v2/droplets/12", ""),
    ("GET /v2/droplets?tag_name=web", ""),
    ("GET /v2/droplets?tag_name=web&x=1", ""),
    ("DELETE /v2/droplets/12", ""),
    ("POST /v2/droplets", r#"{"name":"x","image":7}"#),
    ("POST /v2/droplets", r#"{"name":"x","tags":["a"]}"#),
    ("POST /v2/droplets/12/actions", r#"{"type":"power_on"}"#),
    (
        "POST /v2/droplets/12/actions",
        r#"{"type":"rebuild","image":1}"#,
    ),
    (
        "POST /v2/tags/x/resources",
        r#"{"resources":[{"resource_id":1,"resource_type":"droplet"}]}"#,
    ),
    ("POST /v2/domains/d/records", "{}"),
    ("GET /v2/registry/docker-credentials?read_write=true", ""),
    ("GET /v2/kubernetes/clusters/c/kubeconfig", ""),
    ("GET /v2/regions", ""),
    ("GET /v2/new", ""),
    ("DELETE /v2/new", ""),
];

#[derive(Clone, Debug)]
struct Drawn {
    scopes: Vec<&'static str>,
    requests: Vec<&'static str>,
    actions: Vec<&'static str>,
    narrowed: bool,
}

impl Drawn {
    /// The grant, or nothing where it has nothing left: a list left empty allows nobody.
    fn text(&self) -> Option<String> {
        let list = |items: &[&str]| {
            items
                .iter()
                .map(|item| format!("\"{item}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let covers = match (self.requests.as_slice(), self.scopes.as_slice()) {
            ([], []) => return None,
            ([], scopes) => format!("scopes: [{}]", list(scopes)),
            (requests, _) => format!("requests: [{}]", list(requests)),
        };
        let actions = if self.actions.is_empty() {
            String::new()
        } else {
            format!(", actions: [{}]", list(&self.actions))
        };
        let only = if self.narrowed {
            ", only: { tag: web }"
        } else {
            ""
        };
        Some(format!("{{ {covers}{actions}{only} }}"))
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let some = |from: &'static [&'static str], most| prop::sample::subsequence(from, 0..=most);
    (
        some(&SCOPES, 8),
        prop_oneof![3 => Just(Vec::new()), 1 => some(&PATTERNS, 3)],
        prop_oneof![3 => Just(Vec::new()), 1 => some(&ACTIONS, 2)],
        prop::bool::weighted(0.2),
    )
        .prop_map(|(scopes, requests, actions, narrowed)| Drawn {
            scopes,
            requests,
            actions,
            narrowed,
        })
}

fn role_of(allow: &[Drawn], deny: &[Drawn]) -> Option<Grants> {
    let list = |grants: &[Drawn]| grants.iter().filter_map(Drawn::text).collect::<Vec<_>>();
    let (allow, deny) = (list(allow), list(deny));
    let part = |name: &str, grants: &[String]| {
        (!grants.is_empty()).then(|| format!("{name}: [{}]", grants.join(", ")))
    };
    let parts: Vec<_> = [part("allow", &allow), part("deny", &deny)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| grants(&parts.join(", ")))
}

fn allowed(role: Option<&Grants>) -> Vec<bool> {
    let is_allowed = |(request, body): &(&str, &str)| {
        role.is_some_and(|role| {
            matches!(
                decided(role, &asked(request, body), &Given::default()),
                Decision::Allow(_)
            )
        })
    };
    let steady = |(request, body): &&(&str, &str)| !changes_something(request, body);
    REQUESTS.iter().filter(steady).map(is_allowed).collect()
}

fn no_more(less: &[bool], more: &[bool]) -> bool {
    less.iter().zip(more).all(|(less, more)| !less || *more)
}

/// Whether rule 6 has a say: the request changes what a selector can ask about. The law does not hold there, by design. A
/// token with any `only` needs `<family>:update` over what it changes, so that taking away its last `only` takes that need
/// away; and what a request would bring under a grant is refused where that was not held before, so that taking that grant
/// away leaves nothing to be gained. Neither lets the smaller policy hold more in the end: that is the law of `widening`.
fn changes_something(request: &str, body: &str) -> bool {
    request.starts_with("POST /v2/tags/") || body.contains("rebuild")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn taking_away_never_adds(allow in prop::collection::vec(drawn(), 1..4), deny in prop::collection::vec(drawn(), 0..2), more in drawn(), pick in any::<prop::sample::Index>()) {
        let whole = allowed(role_of(&allow, &deny).as_ref());
        let at = pick.index(allow.len());
        let mut fewer = allow.clone();
        let taken = fewer.remove(at);
        prop_assert!(no_more(&allowed(role_of(&fewer, &deny).as_ref()), &whole), "without a grant");
        for list in [0, 1] {
            let mut smaller = taken.clone();
            let removed = if list == 0 { smaller.scopes.pop() } else { smaller.requests.pop() };
            // A grant by requests that loses its last becomes one by scopes here: that is another grant, not a smaller one.
            if removed.is_some() && (list == 0 || !smaller.requests.is_empty()) {
                let mut with = fewer.clone();
                with.insert(at, smaller);
                prop_assert!(no_more(&allowed(role_of(&with, &deny).as_ref()), &whole), "without a scope or pattern");
            }
        }
        let mut narrower = allow.clone();
        narrower[at].narrowed = true;
        prop_assert!(no_more(&allowed(role_of(&narrower, &deny).as_ref()), &whole), "narrowed");
        let mut limited = allow.clone();
        if limited[at].actions.is_empty() {
            limited[at].actions.push("power_on");
            prop_assert!(no_more(&allowed(role_of(&limited, &deny).as_ref()), &whole), "limited to an action");
        }
        let mut denied = deny.clone();
        denied.push(more);
        prop_assert!(no_more(&allowed(role_of(&allow, &denied).as_ref()), &whole), "with another deny");
    }

    #[test]
    fn reading_a_policy_never_panics(text in "(version: 1\n)?(roles:|tokens:|tests:|  r:|[ \\[\\]{}:,&*!'\"|>a-z0-9~\n-]{0,60})*") {
        let _ = read("p.yaml", &text, &["default".to_owned()], &CATALOG);
    }
}
