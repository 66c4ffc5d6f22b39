//! The whole little account: what it holds, whose each thing is, and what is true of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{Form, KINDS, Kind};
use super::rng::Rng;

/// Which thing: its kind and its id, a child's behind its parent's.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key {
    pub kind: &'static str,
    pub id: String,
}

impl Key {
    pub fn new(kind: &'static str, id: impl Into<String>) -> Self {
        let id = id.into();
        Self { kind, id }
    }

    pub fn kind(&self) -> &'static Kind {
        Kind::named(self.kind)
    }

    pub fn parent(&self) -> Option<Self> {
        let parent = self.kind().parent?;
        let (id, _) = self.id.split_once('\u{1f}')?;
        Some(Self::new(parent, id))
    }

    /// Its id without its parent's.
    pub fn own(&self) -> &str {
        self.id
            .split_once('\u{1f}')
            .map_or(self.id.as_str(), |(_, own)| own)
    }

    pub fn urn(&self) -> Option<String> {
        let urn = self.kind().urn?;
        Some(format!("do:{urn}:{}", self.id))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id.replace('\u{1f}', " / "))
    }
}

pub fn child(parent: &str, id: &str) -> String {
    format!("{parent}\u{1f}{id}")
}

/// What the account holds.
#[derive(Clone, Debug, Default)]
pub struct World {
    things: Arc<BTreeMap<Key, Arc<Value>>>,
    /// The project of what is in another than the default one.
    homes: Arc<BTreeMap<Key, String>>,
    next: u64,
}

impl World {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.things.get(key).map(|value| &**value)
    }

    pub fn has(&self, key: &Key) -> bool {
        self.things.contains_key(key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.things.keys()
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&Key, &Value)> {
        let first = KINDS
            .iter()
            .find(|known| known.name == kind)
            .map(|known| Key::new(known.name, ""));
        let all = first.map(|first| self.things.range(first..));
        all.into_iter()
            .flatten()
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(key, value)| (key, &**value))
    }

    pub fn put(&mut self, key: Key, value: Value) {
        Arc::make_mut(&mut self.things).insert(key, Arc::new(value));
    }

    pub fn edit(&mut self, key: &Key) -> Option<&mut Value> {
        Arc::make_mut(&mut self.things)
            .get_mut(key)
            .map(Arc::make_mut)
    }

    /// Says that something was done to it that shows nowhere else.
    pub fn touch(&mut self, key: &Key) {
        if let Some(thing) = self.edit(key) {
            let times = thing["_touched"].as_u64().unwrap_or(0);
            thing["_touched"] = json!(times + 1);
        }
    }

    /// Takes it away, with its children.
    pub fn remove(&mut self, key: &Key) {
        Arc::make_mut(&mut self.things).remove(key);
        Arc::make_mut(&mut self.homes).remove(key);
        let below: Vec<_> = self
            .things
            .keys()
            .filter(|other| other.parent().as_ref() == Some(key))
            .cloned()
            .collect();
        below.iter().for_each(|key| self.remove(key));
    }

    pub fn settle(&mut self, key: &Key, project: &str) {
        Arc::make_mut(&mut self.homes).insert(key.clone(), project.to_owned());
    }

    pub fn home(&self, key: &Key) -> Option<String> {
        if key.kind().urn.is_none() && !IN_PROJECT.contains(&key.kind) {
            return None;
        }
        let kept = self.homes.get(key).cloned();
        kept.or_else(|| self.default_project())
    }

    pub fn is_home(&self, project: &str) -> bool {
        self.default_project().as_deref() == Some(project)
            || self.homes.values().any(|home| home == project)
    }

    pub fn default_project(&self) -> Option<String> {
        let mut projects = self.of_kind("project");
        let found = projects.find(|(_, project)| project["is_default"] == true);
        found.map(|(key, _)| key.id.clone())
    }

    /// A number that nothing had before, in no account: what was made and undone must not be taken for what is made next.
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        FRESH.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    pub fn fresh_id(&mut self, form: Form) -> String {
        let number = self.fresh();
        match form {
            Form::Number => (900_000_000 + number).to_string(),
            Form::Uuid => uuid(&mut Rng::of(&[0xF00D, number])),
            Form::Name => format!("fresh-{number}"),
        }
    }

    /// The values of an attribute; `None` where such a thing has none of the kind.
    pub fn attribute(&self, key: &Key, attribute: &str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        let kind = key.kind();
        if attribute == "project" && self.home(key).is_some() {
            let home = self.home(key)?;
            let name = self.get(&Key::new("project", home.as_str()))?["name"].clone();
            return Some(vec![home, text(&name)]);
        }
        if key.kind == "load_balancer" && attribute == "droplet" {
            return Some(self.behind(key));
        }
        if kind.parent == Some(attribute) {
            return key.parent().map(|parent| vec![parent.id]);
        }
        if let Some((_, at)) = kind
            .attributes
            .iter()
            .find(|(called, _)| *called == attribute)
        {
            return Some(pick(value, at));
        }
        let shared = ["tag", "project", "region"].contains(&attribute);
        let parent = key.parent().filter(|_| shared)?;
        self.attribute(&parent, attribute)
    }

    /// The Droplets of a balancer: those that it names, and those that carry its tag.
    pub fn behind(&self, balancer: &Key) -> Vec<String> {
        let Some(value) = self.get(balancer) else {
            return Vec::new();
        };
        let mut ids = pick(value, "droplet_ids[]");
        let tag = text(&value["tag"]).to_lowercase();
        if !tag.is_empty() {
            ids.extend(
                self.carriers("droplet", &tag)
                    .iter()
                    .map(|key| key.id.clone()),
            );
        }
        ids
    }

    pub fn carriers(&self, kind: &str, tag: &str) -> Vec<Key> {
        let carries = |value: &Value| {
            pick(value, "tags[]")
                .iter()
                .any(|own| own.eq_ignore_ascii_case(tag))
        };
        self.of_kind(kind)
            .filter(|(_, value)| carries(value))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// What stands around a Droplet and was put there by others' leave: firewalls, balancers, volumes, addresses.
    pub fn around(&self, droplet: &Key) -> Vec<Key> {
        let tags = self.attribute(droplet, "tag").unwrap_or_default();
        let named = |value: &Value, at: &str| pick(value, at).contains(&droplet.id);
        let mut around = Vec::new();
        for (key, value) in self.things.iter() {
            let is = match key.kind {
                "firewall" => {
                    named(value, "droplet_ids[]")
                        || pick(value, "tags[]").iter().any(|tag| tags.contains(tag))
                }
                "load_balancer" => self.behind(key).contains(&droplet.id),
                "volume" => named(value, "droplet_ids[]"),
                "reserved_ip" | "reserved_ipv6" => named(value, "droplet.id"),
                _ => false,
            };
            if is {
                around.push(key.clone());
            }
        }
        around
    }

    /// The zone of the account that a name falls in: the longest.
    pub fn zone_of(&self, name: &str) -> Option<Key> {
        let name = name
            .trim_start_matches("*.")
            .trim_end_matches('.')
            .to_lowercase();
        let falls = |zone: &str| name == zone || name.ends_with(&format!(".{zone}"));
        self.of_kind("domain")
            .map(|(key, _)| key)
            .filter(|key| falls(&key.id))
            .max_by_key(|key| key.id.len())
            .cloned()
    }

    /// A thing as the API shows it.
    pub fn shown(&self, key: &Key) -> Value {
        let mut value = self.get(key).cloned().unwrap_or_default();
        match key.kind {
            "load_balancer" => value["droplet_ids"] = numbers(&self.behind(key)),
            "reserved_ip" | "reserved_ipv6" if value["droplet"].is_object() => {
                let droplet = Key::new("droplet", text(&value["droplet"]["id"]));
                value["droplet"] = self.shown(&droplet);
            }
            "droplet" => {
                let of = |kind: &str, at: &str| {
                    let held = self.of_kind(kind);
                    held.filter(|(_, value)| pick(value, at).contains(&key.id))
                        .map(|(held, _)| held.id.clone())
                        .collect::<Vec<_>>()
                };
                value["volume_ids"] = json!(of("volume", "droplet_ids[]"));
                value["snapshot_ids"] = numbers(&of("image", "_of"));
            }
            "kubernetes_cluster" => {
                let pools = self.of_kind("node_pool");
                let own = pools.filter(|(pool, _)| pool.parent().as_ref() == Some(key));
                value["node_pools"] = own.map(|(pool, _)| self.shown(pool)).collect();
            }
            _ => {}
        }
        if let Some(home) = self
            .home(key)
            .filter(|_| TELL_PROJECT.contains(&key.kind) || IN_PROJECT.contains(&key.kind))
        {
            value["project_id"] = json!(home);
        }
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| !name.starts_with('_'));
        }
        value
    }

    /// What became of the account: each thing that is not as it was.
    pub fn difference(&self, after: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let homes_are = !Arc::ptr_eq(&self.homes, &after.homes);
        if Arc::ptr_eq(&self.things, &after.things) && !homes_are {
            return changes;
        }
        for (key, was) in self.things.iter() {
            let is = after.things.get(key);
            let moved = homes_are && self.homes.get(key) != after.homes.get(key);
            let same = is.is_some_and(|is| Arc::ptr_eq(was, is) || was == is);
            if is.is_none() || !same || moved {
                changes.push(Change {
                    key: key.clone(),
                    was: true,
                    is: is.is_some(),
                });
            }
        }
        for key in after.things.keys().filter(|key| !self.has(key)) {
            changes.push(Change {
                key: key.clone(),
                was: false,
                is: true,
            });
        }
        changes
    }
}

static FRESH: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// What says itself in which project it is, and has no URN.
const IN_PROJECT: [&str; 4] = [
    "genai_agent",
    "genai_knowledge_base",
    "nat_gateway",
    "vector_database",
];

const TELL_PROJECT: [&str; 4] = ["database", "load_balancer", "reserved_ip", "app"];

/// One thing that is not as it was.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Key,
    pub was: bool,
    pub is: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.was, self.is) {
            (false, _) => "made",
            (true, true) => "changed",
            (true, false) => "gone",
        };
        write!(f, "{} {what}", self.key)
    }
}

pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub fn numbers(ids: &[String]) -> Value {
    let number = |id: &String| id.parse::<u64>().map_or(json!(id), |id| json!(id));
    ids.iter().map(number).collect()
}

/// The values at `a.b`, `a[]` or `a[].b`.
pub fn pick(value: &Value, at: &str) -> Vec<String> {
    let (first, rest) = at.split_once('.').unwrap_or((at, ""));
    let (name, list) = match first.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (first, false),
    };
    let inner = &value[name];
    let items: Vec<&Value> = match inner {
        Value::Array(items) if list => items.iter().collect(),
        Value::Null => Vec::new(),
        other => vec![other],
    };
    let leaf = |value: &&Value| text(value);
    if rest.is_empty() {
        return items.iter().map(leaf).collect();
    }
    items.iter().flat_map(|item| pick(item, rest)).collect()
}

pub fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.next(), rng.next());
    let text = format!("{high:016x}{low:016x}");
    format!(
        "{}-{}-4{}-a{}-{}",
        &text[..8],
        &text[8..12],
        &text[13..16],
        &text[17..20],
        &text[20..32]
    )
}

/// Two teams, `a` and `b`, and what is nobody's. Each thing has a word in it that stands nowhere else.
pub fn account() -> World {
    let mut world = World::default();
    let mut rng = Rng::of(&[0xACC0]);
    world.put(Key::new("account", "acc0acc0-acc0-4acc-8acc-acc0acc0acc0"), json!({ "uuid": "acc0acc0-acc0-4acc-8acc-acc0acc0acc0", "name": "Both", "email": "both@example.com", "status": "active" }));
    let house = uuid(&mut rng);
    world.put(Key::new("project", house.as_str()), json!({ "id": house, "name": "house", "purpose": "x", "environment": "Production", "is_default": true }));
    for slug in ["ubuntu-24-04-x64", "debian-12-x64"] {
        let id = 1000 + u64::try_from(slug.len()).unwrap();
        world.put(Key::new("image", id.to_string()), json!({ "id": id, "name": slug, "slug": slug, "type": "base", "distribution": "Ubuntu", "public": true, "regions": ["nyc3", "fra1"], "tags": [], "min_disk_size": 1 }));
    }
    for name in ["shared", "unused"] {
        world.put(Key::new("tag", name), json!({ "name": name }));
    }
    for (team, region) in [("a", "nyc3"), ("b", "fra1")] {
        settled(&mut world, &mut rng, team, region);
    }
    world.put(
        Key::new("droplet", "401000031"),
        droplet(401_000_031, "lone-zz-31", &[], "nyc3", "none"),
    );
    world
}

fn droplet(id: u64, name: &str, tags: &[&str], region: &str, vpc: &str) -> Value {
    json!({ "id": id, "name": name, "tags": tags, "region": { "slug": region, "name": region }, "size_slug": "s-1vcpu-1gb", "size": { "slug": "s-1vcpu-1gb" },
        "image": { "id": 1016, "slug": "ubuntu-24-04-x64", "public": true, "name": "ubuntu-24-04-x64", "type": "base" }, "vpc_uuid": vpc, "status": "active", "memory": 1024, "vcpus": 1, "disk": 25,
        "features": [], "networks": { "v4": [], "v6": [] }, "backup_ids": [] })
}

#[rustfmt::skip]
fn settled(world: &mut World, rng: &mut Rng, team: &str, region: &str) {
    let base: u64 = if team == "a" { 401_000_010 } else { 401_000_020 };
    let last = if team == "a" { 10 } else { 20 };
    let tag = format!("client-{team}");
    let mark = |what: &str| format!("{team}-{what}-q{last}z");
    world.put(Key::new("tag", tag.as_str()), json!({ "name": tag }));
    world.put(Key::new("tag", format!("web-{team}")), json!({ "name": format!("web-{team}") }));
    let mut id = || uuid(rng);
    let project = id();
    world.put(Key::new("project", project.as_str()), json!({ "id": project, "name": format!("project-{team}"), "purpose": mark("purpose"), "environment": "Development", "is_default": false }));
    let vpc = id();
    world.put(Key::new("vpc", vpc.as_str()), json!({ "id": vpc, "name": mark("vpc"), "region": region, "default": true, "ip_range": "10.1.0.0/16", "urn": format!("do:vpc:{vpc}") }));
    let second = id();
    world.put(Key::new("vpc", second.as_str()), json!({ "id": second, "name": mark("vpc-second"), "region": region, "default": false, "ip_range": "10.2.0.0/16", "urn": format!("do:vpc:{second}") }));
    let mut homed = vec![Key::new("vpc", vpc.as_str()), Key::new("vpc", second.as_str())];
    let web = format!("web-{team}");
    for (n, what, tags) in [(1, "web", vec![tag.as_str(), web.as_str()]), (2, "db", vec![tag.as_str()]), (3, "build", vec![])] {
        let key = Key::new("droplet", (base + n).to_string());
        world.put(key.clone(), droplet(base + n, &mark(what), &tags, region, &vpc));
        homed.push(key);
    }
    let (one, two) = (base + 1, base + 2);
    for (n, what, on) in [(1, "vol-data", json!([one])), (2, "vol-spare", json!([]))] {
        let key = Key::new("volume", id());
        world.put(key.clone(), json!({ "id": key.id, "name": mark(what), "region": { "slug": region }, "tags": [tag], "size_gigabytes": 10 * n, "droplet_ids": on, "description": "" }));
        homed.push(key);
        let snap = Key::new("snapshot", id());
        world.put(snap.clone(), json!({ "id": snap.id, "name": mark(&format!("{what}-snap")), "resource_id": homed[homed.len() - 1].id, "resource_type": "volume", "regions": [region], "tags": [tag], "size_gigabytes": 1 }));
    }
    for (n, what, of, tags) in [(1, "image-snap", Some(one), json!([tag])), (2, "image-custom", None, json!([]))] {
        let number = 7_000_000 + base % 100 + n;
        let kind = if of.is_some() { "snapshot" } else { "custom" };
        world.put(Key::new("image", number.to_string()), json!({ "id": number, "name": mark(what), "slug": null, "type": kind, "distribution": "Ubuntu", "public": false, "regions": [region], "tags": tags, "min_disk_size": 1, "_of": of.map(|of| of.to_string()), "description": "" }));
    }
    let key = 512_000 + base % 100;
    let fingerprint = if team == "a" { "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa" } else { "b7:42:90:6e:e2:c1:5a:23:64:0b:17:8d:9c:ff:21:03" };
    world.put(Key::new("ssh_key", key.to_string()), json!({ "id": key, "name": mark("key"), "fingerprint": fingerprint, "public_key": "ssh-ed25519 AAAA" }));
    for (what, ids, tags) in [("fw-ids", json!([one, two]), json!([])), ("fw-tag", json!([]), json!([web]))] {
        let key = Key::new("firewall", id());
        world.put(key.clone(), json!({ "id": key.id, "name": mark(what), "status": "succeeded", "droplet_ids": ids, "tags": tags, "inbound_rules": [{ "protocol": "tcp", "ports": "22", "sources": { "addresses": ["0.0.0.0/0"] } }], "outbound_rules": [] }));
    }
    let certificate = id();
    let zone = format!("{team}.example");
    world.put(Key::new("certificate", certificate.as_str()), json!({ "id": certificate, "name": mark("cert"), "type": "lets_encrypt", "state": "verified", "dns_names": [format!("www.{zone}")] }));
    for (what, ids, by, tags) in [("lb-ids", json!([one]), "", json!([])), ("lb-tag", json!([]), web.as_str(), json!([web]))] {
        let key = Key::new("load_balancer", id());
        world.put(key.clone(), json!({ "id": key.id, "name": mark(what), "region": { "slug": region }, "droplet_ids": ids, "tag": by, "tags": tags, "size_unit": 1, "size": "lb-small", "type": "REGIONAL", "network": "EXTERNAL", "vpc_uuid": vpc, "ip": "198.51.100.7", "forwarding_rules": [{ "entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80 }] }));
        homed.push(key);
    }
    for (n, on) in [(1, json!({ "id": one })), (2, Value::Null)] {
        let key = Key::new("reserved_ip", format!("203.0.113.{}", last + n));
        world.put(key.clone(), json!({ "ip": key.id, "region": { "slug": region }, "droplet": on, "locked": false, "_mark": mark("ip") }));
        homed.push(key);
    }
    let six = Key::new("reserved_ipv6", format!("2604:a880:{last}::1"));
    world.put(six.clone(), json!({ "ip": six.id, "region_slug": region, "droplet": { "id": two } }));
    for name in [zone.clone(), format!("dev.{zone}")] {
        let key = Key::new("domain", name.as_str());
        world.put(key.clone(), json!({ "name": name, "ttl": 1800, "zone_file": mark(&format!("zone-{}", name.len())) }));
        homed.push(key);
        for (n, kind, called) in [(1, "A", "www"), (2, "TXT", "_acme-challenge"), (3, "A", "@")] {
            let record = 30_000 + u64::try_from(name.len()).unwrap() * 1000 + last * 10 + n;
            world.put(Key::new("domain_record", child(&name, &record.to_string())), json!({ "id": record, "type": kind, "name": called, "data": if kind == "A" { format!("192.0.2.{}", record % 250) } else { mark(&format!("txt-{record}")) }, "ttl": 30, "priority": null, "port": null, "weight": null, "flags": null, "tag": null }));
        }
    }
    let cdn = id();
    world.put(Key::new("cdn_endpoint", cdn.as_str()), json!({ "id": cdn, "origin": format!("bucket-{team}.{region}.digitaloceanspaces.com"), "endpoint": mark("cdn"), "custom_domain": format!("static.{zone}"), "certificate_id": certificate, "ttl": 3600 }));
    let database = Key::new("database", id());
    world.put(database.clone(), json!({ "id": database.id, "name": mark("pg"), "engine": "pg", "version": "17", "region": region, "size": "db-s-1vcpu-1gb", "num_nodes": 1, "tags": [tag], "private_network_uuid": vpc, "status": "online", "users": null, "db_names": null }));
    homed.push(database.clone());
    for (kind, member, names) in [("database_user", "name", ["doadmin", "app"]), ("database_db", "name", ["defaultdb", "shop"]), ("database_pool", "name", ["pool", "pool2"]), ("database_topic", "name", ["events", "logs"])] {
        for name in names {
            let name = format!("{name}-{team}");
            world.put(Key::new(kind, child(&database.id, &name)), json!({ member: name, "role": "normal", "db": "defaultdb", "user": "doadmin", "mode": "session", "size": 1, "_mark": name }));
        }
    }
    let replica = id();
    world.put(Key::new("database_replica", child(&database.id, &format!("read-{team}"))), json!({ "id": replica, "name": format!("read-{team}"), "region": region, "size": "db-s-1vcpu-1gb", "tags": [tag], "status": "online" }));
    let sink = id();
    world.put(Key::new("database_logsink", child(&database.id, &sink)), json!({ "sink_id": sink, "sink_name": mark("sink"), "sink_type": "rsyslog", "config": {} }));
    let cluster = Key::new("kubernetes_cluster", id());
    world.put(cluster.clone(), json!({ "id": cluster.id, "name": mark("k8s"), "region": region, "version": "1.33.1-do.0", "vpc_uuid": vpc, "tags": [tag], "status": { "state": "running" }, "registry_enabled": false }));
    homed.push(cluster.clone());
    let node = base + 9;
    let key = Key::new("droplet", node.to_string());
    world.put(key.clone(), droplet(node, &mark("node"), &[tag.as_str()], region, &vpc));
    homed.push(key);
    let pool = id();
    let worker = id();
    world.put(Key::new("node_pool", child(&cluster.id, &pool)), json!({ "id": pool, "name": mark("pool"), "size": "s-1vcpu-2gb", "count": 1, "tags": [tag], "nodes": [{ "id": worker, "name": mark("worker"), "droplet_id": node.to_string(), "status": { "state": "running" } }] }));
    let registry = format!("registry-{team}");
    world.put(Key::new("registry", registry.as_str()), json!({ "name": registry, "region": region, "storage_usage_bytes": 1, "_default": team == "a" }));
    for name in ["api", "team/web"] {
        let name = format!("{name}-{team}");
        world.put(Key::new("repository", child(&registry, &name)), json!({ "registry_name": registry, "name": name, "tag_count": 1, "manifest_count": 1 }));
    }
    let alert = id();
    world.put(Key::new("alert_policy", alert.as_str()), json!({ "uuid": alert, "type": "v1/insights/droplet/cpu", "description": mark("alert"), "entities": [one.to_string()], "tags": [], "compare": "GreaterThan", "enabled": true, "value": 80, "window": "5m", "alerts": { "email": [] } }));
    let check = Key::new("uptime_check", id());
    world.put(check.clone(), json!({ "id": check.id, "name": mark("check"), "type": "https", "target": format!("https://{zone}"), "regions": ["us_east"], "enabled": true }));
    let alert = id();
    world.put(Key::new("uptime_alert", child(&check.id, &alert)), json!({ "id": alert, "name": mark("check-alert"), "type": "down", "notifications": { "email": [] }, "period": "5m" }));
    let namespace = Key::new("namespace", format!("fn-{}", id()));
    world.put(namespace.clone(), json!({ "namespace": namespace.id, "label": mark("functions"), "region": region, "api_host": "https://faas.example", "uuid": id() }));
    world.put(Key::new("function_trigger", child(&namespace.id, &format!("trigger-{team}"))), json!({ "namespace": namespace.id, "name": format!("trigger-{team}"), "type": "SCHEDULED", "function": "f", "is_enabled": true }));
    let app = Key::new("app", id());
    world.put(app.clone(), json!({ "id": app.id, "spec": { "name": mark("app"), "domains": [] }, "region": { "slug": region } }));
    homed.push(app.clone());
    let deployment = id();
    world.put(Key::new("app_deployment", child(&app.id, &deployment)), json!({ "id": deployment, "cause": mark("deployment"), "phase": "ACTIVE" }));
    for (n, kind, of) in [(1, "droplet", one), (2, "image", 7_000_000 + base % 100 + 1)] {
        let number = 368_000_000 + last * 100 + n;
        world.put(Key::new("action", number.to_string()), json!({ "id": number, "status": "completed", "type": "create", "started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:00Z", "resource_id": of, "resource_type": kind, "region_slug": region, "region": { "slug": region } }));
    }
    for kind in ["addon", "autoscale_pool", "dedicated_inference", "monitoring_destination", "nfs_share", "partner_attachment", "spaces_key", "vector_database", "vpc_peering", "nat_gateway", "genai_agent", "genai_knowledge_base", "genai_workspace", "genai_model_router", "genai_openai_api_key", "genai_anthropic_api_key"] {
        let shape = Kind::named(kind);
        let own = if shape.form == Form::Name { format!("DO801{}", team.to_uppercase()) } else { id() };
        let name = mark(&kind.replace('_', "-"));
        let mut value = json!({ shape.id: own, "name": name, "region": region, "size": "s", "tags": [tag], "type": "PUBLIC" });
        match kind {
            "dedicated_inference" => value["spec"] = json!({ "name": name }),
            "autoscale_pool" => value = json!({ "id": own, "name": name, "droplet_template": { "size": "s-1vcpu-1gb", "region": region, "image": "ubuntu-24-04-x64", "ssh_keys": [] }, "config": { "target_number_instances": 1 } }),
            "spaces_key" => value["grants"] = json!([{ "bucket": format!("bucket-{team}"), "permission": "read" }]),
            "vpc_peering" => value["vpc_ids"] = json!([vpc, second]),
            "nfs_share" | "partner_attachment" => value["vpc_ids"] = json!([vpc]),
            _ => {}
        }
        if !shape.attributes.iter().any(|(called, _)| *called == "tag") {
            value.as_object_mut().unwrap().remove("tags");
        }
        if !shape.attributes.iter().any(|(called, _)| *called == "region") && kind != "autoscale_pool" {
            value.as_object_mut().unwrap().remove("region");
        }
        let key = Key::new(shape.name, own);
        world.put(key.clone(), value);
        if IN_PROJECT.contains(&kind) {
            homed.push(key);
        }
    }
    for key in homed {
        world.settle(&key, &project);
    }
}

/// The word of a thing that stands in its own JSON alone; an empty one where it has none.
pub fn word(key: &Key, value: &Value) -> String {
    let is_word = |text: &String| text.ends_with("0z") && text.contains("-q");
    let candidates = [
        "name",
        "description",
        "zone_file",
        "endpoint",
        "purpose",
        "label",
        "cause",
        "data",
        "sink_name",
        "spec.name",
    ];
    if key.kind == "action" {
        return key.id.clone();
    }
    candidates
        .iter()
        .flat_map(|at| pick(value, at))
        .find(is_word)
        .unwrap_or_default()
}
