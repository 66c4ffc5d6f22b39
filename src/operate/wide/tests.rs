use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::config;
use crate::policy;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

fn told(role: &str) -> Vec<String> {
    let text = format!("version: 1\nroles:\n  r: {{ {role} }}\n");
    let read = policy::read("p.yaml", &text, &["default".to_owned()], &CATALOG);
    let policy =
        read.unwrap_or_else(|mistakes| panic!("{}\n{text}", mistakes.into_lines().join("\n")));
    remarks(&policy, &CATALOG, FieldScopes::SecretsOnly)
        .into_iter()
        .map(|(at, what)| format!("{at}: {what}"))
        .collect()
}

#[test]
fn what_is_wider_than_it_looks_is_told_with_what_to_write_instead() {
    let cases: [(&str, &[&str]); 18] = [
        (
            "allow: [{ scopes: ['*'] }]",
            &[
                "3:16: `r.allow[0]` allows `*`: all that is not sensitive, deletions too, and whatever scopes a later release knows; name the families that are needed, as `droplet:*`",
            ],
        ),
        (
            "allow: [{ scopes: [droplet:update], actions: [power_on] }, { scopes: ['droplet:*'] }]",
            &[
                "3:67: `r.allow[1]` gives POST /v2/droplets/{droplet_id}/actions without `actions`, so the `actions` of `r.allow[0]` limit nothing: all are allowed, password_reset, rebuild, restore, resize among them; put `actions` here too, or leave the scope out",
            ],
        ),
        (
            "allow: [{ scopes: [droplet:read, droplet:update], actions: [power_on] }, { scopes: [droplet:read] }]",
            &[],
        ), // reading has no actions
        ("allow: [{ scopes: ['droplet:*'] }]", &[]), // nothing says that it should be less
        (
            "allow: [{ scopes: [droplet:delete] }, { scopes: [droplet:read] }], deny: [{ scopes: ['*:delete'] }]",
            &[
                "3:16: `r.allow[0]` allows nothing: `r.deny[0]` denies all of its scopes, and a deny wins; take one of the two out",
            ],
        ),
        (
            "allow: [{ scopes: [account:read] }], deny: [{ scopes: [droplet:delete] }]",
            &[
                "3:52: `r.deny[0]` strikes nothing that this role allows: no request that its grants let through asks for one of these scopes; it is of use only to tokens that have other roles too",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/droplets'] }], deny: [{ scopes: [droplet:delete] }]",
            &[],
        ), // a pattern may let anything through
        (
            "allow: [{ scopes: [sizes:read] }]",
            &[
                "3:16: `r.allow[0]` names `sizes:read`, which opens nothing in this role: GET /v2/sizes asks for regions:read as well; add that, or leave the scope out",
            ],
        ),
        (
            "allow: [{ scopes: [sizes:read] }, { scopes: [regions:read] }]",
            &[],
        ), // together they open the list of sizes
        ("allow: [{ scopes: [regions:read] }]", &[]), // it opens its own list
        (
            "allow: [{ requests: ['.*'] }]",
            &[
                "3:16: `r.allow[0]` has the pattern `.*`, which matches every request that is not sensitive; spell the methods and paths that are needed",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/domains/example.com/records'] }]",
            &[
                "3:16: `r.allow[0]` has `example.com` in a pattern, where `.` stands for any character; write `example\\.com`",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/domains/a\\.example.com'] }]",
            &[
                "3:16: `r.allow[0]` has `a\\.example.com` in a pattern, where `.` stands for any character; write `a\\.example\\.com`",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/domains/example\\.com', 'GET /v2/tags/[a.b]'] }]",
            &[],
        ), // escaped, or in a class
        (
            "allow: [{ requests: ['GET /v2/droplets/.*'] }]",
            &[
                "3:16: `r.allow[0]` has the pattern `GET /v2/droplets/.*`, whose `.*` goes on past the next `/`, over all that is below; write `[^/]+` for one segment",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/droplet/12'] }]",
            &[
                "3:16: `r.allow[0]` has the pattern `GET /v2/droplet/12`, which matches no endpoint that tidegate knows: none is below `/v2/droplet`; did you mean `droplets`?",
            ],
        ),
        (
            "allow: [{ requests: ['GET /v2/[a-z]+/12', 'GET /v2/(droplets|volumes)', 'GET /v2/droplets\\?tag_name=a.*'] }]",
            &[],
        ), // not a word, or in the query
        (
            "vars: [id], allow: [{ requests: ['GET /v2/droplets/${id}'] }]",
            &[],
        ),
    ];
    for (role, expected) in cases {
        assert_eq!(told(role), expected, "role {role}");
    }
}

#[test]
fn nothing_is_told_of_the_examples() {
    let readme = include_str!("../../../README.md");
    let in_readme = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next());
    let policies = in_readme.filter(|text| text.contains("version: 1\nroles:"));
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/roles");
    let roles: Vec<_> = std::fs::read_dir(roles)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(roles.len() > 5, "there are roles to look at");
    let policies = policies.chain([include_str!("../../../config/policy.yaml")]);
    for text in policies.chain(roles.iter().map(String::as_str)) {
        let policy = policy::read("p.yaml", text, &["default".to_owned()], &CATALOG).unwrap();
        assert_eq!(
            remarks(&policy, &CATALOG, FieldScopes::SecretsOnly),
            [],
            "in\n{text}"
        );
    }
}

#[test]
fn a_configuration_that_believes_or_shows_too_much_is_told() {
    let told = |listen: &str, proxies: &str| {
        let text = format!(
            "listen: [{{ address: '{listen}', allow_plaintext: true }}]\ntrusted_proxies: [{proxies}]\naccounts: {{ default: {{ token_file: t }} }}\npolicy: p\nstate: s\naudit: stdout\n"
        );
        let settings = config::read("t.yaml", &text, Path::new("/"))
            .unwrap_or_else(|mistakes| panic!("{}", mistakes.into_lines().join("\n")));
        let lines: Vec<_> = of_settings(&settings, &text)
            .into_iter()
            .map(|(at, what)| format!("{at}: {what}"))
            .collect();
        lines
    };
    for fine in [
        "10.0.0.0/8",
        "203.0.113.7",
        "203.0.113.0/24",
        "'fd00::/8'",
        "'2001:db8::/32'",
    ] {
        assert_eq!(told("127.0.0.1:8080", fine), [""; 0], "{fine}");
    }
    assert_eq!(
        told("127.0.0.1:8080", "0.0.0.0/0"),
        [
            "2:1: `trusted_proxies` has 0.0.0.0/0: whoever sends from there may claim any address as its own, so `sources` hold for nobody; name the proxies alone",
        ]
    );
    for wide in ["'::/0'", "203.0.0.0/8", "10.0.0.0/7"] {
        assert_eq!(told("127.0.0.1:8080", wide).len(), 1, "{wide}");
    }
    assert_eq!(
        told("192.0.2.7:8080", ""),
        [
            "1:39: sub-tokens come to 192.0.2.7:8080 unencrypted, and whoever listens on the way can use them; give the listener `tls`, or an address of loopback with a proxy before it that has",
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_only_makes_of_a_scope_is_told() {
    let cases: [(&str, &[&str]); 21] = [
        (
            "allow: [{ scopes: [droplet:read, droplet:update], only: { droplet: { id: 1 } } }]",
            &[
                "names `droplet:update` without `actions`, and that is every action of POST /v2/droplets/{droplet_id}/actions, password_reset, rebuild, restore, resize among them; list in `actions` those that are meant, or write `droplet:*` if all are",
            ],
        ),
        (
            "allow: [{ scopes: [droplet:read, droplet:update], only: { droplet: { id: 1 } }, actions: [reboot] }]",
            &[],
        ), // they are listed
        (
            "allow: [{ scopes: ['droplet:*'], only: { tag: web } }]",
            &[],
        ), // all is meant
        (
            "allow: [{ scopes: [droplet:update], only: { droplet: any } }, { scopes: [droplet:read] }]",
            &[
                "names `droplet:update` without `actions`, and that is every action of POST /v2/droplets/{droplet_id}/actions, password_reset, rebuild, restore, resize among them; list in `actions` those that are meant, or write `droplet:*` if all are",
            ],
        ),
        (
            "allow: [{ scopes: [block_storage_action:create, droplet:update], only: { volume: { name: a } }, actions: [attach] }]",
            &[
                "has `droplet:update`, which opens nothing here: `only` takes in no droplet; put the scope into a grant of its own, with an `only` for `droplet` or without one",
            ],
        ),
        (
            "allow: [{ scopes: [droplet:read, droplet:create, ssh_key:read], only: { droplet: { name: a } } }]",
            &[
                "has `ssh_key:read`, which opens nothing here: `only` takes in no ssh_key; put the scope into a grant of its own, with an `only` for `ssh_key` or without one",
            ],
        ),
        (
            "allow: [{ scopes: [droplet:read, tag:read, vpc:read], only: { droplet: { name: a } } }]",
            &[],
        ), // answers show by them the tags and the VPC of a Droplet
        (
            "allow: [{ scopes: [function:read, function:admin] }]",
            &[
                "names `function:admin`, by which GET /v2/functions/namespaces shows `namespaces.key`; it logs in by itself, and that has no expiry at DigitalOcean, so it outlives the sub-token and works from anywhere",
            ],
        ),
        ("allow: [{ scopes: [droplet:read, droplet:update] }]", &[]), // `user_data` is shown, and is no login
        (
            "allow: [{ scopes: [droplet:read, droplet:create, image:read, actions:read, regions:read], only: { droplet: { name: a } } }]",
            &[],
        ), // public images, what acted on the Droplet, and what belongs to nobody
        (
            "allow: [{ scopes: ['droplet:*', 'firewall:*'], only: { tag: web } }]",
            &[
                "has `firewall:*`, which opens nothing here: `only` asks for `tag`, which no firewall has; put the scope into a grant of its own, with an `only` for `firewall` or without one",
            ],
        ),
        (
            "allow: [{ scopes: [firewall:read], only: { firewall: any, tag: web } }]",
            &[
                "asks for `firewall` and for `tag`, which no firewall has, so it covers none, ever; leave `tag` out, or put `firewall` into a grant of its own",
            ],
        ),
        (
            "allow: [{ scopes: ['domain:*'], only: { project: p, domain_record: { type: TXT } } }]",
            &[],
        ), // records have the project of their domain
        (
            "allow: [{ scopes: [domain:read, domain:delete], only: { domain: { name: a }, domain_record: { type: TXT } } }]",
            &[
                "names `domain:delete` and is narrowed to `domain_record`: it deletes what matches there (DELETE /v2/domains/{domain_name}/records/{domain_record_id}), and never a domain (DELETE /v2/domains/{domain_name}); if that is meant, it needs a grant whose `only` does not name `domain_record`",
            ],
        ),
        (
            "allow: [{ scopes: [domain:read, domain:delete], only: { domain: { name: a } } }]",
            &[],
        ), // the domain, with what is in it
        (
            "allow: [{ scopes: [domain:read, domain:update], only: { domain: { name: a }, domain_record: { type: TXT } } }]",
            &[],
        ), // nothing says that it deletes domains
        (
            "allow: [{ scopes: ['droplet:*'], only: { tag: web } }, { scopes: [tag:create] }]",
            &[
                "lets POST /v2/tags/{tag_id}/resources put on any tag, beside `r.allow[0]`, which goes by tags: it brings this role itself no more, but what the role may change can be brought under whatever else goes by a tag, other roles, firewalls and load balancers; write `only: { tag: { name: … } }` for the tags that may be put on",
            ],
        ),
        (
            "allow: [{ scopes: ['droplet:*', tag:create], only: { droplet: { tag: web }, tag: { name: web } } }]",
            &[],
        ), // that one tag
        (
            "allow: [{ scopes: ['droplet:*'], only: { droplet: { id: 1 } } }, { scopes: [tag:create] }]",
            &[],
        ), // nothing goes by tags here
        (
            "allow: [{ scopes: [block_storage:read, block_storage_snapshot:read], only: { volume: any } }]",
            &[
                "has `block_storage_snapshot:read`, which opens nothing here: `only` takes in no snapshot; put the scope into a grant of its own, with an `only` for `snapshot` or without one",
            ],
        ),
        (
            "vars: [id], allow: [{ scopes: ['droplet:*'], only: { droplet: { name: '/a-${id}/' } } }]",
            &[],
        ),
    ];
    for (role, expected) in cases {
        let said = told(role);
        let texts: Vec<_> = said
            .iter()
            .filter_map(|line| Some(line.split_once("]` ")?.1))
            .collect();
        assert_eq!(texts, expected, "role {role}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_can_never_match_or_strike_is_told_on_both_sides() {
    let pattern = |text: &str| {
        format!("deny: [{{ requests: ['{text}'] }}], allow: [{{ scopes: [account:read] }}]")
    };
    let only = |scopes: &str, only: &str| {
        format!(
            "deny: [{{ scopes: [{scopes}], only: {{ {only} }} }}], allow: [{{ scopes: ['{scopes}'] }}]"
        )
    };
    let uuid = "506f78a4-e098-11e5-ad9f-000f53306ae1";
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            pattern("/v2/droplets"),
            vec!["has the pattern `/v2/droplets`, which matches no request: it has no method; write `GET /v2/droplets`, or `[A-Z]+ /v2/droplets` for all"],
        ),
        (
            pattern("delete /v2/droplets/12"),
            vec!["has the pattern `delete /v2/droplets/12`, which matches no request: methods have capitals; write `DELETE /v2/droplets/12`"],
        ),
        (
            pattern("GET v2/droplets"),
            vec!["has the pattern `GET v2/droplets`, which matches no request: a path begins with `/`; write `GET /v2/droplets`"],
        ),
        (
            pattern("GET /v2/droplets/12/"),
            vec!["has the pattern `GET /v2/droplets/12/`, which matches no request: the path is matched as `/v2/droplets/12`; write `GET /v2/droplets/12`"],
        ),
        (
            pattern("GET /v2/droplets/[0-9]+/"),
            vec!["has the pattern `GET /v2/droplets/[0-9]+/`, which matches no request: no canonical path ends with `/`; leave that out"],
        ),
        (
            pattern("GET /v2/droplets?page=1"),
            vec!["has the pattern `GET /v2/droplets?page=1`, which matches no request: `?` makes the character before it optional; write `GET /v2/droplets\\?page=1` for a query, and leave paging and sorting out, as they are never a part of what is matched"],
        ),
        (
            pattern("GET /v2/volumes/506F78A4-E098-11E5-AD9F-000F53306AE1"),
            vec!["has the pattern `GET /v2/volumes/506F78A4-E098-11E5-AD9F-000F53306AE1`, which matches no request: the path is matched as `/v2/volumes/506f78a4-e098-11e5-ad9f-000f53306ae1`; write `GET /v2/volumes/506f78a4\\-e098\\-11e5\\-ad9f\\-000f53306ae1`"],
        ),
        (pattern("GET /v2/droplets/(12|13)"), vec![]),
        (pattern("GET /v2/domains/example\\.com"), vec![]),
        (pattern("[A-Z]+ /v2/droplets/12"), vec![]),
        (
            only("droplet:delete", "droplet: { id: '0401000020' }"),
            vec!["has the id `0401000020` of a droplet, which matches none, as that is"],
        ),
        (
            only("droplet:delete", "droplet: { id: ['12', 'do:droplet:13', ' 14'] }"),
            vec![
                "has the id `do:droplet:13` of a droplet, which matches none, as that is",
                "has the id ` 14` of a droplet, which matches none, as that is",
            ],
        ),
        (only("block_storage:delete", &format!("volume: {{ id: {uuid} }}")), vec![]),
        (only("droplet:delete", "droplet: { id: 12 }"), vec![]),
        (
            only("droplet:delete", "droplet: { id: '4010*' }"),
            vec![],
        ), // a glob is no id
        (
            "allow: [{ scopes: ['droplet:*'] }], deny: [{ scopes: [droplet:delete], only: { certificate: { name: a } } }]".to_owned(),
            vec!["names `certificate` in its `only`, and nothing that its scopes open touches one; leave it out, or add the scopes that do"],
        ),
        (
            "allow: [{ scopes: ['droplet:*', 'tag:*'] }], deny: [{ requests: ['DELETE /v2/droplets/(12|13)'] }]".to_owned(),
            vec!["denies paths alone: what DELETE /v2/droplets/{droplet_id} does,"],
        ),
        (
            "allow: [{ scopes: [droplet:read] }], deny: [{ requests: ['DELETE /v2/droplets/(12|13)'] }]".to_owned(),
            vec![],
        ), // nothing that it allows does that
        (
            "allow: [{ scopes: ['block_storage:*', 'block_storage_action:*', 'droplet:*'] }], deny: [{ scopes: ['block_storage:*'] }]".to_owned(),
            vec!["denies `block_storage:*` and leaves attaching, detaching and resizing of volumes to `block_storage_action:create`, which this role has; deny that as well"],
        ),
        (
            "allow: [{ scopes: ['block_storage:*', 'block_storage_action:*', 'droplet:*'] }], deny: [{ scopes: ['block_storage:*', 'block_storage_action:create'] }]".to_owned(),
            vec![],
        ),
        (
            "allow: [{ scopes: ['snapshot:*', 'block_storage_snapshot:read'] }], deny: [{ scopes: ['snapshot:*'] }]".to_owned(),
            vec!["denies `snapshot:*` and leaves reading snapshots of volumes to `block_storage_snapshot:read`, which this role has; deny that as well"],
        ),
        (
            "vars: [client, zone], allow: [{ scopes: ['droplet:*'], only: { tag: '${client}' } }]".to_owned(),
            vec!["the role `r` asks for the variable `zone`, and nothing in it has `${zone}`; use it, or take it out of `vars`"],
        ),
    ];
    let about = [
        "which matches no request",
        "which matches none",
        "in its `only`, and nothing",
        "denies paths alone",
        "and leaves",
        "asks for the variable",
    ];
    let mut wrong = Vec::new();
    for (role, expected) in cases {
        let said = told(&role);
        let said: Vec<_> = said
            .iter()
            .filter(|line| about.iter().any(|about| line.contains(about)))
            .map(|line| line.split_once("]` ").or(line.split_once(": ")).unwrap().1)
            .collect();
        let same = said.len() == expected.len()
            && said.iter().zip(&expected).all(|(said, expected)| {
                said == expected
                    || (expected.ends_with("as that is") || expected.ends_with("does,"))
                        && said.starts_with(expected)
            });
        if !same {
            wrong.push(format!("{role}\n  {}", said.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_of_a_path_that_is_none_is_told() {
    let told = |test: &str| {
        let text = format!(
            "version: 1\nroles:\n  r: {{ allow: [{{ scopes: [droplet:read] }}] }}\ntests:\n  - {{ role: r, {test} }}\n"
        );
        let policy = policy::read("p.yaml", &text, &["default".to_owned()], &CATALOG).unwrap();
        let all = remarks(&policy, &CATALOG, FieldScopes::SecretsOnly).into_iter();
        all.map(|(at, what)| format!("{at}: {what}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told("request: DELETE /v2/droplet/12, expect: deny"),
        [
            "5:5: the test asks for `DELETE /v2/droplet/12`, which is no endpoint, and passes whatever the role allows; did you mean `droplets`? (if that is what it tests, write `reason: unknown_endpoint`)"
        ]
    );
    for fine in [
        "request: DELETE /v2/droplets/12, expect: deny",
        "request: DELETE /v2/droplet/12, expect: deny, reason: unknown_endpoint",
    ] {
        assert_eq!(told(fine), [""; 0], "{fine}");
    }
}
