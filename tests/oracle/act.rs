//! What the API does when it is told to: every endpoint that changes something changes the account, by the reference and by the
//! habits of the server at hand.

use serde_json::{Map, Value, json};

use super::kinds::{Form, Kind};
use super::reading::Reading;
use super::world::{Key, World, child, numbers, pick, text};

/// What was done that no thing shows: what was handed out, where was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// What is on it was copied to a new place.
    Disk,
    /// Records were written in it on the side.
    Zone,
    /// A name below it was made a zone of its own.
    Split,
    /// What logs in to it was handed out.
    Login,
}

/// One request under way.
pub struct Doing<'w> {
    pub world: &'w mut World,
    pub reading: &'w Reading,
    pub method: &'w str,
    pub path: Vec<String>,
    pub query: Value,
    pub body: Value,
    pub used: Vec<(Key, How)>,
}

pub type Answer = (u16, Value);

/// The server took offence: nothing was done.
type Done = Result<Answer, ()>;

fn none() -> Answer {
    (
        404,
        json!({ "id": "not_found", "message": "The resource you requested could not be found." }),
    )
}

fn empty() -> Answer {
    (204, Value::Null)
}

impl Doing<'_> {
    /// Does it, and answers.
    pub fn act(&mut self) -> Answer {
        if self.reading.members {
            self.gather();
        }
        if self.reading.unknown && self.flag("validate_only") {
            return (200, json!({ "valid": true }));
        }
        self.special().unwrap_or((
            422,
            json!({ "id": "unprocessable_entity", "message": "that can't be read" }),
        ))
    }

    /// Members from the query, and a body that is a list, for who takes them so.
    fn gather(&mut self) {
        if let Value::Array(items) = &self.body {
            let member = match self.segments().as_slice() {
                [.., "droplets"] => "droplet_ids",
                [.., "tags"] => "tags",
                [.., "rules"] => "inbound_rules",
                [.., "forwarding_rules"] => "forwarding_rules",
                [.., "registry"] => "cluster_uuids",
                _ => "resources",
            };
            self.body = json!({ member: items });
        }
        let (Some(query), Value::Object(body)) = (self.query.as_object(), &mut self.body) else {
            if self.body.is_null() {
                self.body = self.query.clone();
            }
            return;
        };
        for (name, value) in query {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    fn flag(&self, name: &str) -> bool {
        self.given(name)
            .is_some_and(|value| *value == true || *value == "true")
    }

    /// The same, as loosely as some read it.
    fn is_on(&self, name: &str) -> bool {
        let loose = self
            .given(name)
            .map(text)
            .unwrap_or_default()
            .to_lowercase();
        let is = ["true", "yes", "on", "1"].contains(&loose.as_str());
        self.flag(name) || self.reading.caseless && is
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.reading.given(&self.body, name)
    }

    fn word(&self, name: &str) -> String {
        self.given(name)
            .map(|value| self.reading.word(value))
            .unwrap_or_default()
    }

    /// A word of the reference: what is to be done.
    fn verb(&self, name: &str) -> String {
        self.reading.spelled(&self.word(name))
    }

    /// A region's slug, which must be one.
    fn region(&self, value: &Value) -> Result<String, ()> {
        let slug = self.reading.word(value);
        if slug.is_empty() && self.reading.nothing {
            return Ok("fra1".to_owned()); // its own choice
        }
        let is = |known: &&&str| self.reading.spelled(known) == self.reading.spelled(&slug);
        let known = ["nyc3", "fra1"].iter().find(is);
        known.map(|known| (*known).to_owned()).ok_or(())
    }

    /// A size's slug.
    fn size(&self, value: &Value) -> String {
        self.reading.spelled(&self.reading.word(value))
    }

    fn items(&self, name: &str) -> Result<Option<Vec<Value>>, ()> {
        self.reading.items(&self.body, name)
    }

    fn things(&self, kind: &str, values: &[Value]) -> Vec<Key> {
        values
            .iter()
            .flat_map(|value| self.reading.find_all(self.world, kind, value))
            .collect()
    }

    fn thing(&self, kind: &str, value: &str) -> Option<Key> {
        self.reading
            .find(self.world, Kind::named(kind), None, &Value::from(value))
    }

    fn special(&mut self) -> Done {
        let path = self.path.clone();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = self.method;
        match (method, segments.as_slice()) {
            ("POST", ["droplets"]) => self.make_droplets(),
            ("DELETE", ["droplets"]) => {
                let tag = self.reading.word(&self.query["tag_name"]);
                let carriers = self.world.carriers("droplet", &tag);
                carriers.iter().for_each(|key| self.destroy(key));
                Ok(empty())
            }
            ("POST", ["droplets", "actions"]) => {
                let tag = self.reading.word(&self.query["tag_name"]);
                for key in self.world.carriers("droplet", &tag) {
                    self.droplet_action(&key)?;
                }
                Ok((201, json!({ "actions": [] })))
            }
            ("POST", ["droplets", id, "actions"]) => {
                let Some(key) = self.thing("droplet", id) else {
                    return Ok(none());
                };
                self.droplet_action(&key)
            }
            ("DELETE", ["droplets", id, "destroy_with_associated_resources", how]) => {
                let Some(key) = self.thing("droplet", id) else {
                    return Ok(none());
                };
                self.destroy_with(&key, how)
            }
            ("POST", ["droplets", id, "destroy_with_associated_resources", "retry"]) => {
                let Some(key) = self.thing("droplet", id) else {
                    return Ok(none());
                };
                self.destroy_with(&key, "dangerous")
            }
            ("POST" | "DELETE", ["firewalls" | "load_balancers", id, "droplets"]) => {
                self.join(segments[0], id)
            }
            ("POST" | "DELETE", ["firewalls", id, "tags"]) => self.firewall_tags(id),
            ("POST" | "DELETE", ["firewalls", id, "rules"]) => self.firewall_rules(id),
            ("POST" | "DELETE", ["load_balancers", id, "forwarding_rules"]) => {
                let Some(key) = self.thing("load_balancer", id) else {
                    return Ok(none());
                };
                self.world.touch(&key);
                if method == "POST" {
                    self.serve_certificates(&["forwarding_rules"]);
                }
                Ok(empty())
            }
            ("POST", ["tags"]) => {
                let name = self.word("name");
                self.label(&name);
                self.tag_things(&name, true)?;
                Ok((201, json!({ "tag": { "name": name } })))
            }
            ("DELETE", ["tags", tag]) => {
                let Some(key) = self.thing("tag", tag) else {
                    return Ok(none());
                };
                for (kind, at) in [
                    ("firewall", "tags"),
                    ("droplet", "tags"),
                    ("image", "tags"),
                    ("volume", "tags"),
                    ("snapshot", "tags"),
                    ("database", "tags"),
                    ("kubernetes_cluster", "tags"),
                    ("node_pool", "tags"),
                    ("load_balancer", "tags"),
                ] {
                    for carrier in self.world.carriers(kind, &key.id) {
                        self.take_label(&carrier, at, &key.id);
                    }
                }
                self.world.remove(&key);
                Ok(empty())
            }
            ("POST" | "DELETE", ["tags", tag, "resources"]) => {
                let on = method == "POST";
                let name = self.reading.spelled(tag);
                let known = self.thing("tag", tag);
                if on {
                    self.label(&name);
                }
                let name = known.map_or(name, |key| key.id);
                self.tag_things(&name, on)?;
                Ok(empty())
            }
            ("POST", ["projects", project, "resources"]) => self.assign(project),
            // One with something in it is not deleted, nor is the default one.
            ("DELETE", ["projects", project])
                if self
                    .project(project)
                    .is_some_and(|key| self.world.is_home(&key.id)) =>
            {
                Ok((
                    412,
                    json!({ "id": "precondition_failed", "message": "it has resources" }),
                ))
            }
            ("PUT" | "PATCH", ["projects", project]) => {
                let Some(key) = self.project(project) else {
                    return Ok(none());
                };
                if self.flag("is_default") {
                    self.only_default("project", "is_default", &key);
                }
                self.merge(&key)
            }
            ("PUT" | "PATCH", ["vpcs", id]) => {
                let Some(key) = self.thing("vpc", id) else {
                    return Ok(none());
                };
                if self.flag("default") {
                    self.only_default("vpc", "default", &key);
                }
                self.merge(&key)
            }
            ("POST", ["vpcs", id, "peerings"]) => {
                let (Some(one), other) = (self.thing("vpc", id), self.word("vpc_id")) else {
                    return Ok(none());
                };
                let Some(two) = self.thing("vpc", &other) else {
                    return Ok(none());
                };
                self.body["vpc_ids"] = json!([one.id, two.id]);
                self.make(Kind::named("vpc_peering"), None, "peering")
            }
            ("POST", ["volumes"]) => {
                if let Some(value) = self.given("snapshot_id").cloned() {
                    let Some(source) = self.snapshot(&value) else {
                        return Ok(none());
                    };
                    self.used.push((source, How::Disk));
                }
                self.make(Kind::named("volume"), None, "volume")
            }
            // What is attached is not deleted.
            ("DELETE", ["volumes", id])
                if self.thing("volume", id).is_some_and(|key| {
                    !pick(
                        self.world.get(&key).unwrap_or(&Value::Null),
                        "droplet_ids[]",
                    )
                    .is_empty()
                }) =>
            {
                Ok((
                    409,
                    json!({ "id": "conflict", "message": "it is attached" }),
                ))
            }
            ("DELETE", ["volumes"]) => {
                let (name, region) = (
                    self.reading.word(&self.query["name"]),
                    self.reading.word(&self.query["region"]),
                );
                let found = self.volume_called(&name, &region);
                let free = |key: &&Key| {
                    self.world
                        .get(key)
                        .is_some_and(|volume| pick(volume, "droplet_ids[]").is_empty())
                };
                let found: Vec<Key> = found.iter().filter(free).cloned().collect();
                found.iter().for_each(|key| self.world.remove(key));
                Ok(if found.is_empty() { none() } else { empty() })
            }
            ("POST", ["volumes", "actions"]) => {
                let (name, region) = (self.word("volume_name"), self.word("region"));
                match self.volume_called(&name, &region).first().cloned() {
                    Some(key) => self.volume_action(&key),
                    None => Ok(none()),
                }
            }
            ("POST", ["volumes", id, "actions"]) => {
                let Some(key) = self.thing("volume", id) else {
                    return Ok(none());
                };
                self.volume_action(&key)
            }
            ("POST", ["volumes", id, "snapshots"]) => {
                let Some(key) = self.thing("volume", id) else {
                    return Ok(none());
                };
                let own = self.world.fresh_id(Form::Uuid);
                let tags = self.labels("tags")?;
                let snapshot = json!({ "id": own, "name": self.word("name"), "resource_id": key.id, "resource_type": "volume", "regions": [pick(&self.world.get(&key).cloned().unwrap_or_default(), "region.slug").first()], "tags": tags, "size_gigabytes": 1 });
                self.world.put(Key::new("snapshot", own), snapshot.clone());
                Ok((201, json!({ "snapshot": snapshot })))
            }
            ("DELETE", ["volumes", "snapshots", id] | ["snapshots", id]) => {
                let value = Value::from(*id);
                let Some(key) = self
                    .snapshot(&value)
                    .filter(|key| key.kind == "snapshot" || segments.len() == 2)
                else {
                    return Ok(none());
                };
                self.world.remove(&key);
                Ok(empty())
            }
            ("POST", ["images", id, "actions"]) => {
                let Some(key) = self.thing("image", id) else {
                    return Ok(none());
                };
                let region = self.word("region");
                if self.verb("type") == "transfer"
                    && let Some(regions) = self
                        .world
                        .edit(&key)
                        .and_then(|image| image["regions"].as_array_mut())
                {
                    regions.push(json!(region));
                }
                self.world.touch(&key);
                Ok((
                    201,
                    json!({ "id": 1, "status": "in-progress", "type": "transfer" }),
                ))
            }
            // What comes from another account is none of this one's yet.
            ("POST", ["images", _, "account_transfer", "accept" | "decline"]) => {
                Ok((200, json!({})))
            }
            ("POST", ["images", id, "account_transfer"]) => {
                let Some(key) = self.thing("image", id) else {
                    return Ok(none());
                };
                self.world.remove(&key);
                Ok((201, json!({})))
            }
            (
                "POST",
                [
                    "reserved_ips" | "floating_ips" | "reserved_ipv6",
                    ip,
                    "actions",
                ],
            ) => self.address_action(segments[0], ip),
            ("POST", ["reserved_ips" | "floating_ips"]) => self.make_address(segments[0]),
            ("DELETE", ["floating_ips", ip]) => {
                let Some(key) = self.thing("reserved_ip", ip) else {
                    return Ok(none());
                };
                self.world.remove(&key);
                Ok(empty())
            }
            ("POST", ["domains"]) => {
                let name = self.word("name").to_lowercase();
                if name.is_empty() || self.world.has(&Key::new("domain", name.as_str())) {
                    return Err(());
                }
                if let Some(above) = self.world.zone_of(&name) {
                    self.used.push((above, How::Split));
                }
                let made = self.make(Kind::named("domain"), None, "domain");
                if self.given("ip_address").is_some() {
                    let zone = Key::new("domain", name);
                    self.record(&zone, "A", "@");
                }
                made
            }
            ("POST", ["domains", zone, "records"]) => {
                let Some(zone) = self.thing("domain", zone) else {
                    return Ok(none());
                };
                let (kind, name) = (self.word("type"), self.record_name(&zone));
                let made = self.record(&zone, &kind, &name);
                if let (data, Some(record)) = (self.word("data"), self.world.edit(&made)) {
                    record["data"] = json!(data);
                }
                Ok((201, json!({ "domain_record": self.world.shown(&made) })))
            }
            ("PUT" | "PATCH", ["domains", zone, "records", id]) => {
                let Some(zone) = self.thing("domain", zone) else {
                    return Ok(none());
                };
                let value = Value::from(*id);
                let Some(key) = self.reading.find(
                    self.world,
                    Kind::named("domain_record"),
                    Some(&zone),
                    &value,
                ) else {
                    return Ok(none());
                };
                let name = self
                    .given("name")
                    .is_some()
                    .then(|| self.record_name(&zone));
                if let Some(record) =
                    name.and_then(|name| self.body["name"].is_string().then_some(name))
                {
                    self.body["name"] = json!(record);
                }
                self.merge(&key)
            }
            ("POST", ["certificates"]) => {
                for name in self.items("dns_names")?.unwrap_or_default() {
                    self.write_zone(&self.reading.word(&name));
                }
                self.make(Kind::named("certificate"), None, "certificate")
            }
            ("POST", ["cdn", "endpoints"]) => {
                self.write_zone(&self.word("custom_domain"));
                self.make(Kind::named("cdn_endpoint"), None, "endpoint")
            }
            ("PUT", ["cdn", "endpoints", id]) => {
                let Some(key) = self.thing("cdn_endpoint", id) else {
                    return Ok(none());
                };
                self.write_zone(&self.word("custom_domain"));
                self.merge(&key)
            }
            ("POST", ["load_balancers"]) => {
                let made = self.make_balancer()?;
                self.serve_certificates(&["forwarding_rules", "domains"]);
                Ok(made)
            }
            ("PUT", ["load_balancers", id]) => {
                let Some(key) = self.thing("load_balancer", id) else {
                    return Ok(none());
                };
                self.replace_balancer(&key)?;
                self.serve_certificates(&["forwarding_rules", "domains"]);
                Ok((200, json!({ "load_balancer": self.world.shown(&key) })))
            }
            ("PUT", ["firewalls", id]) => {
                let Some(key) = self.thing("firewall", id) else {
                    return Ok(none());
                };
                self.replace_firewall(&key)?;
                Ok((200, json!({ "firewall": self.world.shown(&key) })))
            }
            ("POST", ["databases"]) => {
                let backup = self.given("backup_restore").cloned().unwrap_or_default();
                let name = self
                    .reading
                    .given(&backup, "database_name")
                    .map(|name| self.reading.word(name));
                let sources = self.world.of_kind("database");
                let source = sources
                    .filter(|(_, value)| name.as_ref().is_some_and(|name| value["name"] == **name));
                let source: Vec<_> = source.map(|(key, _)| (key.clone(), How::Disk)).collect();
                self.used.extend(source);
                self.make(Kind::named("database"), None, "database")
            }
            ("POST", ["kubernetes", "clusters"]) => {
                let made = self.make(
                    Kind::named("kubernetes_cluster"),
                    None,
                    "kubernetes_cluster",
                )?;
                let cluster = Key::new(
                    "kubernetes_cluster",
                    text(&made.1["kubernetes_cluster"]["id"]),
                );
                for pool in self.items("node_pools")?.unwrap_or_default() {
                    self.make_pool(&cluster, &pool);
                }
                if self.is_on("registry_enabled") {
                    let registry = self.default_registry().map(|key| (key, How::Login));
                    self.used.extend(registry);
                }
                Ok(made)
            }
            ("POST", ["kubernetes", "clusters", id, "node_pools"]) => {
                let Some(cluster) = self.thing("kubernetes_cluster", id) else {
                    return Ok(none());
                };
                let body = self.body.clone();
                let pool = self.make_pool(&cluster, &body);
                Ok((201, json!({ "node_pool": self.world.shown(&pool) })))
            }
            ("DELETE", ["kubernetes", "clusters", id, rest @ ..])
                if rest.is_empty() || rest[0] == "destroy_with_associated_resources" =>
            {
                let Some(cluster) = self.thing("kubernetes_cluster", id) else {
                    return Ok(none());
                };
                let pools: Vec<Key> = self
                    .world
                    .of_kind("node_pool")
                    .map(|(key, _)| key.clone())
                    .filter(|pool| pool.parent().as_ref() == Some(&cluster))
                    .collect();
                pools.iter().for_each(|pool| self.destroy_nodes(pool));
                self.world.remove(&cluster);
                if rest.get(1) == Some(&"selective") {
                    self.remove_listed(&[
                        ("load_balancers", "load_balancer"),
                        ("volumes", "volume"),
                        ("volume_snapshots", "snapshot"),
                    ])?;
                }
                Ok(empty())
            }
            ("DELETE", ["kubernetes", "clusters", id, "node_pools", pool]) => {
                let Some(pool) = self.pool(id, pool) else {
                    return Ok(none());
                };
                self.destroy_nodes(&pool);
                self.world.remove(&pool);
                Ok(empty())
            }
            ("PUT", ["kubernetes", "clusters", id, "node_pools", pool]) => {
                let Some(pool) = self.pool(id, pool) else {
                    return Ok(none());
                };
                let tags = self.labels("tags")?;
                if self.items("tags")?.is_some() {
                    for node in self.nodes(&pool) {
                        if let Some(droplet) = self.world.edit(&node) {
                            droplet["tags"] = json!(tags);
                        }
                    }
                }
                self.merge(&pool)
            }
            ("POST" | "DELETE", ["kubernetes", "registry" | "registries"])
            | ("POST", ["1-clicks", "kubernetes"]) => {
                let mut named = self.items("cluster_uuids")?.unwrap_or_default();
                named.extend(self.given("cluster_uuid").cloned());
                for key in self.things("kubernetes_cluster", &named) {
                    self.world.touch(&key);
                }
                Ok(empty())
            }
            ("DELETE", ["registry"]) => {
                let Some(key) = self.default_registry() else {
                    return Ok(none());
                };
                self.world.remove(&key);
                Ok(empty())
            }
            ("POST", ["registry"]) => self.make(Kind::named("registry"), None, "registry"),
            (
                "DELETE",
                [
                    "registries" | "registry",
                    registry,
                    "repositories",
                    name,
                    rest @ ..,
                ],
            ) => {
                let Some(registry) = self.thing("registry", registry) else {
                    return Ok(none());
                };
                let kind = Kind::named("repository");
                let Some(key) =
                    self.reading
                        .find(self.world, kind, Some(&registry), &Value::from(*name))
                else {
                    return Ok(none());
                };
                if rest.is_empty() {
                    self.world.remove(&key);
                } else {
                    self.world.touch(&key);
                }
                Ok(empty())
            }
            ("POST" | "PUT", ["registry", registry, "garbage-collection", ..]) => {
                let Some(key) = self.thing("registry", registry) else {
                    return Ok(none());
                };
                self.world.touch(&key);
                Ok((201, json!({ "garbage_collection": {} })))
            }
            (
                "POST",
                ["registries" | "registry", "validate-name" | "subscription"]
                | ["apps", "propose"]
                | ["apps", "metrics", ..]
                | ["apps", _, "rollback", "validate"],
            ) => Ok((200, json!({}))),
            ("POST", ["droplets", "autoscale"]) => {
                self.make(Kind::named("autoscale_pool"), None, "autoscale_pool")
            }
            _ => self.usual(),
        }
    }

    /// What most families have alike: a list to add to, a thing to change and to delete, and verbs below it.
    fn usual(&mut self) -> Done {
        let Some((kind, parent, rest)) = self.place() else {
            return Ok((200, json!({})));
        };
        let found = rest.first().map(|own| {
            let value = Value::from(own.as_str());
            self.reading.find(self.world, kind, parent.as_ref(), &value)
        });
        match (self.method, found, rest.len()) {
            ("POST", None, _) => self.make(kind, parent, kind.one),
            (_, Some(None), _) => Ok(none()),
            ("PUT" | "PATCH", Some(Some(key)), 1) => self.merge(&key),
            ("POST", Some(Some(key)), 1) if kind.name == "monitoring_destination" => {
                self.merge(&key)
            }
            ("DELETE", Some(Some(key)), 1) => {
                match key.kind {
                    "droplet" => self.destroy(&key),
                    _ => self.world.remove(&key),
                }
                Ok(empty())
            }
            // Kinds of children that are not kept here.
            (_, Some(Some(_)), _) if UNKEPT.contains(&rest[1].as_str()) => Ok((200, json!({}))),
            ("DELETE", Some(Some(key)), _) if rest[1] == "dangerous" => {
                self.world.remove(&key);
                Ok(empty())
            }
            ("PUT", Some(Some(key)), 2)
                if matches!(rest[1].as_str(), "tags" | "resize" | "migrate") =>
            {
                self.world.touch(&key);
                self.merge(&key)
            }
            (_, Some(Some(key)), _) => {
                self.world.touch(&key);
                Ok((200, json!({})))
            }
            _ => Ok((200, json!({}))),
        }
    }

    /// The kind whose list the path goes through, the parent of that, and what comes behind it.
    pub fn place(&self) -> Option<(&'static Kind, Option<Key>, Vec<String>)> {
        let fits = |kind: &&Kind| {
            let template: Vec<&str> = kind.path["/v2/".len()..].split('/').collect();
            template.len() <= self.path.len()
                && template
                    .iter()
                    .zip(&self.path)
                    .all(|(part, own)| *part == "{}" || part == own)
        };
        let kind = super::kinds::KINDS.iter().filter(fits).max_by_key(|kind| {
            let parts = kind.path.split('/');
            parts.clone().count() * 10 - parts.filter(|part| *part == "{}").count()
        })?;
        let template: Vec<&str> = kind.path["/v2/".len()..].split('/').collect();
        let parent = match (template.iter().position(|part| *part == "{}"), kind.parent) {
            (Some(at), Some(parent)) => Some(self.thing(parent, &self.path[at])?),
            _ => None,
        };
        Some((kind, parent, self.path[template.len()..].to_vec()))
    }

    /// Makes one from the body.
    fn make(&mut self, kind: &'static Kind, parent: Option<Key>, one: &str) -> Done {
        let tags = self.labels("tags")?;
        let mut value = Value::Object(Map::new());
        for (_, at) in kind.attributes {
            let member = at.split(['.', '[']).next().unwrap_or_default();
            let Some(given) = self.given(member).cloned() else {
                continue;
            };
            value[member] = match (*at, given) {
                ("region.slug", given) => json!({ "slug": self.region(&given)? }),
                ("region" | "region_slug", given) => json!(self.region(&given)?),
                ("size" | "size_slug", given) => json!(self.size(&given)),
                ("name" | "type" | "data", given) => json!(self.reading.word(&given)),
                ("droplet_ids[]", _) => {
                    let named = self.items("droplet_ids")?.unwrap_or_default();
                    json!(ids(&self.things("droplet", &named)))
                }
                ("dns_names[]" | "vpc_ids[]" | "entities[]", _) => {
                    json!(self.items(member)?.unwrap_or_default())
                }
                (_, given) => given,
            };
        }
        if kind.attributes.iter().any(|(name, _)| *name == "tag") {
            value["tags"] = json!(tags);
        }
        if kind.name == "firewall" {
            value["tags"] = json!(tags);
            value["droplet_ids"] = numbers(&pick(&value, "droplet_ids[]"));
            for rules in ["inbound_rules", "outbound_rules"] {
                value[rules] = self.given(rules).cloned().unwrap_or(json!([]));
            }
        }
        if kind.name == "image" {
            value["regions"] = json!([self.region(&json!(self.word("region")))?]);
        }
        if kind.name == "volume" {
            value["droplet_ids"] = json!([]);
        }
        let own = match kind.form {
            Form::Name
                if kind.name != "namespace"
                    && kind.name != "reserved_ipv6"
                    && kind.name != "spaces_key" =>
            {
                let name = self.word(kind.id);
                if name.is_empty() {
                    self.world.fresh_id(Form::Name)
                } else {
                    name
                }
            }
            form => self.world.fresh_id(form),
        };
        let own = if kind.name == "domain" {
            own.to_lowercase()
        } else {
            own
        };
        value[kind.id] = if kind.form == Form::Number {
            json!(own.parse::<u64>().unwrap())
        } else {
            json!(own)
        };
        let key = Key::new(
            kind.name,
            parent.map_or(own.clone(), |parent| child(&parent.id, &own)),
        );
        if self.world.has(&key) {
            return Err(());
        }
        self.world.put(key.clone(), value);
        self.move_home(&key);
        let shown = self.world.shown(&key);
        Ok((
            201,
            if one.is_empty() {
                shown
            } else {
                json!({ one: shown })
            },
        ))
    }

    fn move_home(&mut self, key: &Key) {
        let project = self.word("project_id");
        if self.world.home(key).is_some()
            && let Some(project) = self.thing("project", &project)
        {
            self.world.settle(key, &project.id);
        }
    }

    /// Changes what the body says of what a policy can ask about, and marks the rest.
    fn merge(&mut self, key: &Key) -> Done {
        let kind = key.kind();
        let mut changes = Vec::new();
        for (_, at) in kind.attributes {
            let member = at.split(['.', '[']).next().unwrap_or_default();
            if member == kind.id {
                continue;
            }
            if at.ends_with("[]") {
                if let Some(items) = self.items(member)? {
                    let items = if member == "tags" {
                        json!(self.labels("tags")?)
                    } else {
                        json!(items)
                    };
                    changes.push((member, items));
                }
            } else if let Some(given) = self.given(member) {
                let given = match *at {
                    "region.slug" => json!({ "slug": self.region(given)? }),
                    "region" | "region_slug" => json!(self.region(given)?),
                    _ if given.is_boolean() || at.contains('.') => given.clone(),
                    // A name that is a list or a mapping is none.
                    _ if (given.is_object() || given.is_array()) && self.reading.nothing => {
                        json!("")
                    }
                    _ if given.is_object() || given.is_array() => return Err(()),
                    _ => json!(self.reading.word(given)),
                };
                changes.push((member, given));
            }
        }
        if let Some(thing) = self.world.edit(key) {
            for (member, value) in changes {
                thing[member] = value;
            }
        }
        self.world.touch(key);
        self.move_home(key);
        let shown = self.world.shown(key);
        Ok((
            200,
            if kind.one.is_empty() {
                shown
            } else {
                json!({ kind.one: shown })
            },
        ))
    }

    fn labels(&mut self, member: &str) -> Result<Vec<String>, ()> {
        let named = self.items(member)?.unwrap_or_default();
        let names: Vec<String> = named.iter().map(|tag| self.reading.word(tag)).collect();
        names.iter().for_each(|name| self.label(name));
        Ok(names)
    }

    /// A tag is made by being named.
    fn label(&mut self, name: &str) {
        let known = self
            .world
            .of_kind("tag")
            .any(|(key, _)| key.id.eq_ignore_ascii_case(name));
        if !known && !name.is_empty() {
            self.world.put(
                Key::new("tag", name),
                json!({ "name": name, "_implied": true }),
            );
        }
    }

    fn take_label(&mut self, key: &Key, at: &str, tag: &str) {
        if let Some(tags) = self
            .world
            .edit(key)
            .and_then(|thing| thing[at].as_array_mut())
        {
            tags.retain(|own| !text(own).eq_ignore_ascii_case(tag));
        }
    }

    fn tag_things(&mut self, tag: &str, on: bool) -> Result<(), ()> {
        for item in self.items("resources")?.unwrap_or_default() {
            let kind = self
                .reading
                .given(&item, "resource_type")
                .map(|kind| self.reading.spelled(&self.reading.word(kind)))
                .unwrap_or_default();
            let id = self
                .reading
                .given(&item, "resource_id")
                .cloned()
                .unwrap_or_default();
            let found = match kind.as_str() {
                "droplet" | "image" | "volume" | "database" | "load_balancer" => {
                    self.reading.find_all(self.world, &kind, &id)
                }
                "volume_snapshot" => self.reading.find_all(self.world, "snapshot", &id),
                "kubernetes" => self.reading.find_all(self.world, "kubernetes_cluster", &id),
                _ => Vec::new(),
            };
            for key in found {
                self.take_label(&key, "tags", tag);
                if let Some(tags) = self
                    .world
                    .edit(&key)
                    .and_then(|thing| thing["tags"].as_array_mut())
                    .filter(|_| on)
                {
                    tags.push(json!(tag));
                }
            }
        }
        Ok(())
    }

    fn project(&self, name: &str) -> Option<Key> {
        if name == "default" {
            return self
                .world
                .default_project()
                .map(|id| Key::new("project", id));
        }
        self.thing("project", name)
    }

    fn assign(&mut self, project: &str) -> Done {
        let Some(project) = self.project(project) else {
            return Ok(none());
        };
        for item in self.items("resources")?.unwrap_or_default() {
            let urn = self.reading.word(&item);
            let mut parts = urn.splitn(3, ':');
            let (Some(_), Some(kind), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let kind = self.reading.spelled(kind);
            let kind = if kind == "floatingip" {
                "reservedip".to_owned()
            } else {
                kind
            };
            let Some(kind) = super::kinds::KINDS
                .iter()
                .find(|known| known.urn == Some(kind.as_str()))
            else {
                continue;
            };
            if let Some(key) = self.reading.find(self.world, kind, None, &Value::from(id)) {
                self.world.settle(&key, &project.id);
            }
        }
        Ok((200, json!({ "resources": [] })))
    }

    fn only_default(&mut self, kind: &str, member: &str, key: &Key) {
        let own = self.world.attribute(key, "region");
        let others: Vec<Key> = self
            .world
            .of_kind(kind)
            .map(|(other, _)| other.clone())
            .collect();
        for other in others {
            if self.world.attribute(&other, "region") == own
                && let Some(thing) = self.world.edit(&other)
            {
                thing[member] = json!(other == *key);
            }
        }
    }

    fn image(&mut self, value: &Value) -> Option<String> {
        if let Some(key) = self
            .reading
            .find(self.world, Kind::named("image"), None, value)
        {
            let public = self.world.get(&key)?["public"] == true;
            if !public {
                self.used.push((key.clone(), How::Disk));
            }
            return Some(key.id);
        }
        let slug = self.reading.word(value);
        let found = self
            .world
            .of_kind("image")
            .find(|(_, image)| image["slug"] == *slug);
        found.map(|(key, _)| key.id.clone())
    }

    fn snapshot(&self, value: &Value) -> Option<Key> {
        let of_volume = self
            .reading
            .find(self.world, Kind::named("snapshot"), None, value);
        let image = || {
            let image = self
                .reading
                .find(self.world, Kind::named("image"), None, value)?;
            (self.world.get(&image)?["type"] == "snapshot").then_some(image)
        };
        of_volume.or_else(image)
    }

    fn make_droplets(&mut self) -> Done {
        let image = self.given("image").cloned().unwrap_or_default();
        let Some(image) = self.image(&image) else {
            return Err(());
        };
        let tags = self.labels("tags")?;
        let region = self.region(&json!(self.word("region")))?;
        let vpc = self.word("vpc_uuid");
        let vpc = self.thing("vpc", &vpc).map_or(String::new(), |key| key.id);
        let mut names: Vec<Value> = self.items("names")?.unwrap_or_default();
        names.extend(self.given("name").cloned());
        let mut made = Vec::new();
        for name in names {
            let own = self.world.fresh_id(Form::Number);
            let key = Key::new("droplet", own.as_str());
            self.world.put(key.clone(), json!({ "id": own.parse::<u64>().unwrap(), "name": self.reading.word(&name), "tags": tags, "region": { "slug": region }, "size_slug": self.size(&json!(self.word("size"))), "size": { "slug": self.word("size") }, "image": { "id": image.parse::<u64>().ok() }, "vpc_uuid": vpc, "status": "new", "networks": { "v4": [], "v6": [] } }));
            self.move_home(&key);
            made.push(key);
        }
        for volume in self.items("volumes")?.unwrap_or_default() {
            let id = self
                .reading
                .given(&volume, "id")
                .cloned()
                .unwrap_or(volume.clone());
            let mut found = self.reading.find_all(self.world, "volume", &id);
            if let Some(name) = self
                .reading
                .given(&volume, "name")
                .map(|name| self.reading.word(name))
            {
                found.extend(self.volume_called(&name, &region));
            }
            for key in found {
                let on = made.first().map(|key| key.id.clone());
                if let (Some(thing), Some(on)) = (self.world.edit(&key), on) {
                    thing["droplet_ids"] = numbers(&[on]);
                }
            }
        }
        match made.first() {
            Some(key) if self.given("names").is_none() => {
                Ok((202, json!({ "droplet": self.world.shown(key) })))
            }
            _ => Ok((
                202,
                json!({ "droplets": made.iter().map(|key| self.world.shown(key)).collect::<Vec<_>>() }),
            )),
        }
    }

    fn droplet_action(&mut self, key: &Key) -> Done {
        let kind = self.verb("type");
        match kind.as_str() {
            "rename" => {
                let name = self.word("name");
                if let Some(droplet) = self.world.edit(key) {
                    droplet["name"] = json!(name);
                }
            }
            "resize" => {
                let size = self.size(&json!(self.word("size")));
                if let Some(droplet) = self.world.edit(key) {
                    droplet["size_slug"] = json!(size);
                }
            }
            "rebuild" | "restore" => {
                let image = self.given("image").cloned().unwrap_or_default();
                let Some(image) = self.image(&image) else {
                    return Err(());
                };
                if let Some(droplet) = self.world.edit(key) {
                    droplet["image"] = json!({ "id": image.parse::<u64>().ok() });
                }
                self.world.touch(key);
            }
            "snapshot" => {
                let own = self.world.fresh_id(Form::Number);
                let region = self.world.attribute(key, "region").unwrap_or_default();
                self.world.put(Key::new("image", own.as_str()), json!({ "id": own.parse::<u64>().unwrap(), "name": self.word("name"), "type": "snapshot", "public": false, "regions": region, "tags": [], "slug": null, "distribution": "Ubuntu", "_of": key.id }));
            }
            _ => self.world.touch(key),
        }
        Ok((
            201,
            json!({ "action": { "id": self.world.fresh() + 500_000_000, "status": "in-progress", "type": kind, "resource_id": key.id.parse::<u64>().ok(), "resource_type": "droplet" } }),
        ))
    }

    /// A Droplet goes, and is taken off whatever names it.
    fn destroy(&mut self, key: &Key) {
        for other in self.world.around(key) {
            let Some(thing) = self.world.edit(&other) else {
                continue;
            };
            if let Some(ids) = thing["droplet_ids"].as_array_mut() {
                ids.retain(|id| text(id) != key.id);
            }
            if text(&thing["droplet"]["id"]) == key.id {
                thing["droplet"] = Value::Null;
            }
        }
        self.world.remove(key);
    }

    fn destroy_with(&mut self, key: &Key, how: &str) -> Done {
        let around = self.world.around(key);
        self.destroy(key);
        if how == "dangerous" {
            for other in around
                .iter()
                .filter(|other| matches!(other.kind, "volume" | "reserved_ip"))
            {
                self.world.remove(other);
            }
            let snapshots = self
                .world
                .of_kind("image")
                .filter(|(_, image)| image["_of"] == *key.id);
            let snapshots: Vec<Key> = snapshots.map(|(key, _)| key.clone()).collect();
            snapshots.iter().for_each(|key| self.world.remove(key));
        } else {
            self.remove_listed(&[
                ("reserved_ips", "reserved_ip"),
                ("floating_ips", "reserved_ip"),
                ("snapshots", "image"),
                ("volumes", "volume"),
                ("volume_snapshots", "snapshot"),
            ])?;
        }
        Ok((202, Value::Null))
    }

    fn remove_listed(&mut self, lists: &[(&str, &str)]) -> Result<(), ()> {
        for (member, kind) in lists {
            let named = self.items(member)?.unwrap_or_default();
            for key in self.things(kind, &named) {
                let is_attached = key.kind == "volume"
                    && self
                        .world
                        .get(&key)
                        .is_some_and(|volume| !pick(volume, "droplet_ids[]").is_empty());
                if !is_attached {
                    self.world.remove(&key);
                }
            }
        }
        Ok(())
    }

    fn join(&mut self, of: &str, id: &str) -> Done {
        let kind = if of == "firewalls" {
            "firewall"
        } else {
            "load_balancer"
        };
        let Some(key) = self.thing(kind, id) else {
            return Ok(none());
        };
        let named = self.items("droplet_ids")?.unwrap_or_default();
        let named = ids(&self.things("droplet", &named));
        let mut own = pick(
            self.world.get(&key).unwrap_or(&Value::Null),
            "droplet_ids[]",
        );
        own.retain(|id| !named.contains(id));
        if self.method == "POST" {
            own.extend(named);
        }
        if let Some(thing) = self.world.edit(&key) {
            thing["droplet_ids"] = numbers(&own);
        }
        Ok(empty())
    }

    fn firewall_tags(&mut self, id: &str) -> Done {
        let Some(key) = self.thing("firewall", id) else {
            return Ok(none());
        };
        let tags = self.labels("tags")?;
        for tag in tags {
            self.take_label(&key, "tags", &tag);
            if let Some(own) = self
                .world
                .edit(&key)
                .and_then(|thing| thing["tags"].as_array_mut())
                .filter(|_| self.method == "POST")
            {
                own.push(json!(tag));
            }
        }
        Ok(empty())
    }

    fn firewall_rules(&mut self, id: &str) -> Done {
        let Some(key) = self.thing("firewall", id) else {
            return Ok(none());
        };
        self.items("inbound_rules")?;
        self.world.touch(&key);
        Ok(empty())
    }

    fn replace_firewall(&mut self, key: &Key) -> Result<(), ()> {
        let droplets = self.items("droplet_ids")?.unwrap_or_default();
        let droplets = ids(&self.things("droplet", &droplets));
        let tags = self.labels("tags")?;
        let name = self.word("name");
        let rules = self.given("inbound_rules").cloned().unwrap_or(json!([]));
        if let Some(thing) = self.world.edit(key) {
            if !name.is_empty() {
                thing["name"] = json!(name);
            }
            thing["droplet_ids"] = numbers(&droplets);
            thing["tags"] = json!(tags);
            thing["inbound_rules"] = rules;
        }
        self.world.touch(key);
        Ok(())
    }

    fn make_balancer(&mut self) -> Done {
        let tag = self.word("tag");
        let made = self.make(Kind::named("load_balancer"), None, "load_balancer")?;
        let key = Key::new("load_balancer", text(&made.1["load_balancer"]["id"]));
        let named = self.items("droplet_ids")?.unwrap_or_default();
        let droplets = numbers(&ids(&self.things("droplet", &named)));
        if let Some(thing) = self.world.edit(&key) {
            thing["tag"] = json!(tag);
            thing["droplet_ids"] = droplets;
        }
        Ok((202, json!({ "load_balancer": self.world.shown(&key) })))
    }

    fn replace_balancer(&mut self, key: &Key) -> Result<(), ()> {
        let named = self.items("droplet_ids")?.unwrap_or_default();
        let droplets = numbers(&ids(&self.things("droplet", &named)));
        let (tag, name, tags) = (self.word("tag"), self.word("name"), self.labels("tags")?);
        self.merge(key)?;
        if let Some(thing) = self.world.edit(key) {
            thing["tags"] = json!(tags);
            thing["droplet_ids"] = droplets;
            thing["tag"] = json!(tag);
            if !name.is_empty() {
                thing["name"] = json!(name);
            }
        }
        Ok(())
    }

    /// A balancer that serves a certificate of Let's Encrypt writes addresses into its zones, unless it is told not to.
    fn serve_certificates(&mut self, members: &[&str]) {
        if self.flag("disable_lets_encrypt_dns_records") {
            return;
        }
        for member in members {
            let Some(rules) = self.given(member).and_then(Value::as_array).cloned() else {
                continue;
            };
            for rule in rules {
                let id = self
                    .reading
                    .given(&rule, "certificate_id")
                    .map(|id| self.reading.word(id))
                    .unwrap_or_default();
                if let Some(certificate) = self.thing("certificate", &id) {
                    for name in self
                        .world
                        .attribute(&certificate, "dns_name")
                        .unwrap_or_default()
                    {
                        self.write_zone(&name);
                    }
                }
                if let Some(name) = self
                    .reading
                    .given(&rule, "name")
                    .map(|name| self.reading.word(name))
                {
                    self.write_zone(&name);
                }
            }
        }
    }

    fn write_zone(&mut self, name: &str) {
        if let Some(zone) = self.world.zone_of(name) {
            self.used.push((zone, How::Zone));
        }
    }

    fn volume_called(&self, name: &str, region: &str) -> Vec<Key> {
        let is = |value: &Value| {
            self.reading.spelled(&text(&value["name"])) == self.reading.spelled(name)
                && (region.is_empty()
                    || self.reading.spelled(&text(&value["region"]["slug"]))
                        == self.reading.spelled(region))
        };
        let found = self.world.of_kind("volume").filter(|(_, value)| is(value));
        found.map(|(key, _)| key.clone()).take(1).collect()
    }

    fn volume_action(&mut self, key: &Key) -> Done {
        let droplet = self.given("droplet_id").cloned().unwrap_or_default();
        let droplet = self.reading.find_all(self.world, "droplet", &droplet);
        let size = self.given("size_gigabytes").cloned();
        let (kind, tags) = (self.verb("type"), self.labels("tags")?);
        let Some(volume) = self.world.edit(key) else {
            return Ok(none());
        };
        match kind.as_str() {
            "attach" if !droplet.is_empty() => {
                volume["droplet_ids"] = numbers(&ids(&droplet[..1]));
                if let Some(own) = volume["tags"].as_array_mut() {
                    own.extend(tags.into_iter().map(Value::from));
                }
            }
            "detach" => volume["droplet_ids"] = json!([]),
            "resize" => volume["size_gigabytes"] = size.ok_or(())?,
            _ => return Err(()),
        }
        Ok((
            202,
            json!({ "action": { "id": self.world.fresh() + 500_000_000, "status": "in-progress", "type": kind, "resource_id": null, "resource_type": "backend" } }),
        ))
    }

    fn address_action(&mut self, list: &str, ip: &str) -> Done {
        let kind = if list == "reserved_ipv6" {
            list
        } else {
            "reserved_ip"
        };
        let Some(key) = self.thing(kind, ip) else {
            return Ok(none());
        };
        let droplet = self.given("droplet_id").cloned().unwrap_or_default();
        let on = match self.verb("type").as_str() {
            "assign" => match self
                .reading
                .find_all(self.world, "droplet", &droplet)
                .first()
            {
                Some(droplet) => json!({ "id": droplet.id.parse::<u64>().ok() }),
                None => return Err(()),
            },
            "unassign" => Value::Null,
            _ => return Err(()),
        };
        if let Some(address) = self.world.edit(&key) {
            address["droplet"] = on;
        }
        Ok((
            201,
            json!({ "action": { "id": self.world.fresh() + 500_000_000, "status": "in-progress", "type": "assign_ip", "resource_id": 1, "resource_type": kind } }),
        ))
    }

    fn make_address(&mut self, list: &str) -> Done {
        let number = self.world.fresh();
        let key = Key::new(
            "reserved_ip",
            format!("198.18.{}.{}", number / 250 % 250, number % 250),
        );
        let droplet = self.given("droplet_id").cloned();
        let droplet = droplet
            .map(|id| self.reading.find_all(self.world, "droplet", &id))
            .unwrap_or_default();
        let region = match droplet.first() {
            Some(droplet) => self
                .world
                .attribute(droplet, "region")
                .unwrap_or_default()
                .concat(),
            None => self.region(&json!(self.word("region")))?,
        };
        let on = droplet
            .first()
            .map(|droplet| json!({ "id": droplet.id.parse::<u64>().ok() }));
        self.world.put(
            key.clone(),
            json!({ "ip": key.id, "region": { "slug": region }, "droplet": on, "locked": false }),
        );
        self.move_home(&key);
        let one = if list == "floating_ips" {
            "floating_ip"
        } else {
            "reserved_ip"
        };
        Ok((202, json!({ one: self.world.shown(&key) })))
    }

    fn record_name(&self, zone: &Key) -> String {
        let name = self.word("name");
        if name.is_empty() && self.reading.nothing {
            return "@".to_owned();
        }
        let name = if self.reading.caseless {
            name.to_lowercase()
        } else {
            name
        };
        if name == format!("{}.", zone.id) || name == zone.id {
            return "@".to_owned();
        }
        let absolute = format!(".{}.", zone.id);
        name.strip_suffix(absolute.as_str())
            .or(name.strip_suffix(absolute.trim_end_matches('.')))
            .unwrap_or(&name)
            .to_owned()
    }

    fn record(&mut self, zone: &Key, kind: &str, name: &str) -> Key {
        let own = self.world.fresh_id(Form::Number);
        let key = Key::new("domain_record", child(&zone.id, &own));
        self.world.put(key.clone(), json!({ "id": own.parse::<u64>().unwrap(), "type": kind, "name": name, "data": self.word("ip_address"), "ttl": 30, "priority": null, "port": null, "weight": null, "flags": null, "tag": null }));
        key
    }

    fn pool(&self, cluster: &str, pool: &str) -> Option<Key> {
        let cluster = self.thing("kubernetes_cluster", cluster)?;
        self.reading.find(
            self.world,
            Kind::named("node_pool"),
            Some(&cluster),
            &Value::from(pool),
        )
    }

    fn nodes(&self, pool: &Key) -> Vec<Key> {
        let value = self.world.get(pool).cloned().unwrap_or_default();
        pick(&value, "nodes[].droplet_id")
            .into_iter()
            .map(|id| Key::new("droplet", id))
            .collect()
    }

    fn destroy_nodes(&mut self, pool: &Key) {
        for node in self.nodes(pool) {
            self.destroy(&node);
        }
    }

    /// A pool, and the Droplets that its nodes are.
    fn make_pool(&mut self, cluster: &Key, body: &Value) -> Key {
        let of = |name: &str| {
            self.reading
                .given(body, name)
                .map(|value| self.reading.word(value))
                .unwrap_or_default()
        };
        let (name, size) = (of("name"), self.size(&json!(of("size"))));
        let mut tags: Vec<String> = self
            .reading
            .items(body, "tags")
            .ok()
            .flatten()
            .unwrap_or_default()
            .iter()
            .map(|tag| self.reading.word(tag))
            .collect();
        let own = self.world.fresh_id(Form::Uuid);
        let (worker, node) = (
            self.world.fresh_id(Form::Uuid),
            self.world.fresh_id(Form::Number),
        );
        tags.extend(self.world.attribute(cluster, "tag").unwrap_or_default()); // the API puts its cluster's on
        let region = self
            .world
            .attribute(cluster, "region")
            .unwrap_or_default()
            .concat();
        let droplet = Key::new("droplet", node.as_str());
        self.world.put(droplet.clone(), json!({ "id": node.parse::<u64>().unwrap(), "name": format!("{name}-node"), "tags": tags, "region": { "slug": region }, "size_slug": size, "_node": true }));
        if let Some(home) = self.world.home(cluster) {
            self.world.settle(&droplet, &home);
        }
        let key = Key::new("node_pool", child(&cluster.id, &own));
        self.world.put(key.clone(), json!({ "id": own, "name": name, "size": size, "count": 1, "tags": tags, "nodes": [{ "id": worker, "name": "node", "droplet_id": node }] }));
        key
    }

    fn default_registry(&self) -> Option<Key> {
        let mut registries = self.world.of_kind("registry");
        let default = registries.find(|(_, value)| value["_default"] == true);
        default.map(|(key, _)| key.clone())
    }
}

fn ids(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.id.clone()).collect()
}

const UNKEPT: [&str; 14] = [
    "online-migration",
    "schema-registry",
    "indexes",
    "backups",
    "job-invocations",
    "events",
    "alerts",
    "keys",
    "tokens",
    "functions",
    "child_agents",
    "api_keys",
    "data_sources",
    "access_points",
];
