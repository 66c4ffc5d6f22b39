//! Which members of an answer may be seen, as a table.

use super::*;
use crate::catalog::{Asks, KindId};
use crate::resource::{Attributes, Known, State};

/// Something that members of answers ask for, as `secret database:view_credentials`.
fn asks(text: &str) -> Asks {
    let (sort, scope) = text.split_once(' ').unwrap();
    let scope = CATALOG.scopes().id(&scope.parse().unwrap()).unwrap();
    match sort {
        "secret" => Asks::Secret(scope),
        "field" => Asks::Field(scope),
        "whole" => Asks::Whole(scope),
        "children" => Asks::Children(scope),
        _ => panic!("no sort: {text}"),
    }
}

/// A resource of that kind called `a` or `b`, the first with the tag `prod`.
fn called(kind: KindId, name: &str) -> State {
    let kind = CATALOG.kinds().of(kind);
    let tags = Some("prod".to_owned()).filter(|_| name == "a");
    let attributes = Attributes::from([
        ("id".to_owned(), Known::exactly([format!("id-{name}")])),
        ("name".to_owned(), Known::exactly([name.to_owned()])),
        ("tag".to_owned(), Known::exactly(tags)),
    ]);
    State::new(kind, attributes, None)
}

/// Of which of `a`, `b` and one of which nothing is known it may be seen: `a`, `ab`, `ab?` or nothing.
fn shown(role: &str, request: &str, asked_for: &str, kind: KindId) -> String {
    let (grants, asked) = (grants(role), asked(request, ""));
    let fields = Fields::new(&grants, &asked, &CATALOG);
    let found = CATALOG.kinds().of(kind);
    let mut shown = String::new();
    for name in ["a", "b"] {
        if fields.shown_of(asks(asked_for), Some(found), &[called(kind, name)]) {
            shown += name;
        }
    }
    if fields.shown_of(asks(asked_for), Some(found), &[]) {
        shown += "?";
    }
    shown
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_member_is_shown_where_its_scope_is_given_over_its_resource() {
    let (list, secret, field) = (
        "GET /v2/databases",
        "secret database:view_credentials",
        "field database:view_credentials",
    );
    let cases = [
        // secrets go by the name of their scope
        (
            "allow: [{ scopes: ['database:view_credentials'] }]",
            list,
            secret,
            "ab?",
        ),
        ("allow: [{ scopes: ['database:*'] }]", list, secret, ""),
        ("allow: [{ scopes: ['*'] }]", list, secret, ""),
        ("allow: [{ scopes: ['database:read'] }]", list, secret, ""),
        ("allow: [{ scopes: ['*'] }]", list, field, "ab?"), // a user name alone logs in nowhere
        // over the very resource
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { database: { name: a } } }]",
            list,
            secret,
            "a",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { tag: prod } }]",
            list,
            secret,
            "a",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { database: { region: nyc3 } } }]",
            list,
            secret,
            "",
        ), // which is not known
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { droplet: any } }]",
            list,
            secret,
            "",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { database: any } }]",
            list,
            secret,
            "ab",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'], only: { database: { name: a }, database_user: { name: app } } }]",
            list,
            secret,
            "",
        ), // some of its users
        // denied
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['database:*'] }]",
            list,
            secret,
            "",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['*:view_credentials'] }]",
            list,
            secret,
            "",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['database:delete'] }]",
            list,
            secret,
            "ab?",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['database:view_credentials'], only: { tag: prod } }]",
            list,
            secret,
            "b",
        ), // and nothing of what is not known
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['*'], only: { database: { region: nyc3 } } }]",
            list,
            secret,
            "",
        ), // it may be there
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ scopes: ['*'], only: { droplet: any } }]",
            list,
            secret,
            "ab",
        ),
        // by request
        (
            "allow: [{ requests: ['GET /v2/databases'] }]",
            list,
            secret,
            "ab?",
        ),
        (
            "allow: [{ requests: ['GET /v2/databases'], only: { database: { name: a } } }]",
            list,
            secret,
            "a",
        ),
        (
            "allow: [{ requests: ['GET /v2/databases/x'] }, { scopes: ['database:read'] }]",
            list,
            secret,
            "",
        ),
        (
            "allow: [{ scopes: ['database:view_credentials'] }], deny: [{ requests: ['GET /v2/databases'], only: { tag: prod } }]",
            list,
            secret,
            "b",
        ),
    ];
    for (role, request, asked_for, expected) in cases {
        assert_eq!(
            shown(role, request, asked_for, KindId::Database),
            expected,
            "{role}: {asked_for}"
        );
    }
}

#[test]
fn a_field_of_another_family_is_shown_to_whom_that_family_is_at_all() {
    let (list, tags) = ("GET /v2/droplets", "field tag:read");
    let cases = [
        (
            "allow: [{ scopes: ['droplet:read', 'tag:read'] }]",
            tags,
            "ab?",
        ),
        ("allow: [{ scopes: ['droplet:read'] }]", tags, ""),
        ("allow: [{ scopes: ['*:read'] }]", tags, "ab?"),
        (
            "allow: [{ scopes: ['droplet:read'] }, { scopes: ['tag:read'], only: { tag: other } }]",
            tags,
            "ab?",
        ),
        (
            "allow: [{ scopes: ['*:read'] }], deny: [{ scopes: ['tag:read'] }]",
            tags,
            "",
        ),
        (
            "allow: [{ scopes: ['*:read'] }], deny: [{ scopes: ['tag:read'], only: { tag: prod } }]",
            tags,
            "b",
        ),
        // the scope of changes is not given by a grant for some actions
        (
            "allow: [{ scopes: ['droplet:update'], actions: [reboot] }]",
            "secret droplet:update",
            "",
        ),
        (
            "allow: [{ scopes: ['droplet:update'] }]",
            "secret droplet:update",
            "ab?",
        ),
        (
            "allow: [{ scopes: ['droplet:read'], actions: [reboot] }]",
            "whole droplet:read",
            "ab?",
        ),
        (
            "allow: [{ scopes: ['droplet:read'], only: { tag: prod } }]",
            "whole droplet:read",
            "a",
        ),
        (
            "allow: [{ scopes: ['reserved_ip:read'] }]",
            "whole droplet:read",
            "",
        ),
        (
            "allow: [{ scopes: ['*'] }], deny: [{ scopes: ['droplet:read'], only: { tag: prod } }]",
            "whole droplet:read",
            "b",
        ),
    ];
    for (role, asked_for, expected) in cases {
        assert_eq!(
            shown(role, list, asked_for, KindId::Droplet),
            expected,
            "{role}: {asked_for}"
        );
    }
}

/// Every one of several resources decides.
#[test]
fn what_belongs_to_several_is_shown_where_it_is_of_each() {
    let role = "allow: [{ scopes: ['droplet:update'], only: { droplet: { name: a } } }]";
    let (grants, asked) = (grants(role), asked("GET /v2/droplets", ""));
    let fields = Fields::new(&grants, &asked, &CATALOG);
    let kind = Some(CATALOG.kinds().of(KindId::Droplet));
    let secret = asks("secret droplet:update");
    let [a, b] = ["a", "b"].map(|name| called(KindId::Droplet, name));
    assert!(fields.shown_of(secret, kind, &[a.clone(), a.clone()]));
    assert!(!fields.shown_of(secret, kind, &[a, b]));
}

/// Fewer allows and more denies never show more.
#[test]
fn a_deny_or_a_lost_allow_shows_no_more() {
    let allows = [
        "{ scopes: ['database:view_credentials'] }",
        "{ scopes: ['database:view_credentials'], only: { tag: prod } }",
        "{ scopes: ['database:view_credentials'], only: { database: { name: b } } }",
        "{ requests: ['GET /v2/databases'], only: { database: any } }",
    ];
    let denies = [
        "{ scopes: ['database:*'], only: { database: { name: a } } }",
        "{ scopes: ['*'], only: { region: nyc3 } }",
        "{ requests: ['GET /v2/databases'], only: { tag: prod } }",
    ];
    let secret = "secret database:view_credentials";
    let of = |role: &str| shown(role, "GET /v2/databases", secret, KindId::Database);
    for first in allows {
        for second in allows {
            let (one, both) = (
                format!("allow: [{first}]"),
                format!("allow: [{first}, {second}]"),
            );
            let (less, more) = (of(&one), of(&both));
            assert!(
                less.chars().all(|name| more.contains(name)),
                "{one} {less}, {both} {more}"
            );
            for deny in denies {
                let less_still = format!("{both}, deny: [{deny}]");
                let less = of(&less_still);
                assert!(
                    less.chars().all(|name| more.contains(name)),
                    "{less_still} {less}, {more}"
                );
            }
        }
    }
}

/// What belongs to a resource is shown with it, unless a deny takes some of it from sight, or nothing but some of it is granted.
#[test]
fn children_are_shown_where_all_of_them_may_be_seen() {
    for parent in CATALOG
        .kinds()
        .iter()
        .filter(|kind| !kind.shows_children.is_empty())
    {
        let name = parent.id;
        let below = CATALOG
            .kinds()
            .iter()
            .filter(|kind| kind.parent == Some(name));
        let asked_for = format!("children {}:read", parent.family);
        let list = parent.list.as_ref().map(|list| list.template.to_string());
        let list = format!(
            "GET {}",
            list.unwrap()
                .replace("{registry_name}", "r")
                .replace("{cluster_id}", ID)
        );
        let seen = |role: &str| shown(role, &list, &asked_for, name);
        for child in below {
            let child_name = child.id;
            let all = "allow: [{ scopes: ['*'] }]";
            let of = |only: &str| format!("{all}, deny: [{{ scopes: ['*'], only: {{ {only} }} }}]");
            let attribute = child.attribute_names().next().unwrap();
            let child_is = format!("{child_name}: {{ {attribute}: x }}");
            assert_eq!(seen(all), "ab?", "{child_name}");
            assert_eq!(seen(&of(&child_is)), "", "{child_name}: denied");
            assert_eq!(
                seen(&of(&format!("{child_is}, {name}: {{ name: a }}"))),
                "b",
                "{child_name}: denied of one"
            );
            assert_eq!(
                seen(&of("ssh_key: any")),
                "ab?",
                "{child_name}: another is denied"
            );
            let alone = format!(
                "allow: [{{ scopes: ['*'], only: {{ {child_is}, {name}: {{ name: a }} }} }}]"
            );
            assert_eq!(seen(&alone), "", "{child_name}: alone");
            let both = format!(
                "{}, {{ scopes: ['*'], only: {{ {name}: {{ name: a }} }} }}]",
                alone.trim_end_matches(']')
            );
            assert_eq!(seen(&both), "a", "{child_name}: and all of one");
        }
    }
}

const ID: &str = "00000000-0000-4000-8000-000000000001";
