//! Requests: of every endpoint, with names of both teams, first as a client writes them.

use serde_json::{Map, Value, json};

use super::kinds::{Form, Kind, of_parameter};
use super::policy::Lure;
use super::rng::Rng;
use super::world::{Key, World, text};

/// One endpoint, by the facts that the tests have of the API.
#[derive(Debug)]
pub struct Endpoint {
    pub method: &'static str,
    pub template: &'static str,
    pub scopes: Vec<&'static str>,
    pub query: Vec<&'static str>,
    pub members: Vec<&'static str>,
}

/// All of them.
pub fn endpoints() -> Vec<Endpoint> {
    let bodies: Vec<Vec<&str>> = rows(include_str!("../facts/bodies.tsv"));
    let members = |method: &str, template: &str| {
        let row = bodies
            .iter()
            .find(|row| row[0] == method && row[1] == template);
        row.map_or(Vec::new(), |row| row[2].split(' ').collect())
    };
    let read = |row: Vec<&'static str>| Endpoint {
        method: row[0],
        template: row[1],
        scopes: row[3]
            .split(['+', '|'])
            .map(str::trim)
            .filter(|scope| !scope.is_empty())
            .collect(),
        query: row.get(4).map_or(Vec::new(), |query| {
            query.split(',').filter(|name| !name.is_empty()).collect()
        }),
        members: members(row[0], row[1]),
    };
    rows(include_str!("../facts/endpoints.tsv"))
        .into_iter()
        .map(read)
        .collect()
}

fn rows(text: &'static str) -> Vec<Vec<&'static str>> {
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect()
}

/// A request, as bytes to be sent and as what was meant.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Option<String>,
    /// The endpoint that it is of.
    pub endpoint: usize,
    /// What was done to it, if anything.
    pub odd: Option<&'static str>,
}

/// The parts of a request before it is written.
#[derive(Clone, Debug)]
pub struct Draft {
    pub endpoint: usize,
    /// Literal segments, and names with their form.
    pub path: Vec<(String, Option<Form>)>,
    pub query: Vec<(String, String)>,
    pub body: Option<Value>,
    /// The members on which it hangs what the role could gain.
    pub lured: &'static [&'static str],
}

/// What draws requests for one role.
pub struct Asker<'b> {
    pub world: &'b World,
    pub endpoints: &'b [Endpoint],
    /// What some grant of the role takes.
    pub taken: &'b [Key],
    /// What some deny of it strikes.
    pub struck: &'b [Key],
    pub all: &'b [Key],
    pub lure: &'b Lure,
}

impl Asker<'_> {
    pub fn draft(&self, rng: &mut Rng, endpoint: usize) -> Draft {
        let of = &self.endpoints[endpoint];
        let path = self.path(rng, of.template);
        let mut query = Vec::new();
        for name in &of.query {
            if rng.chance(if *name == "tag_name" || *name == "name" {
                50
            } else {
                10
            }) {
                query.push(((*name).to_owned(), self.query_value(rng, of, name)));
            }
        }
        if of.method == "DELETE" && path.len() == 2 {
            for name in ["tag_name", "name", "region"] {
                let wanted = of.template == "/v2/droplets" && name == "tag_name"
                    || of.template == "/v2/volumes" && name != "tag_name";
                if wanted && !query.iter().any(|(own, _)| own == name) {
                    query.push((name.to_owned(), self.query_value(rng, of, name)));
                }
            }
        }
        let body = (!of.members.is_empty() || of.template == "/v2/droplets/actions")
            .then(|| self.body(rng, of));
        Draft {
            endpoint,
            path,
            query,
            body,
            lured: self.lure.members,
        }
    }

    fn query_value(&self, rng: &mut Rng, of: &Endpoint, name: &str) -> String {
        match name {
            "tag_name" => self.tag(rng),
            "name" if of.template == "/v2/volumes" => self.called(rng, "volume"),
            "name" if of.template == "/v2/droplets" => self.called(rng, "droplet"),
            "region" => if rng.chance(70) { "nyc3" } else { "fra1" }.to_owned(),
            "page" => "1".to_owned(),
            "per_page" => "100".to_owned(),
            "private" => "true".to_owned(),
            _ => "x".to_owned(),
        }
    }

    fn path(&self, rng: &mut Rng, template: &str) -> Vec<(String, Option<Form>)> {
        let parts: Vec<&str> = template["/v2/".len()..].split('/').collect();
        let mut path: Vec<(String, Option<Form>)> = vec![("v2".to_owned(), None)];
        path.extend(parts.iter().map(|part| ((*part).to_owned(), None)));
        let mut parent: Option<Key> = None;
        for at in (0..parts.len()).rev() {
            let Some(parameter) = parts[at]
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
            else {
                continue;
            };
            let before = format!("/v2/{}/", parts[..at].join("/"));
            let kind = of_parameter(&before, parameter);
            let key = parent
                .take()
                .filter(|parent| kind.is_some_and(|kind| kind.name == parent.kind));
            let key = key.or_else(|| kind.and_then(|kind| self.one(rng, kind.name)));
            path[at + 1] = match (&key, kind) {
                (Some(key), Some(kind)) => (key.own().to_owned(), Some(kind.form)),
                _ => (super::world::uuid(rng), Some(Form::Uuid)),
            };
            parent = key.and_then(|key| key.parent());
        }
        path
    }

    /// One of a kind: mostly what the token may have to do with.
    pub fn one(&self, rng: &mut Rng, kind: &str) -> Option<Key> {
        let lured = self.lure.things.iter().find(|key| key.kind == kind);
        if let Some(key) = lured.filter(|_| rng.chance(60)) {
            return Some(key.clone());
        }
        let from = match rng.below(100) {
            0..=19 if self.struck.iter().any(|key| key.kind == kind) => self.struck,
            0..=75 => self.taken,
            _ => self.all,
        };
        let of: Vec<&Key> = from.iter().filter(|key| key.kind == kind).collect();
        let any: Vec<&Key> = self.all.iter().filter(|key| key.kind == kind).collect();
        rng.maybe(&of)
            .or_else(|| any.first())
            .map(|key| (*key).clone())
    }

    fn id(&self, rng: &mut Rng, kind: &str) -> Value {
        let Some(key) = self.one(rng, kind) else {
            return json!("none");
        };
        match Kind::named(kind).form {
            Form::Number => json!(key.own().parse::<u64>().unwrap()),
            Form::Uuid | Form::Name => json!(key.own()),
        }
    }

    fn called(&self, rng: &mut Rng, kind: &str) -> String {
        let key = self.one(rng, kind);
        key.and_then(|key| self.world.get(&key).map(|value| text(&value["name"])))
            .unwrap_or_default()
    }

    fn tag(&self, rng: &mut Rng) -> String {
        if !self.lure.tags.is_empty() && rng.chance(60) {
            return (*rng.pick(self.lure.tags)).to_owned();
        }
        (*rng.pick(&[
            "client-a",
            "client-a",
            "client-a",
            "web-a",
            "client-b",
            "web-b",
            "shared",
            "brand-new",
        ]))
        .to_owned()
    }

    fn zone(rng: &mut Rng) -> &'static str {
        *rng.pick(&[
            "a.example",
            "a.example",
            "dev.a.example",
            "b.example",
            "dev.b.example",
        ])
    }

    fn body(&self, rng: &mut Rng, of: &Endpoint) -> Value {
        let mut body = Value::Object(Map::new());
        let chosen = |rng: &mut Rng, member: &str| {
            let leading = [
                "type",
                "name",
                "droplet_ids[]",
                "resources[]",
                "droplet_id",
                "region",
                "size",
                "size_gigabytes",
                "cluster_uuids[]",
                "cluster_uuid",
                "dns_names[]",
                "data",
                "volume_name",
                "image",
            ];
            let mostly = leading.contains(&member) || of.members.len() <= 2;
            let mostly = mostly || self.lure.members.contains(&member);
            rng.chance(if mostly {
                85
            } else if of.members.len() > 40 {
                6
            } else {
                22
            })
        };
        match of.template {
            "/v2/tags/{tag_id}/resources" | "/v2/tags" => {
                if of.template == "/v2/tags" {
                    body["name"] = json!(self.tag(rng));
                }
                if of.template != "/v2/tags" || rng.chance(30) {
                    body["resources"] = self.typed(rng);
                }
                return body;
            }
            _ => {}
        }
        let mut members = of.members.clone();
        if of.template.starts_with("/v2/volumes/actions") {
            members.push("volume_name");
        }
        if of.template == "/v2/kubernetes/clusters" {
            members.push("registry_enabled"); // its clients send it, and the reference lacks it
        }
        if of.template == "/v2/load_balancers" || of.template == "/v2/load_balancers/{lb_id}" {
            members.extend(["tag", "project_id"]);
        }
        for member in members {
            if member == "names[]" && rng.chance(90) || member.contains('*') || !chosen(rng, member)
            {
                continue;
            }
            let value = self.value(rng, of, member);
            put(&mut body, member, value);
        }
        if rng.chance(4) {
            body["tags"] = json!([self.tag(rng)]);
        }
        body
    }

    fn typed(&self, rng: &mut Rng) -> Value {
        let mut all = Vec::new();
        let kinds = [
            ("droplet", "droplet"),
            ("droplet", "droplet"),
            ("image", "image"),
            ("volume", "volume"),
            ("volume_snapshot", "snapshot"),
            ("database", "database"),
        ];
        let lures =
            |(_, kind): &&(&str, &str)| self.lure.things.iter().any(|key| key.kind == *kind);
        for _ in 0..=rng.below(2) {
            let lured = kinds.iter().find(lures).filter(|_| rng.chance(60));
            let (called, kind) = *lured.unwrap_or_else(|| rng.pick(&kinds));
            let id = text(&self.id(rng, kind));
            all.push(json!({ "resource_id": id, "resource_type": called }));
        }
        Value::Array(all)
    }

    /// What a client writes at a member.
    fn value(&self, rng: &mut Rng, of: &Endpoint, member: &str) -> Value {
        let leaf = member
            .trim_end_matches("[]")
            .rsplit('.')
            .next()
            .unwrap_or_default();
        let number = rng.next() % 1000;
        match leaf {
            "droplet_ids" | "droplet_id" | "linked_droplet_id" => self.id(rng, "droplet"),
            "entities" => json!(text(&self.id(rng, "droplet"))),
            "tags" | "tag" if !of.template.contains("/records") => json!(self.tag(rng)),
            "volumes" | "volume_id" => self.id(rng, "volume"),
            "volume_name" => json!(self.called(rng, "volume")),
            "image" if of.template.contains("droplets") => match rng.below(10) {
                0..=5 => json!("ubuntu-24-04-x64"),
                6 => json!(text(&self.id(rng, "image"))),
                _ => self.id(rng, "image"),
            },
            "snapshots" => self.id(rng, "image"),
            "volume_snapshots" | "snapshot_id" => self.id(rng, "snapshot"),
            "ssh_keys" => self.id(rng, "ssh_key"),
            "vpc_uuid"
            | "vpc_id"
            | "vpc_ids"
            | "private_network_uuid"
            | "old_vpc_id"
            | "new_vpc_id" => self.id(rng, "vpc"),
            "uuid" if member.contains("vpc") => self.id(rng, "vpc"),
            "project_id" => self.id(rng, "project"),
            "certificate_id" => self.id(rng, "certificate"),
            "cluster_uuids" | "kubernetes_ids" => self.id(rng, "kubernetes_cluster"),
            "cluster_uuid" if of.template.contains("1-clicks") => {
                self.id(rng, "kubernetes_cluster")
            }
            "cluster_uuid" => self.id(rng, "database"),
            "registries" => self.id(rng, "registry"),
            "load_balancer_uids" | "load_balancers" | "target_load_balancer_ids" => {
                self.id(rng, "load_balancer")
            }
            "reserved_ips" | "floating_ips" => self.id(rng, "reserved_ip"),
            "destination_uuid" => self.id(rng, "monitoring_destination"),
            "app_ids" => self.id(rng, "app"),
            "resources" => {
                let kind = *rng.pick(&[
                    "droplet",
                    "droplet",
                    "volume",
                    "domain",
                    "reserved_ip",
                    "load_balancer",
                    "database",
                    "kubernetes_cluster",
                    "app",
                    "vpc",
                ]);
                let lured = self.lure.things.iter().find(|key| key.urn().is_some());
                let lured = lured.cloned().filter(|_| rng.chance(60));
                let key = lured.or_else(|| self.one(rng, kind));
                json!(key.and_then(|key| key.urn()))
            }
            "resource" | "urn" => json!(self.one(rng, "droplet").and_then(|key| key.urn())),
            "dns_names" => json!(format!(
                "{}{}",
                rng.pick(&["", "www.", "*."]),
                Self::zone(rng)
            )),
            "custom_domain" | "domain" | "zone" => json!(format!(
                "{}{}",
                rng.pick(&["cdn.", "cdn.", ""]),
                Self::zone(rng)
            )),
            "ip_address" => json!("192.0.2.9"),
            "bucket" => json!(rng.pick(&["bucket-a", "bucket-b", ""])),
            "origin" => json!(format!(
                "bucket-{}.nyc3.digitaloceanspaces.com",
                rng.pick(&["a", "b"])
            )),
            "database_name" => json!(self.called(rng, "database")),
            "region" | "region_slug" => json!(if rng.chance(75) { "nyc3" } else { "fra1" }),
            "size" | "size_slug" => json!(rng.pick(&["s-1vcpu-1gb", "s-8vcpu-16gb", "c-2"])),
            "name" if of.template == "/v2/domains" => json!(
                format!(
                    "{}{}",
                    rng.pick(&["new.", "www.", "sub.dev."]),
                    Self::zone(rng)
                )
                .replace("www.", &format!("www{number}."))
            ),
            "name" if of.template.contains("/records") => {
                json!(rng.pick(&["www", "_acme-challenge", "_acme-challenge.www", "@", "mail"]))
            }
            "name" if member.starts_with("domains[]") => json!(format!("lb.{}", Self::zone(rng))),
            "name" | "label" | "sink_name" => json!(format!(
                "{}{}-{number}",
                rng.pick(&["a-", "a-", "b-", "z-"]),
                rng.pick(&["web", "db", "new"])
            )),
            "names" => json!(format!("a-many-{number}")),
            "data" => json!(rng.pick(&["192.0.2.1", "token", "www.a.example."])),
            "resource_type" => json!("droplet"),
            "type" => json!(self.kind_of(rng, of)),
            "protocol" => json!("tcp"),
            "entry_protocol" | "target_protocol" => json!("http"),
            "ports" => json!("443"),
            "addresses" => json!("10.0.0.0/8"),
            "default" | "is_default" | "registry_enabled" => json!(true),
            _ => plain(leaf),
        }
    }

    fn kind_of(&self, rng: &mut Rng, of: &Endpoint) -> &'static str {
        match of.template {
            template if template.starts_with("/v2/droplets") => *rng.pick(&[
                "reboot",
                "power_off",
                "resize",
                "rename",
                "snapshot",
                "rebuild",
                "restore",
                "enable_backups",
            ]),
            template if template.starts_with("/v2/volumes") => {
                *rng.pick(&["attach", "detach", "resize"])
            }
            template if template.contains("_ip") => *rng.pick(&["assign", "unassign"]),
            template if template.starts_with("/v2/images") => *rng.pick(&["transfer", "convert"]),
            template if template.contains("/records") => *rng.pick(&["A", "TXT", "CNAME"]),
            template if template.starts_with("/v2/certificates") => "lets_encrypt",
            template if template.starts_with("/v2/nfs") => {
                *rng.pick(&["resize", "snapshot", "attach", "detach"])
            }
            template if template.starts_with("/v2/uptime") => "https",
            template if template.starts_with("/v2/monitoring/alerts") => "v1/insights/droplet/cpu",
            _ => "x",
        }
    }
}

fn plain(leaf: &str) -> Value {
    let number = [
        "count",
        "port",
        "ttl",
        "priority",
        "weight",
        "flags",
        "size_gib",
        "size_gigabytes",
        "num_nodes",
        "size_unit",
        "value",
        "storage_size_mib",
    ];
    let truth = [
        "ipv6",
        "monitoring",
        "backups",
        "disk",
        "wildcard",
        "auto_scale",
        "cancel",
        "force_build",
    ];
    if number.contains(&leaf)
        || leaf.ends_with("_seconds")
        || leaf.starts_with("min_")
        || leaf.starts_with("max_")
        || leaf.ends_with("_threshold")
    {
        return json!(3);
    }
    if truth.contains(&leaf)
        || leaf.starts_with("enable")
        || leaf.starts_with("is_")
        || leaf.starts_with("disable_")
        || leaf.starts_with("auto_")
        || leaf.starts_with("redirect_")
    {
        return json!(true);
    }
    json!("x")
}

/// Puts a value where a dotted path says, making what is on the way.
fn put(into: &mut Value, at: &str, value: Value) {
    let (first, rest) = at
        .split_once('.')
        .map_or((at, None), |(first, rest)| (first, Some(rest)));
    let (name, list) = first
        .strip_suffix("[]")
        .map_or((first, false), |name| (name, true));
    if !into.is_object() {
        return;
    }
    match (rest, list) {
        (None, false) => into[name] = value,
        (None, true) => match into.get_mut(name).and_then(Value::as_array_mut) {
            Some(items) => items.push(value),
            None => into[name] = json!([value]),
        },
        (Some(rest), false) => {
            if into.get(name).is_none() {
                into[name] = json!({});
            }
            put(&mut into[name], rest, value);
        }
        (Some(rest), true) => {
            if into.get(name).is_none() {
                into[name] = json!([{}]);
            }
            if let Some(item) = into[name].get_mut(0) {
                put(item, rest, value);
            }
        }
    }
}

impl Draft {
    /// As it is sent, with nothing odd about it.
    pub fn written(&self, endpoints: &[Endpoint]) -> Request {
        let path: Vec<String> = self.path.iter().map(|(part, _)| encoded(part)).collect();
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let target = if query.is_empty() {
            format!("/{}", path.join("/"))
        } else {
            format!("/{}?{}", path.join("/"), query.join("&"))
        };
        Request {
            method: endpoints[self.endpoint].method.to_owned(),
            target,
            body: self.body.as_ref().map(written),
            endpoint: self.endpoint,
            odd: None,
        }
    }
}

/// JSON, in which a text that begins with U+0001 is put as it is.
pub fn written(value: &Value) -> String {
    let text = value.to_string();
    let mut parts = text.split("\"\\u0001");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (raw, rest) = part.split_once('"').unwrap_or((part, ""));
        whole.push_str(raw);
        whole.push_str(rest);
    }
    whole
}

pub fn encoded(text: &str) -> String {
    let mut whole = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b':'
            | b'@'
            | b','
            | b';'
            | b'+'
            | b'*' => whole.push(char::from(byte)),
            _ => whole.push_str(&format!("%{byte:02X}")),
        }
    }
    whole
}
