//! That every member of a body, and every parameter, is told: what it names or changes, or that it is harmless.

use std::collections::BTreeSet;

use super::nouns::sounds_like_a_name;
use super::*;

fn catalog() -> Catalog {
    Catalog::builtin().unwrap_or_else(|lines| panic!("{}", lines.join("\n")))
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split('\t').collect())
}

fn find<'c>(catalog: &'c Catalog, method: &str, path: &str) -> &'c Endpoint {
    let call = format!("{method} {path}");
    let mut all = catalog.endpoints().iter();
    all.find(|endpoint| endpoint.to_string() == call)
        .unwrap_or_else(|| panic!("{call} is missing"))
}

/// A member as tables write it, `labels.*` being whatever is below.
fn member(text: &str) -> BodyMember {
    let inner = text.strip_suffix(".*");
    BodyMember {
        path: inner
            .unwrap_or(text)
            .parse()
            .unwrap_or_else(|_| panic!("member {text:?}")),
        free: inner.is_some(),
    }
}

/// Whether one of these is it, or is free and it is below.
fn has(known: &[BodyMember], wanted: &BodyMember) -> bool {
    let keys = |path: &FieldPath| -> Vec<String> {
        path.steps.iter().map(|step| step.key.clone()).collect()
    };
    known.iter().any(|known| {
        known.path == wanted.path && known.free >= wanted.free
            || known.free && keys(&wanted.path).starts_with(&keys(&known.path))
    })
}

#[test]
fn every_member_that_the_reference_has_is_known_and_what_it_only_shows_stays_behind() {
    let catalog = catalog();
    let mut missing = Vec::new();
    for row in rows(include_str!("../../tests/facts/bodies.tsv")) {
        let [method, path, members, read_only] = row[..] else {
            panic!("{row:?}")
        };
        let endpoint = find(&catalog, method, path);
        let words = |text: &'static str| text.split(' ').filter(|word| !word.is_empty());
        let members = words(members).filter(|text| !has(&endpoint.body, &member(text)));
        missing.extend(members.map(|text| format!("{endpoint}: body {text}")));
        for text in words(read_only) {
            let wanted = member(text);
            let keys = |path: &FieldPath| path.to_string().replace("[]", "");
            let told = endpoint.body.iter().chain(&endpoint.left_out);
            let told = told.map(|known| keys(&known.path));
            let told: Vec<_> = told.collect();
            let way = keys(&wanted.path);
            let covers = |known: &String| {
                *known == way
                    || way.starts_with(&format!("{known}."))
                    || known.starts_with(&format!("{way}."))
            };
            if !told.iter().any(covers) {
                missing.push(format!("{endpoint}: left_out {text}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_parameter_that_the_reference_has_is_known() {
    let catalog = catalog();
    let mut missing = Vec::new();
    for row in rows(include_str!("../../tests/facts/endpoints.tsv")) {
        let [method, path, _, _, query] = row[..] else {
            panic!("{row:?}")
        };
        let endpoint = find(&catalog, method, path);
        let unknown = query
            .split([' ', ','])
            .filter(|name| !name.is_empty() && !endpoint.knows_parameter(name));
        missing.extend(unknown.map(|name| format!("{endpoint}: {name}")));
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// What real clients send beyond the reference goes on, but for what they themselves send in vain, and what a narrowed sub-token
/// is refused.
#[test]
fn what_real_clients_send_is_known() {
    let catalog = catalog();
    let mut wrong = Vec::new();
    for row in rows(include_str!("../../tests/facts/client_members.tsv")) {
        let [method, path, place, name, leaving_out] = row[..] else {
            panic!("{row:?}")
        };
        let endpoint = find(&catalog, method, path);
        let told = match place {
            "query" if endpoint.knows_parameter(name) => "never",
            "body" if has(&endpoint.body, &member(name)) => "never",
            "body" if has(&endpoint.left_out, &member(name)) => "fine",
            _ => "refused",
        };
        let below_left_out = endpoint
            .left_out
            .iter()
            .any(|left| name.starts_with(&left.path.to_string()));
        if told != leaving_out && !(leaving_out == "fine" && below_left_out) {
            wrong.push(format!(
                "{endpoint}: {place} {name} is {told}, not {leaving_out}"
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The heart of it: a member that sounds like a name and that no rule looks at would lead around every `only`.
#[test]
fn what_sounds_like_a_name_is_touched_or_told_to_be_harmless() {
    let mut untold = Vec::new();
    for endpoint in catalog().endpoints() {
        // Where nothing is known of what is touched, grants with `only` give nothing, whatever is named.
        if matches!(endpoint.touches, Touches::Unmodelled { .. }) {
            continue;
        }
        let places = places_of(endpoint);
        let sounding = places.iter().filter(|place| sounds_like_a_name(place));
        let open =
            sounding.filter(|place| !decides(endpoint, place) && !is_harmless(endpoint, place));
        untold.extend(open.map(|place| format!("{endpoint}: {place}")));
    }
    assert_eq!(untold, Vec::<String>::new());
}

/// Members that may hold anything, by their key, and why nothing below names a resource.
const OPEN: [(&str, &str); 44] = [
    ("access_policy", "users and protocols of a share"),
    ("access_tokens", LOGIN),
    ("alerts", "of the app itself"),
    ("amd_gpu_device_metrics_exporter_plugin", SWITCH),
    ("amd_gpu_device_plugin", SWITCH),
    ("autoscaling", "numbers"),
    ("basic_auth", LOGIN),
    ("bitbucket", ELSEWHERE),
    ("body", "what a function is given"),
    ("cluster_autoscaler_configuration", "numbers"),
    ("control_plane_firewall", "addresses"),
    ("coredns_autoscaler", SWITCH),
    ("cors", "sites"),
    ("datadog", LOGIN),
    ("deploy_on_push", SWITCH),
    ("egress", SWITCH),
    ("egress_ips", "addresses"),
    ("envs", "values of the app itself"),
    ("git", ELSEWHERE),
    ("github", ELSEWHERE),
    ("gitlab", ELSEWHERE),
    ("headers", LOGIN),
    ("health_check", "of the app itself"),
    ("inactivity_sleep", "of the app itself"),
    ("ingress", "paths to parts of the app itself"),
    ("input_schema", "of a function's values"),
    ("labels", "Kubernetes' own"),
    ("liveness_health_check", "of the app itself"),
    ("logtail", LOGIN),
    ("maintenance", SWITCH),
    ("mysql_parameters", "settings of the engine"),
    ("nvidia_gpu_device_plugin", SWITCH),
    ("output_schema", "of a function's values"),
    ("p2p_oci_registry_plugin", SWITCH),
    ("papertrail", ELSEWHERE),
    ("pg_parameters", "settings of the engine"),
    ("rdma_shared_dev_plugin", SWITCH),
    ("region_priorities", "numbers by region"),
    ("routes", "paths to parts of the app itself"),
    ("routing_agent", SWITCH),
    ("schedule", "when a job runs"),
    ("sso", "who logs in, which is sensitive"),
    ("termination", "of the app itself"),
    ("workload_config", "settings of the engine"),
];
const LOGIN: &str = "logs in elsewhere";
const ELSEWHERE: &str = "at another service";
const SWITCH: &str = "a switch";

#[test]
fn what_may_hold_anything_names_nothing() {
    let mut open = BTreeSet::new();
    let catalog = catalog();
    for endpoint in catalog.endpoints() {
        if matches!(endpoint.touches, Touches::Unmodelled { .. }) {
            continue;
        }
        let free = endpoint.body.iter().filter(|member| member.free);
        let touched_whole = |member: &&BodyMember| {
            let place = Place::Body(member.path.clone());
            !endpoint.touches.places().any(|known| *known == place)
        };
        let keys = free
            .filter(touched_whole)
            .filter_map(|member| member.path.steps.last());
        open.extend(keys.map(|step| step.key.as_str()));
    }
    let told: BTreeSet<_> = OPEN.iter().map(|(key, _)| *key).collect();
    assert_eq!(open, told);
    assert!(OPEN.iter().all(|(_, why)| !why.is_empty()));
}

#[test]
fn what_is_told_to_be_harmless_is_there_and_decides_nothing() {
    let mut wrong = Vec::new();
    for endpoint in catalog().endpoints() {
        let places = places_of(endpoint);
        for harmless in &endpoint.harmless {
            let is_it = |place: &Place| covers(harmless, place);
            let needed = places.iter().any(|place| {
                is_it(place) && sounds_like_a_name(place) && !decides(endpoint, place)
            });
            if !needed || harmless.why.is_empty() {
                wrong.push(format!("{endpoint}: {}", harmless.at));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_that_stays_behind_names_what_is_touched() {
    for endpoint in catalog().endpoints() {
        for left in &endpoint.left_out {
            let way = format!("body.{}", left.path).replace("[]", "");
            let is_below = |place: &Place| {
                let place = place.to_string().replace("[]", "");
                place == way || place.starts_with(&format!("{way}."))
            };
            let touched = endpoint.touches.places().any(is_below);
            assert!(!touched, "{endpoint}: {way}");
        }
    }
}

/// Where a request can say something: its path, what is known of its body and of its query. The filters of a list take away from
/// what is shown, which is judged by itself.
fn places_of(endpoint: &Endpoint) -> Vec<Place> {
    let body = endpoint
        .body
        .iter()
        .map(|member| Place::Body(member.path.clone()));
    let parameters = endpoint
        .template
        .segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Parameter { name, .. } => Some(Place::Path(name.clone())),
            Segment::Fixed(_) => None,
        });
    let lists = endpoint
        .touches
        .rules()
        .iter()
        .any(|rule| rule.verb == TouchVerb::List);
    let filters = lists || matches!(endpoint.touches, Touches::Nobody);
    let parameters = parameters.filter(|_| !matches!(endpoint.touches, Touches::Nobody));
    let query = endpoint.query.iter().filter(|_| !filters);
    let query = query.map(|parameter| Place::Query(parameter.name.clone()));
    body.chain(parameters).chain(query).collect()
}

/// Whether a rule of the row, a scope or the action looks at a place or below it.
fn decides(endpoint: &Endpoint, place: &Place) -> bool {
    let way = place.to_string().replace("[]", "");
    let below = format!("{way}.");
    let typed = endpoint
        .touches
        .rules()
        .iter()
        .filter_map(TouchRule::typed_members);
    let typed = typed.flat_map(|(at, members)| members.map(|member| format!("{at}.{member}")));
    let looked_at: BTreeSet<String> = endpoint
        .inspected()
        .map(ToString::to_string)
        .chain(typed)
        .map(|place| place.replace("[]", ""))
        .collect();
    let asked = endpoint
        .scopes_when
        .iter()
        .map(|rule| format!("query.{}", rule.parameter));
    looked_at
        .into_iter()
        .chain(asked)
        .any(|place| place == way || place.starts_with(&below))
}

fn is_harmless(endpoint: &Endpoint, place: &Place) -> bool {
    endpoint
        .harmless
        .iter()
        .any(|harmless| covers(harmless, place))
}

fn covers(harmless: &Harmless, place: &Place) -> bool {
    let at = harmless.at.to_string();
    let place = place.to_string();
    place == at || harmless.below && place.starts_with(&format!("{at}."))
}
