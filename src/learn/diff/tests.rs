use proptest::prelude::*;

use std::sync::Arc;

use super::witness::Has;
use super::*;
use crate::catalog::KindId;
use crate::policy::read_alone;

const SCOPES: [&str; 6] = [
    "droplet:read",
    "droplet:delete",
    "domain:read",
    "domain:delete",
    "block_storage:read",
    "*:delete",
];
const ONLY: [&str; 9] = [
    "",
    "droplet: { tag: a }",
    "droplet: { tag: [a, b], name: web-1 }",
    "droplet: { name: 'web-*' }",
    "droplet: { name: '/(web|db)-[0-9]+/' }",
    "tag: a",
    "domain: { name: [example.com, '*.example.org'] }",
    "volume: { name: 'web-*', region: nyc3 }",
    "droplet: any, domain: { name: example.com }",
];
/// What may be there: by kind, attribute and value.
const WORLD: [(KindId, &str, &str); 12] = [
    (KindId::Droplet, "tag", "a"),
    (KindId::Droplet, "tag", "b"),
    (KindId::Droplet, "tag", "c"),
    (KindId::Droplet, "name", "web-1"),
    (KindId::Droplet, "name", "web-22"),
    (KindId::Droplet, "name", "db-1"),
    (KindId::Domain, "name", "example.com"),
    (KindId::Domain, "name", "www.example.org"),
    (KindId::Volume, "name", "web-1"),
    (KindId::Volume, "region", "nyc3"),
    (KindId::Volume, "tag", "a"),
    (KindId::Volume, "region", "fra1"),
];

fn grant() -> impl Strategy<Value = String> {
    let scopes = prop::sample::subsequence(SCOPES.to_vec(), 1..3);
    (scopes, prop::sample::select(ONLY.to_vec())).prop_map(|(scopes, only)| {
        let scopes: Vec<_> = scopes.iter().map(|scope| format!("'{scope}'")).collect();
        let only = if only.is_empty() {
            String::new()
        } else {
            format!(", only: {{ {only} }}")
        };
        format!("      - {{ scopes: [{}]{only} }}\n", scopes.join(", "))
    })
}

fn role() -> impl Strategy<Value = String> {
    let allow = prop::collection::vec(grant(), 1..3);
    (allow, prop::option::of(grant())).prop_map(|(allow, deny)| {
        let deny = deny.map(|deny| format!("    deny:\n{deny}"));
        format!(
            "version: 1\nroles:\n  r:\n    allow:\n{}{}",
            allow.concat(),
            deny.unwrap_or_default()
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Whatever a change newly allows is told, with the endpoint by which it is allowed.
    #[test]
    fn what_a_change_newly_allows_is_told(
        texts in [role(), role()],
        worlds in prop::collection::vec(prop::sample::subsequence(WORLD.to_vec(), 0..6), 8),
    ) {
        let catalog = Catalog::builtin().unwrap();
        let read = |text: &String| read_alone("p.yaml", text, &catalog).ok();
        let [Some(old), Some(new)] = texts.each_ref().map(read) else {
            return Ok(()); // two grants of one role are the same, or a scope can't be narrowed so
        };
        let found = differences(&old, &new, None, &catalog);
        let sides = [&old, &new].map(|policy| bound(policy, &policy.roles["r"]));
        let base: Arc<[Has]> = WORLD
            .iter()
            .filter(|(kind, _, _)| *kind != KindId::Domain) // its name stands in the request
            .map(|(kind, attribute, _)| (Some(*kind), (*attribute).to_owned(), "else".to_owned()))
            .collect();
        for world in worlds {
            let has = world.iter().map(|(kind, attribute, value)| {
                (Some(*kind), (*attribute).to_owned(), (*value).to_owned())
            });
            let witness = Witness { base: base.clone(), has: has.collect(), misses: None };
            for endpoint in catalog.endpoints().iter().filter(|it| it.refused.is_none()) {
                if !sides.iter().flatten().any(|grants| could_allow(grants, endpoint)) {
                    continue;
                }
                for (_, action, parts) in variants(endpoint) {
                    let seen = request(endpoint, action, parts, &witness, &catalog);
                    if let [None, Some(_)] = decided(&seen, &sides, &catalog) {
                        let told = |it: &PolicyDifference| it.allowed && *it.endpoint == *endpoint.operation;
                        prop_assert!(
                            found.iter().any(told),
                            "{endpoint} of {witness:?} is newly allowed and not told:\n{}\n{}",
                            texts[0],
                            texts[1]
                        );
                    }
                }
            }
        }
    }
}

/// Grants in which names stand in every way that there is: beside others, at their ends, in patterns, in what is added.
const NAMING: [&str; 9] = [
    "{ scopes: ['droplet:*', 'tag:*', 'image:read'], only: { tag: alpha }, actions: [reboot, tag], on_create: { tags: [alpha] } }",
    "{ scopes: [droplet:create, droplet:delete, vpc:read], only: { droplet: { name: ['alpha-*', beta], region: nyc3 }, vpc: { name: alpha } } }",
    "{ scopes: [domain:read, domain:update], only: { domain: { name: alpha.example }, domain_record: { type: TXT, name: [_acme, '_acme.*'] } } }",
    "{ scopes: [domain:read, domain:delete], only: { domain: { name: [beta.alpha.example, alpha.example] } } }",
    "{ scopes: [block_storage:delete, block_storage_action:create, droplet:update], only: { volume: { name: '/(alpha|beta)[0-9]/', region: nyc3 }, droplet: { tag: alpha } } }",
    "{ scopes: ['project:*', droplet:read], only: { project: alpha } }",
    "{ scopes: [firewall:update, droplet:update], only: { firewall: { name: 'alpha*' }, droplet: { name: '*alpha' } } }",
    "{ scopes: [droplet:read, droplet:delete], only: { droplet: { name: '*-keep' } } }",
    "{ requests: ['GET /v2/domains/alpha'] }",
];
/// What `alpha` is called in a role that is else the same: some of that means something by itself, or beside the others.
const CALLED: [&str; 9] = [
    "gamma",
    "beta",
    "droplets",
    "default",
    "Alpha",
    "x",
    "nyc3",
    "gamma-keep",
    "1234",
];

fn grants() -> impl Strategy<Value = String> {
    let allow = prop::sample::subsequence(NAMING.to_vec(), 1..3);
    let deny = prop::option::of(prop::sample::select(NAMING[1..8].to_vec()));
    (allow, deny).prop_map(|(allow, deny)| {
        let deny = deny.map(|deny| format!("    deny: [{deny}]\n"));
        let allow = allow.join(", ");
        format!("    allow: [{allow}]\n{}", deny.unwrap_or_default())
    })
}

/// What is told of roles that are the same but for what `alpha` is called in them; and what is told where each world of each role
/// is tried. `None` where the grants make no policy.
fn told_and_tried(grants: &[&str; 2], called: &[&str]) -> Option<[Vec<PolicyDifference>; 2]> {
    let catalog = Catalog::builtin().unwrap();
    let policies = grants.map(|text| {
        let called = ["alpha"].iter().chain(called).enumerate();
        let role = |(number, called): (usize, &&str)| {
            format!("  r{number}:\n{}", text.replace("alpha", called))
        };
        format!(
            "version: 1\nroles:\n{}",
            called.map(role).collect::<String>()
        )
    });
    let read = |text: &String| read_alone("p.yaml", text, &catalog).ok();
    let [Some(old), Some(new)] = policies.each_ref().map(read) else {
        return None;
    };
    let each = |name: &String| of_role(name, [&old, &new], &catalog, None);
    let tried = old.roles.keys().flat_map(each).collect();
    Some([differences(&old, &new, None, &catalog), tried])
}

/// Each row is told apart by something else: what the catalogue has, what stands at the end of a name, what a pattern matches.
#[test]
fn what_only_looks_alike_is_tried() {
    let rows: [(&str, [&str; 2], &[&str]); 5] = [
        (
            "a word of the path",
            [
                "    allow: [{ scopes: [droplet:create, 'tag:*'], only: { tag: alpha } }]\n",
                "    allow: [{ scopes: [droplet:create, 'tag:*'], only: { tag: [alpha, beta] } }]\n",
            ],
            &["gamma", "droplets", "beta"],
        ),
        (
            "a zone below another",
            [
                "    allow: [{ scopes: [domain:delete], only: { domain: { name: alpha.example } } }]\n",
                "    allow: [{ scopes: [domain:delete], only: { domain: { name: [alpha.example, www.alpha.example] } } }]\n",
            ],
            &["gamma", "www.alpha"],
        ),
        (
            "what a deny's pattern matches",
            [
                "    allow: [{ scopes: [droplet:delete], only: { droplet: { name: alpha } } }]\n",
                "    allow: [{ scopes: [droplet:delete], only: { droplet: { name: [alpha, 'alpha*'] } } }]\n    deny: [{ scopes: [droplet:delete], only: { droplet: { name: '*-keep' } } }]\n",
            ],
            &["gamma", "gamma-keep", "x"],
        ),
        (
            "what names no resource of the kind",
            [
                "    allow: [{ scopes: [block_storage:delete], only: { volume: { id: alpha } } }]\n",
                "    allow: [{ scopes: [block_storage:delete], only: { volume: { id: [alpha, 22222222-2222-4222-8222-222222222222] } } }]\n",
            ],
            &["11111111-1111-4111-8111-111111111111", "gamma"],
        ),
        (
            "a pattern of requests",
            [
                "    allow: [{ scopes: [domain:read], only: { domain: { name: alpha } } }]\n    deny: [{ requests: ['GET /v2/domains/gamma'] }]\n",
                "    allow: [{ scopes: [domain:read], only: { domain: { name: [alpha, beta] } } }]\n    deny: [{ requests: ['GET /v2/domains/gamma'] }]\n",
            ],
            &["delta", "gamma"],
        ),
    ];
    for (what, grants, called) in rows {
        let [told, tried] = told_and_tried(&grants, called).unwrap();
        assert!(!tried.is_empty(), "{what}");
        assert_eq!(told, tried, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2, max_shrink_iters: 10, ..ProptestConfig::default() })]

    /// What is tried once for many worlds and roles is told as where each world of each role is tried.
    #[test]
    fn what_is_alike_is_told_as_if_each_were_tried(
        texts in [grants(), grants()],
        called in prop::sample::subsequence(CALLED.to_vec(), 1),
    ) {
        if let Some([told, tried]) = told_and_tried(&texts.each_ref().map(String::as_str), &called) {
            prop_assert_eq!(told, tried, "{:?} {:?}", texts, called);
        } // else as in the law before
    }
}
