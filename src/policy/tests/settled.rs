//! What is kept of decisions is what would be decided anew.

use std::collections::HashMap;

use super::*;
use crate::catalog::Segment;
use crate::policy::{scopes_used, settled_by};

/// Grants of every shape: by scopes, by wildcards, by requests that fit some paths of an endpoint and not others, narrowed,
/// limited to actions, and the same denied.
const ROLES: [&str; 14] = [
    "allow: [{ scopes: ['*'] }]",
    "allow: [{ scopes: ['*:read'] }]",
    "allow: [{ scopes: ['droplet:read', 'database:read', 'kubernetes:read', 'app:read'] }]",
    "allow: [{ scopes: ['droplet:read'] }, { scopes: ['database:view_credentials', 'tag:read'] }]",
    "allow: [{ scopes: ['*:read'] }], deny: [{ scopes: ['database:read', 'registry:read'] }]",
    "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['droplet:read'], actions: [reboot] }]",
    "allow: [{ requests: ['GET /v2/[a-z_0-9]+/1'] }]",
    "allow: [{ requests: ['GET /v2/.*'] }], deny: [{ requests: ['GET /v2/.*/12(/.*)?'] }]",
    "allow: [{ scopes: ['*:read'] }, { requests: ['GET /v2/.*/a(/.*)?'] }], deny: [{ requests: ['GET /v2/.*/1'] }]",
    "allow: [{ scopes: ['droplet:read'] }, { requests: ['GET /v2/.*/12'] }, { requests: ['GET /v2/.*/a'] }]",
    "allow: [{ scopes: ['*:read'], only: { tag: prod } }]",
    "allow: [{ scopes: ['*:read'] }], deny: [{ scopes: ['droplet:*'], only: { tag: prod } }]",
    "allow: [{ scopes: ['droplet:*'], actions: [reboot] }, { scopes: ['*:read'] }]",
    "allow: [{ scopes: ['*:read', 'droplet:create'], on_create: { tags: [a] } }]",
];

/// What stands for the parameters of a path.
const NAMES: [&str; 6] = [
    "1",
    "12",
    "a",
    "default",
    "506f78a4-e098-11e5-ad9f-000f53306ae1",
    "a.example.com",
];

#[test]
fn of_every_endpoint_and_grant_what_is_settled_alike_is_decided_alike() {
    let (mut allowed, mut denied, mut told_apart) = (0, 0, 0);
    for role in ROLES {
        let grants = grants(role);
        for endpoint in CATALOG.endpoints() {
            let mut known = HashMap::new();
            for name in NAMES {
                let path: String =
                    endpoint
                        .template
                        .segments
                        .iter()
                        .fold(String::new(), |path, segment| {
                            let segment = match segment {
                                Segment::Fixed(text) => text.as_str(),
                                Segment::Parameter { .. } => name,
                            };
                            path + "/" + segment
                        });
                let asked = Asked::new(endpoint.method, Target::read(&path).unwrap(), &CATALOG);
                let is_it = asked
                    .endpoint
                    .is_some_and(|found| std::ptr::eq(found, endpoint));
                let Some(by) = settled_by(&grants, &asked, &CATALOG).filter(|_| is_it) else {
                    continue;
                };
                let decided = match decide(&grants, &asked, &[], &CATALOG) {
                    Decision::Allow(allowed) => Ok(allowed),
                    Decision::Deny(refusal) => Err(refusal.code),
                };
                *if decided.is_ok() {
                    &mut allowed
                } else {
                    &mut denied
                } += 1;
                let now = (decided, scopes_used(&grants, &asked, &CATALOG));
                let first = known.entry(by).or_insert_with(|| now.clone());
                assert_eq!(*first, now, "{endpoint}: {path} by {role}");
            }
            told_apart += usize::from(known.len() > 1);
        }
    }
    assert!(allowed > 5_000, "{allowed} were allowed");
    assert!(denied > 5_000, "{denied} were refused");
    assert!(told_apart > 100, "{told_apart} endpoints by their requests");
}

#[test]
fn what_depends_on_more_is_not_settled() {
    let all = "allow: [{ scopes: ['*'] }]";
    let cases = [
        (all, "GET /v2/droplets/1", Some(0)),
        (all, "GET /v2/droplets/1?page=1", None),
        (all, "GET /v2/droplets?tag_name=a", None),
        (all, "DELETE /v2/droplets/1", None),
        (all, "GET /v2/nothing/of/that", None),
        (
            "allow: [{ scopes: ['*'], only: { tag: a } }]",
            "GET /v2/droplets/1",
            None,
        ),
        (
            "allow: [{ requests: ['GET /v2/droplets/1'] }]",
            "GET /v2/droplets/1",
            Some(1),
        ),
        (
            "allow: [{ requests: ['GET /v2/droplets/1'] }]",
            "GET /v2/droplets/2",
            Some(0),
        ),
    ];
    for (role, request, by) in cases {
        let asked = asked(request, "");
        assert_eq!(
            settled_by(&grants(role), &asked, &CATALOG),
            by,
            "{request} by {role}"
        );
    }
    let mut under = grants(all);
    under.alone = Some(grants(all).into());
    let mut within = grants(all);
    within.within.push(grants(all).into());
    for more in [under, within] {
        let asked = asked("GET /v2/droplets/1", "");
        assert_eq!(settled_by(&more, &asked, &CATALOG), None);
    }
}
