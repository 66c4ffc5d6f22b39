use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::yaml::{self, Map};

fn catalog() -> Catalog {
    Catalog::builtin().unwrap_or_else(|lines| panic!("{}", lines.join("\n")))
}

fn find<'c>(catalog: &'c Catalog, call: &str) -> Option<&'c Endpoint> {
    let (method, path) = call.split_once(' ').unwrap();
    catalog.find(
        method.parse().unwrap(),
        path.trim_start_matches('/').split('/'),
    )
}

fn scopes(catalog: &Catalog, endpoint: &Endpoint) -> String {
    let set = |set| {
        catalog
            .scopes()
            .names(set)
            .map(Scope::as_str)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join("+")
    };
    endpoint
        .scopes
        .iter()
        .map(set)
        .collect::<Vec<_>>()
        .join(" | ")
}

fn of_the_specification(catalog: &Catalog) -> impl Iterator<Item = &Endpoint> {
    let ours = |it: &&Endpoint| matches!(it.origin, Origin::Specification | Origin::Correction);
    catalog.endpoints().iter().filter(ours)
}

#[test]
fn the_tables_read_without_a_mistake_and_hold_every_endpoint() {
    let catalog = catalog();
    assert_eq!(of_the_specification(&catalog).count(), 644);
    assert_eq!(catalog.endpoints().len(), 644 + 222);
}

#[test]
fn every_file_of_the_tables_is_read() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalog/data/endpoints");
    let catalog = catalog();
    let sections: BTreeSet<_> = catalog
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.section.as_str())
        .collect();
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), sections.len());
}

/// The build script lists the kinds by the lines of their table; what reads the whole of it finds the same.
#[test]
fn the_kinds_are_those_that_the_build_script_listed() {
    let mut mistakes = Mistakes::new("kinds.yaml");
    let root = yaml::read(include_str!("data/kinds.yaml"), &mut mistakes).unwrap();
    let mut top = Map::of(&root, "the table", &mut mistakes).unwrap();
    let kinds = top.need("kinds", &mut mistakes).unwrap();
    let keys = kinds.entries("`kinds`", &mut mistakes).iter();
    let keys: BTreeSet<&str> = keys.map(|entry| entry.key.as_str()).collect();
    assert!(
        KindId::names().eq(keys),
        "the names, each once and in order"
    );
    let catalog = catalog();
    let read = catalog.kinds().iter().map(|kind| kind.id);
    assert!(read.eq(KindId::ALL), "the table, in the order of the ids");
    for id in KindId::ALL {
        assert_eq!(catalog.kinds().of(id).id, id);
        assert_eq!(KindId::from_name(id.name()), Some(id));
        assert_eq!(id.to_string(), id.name());
    }
    assert!(KindId::ALL.is_sorted());
    for text in ["", "Droplet", "droplets", "droplet ", "drople", "by_urn"] {
        assert_eq!(KindId::from_name(text), None, "{text:?}");
    }
}

#[test]
fn a_fixed_segment_wins_over_a_parameter_for_good() {
    let catalog = catalog();
    let cases = [
        (
            "GET /v2/apps/tiers/instance_sizes",
            Some("apps_list_instanceSizes"),
        ),
        ("GET /v2/apps/regions", Some("apps_list_regions")),
        ("GET /v2/apps/4f6c71e2", Some("apps_get")),
        ("GET /v2/projects/default", Some("projects_get_default")),
        ("GET /v2/projects/4e1bfbc3", Some("projects_get")),
        ("DELETE /v2/projects/4e1bfbc3", Some("projects_delete")),
        ("DELETE /v2/projects/default", None), // not `projects_delete` with an id of `default`
        ("GET /v2/droplets/autoscale", Some("autoscalepools_list")),
        ("DELETE /v2/droplets/autoscale", None), // not `droplets_destroy`
        ("GET /v2/droplets/backups/backups", None),
        ("POST /v2/volumes/actions", Some("volumeActions_post")),
        (
            "GET /v2/volumes/snapshots/x",
            Some("volumeSnapshots_get_byId"),
        ),
        ("GET /v2/Droplets", None),
        ("GET /v2", None),
        ("GET /v2/droplets/1/2/3", None),
    ];
    for (call, operation) in cases {
        assert_eq!(
            find(&catalog, call).map(|endpoint| &*endpoint.operation),
            operation,
            "call {call}"
        );
    }
}

/// Every row where the catalogue differs from DigitalOcean's own specification (`tests/facts`), and the correction it is.
#[test]
fn scopes_are_those_of_the_specification_but_for_the_known_corrections() {
    let catalog = catalog();
    let mut corrected = Vec::new();
    for line in include_str!("../../tests/facts/endpoints.tsv")
        .lines()
        .skip(1)
    {
        let columns: Vec<_> = line.split('\t').collect();
        let [method, path, operation, spec, _query] = columns.as_slice() else {
            panic!("{line}")
        };
        let call = format!("{method} {path}");
        let endpoint = catalog
            .endpoints()
            .iter()
            .find(|endpoint| endpoint.to_string() == call);
        let endpoint = endpoint.unwrap_or_else(|| panic!("{call} is missing"));
        assert_eq!(&*endpoint.operation, *operation, "{call}");
        let sorted = |set: &str| {
            set.split('+')
                .map(str::trim)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join("+")
        };
        let spec = spec.split('|').map(sorted).collect::<Vec<_>>().join(" | ");
        let ours = scopes(&catalog, endpoint);
        if ours != spec {
            assert!(endpoint.note.is_some(), "{call} differs without a note");
            assert_eq!(endpoint.origin, Origin::Correction, "{call}");
            corrected.push(format!("{method}\t{path}\t{spec}\t{ours}"));
        }
    }
    let known: Vec<_> = include_str!("../../tests/facts/corrections.tsv")
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once('\t').unwrap().0)
        .collect();
    assert_eq!(corrected, known);
    let told = catalog.endpoints().iter();
    let told = told.filter(|endpoint| endpoint.origin == Origin::Correction);
    assert_eq!(
        told.count(),
        known.len(),
        "no other row says that it is one"
    );
}

/// Every call of DigitalOcean's own clients that the specification lacks (`tests/facts`), and no other row beside.
#[test]
fn what_clients_call_beyond_the_specification_is_known_with_its_source() {
    let catalog = catalog();
    let found = catalog.endpoints().iter();
    let found: BTreeSet<_> = found
        .filter(|endpoint| endpoint.origin == Origin::Client)
        .map(|endpoint| {
            let note = endpoint.note.as_deref().unwrap_or_default();
            assert!(
                note.contains("; read 2026-"),
                "{endpoint} has no source and date"
            );
            let sensitive = if endpoint.sensitive.is_some() {
                "sensitive"
            } else {
                ""
            };
            let mut needed: Vec<_> = scopes(&catalog, endpoint)
                .split('+')
                .map(str::to_owned)
                .collect();
            needed.sort();
            format!("{endpoint} {} {sensitive}", needed.join("+"))
        })
        .collect();
    let mut wanted = BTreeSet::new();
    for row in answer_facts(include_str!("../../tests/facts/client_endpoints.tsv")) {
        let [method, path, needed, sensitive, query, body] = row[..] else {
            panic!("{row:?}")
        };
        let mut needed: Vec<_> = needed.split('+').collect();
        needed.sort_unstable();
        wanted.insert(format!("{method} {path} {} {sensitive}", needed.join("+")));
        let endpoint = catalog
            .endpoints()
            .iter()
            .find(|it| it.to_string() == format!("{method} {path}"));
        let Some(endpoint) = endpoint else { continue };
        let words = |text: &'static str| text.split(' ').filter(|word| !word.is_empty());
        for name in words(query) {
            assert!(endpoint.knows_parameter(name), "{endpoint}: query {name}");
        }
        for name in words(body) {
            let known = endpoint.body.iter().any(|known| {
                let free = if known.free { ".*" } else { "" };
                format!("{}{free}", known.path) == name
            });
            assert!(known, "{endpoint}: body {name}");
        }
    }
    assert_eq!(found, wanted);
}

/// The forms that only calls of clients have: a verb behind a colon, a name in brackets, a list by repetition, a body that is
/// no JSON, and what takes no token.
#[test]
fn the_forms_of_clients_can_be_written() {
    let catalog = catalog();
    let set = find(
        &catalog,
        "POST /v2/action-gateway/actors/mia@example.com/limits:set",
    )
    .unwrap();
    assert_eq!(
        set.to_string(),
        "POST /v2/action-gateway/actors/{actor_id}/limits:set"
    );
    assert!(find(&catalog, "POST /v2/action-gateway/actors/mia/limits").is_none());
    let series = find(&catalog, "GET /v2/insights/query/nyc3/prom/api/v1/series").unwrap();
    assert!(series.knows_parameter("match[]"));
    let sessions = find(&catalog, "GET /v2/agents/sessions").unwrap();
    assert!(sessions.knows_parameter("status") && !sessions.inspects_query("status"));
    let upload = find(&catalog, "POST /v2/agents/sessions/s/workspace/upload").unwrap();
    assert_eq!(upload.raw_bodies, ["application/octet-stream"]);
    let webhook = find(&catalog, "POST /v2/agents/triggers/t/webhook").unwrap();
    assert!(webhook.refused.is_some());
}

#[test]
fn every_endpoint_that_hands_out_a_login_is_marked() {
    let catalog = catalog();
    let marked: Vec<_> = catalog
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.sensitive.is_some() && endpoint.origin != Origin::Client)
        .map(ToString::to_string)
        .collect();
    let known: Vec<_> = include_str!("../../tests/facts/sensitive.tsv")
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once('\t').unwrap().0.replace('\t', " "))
        .collect();
    assert_eq!(marked, known);
}

#[test]
fn a_table_that_loosens_or_misspells_is_refused_with_its_place() {
    let cases = [
        (
            "GET /v2/droplets: { operation: x, scopes: image:read }",
            "x.yaml:3:3: `GET /v2/droplets` is in the catalogue already; an endpoint has one row",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image:read }",
            "x.yaml:3:3: `POST /v2/new` changes something, so it needs a scope that does not just read",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image }",
            "x.yaml:3:41: `image`: a scope is written `resource:verb`, in lower case, as in `droplet:read`",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image:update, touches: [{ change: drplet, in: path.id }] }",
            "x.yaml:3:75: unknown kind `drplet`; did you mean `droplet`?",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image:update, touches: [{ change: droplet, in: path.id }] }",
            "x.yaml:3:3: `POST /v2/new` has no `path.id`",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image:update, action: { in: body.type, one_of: [a, b], grave: [c] } }",
            "x.yaml:3:103: `c` is none of `one_of`; what is grave is one of the actions",
        ),
        (
            "POST /v2/new: { operation: x, scopes: image:update, body: [id], raw_bodies: [text/yaml], touches: [{ change: droplet, in: body.id }] }",
            "x.yaml:3:3: `POST /v2/new` decides by what its body says, and of `raw_bodies` nothing is read; leave one of the two out",
        ),
        (
            "FETCH /v2/new: { operation: x, scopes: image:read }",
            "x.yaml:3:3: `FETCH /v2/new` is no endpoint; write `GET /v2/droplets/{droplet_id}`",
        ),
        (
            "GET /v2/new: { operation: x, scopes: image:read, sensitve: yes }",
            "x.yaml:3:52: unknown key `sensitve`; did you mean `sensitive`?",
        ),
    ];
    for (row, expected) in cases {
        let text = format!("section: New\nendpoints:\n  {row}\n");
        let lines: Vec<_> = Catalog::with_extra(Some(("x.yaml", &text)))
            .unwrap_err()
            .into_iter()
            .flat_map(Mistakes::into_lines)
            .collect();
        assert!(
            lines.contains(&expected.to_owned()),
            "row {row:?} gave {lines:?}"
        );
    }
}

#[test]
fn odd_forms_of_paths_and_parameters_can_be_written() {
    let row = "POST /v2/actors/{actor_id}/limits:set: { operation: x, scopes: image:update, query: ['match[]'] }";
    let text = format!("section: New\nendpoints:\n  {row}\n");
    let catalog = Catalog::with_extra(Some(("x.yaml", &text))).unwrap();
    let endpoint = find(&catalog, "POST /v2/actors/1/limits:set").unwrap();
    assert!(endpoint.knows_parameter("match[]"));
    assert!(endpoint.knows_parameter("match"));
    assert!(find(&catalog, "POST /v2/actors/1/limits:clear").is_none());
}

/// Kinds are those of a release, so that code can name each by its id.
#[test]
fn a_file_adds_no_kinds() {
    let added = "kinds:\n  foghorn: { family: foghorn, named: number, attributes: { id: id } }\nsection: Foghorns\nendpoints: {}\n";
    let wrong = Catalog::with_extra(Some(("x.yaml", added))).unwrap_err();
    let lines: Vec<_> = wrong.into_iter().flat_map(Mistakes::into_lines).collect();
    let known = "`members`, `endpoints`, `section`";
    let expected = format!("x.yaml:1:1: unknown key `kinds`; known here: {known}");
    assert_eq!(lines, [expected]);
}

#[test]
fn a_file_adds_members_to_a_known_endpoint_and_loosens_nothing() {
    let added = "members:\n  POST /v2/droplets: { body: [foghorn.volume, 'config.\"a.b\"'], query: [dry_run], harmless: { body.foghorn.volume: how loud it is } }\n";
    let catalog = Catalog::with_extra(Some(("x.yaml", added))).unwrap();
    let endpoint = find(&catalog, "POST /v2/droplets").unwrap();
    assert!(endpoint.knows_parameter("dry_run"));
    let known = endpoint.body.iter().map(|member| member.path.to_string());
    let known: Vec<_> = known.collect();
    assert!(known.ends_with(&["foghorn.volume".to_owned(), "config.\"a.b\"".to_owned()]));
    let cases = [
        (
            "POST /v2/droplet: { body: [x] }",
            "the catalogue has no `POST /v2/droplet`; a row here adds members to an endpoint that it has, and a new endpoint goes under `endpoints`",
        ),
        (
            "POST /v2/droplets: { touches: nobody }",
            "unknown key `touches`; known here: `body`, `query`, `harmless`",
        ),
        (
            "POST /v2/droplets: { body: [name] }",
            "`body.name`: it is known already",
        ),
        (
            "POST /v2/droplets: { query: [page], body: ['tags[].id'] }",
            "`body.tags[].id`: what stands there decides, and is looked into as the catalogue has it",
        ),
        (
            "POST /v2/droplets: { body: ['backup_policy.*'] }",
            "`body.backup_policy`: the catalogue has members below it; name the one that is missing",
        ),
        (
            "POST /v2/droplets: { body: [backup_policy] }",
            "`body.backup_policy`: the catalogue has members below it; name the one that is missing",
        ),
        (
            "GET /v2/droplets: { body: [x] }",
            "`body.x`: a GET has no body",
        ),
        (
            "GET /v2/droplets: { query: [tag_name] }",
            "`query.tag_name`: it is known already",
        ),
        (
            "POST /v2/droplets: { body: [placement.host_id] }",
            "`body.placement.host_id`: it sounds like the name of something, which no rule would look at; if it names no resource, say under `harmless` why",
        ),
    ];
    for (row, expected) in cases {
        let text = format!("members:\n  {row}\n");
        let lines: Vec<_> = Catalog::with_extra(Some(("x.yaml", &text)))
            .unwrap_err()
            .into_iter()
            .flat_map(Mistakes::into_lines)
            .collect();
        let told = lines.iter().any(|line| line.ends_with(expected));
        assert!(told, "row {row:?} gave {lines:?}");
    }
}

#[test]
fn every_endpoint_says_what_it_touches_or_why_that_cant_be_told_and_few_cant() {
    let catalog = catalog();
    let (mut untold, mut beyond) = (Vec::new(), Vec::new());
    for endpoint in catalog.endpoints() {
        match &endpoint.touches {
            Touches::Nobody => {}
            Touches::Unmodelled { reason: None, .. } => panic!("{endpoint} says nothing"),
            Touches::Unmodelled {
                reason: Some(_),
                could_touch,
            } => {
                let told = could_touch.as_ref().is_some_and(|could| !could.is_empty());
                assert!(told, "{endpoint} does not say what it could touch");
                let of_clients = endpoint.origin == Origin::Client;
                let known = if of_clients { &mut beyond } else { &mut untold };
                known.push(endpoint.to_string());
            }
            Touches::These(rules) => assert!(
                rules.iter().any(TouchRule::is_first),
                "{endpoint} is about nothing"
            ),
        }
    }
    assert!(untold.len() < 8, "{untold:?} can't be modelled");
    // Of what clients call beyond the reference; the bound only goes down.
    assert!(beyond.len() < 89, "{beyond:?} can't be modelled");
}

/// A scope that nothing asks for would be a slip of the pen, and no deny would name it.
#[test]
fn what_an_endpoint_could_touch_is_asked_for_by_another() {
    let catalog = catalog();
    let mut asked = ScopeSet::default();
    for endpoint in catalog.endpoints() {
        endpoint.scopes.iter().for_each(|set| asked.add(set));
        let fields = endpoint.fields.iter().map(|field| field.scope);
        fields.for_each(|scope| asked.insert(scope));
    }
    for endpoint in catalog.endpoints() {
        let Touches::Unmodelled {
            could_touch: Some(could),
            ..
        } = &endpoint.touches
        else {
            continue;
        };
        let unknown = could.without(&asked);
        let unknown: Vec<_> = catalog.scopes().names(&unknown).collect();
        assert!(unknown.is_empty(), "{endpoint}: {unknown:?}");
    }
}

/// Two names for one resource could be read as two resources.
#[test]
fn a_member_called_as_a_parameter_of_the_path_repeats_it_or_names_another() {
    let others = ["POST /v2/vpcs/{vpc_id}/peerings"]; // a peering has two ends
    for endpoint in catalog().endpoints() {
        let members = endpoint.body.iter().filter(|member| {
            let named = |segment: &Segment| matches!(segment, Segment::Parameter { name, .. } if *name == member.path.to_string());
            endpoint.template.segments.iter().any(named)
        });
        for member in members {
            let place = Place::Body(member.path.clone());
            let repeats = endpoint.repeats.iter().any(|(known, _)| *known == place);
            let other = others.contains(&endpoint.to_string().as_str());
            assert!(repeats || other, "{endpoint}: `{place}`");
        }
    }
}

#[test]
fn what_a_touch_looks_at_in_a_body_is_passed_on() {
    let catalog = catalog();
    for endpoint in catalog.endpoints() {
        for place in endpoint.touches.places() {
            let Place::Body(path) = place else { continue };
            let leads_to = |member: &BodyMember| {
                let steps = member.path.steps.iter().map(|step| &step.key);
                path.steps
                    .iter()
                    .map(|step| &step.key)
                    .zip(steps)
                    .all(|(a, b)| a == b)
                    && member.path.steps.len() >= path.steps.len()
            };
            assert!(
                endpoint.body.iter().any(leads_to),
                "{endpoint} would drop `{place}`"
            );
        }
    }
}

/// Fields whose scope is not asked for over what they name, and why.
const FIELDS_BESIDE: [(&str, &str, &str); 10] = [
    ("POST /v2/kubernetes/clusters", "body.sso", LOGIN),
    (
        "PUT /v2/kubernetes/clusters/{cluster_id}",
        "body.sso",
        LOGIN,
    ),
    ("POST /v2/tags", "body.resources", TAGGED),
    ("POST /v2/tags", "body.resources.droplets", COUNTS),
    ("POST /v2/tags", "body.resources.images", COUNTS),
    ("POST /v2/tags", "body.resources.volumes", COUNTS),
    ("POST /v2/tags", "body.resources.volume_snapshots", COUNTS),
    ("POST /v2/tags", "body.resources.databases", COUNTS),
    ("POST /v2/tags/{tag_id}/resources", "body.resources", TAGGED),
    (
        "DELETE /v2/tags/{tag_id}/resources",
        "body.resources",
        TAGGED,
    ),
];
const LOGIN: &str =
    "it lets in to the cluster that the request is about, so it is asked for over that";
const TAGGED: &str =
    "the API asks for `droplet:read` whatever is tagged, so it is asked for with the tag";
const COUNTS: &str = "members of what answers show, which are dropped from a request";

#[test]
fn a_field_that_asks_for_a_scope_is_touched_with_it() {
    let catalog = catalog();
    let mut beside = Vec::new();
    for endpoint in catalog.endpoints() {
        let rules = endpoint.touches.rules();
        // How one logs in to a database is shown in answers, and dropped from a request that writes it back.
        let shown = |scope| {
            let name = catalog.scopes().name(scope).map(ToString::to_string);
            name.as_deref() == Some("database:view_credentials")
        };
        let asked = endpoint.fields.iter().filter(|field| !shown(field.scope));
        for field in asked.filter(|_| !rules.is_empty()) {
            let place = field.at.to_string();
            let touched = rules.iter().any(|rule| {
                let is_it = |at: &Place| at.to_string().trim_end_matches("[]") == place;
                rule.at.as_ref().is_some_and(is_it) && rule.scope == Some(field.scope)
            });
            if !touched {
                beside.push(format!("{endpoint} {place}"));
            }
        }
    }
    let known: Vec<_> = FIELDS_BESIDE
        .iter()
        .map(|(call, field, _)| format!("{call} {field}"))
        .collect();
    assert_eq!(beside, known);
}

fn answer_facts(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

fn asked_at(catalog: &Catalog, method: &str, path: &str, field: &str) -> Option<Asks> {
    let called = format!("{method} {path}");
    let endpoint = catalog
        .endpoints()
        .iter()
        .find(|endpoint| endpoint.to_string() == called)?;
    let answers = catalog.answers();
    answers.asked_at(endpoint.answer?, field)
}

#[test]
fn every_field_of_an_answer_asks_for_the_scope_that_digitalocean_gives_it() {
    let catalog = Catalog::builtin().unwrap();
    let mut count = 0;
    for row in answer_facts(include_str!("../../tests/facts/response_fields.tsv")) {
        let [method, path, field, scope, how, ..] = row[..] else {
            panic!("row {row:?}");
        };
        let found = match (asked_at(&catalog, method, path, field), how) {
            (Some(Asks::Field(found)), "field")
            | (Some(Asks::Secret(found)), "secret")
            | (Some(Asks::Whole(found)), "whole") => catalog.scopes().name(found),
            (found, _) => panic!("{method} {path} {field}: {found:?}"),
        };
        let found = found.map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(scope), "{method} {path} {field}");
        count += 1;
    }
    assert_eq!(count, 293, "each row of the table, once");
}

/// What belongs to a resource is shown with it by reads, lists and changes alike, and is asked for wherever that is.
#[test]
fn every_answer_that_shows_children_asks_for_them() {
    let catalog = Catalog::builtin().unwrap();
    let asks = |method: &str, path: &str, field: &str| {
        let keys: Vec<_> = field.split('.').collect();
        let mut above = (1..=keys.len()).map(|count| keys[..count].join("."));
        above.any(|at| {
            matches!(
                asked_at(&catalog, method, path, &at),
                Some(Asks::Children(_))
            )
        })
    };
    let mut count = 0;
    for row in answer_facts(include_str!("../../tests/facts/shown_children.tsv")) {
        let [method, path, field] = row[..] else {
            panic!("row {row:?}");
        };
        assert!(asks(method, path, field), "{method} {path} {field}");
        count += 1;
    }
    assert_eq!(count, 180, "each row of the table, once");
    // What the rows say of answers that is beyond the specification.
    for endpoint in catalog.endpoints() {
        for rule in endpoint.touches.rules() {
            let kind = rule.kind.one().map(|kind| catalog.kinds().of(kind));
            let (Some(kind), Some(at)) = (kind, &rule.answer) else {
                continue;
            };
            for child in kind.shows_children.iter().filter(|_| rule.bare.is_none()) {
                let field = format!("{at}.{child}");
                let (method, path) = (endpoint.method.as_str(), endpoint.template.to_string());
                assert!(asks(method, &path, &field), "{endpoint}: {field}");
            }
        }
    }
}

/// The record says of each thing that a request touches by which scope.
#[test]
fn every_touch_has_its_scope() {
    let catalog = Catalog::builtin().unwrap();
    for endpoint in catalog.endpoints() {
        let path = endpoint.template.to_string();
        let target = crate::request::Target::read(&path).unwrap();
        let asked = crate::request::Asked::new(endpoint.method, target, &catalog);
        for number in 0..endpoint.touches.rules().len() {
            let scope = asked.scope_at(number, &catalog);
            assert!(scope.is_some(), "{endpoint}: touch {number}");
        }
    }
}

/// A child with attributes of its own may be hidden by these while its parent is not.
#[test]
fn every_shown_child_with_attributes_of_its_own_has_them_told_by_its_parent() {
    let catalog = Catalog::builtin().unwrap();
    let kinds = catalog.kinds();
    for kind in kinds.iter().filter(|kind| !kind.shows_children.is_empty()) {
        let told: Vec<_> = kind
            .children_have
            .iter()
            .map(|(it, _)| it.as_str())
            .collect();
        let below = kinds.iter().filter(|it| it.parent == Some(kind.id));
        // Replicas are in no answer of their cluster.
        let shown = below.filter(|child| child.id != KindId::DatabaseReplica);
        let own = shown.flat_map(|child| SHARED.iter().filter(|it| child.has(it)));
        let own: Vec<_> = own.copied().collect();
        assert_eq!(told, own, "{}: `children_have`", kind.id);
    }
}

#[test]
fn every_secret_of_an_answer_is_one_wherever_it_stands() {
    let catalog = Catalog::builtin().unwrap();
    for row in answer_facts(include_str!("../../tests/facts/secret_fields.tsv")) {
        let [method, path, field] = row[..] else {
            panic!("row {row:?}");
        };
        // What it stands in may be cut whole.
        let keys: Vec<_> = field.split('.').collect();
        let is_secret = (1..=keys.len()).any(|count| {
            let asked = asked_at(&catalog, method, path, &keys[..count].join("."));
            matches!(asked, Some(Asks::Secret(_)))
        });
        assert!(is_secret, "{method} {path} {field}");
    }
}

/// The same of answers that the specification lacks.
#[test]
fn secrets_are_kept_back_where_clients_alone_know_the_answer() {
    let catalog = Catalog::builtin().unwrap();
    let cases = [
        (
            "POST",
            "/v2/apps/{id}/components/{component_name}/reset_password",
            "deployment.spec.envs.value",
        ),
        (
            "POST",
            "/v2/apps/{id}/upgrade_buildpack",
            "deployment.spec.services.envs.value",
        ),
        (
            "GET",
            "/v2/agents/triggers",
            "triggers.output.slack.webhook_url",
        ),
        (
            "PATCH",
            "/v2/agents/triggers/{trigger_id}",
            "trigger.output.slack.webhook_url",
        ),
    ];
    for (method, path, field) in cases {
        let asked = asked_at(&catalog, method, path, field);
        assert!(
            matches!(asked, Some(Asks::Secret(_))),
            "{method} {path} {field}"
        );
    }
}

/// What is shown is held against what was asked for.
#[test]
fn every_endpoint_that_shows_one_thing_says_which_name_its_answer_bears() {
    let catalog = Catalog::builtin().unwrap();
    let mut shown = 0;
    for endpoint in catalog.endpoints() {
        let rules = endpoint.touches.rules().iter();
        for rule in rules.filter(|rule| rule.verb == TouchVerb::Read && rule.answer.is_some()) {
            let kind = rule.kind.one().unwrap();
            let kind = catalog.kinds().of(kind);
            // No member of an answer says which sink it is.
            let untold = kind.id == KindId::MonitoringSink;
            assert_eq!(kind.identified_by.is_empty(), untold, "{endpoint}");
            let named = matches!(rule.at, Some(Place::Path(_)));
            assert!(named || rule.called.is_some(), "{endpoint} names nothing");
            shown += 1;
        }
    }
    assert!(shown > 60, "{shown} endpoints show one thing");
}

/// Where absence is told to mean none, something is read there.
#[test]
fn what_may_be_absent_is_a_member_that_is_read() {
    let catalog = Catalog::builtin().unwrap();
    let rules = catalog.endpoints().iter();
    let rules = rules.flat_map(|endpoint| endpoint.touches.rules());
    let held: Vec<&FieldPath> = rules
        .flat_map(|rule| {
            let replaced = rule.replaces.iter().map(|replaced| &replaced.member);
            rule.held_in.iter().chain(replaced)
        })
        .collect();
    let leads_to = |path: &FieldPath, member: &str| {
        let mut steps = path.steps.iter();
        let mut keys = member.split('.');
        keys.all(|key| steps.next().is_some_and(|step| step.key == key))
    };
    for kind in catalog.kinds().iter() {
        let sources = kind.attributes.iter().flat_map(|it| &it.from);
        let told: Vec<&FieldPath> = sources
            .filter_map(|from| match from {
                AttributeSource::Member(path) => Some(path),
                AttributeSource::Path(_) | AttributeSource::Urn => None,
            })
            .collect();
        for member in kind.absent_is_none.iter().chain(&kind.null_is_none) {
            let read = told.iter().chain(&held).any(|path| leads_to(path, member));
            assert!(read, "{}: {member}", kind.id);
        }
    }
}

/// What belongs to a resource can be kept back only where it is told what shows it.
#[test]
fn every_kind_with_children_says_what_shows_them() {
    let catalog = Catalog::builtin().unwrap();
    let kinds = catalog.kinds();
    let parents: BTreeSet<_> = kinds.iter().filter_map(|kind| kind.parent).collect();
    for kind in kinds.iter() {
        let shows = !kind.shows_children.is_empty();
        let one = shows != kind.shows_no_children.is_some();
        let said = shows || kind.shows_no_children.is_some();
        let right = if parents.contains(&kind.id) {
            one
        } else {
            !said
        };
        assert!(
            right,
            "{}: `shows_children` or `shows_no_children`",
            kind.id
        );
    }
    for endpoint in catalog.endpoints() {
        for rule in endpoint.touches.rules() {
            let is_parent = rule.kind.one().is_some_and(|kind| parents.contains(&kind));
            let whole = rule.verb == TouchVerb::Read && rule.answer.is_none();
            assert_eq!(
                rule.children.is_some(),
                is_parent && whole,
                "{endpoint}: `children` of {rule}"
            );
        }
    }
}

/// An attribute that names another thing is true only until that is gone.
#[test]
fn every_attribute_called_as_a_kind_says_what_keeps_it_true() {
    let catalog = Catalog::builtin().unwrap();
    let kinds = catalog.kinds();
    for kind in kinds.iter() {
        let above: Vec<_> = kinds.ancestors(kind).map(|it| it.id.name()).collect();
        for attribute in kind.attribute_names() {
            let of_several = ["source", "resource", "entity"].contains(&attribute);
            let names_another = of_several || KindId::from_name(attribute).is_some();
            let labels = ["tag", "project"].contains(&attribute); // their own rules see to these
            let told = [
                above.contains(&attribute),
                kind.names
                    .iter()
                    .any(|(named, _)| named.name() == attribute)
                    || kind.derived.iter().any(|it| it.attribute == attribute),
                kind.stands.iter().any(|(name, _)| name == attribute),
            ];
            let told = told.into_iter().filter(|told| *told).count();
            if names_another && !labels {
                assert_eq!(told, 1, "`{attribute}` of {}", kind.id);
            }
        }
        let names_another = |name: &str| {
            KindId::from_name(name).is_some() || ["source", "resource", "entity"].contains(&name)
        };
        let stale = |(name, why): &&(String, String)| {
            !kind.has(name) || !names_another(name) || why.is_empty()
        };
        assert_eq!(kind.stands.iter().find(stale), None, "{}", kind.id);
    }
}

/// What is destroyed is taken off others, or it is told why it is not.
#[test]
fn every_deletion_says_what_it_frees() {
    let catalog = Catalog::builtin().unwrap();
    let kinds = catalog.kinds();
    let mut told: BTreeMap<KindId, bool> = BTreeMap::new();
    for endpoint in catalog.endpoints() {
        let rules = endpoint.touches.rules();
        let deletes = |rule: &&TouchRule| rule.verb == TouchVerb::Delete && rule.is_first();
        for rule in rules.iter().filter(deletes) {
            let Some(kind) = rule.kind.one() else {
                continue;
            };
            let frees = |other: &TouchRule| other.implied || other.held_in.is_some();
            let frees = rules.iter().any(frees);
            *told.entry(kind).or_default() |= frees;
        }
    }
    for kind in kinds.iter() {
        let name = kind.id;
        let named = kinds.iter().any(|other| {
            let by_carrying =
                |it: &Derived| matches!(&it.made, Made::Carriers { of, .. } if *of == kind.id);
            other.names.iter().any(|(of, _)| *of == kind.id)
                || other.derived.iter().any(by_carrying)
        });
        match told.get(&name) {
            Some(by_row) => assert_ne!(
                *by_row || named,
                kind.frees_nothing.is_some(),
                "{name}: `names` of others, rows of its deletion, or `frees_nothing`"
            ),
            None => assert_eq!(kind.frees_nothing, None, "{name} is never deleted"),
        }
    }
}

/// A tag that is deleted is taken off whatever carries it, of every kind that has tags.
#[test]
fn a_tags_deletion_takes_it_off_every_kind_that_has_tags() {
    let catalog = Catalog::builtin().unwrap();
    let deletion = find(&catalog, "DELETE /v2/tags/web").unwrap();
    let loses_it = |rule: &&TouchRule| {
        rule.verb == TouchVerb::Change
            && rule.by == NamedBy::Tag
            && rule.at == Some(Place::Path("tag_id".to_owned()))
            && rule.removes == [("tag".to_owned(), rule.at.iter().cloned().collect())]
    };
    let rules = deletion.touches.rules().iter().filter(loses_it);
    let mut taken_off: Vec<&str> = rules
        .filter_map(|rule| rule.kind.one().map(KindId::name))
        .collect();
    let have = catalog.kinds().iter().filter(|kind| kind.has("tag"));
    let mut have: Vec<&str> = have.map(|kind| kind.id.name()).collect();
    taken_off.sort_unstable();
    have.sort_unstable();
    assert_eq!(taken_off, have);
}

/// Of what is made below a thing with tags, and has tags of its own, the reference does not say whether it gets those, too: a deny by
/// them strikes.
#[test]
fn what_is_made_below_a_thing_with_tags_is_made_with_these_too() {
    let catalog = Catalog::builtin().unwrap();
    let kinds = catalog.kinds();
    let mut seen = 0;
    for endpoint in catalog.endpoints() {
        let rules = endpoint.touches.rules();
        let creates = |rule: &&TouchRule| rule.verb == TouchVerb::Create && rule.is_first();
        for rule in rules.iter().filter(creates) {
            let kind = rule.kind.one().map(|kind| kinds.of(kind));
            let Some(kind) = kind.filter(|kind| kind.has("tag")) else {
                continue;
            };
            if !kinds.ancestors(kind).any(|above| above.has("tag")) {
                continue;
            }
            let gets = |other: &TouchRule| {
                other.verb == TouchVerb::Create
                    && other.kind == rule.kind
                    && other.gets.iter().any(|attribute| attribute == "tag")
            };
            assert!(rules.iter().any(gets), "{endpoint}: {rule}");
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} rules");
}

/// Where a request says tags, its row says what that does: puts them on a thing that has tags, or names what carries them.
#[test]
fn every_member_that_says_tags_changes_or_names_what_has_them() {
    let catalog = Catalog::builtin().unwrap();
    let says_tags = |member: &&BodyMember| {
        let last = member.path.steps.last();
        last.is_some_and(|step| ["tag", "tags"].contains(&step.key.as_str()))
    };
    let mut seen = 0;
    for endpoint in catalog.endpoints() {
        let Touches::These(rules) = &endpoint.touches else {
            continue;
        };
        for member in endpoint.body.iter().filter(says_tags) {
            let place = Place::Body(member.path.clone());
            if endpoint.harmless.iter().any(|known| known.at == place) {
                continue;
            }
            let has_tags = |rule: &TouchRule| {
                let kind = rule.kind.one().map(|kind| catalog.kinds().of(kind));
                kind.is_some_and(|kind| kind.has("tag"))
            };
            let does = |rule: &TouchRule| {
                let changes = [&rule.after, &rule.adds, &rule.removes, &rule.swaps];
                let mut changes = changes.into_iter().flatten();
                changes.any(|(name, places)| name == "tag" && places.contains(&place))
                    && has_tags(rule)
            };
            let names =
                |rule: &TouchRule| rule.at.as_ref() == Some(&place) && rule.by == NamedBy::Tag;
            assert!(
                rules.iter().any(|rule| does(rule) || names(rule)),
                "{endpoint}: {place}"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} members");
}

/// Where a value decides which rules apply, each that the table does not know is refused.
#[test]
fn every_value_that_decides_is_of_a_closed_list() {
    for endpoint in Catalog::builtin().unwrap().endpoints() {
        let listed = |place: &Place| endpoint.values.iter().find(|known| known.at == *place);
        let acts = |place: &Place, values: &[String]| match &endpoint.action {
            Some(Action::Named { at, one_of, .. }) => {
                at == place && values.iter().all(|value| one_of.contains(value))
            }
            Some(Action::Always(_)) | None => false,
        };
        for (place, condition) in endpoint.touches.rules().iter().flat_map(|rule| &rule.when) {
            let Condition::OneOf(values) = condition else {
                continue;
            };
            let closed = listed(place)
                .is_some_and(|known| values.iter().all(|value| known.one_of.contains(value)));
            assert!(
                closed || acts(place, values),
                "{endpoint}: {place} {values:?}"
            );
        }
    }
}

/// What is on a source is handed out by a scope's name alone: that of the row, or that by which its kind is shown.
#[test]
fn every_source_that_no_path_names_has_a_scope_of_its_own() {
    let catalog = catalog();
    let mut sources = 0;
    for endpoint in catalog.endpoints() {
        for rule in endpoint.touches.rules() {
            let is_source = rule.is_source_beside();
            assert!(!is_source || rule.scope.is_some(), "{endpoint}: {rule}");
            sources += usize::from(is_source);
        }
    }
    assert!(sources > 35, "{sources} sources");
}

/// Members of rows that are not modelled that sound as if something were made from what they name, and why it is not.
const NO_SOURCES: [(&str, &str, &str); 2] = [
    (
        "POST /v2/agents/sessions/{session_id}/hitl/{request_id}",
        "source",
        "who says so",
    ),
    (
        "POST /v2/gen-ai/model_evaluation_runs",
        "source",
        "whence the run was asked for",
    ),
];

#[test]
fn what_is_made_from_something_where_nothing_is_modelled_asks_for_that_by_name() {
    let is_source = |key: &str| {
        let ends = ["oci_ref", "checkpoint_id", "snapshot_id", "backup_id"];
        ["source", "image", "repository"].contains(&key) || ends.iter().any(|it| key.ends_with(it))
    };
    let mut wrong = Vec::new();
    for endpoint in catalog().endpoints() {
        if !matches!(endpoint.touches, Touches::Unmodelled { .. }) {
            continue;
        }
        let last = |member: &&BodyMember| {
            let key = member.path.steps.last();
            key.is_some_and(|step| is_source(&step.key))
        };
        for member in endpoint.body.iter().filter(last) {
            let place = Place::Body(member.path.clone());
            let by_name = |field: &FieldScope| field.by_name && field.at == place;
            let call = endpoint.to_string();
            let is_none = |(known, path, why): &(&str, &str, &str)| {
                *known == call && *path == member.path.to_string() && !why.is_empty()
            };
            if NO_SOURCES.iter().any(is_none) == endpoint.fields.iter().any(by_name) {
                wrong.push(format!("{endpoint}: {place}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
