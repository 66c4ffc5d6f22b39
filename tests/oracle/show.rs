//! What the API answers to who reads.

use serde_json::{Value, json};

use super::act::{Answer, Doing};
use super::kinds::Kind;
use super::world::{Key, World, pick, text};

impl Doing<'_> {
    /// The answer to a GET.
    pub fn show(&mut self) -> Answer {
        let path = self.path.clone();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let all = |kind: &str| {
            self.world
                .of_kind(kind)
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
        };
        match segments.as_slice() {
            ["account"] => self.one(all("account").first().cloned(), "account"),
            ["projects", "default"] => {
                let key = self
                    .world
                    .default_project()
                    .map(|id| Key::new("project", id));
                self.one(key, "project")
            }
            ["projects", id, "resources"] => self.resources(id),
            ["registry"] => {
                let found = self
                    .world
                    .of_kind("registry")
                    .find(|(_, value)| value["_default"] == true);
                let key = found.map(|(key, _)| key.clone());
                self.one(key, "registry")
            }
            ["registry", registry, "repositories" | "repositoriesV2"] => {
                let Some(registry) = self.named("registry", registry) else {
                    return missing();
                };
                let own = all("repository")
                    .into_iter()
                    .filter(|key| key.parent().as_ref() == Some(&registry))
                    .collect();
                self.list("repositories", own)
            }
            ["floating_ips"] => self.list("floating_ips", all("reserved_ip")),
            ["floating_ips", ip] => {
                let key = self.named("reserved_ip", ip);
                self.one(key, "floating_ip")
            }
            ["snapshots"] => {
                let mut found = all("snapshot");
                found.extend(
                    all("image")
                        .into_iter()
                        .filter(|key| is_snapshot(self.world, key)),
                );
                let wanted = self.reading.word(&self.query["resource_type"]);
                found.retain(|key| match wanted.as_str() {
                    "droplet" => key.kind == "image",
                    "volume" => key.kind == "snapshot",
                    _ => true,
                });
                self.snapshots(found)
            }
            ["snapshots", id] | ["volumes", "snapshots", id] => match self.snapshot_called(id) {
                Some(key) => (200, json!({ "snapshot": as_snapshot(self.world, &key) })),
                None => missing(),
            },
            ["volumes", id, "snapshots"] => {
                let Some(volume) = self.named("volume", id) else {
                    return missing();
                };
                let mut found = all("snapshot");
                found.retain(|key| {
                    self.world
                        .get(key)
                        .is_some_and(|value| value["resource_id"] == *volume.id)
                });
                self.snapshots(found)
            }
            ["droplets", id, "snapshots"] => {
                let Some(droplet) = self.named("droplet", id) else {
                    return missing();
                };
                let mut found = all("image");
                found.retain(|key| {
                    is_snapshot(self.world, key)
                        && self
                            .world
                            .get(key)
                            .is_some_and(|value| value["_of"] == *droplet.id)
                });
                self.list("snapshots", found)
            }
            ["droplets", id, "firewalls"] => {
                let Some(droplet) = self.named("droplet", id) else {
                    return missing();
                };
                let around = self.world.around(&droplet);
                self.list(
                    "firewalls",
                    around
                        .into_iter()
                        .filter(|key| key.kind == "firewall")
                        .collect(),
                )
            }
            ["droplets", id, "neighbors"] => {
                if self.named("droplet", id).is_none() {
                    return missing();
                }
                self.list("droplets", all("droplet"))
            }
            ["droplets", id, "destroy_with_associated_resources"] => {
                let Some(droplet) = self.named("droplet", id) else {
                    return missing();
                };
                let around = self.world.around(&droplet);
                let of = |kind: &str| {
                    around.iter().filter(|key| key.kind == kind).map(|key| json!({ "id": key.id, "name": self.world.get(key).map(|value| text(&value["name"])), "cost": "0" })).collect::<Vec<_>>()
                };
                (
                    200,
                    json!({ "reserved_ips": of("reserved_ip"), "floating_ips": [], "volumes": of("volume"), "snapshots": [], "volume_snapshots": [] }),
                )
            }
            [list @ ("droplets" | "images" | "volumes"), id, "actions"] => {
                let kind = list.trim_end_matches('s');
                let Some(of) = self.named(kind, id) else {
                    return missing();
                };
                let mut found = all("action");
                found.retain(|key| {
                    self.world.get(key).is_some_and(|value| {
                        value["resource_type"] == kind && text(&value["resource_id"]) == of.id
                    })
                });
                self.list("actions", found)
            }
            ["vpcs", id, "members"] => {
                let Some(vpc) = self.named("vpc", id) else {
                    return missing();
                };
                let kinds = ["droplet", "load_balancer", "database", "kubernetes_cluster"];
                let member = |key: &&Key| {
                    kinds.contains(&key.kind)
                        && self
                            .world
                            .attribute(key, "vpc")
                            .is_some_and(|own| own.contains(&vpc.id))
                };
                let members: Vec<Value> = self.world.keys().filter(member).map(|key| json!({ "urn": key.urn(), "name": self.world.get(key).map(|value| text(&value["name"])), "created_at": "2026-01-01T00:00:00Z" })).collect();
                self.paged("members", members)
            }
            ["vpcs", id, "peerings"] => {
                let Some(vpc) = self.named("vpc", id) else {
                    return missing();
                };
                let mut found = all("vpc_peering");
                found.retain(|key| {
                    self.world
                        .attribute(key, "vpc")
                        .is_some_and(|own| own.contains(&vpc.id))
                });
                self.list("peerings", found)
            }
            _ => self.usual_show(),
        }
    }

    fn usual_show(&self) -> Answer {
        let Some((kind, parent, rest)) = self.place() else {
            return missing();
        };
        match rest.as_slice() {
            [] => {
                let mut found: Vec<Key> = self
                    .world
                    .of_kind(kind.name)
                    .map(|(key, _)| key.clone())
                    .collect();
                found.retain(|key| key.parent() == parent && self.asked_for(key));
                self.list(kind.many, found)
            }
            [own] => {
                let key = self.reading.find(
                    self.world,
                    kind,
                    parent.as_ref(),
                    &Value::from(own.as_str()),
                );
                let key =
                    key.or_else(|| (kind.name == "image").then(|| self.by_slug(own)).flatten());
                self.one(key, kind.one)
            }
            _ => (200, json!({})),
        }
    }

    fn named(&self, kind: &str, id: &str) -> Option<Key> {
        self.reading
            .find(self.world, Kind::named(kind), None, &Value::from(id))
    }

    fn by_slug(&self, slug: &str) -> Option<Key> {
        let found = self
            .world
            .of_kind("image")
            .find(|(_, image)| image["slug"] == *slug);
        found.map(|(key, _)| key.clone())
    }

    fn snapshot_called(&self, id: &str) -> Option<Key> {
        let image = || {
            self.named("image", id)
                .filter(|key| is_snapshot(self.world, key))
        };
        self.named("snapshot", id).or_else(image)
    }

    /// What the query asks for, as far as lists here take it.
    fn asked_for(&self, key: &Key) -> bool {
        let value = self.world.get(key).cloned().unwrap_or_default();
        let wanted = |name: &str| {
            Some(self.reading.word(&self.query[name])).filter(|wanted| !wanted.is_empty())
        };
        let tag = wanted("tag_name").is_none_or(|tag| {
            pick(&value, "tags[]")
                .iter()
                .any(|own| own.eq_ignore_ascii_case(&tag))
        });
        let name = wanted("name").is_none_or(|name| {
            !matches!(
                key.kind,
                "droplet" | "volume" | "certificate" | "domain_record"
            ) || text(&value["name"]) == name
        });
        let private =
            self.query["private"] != "true" || key.kind != "image" || value["public"] == false;
        tag && name && private
    }

    fn one(&self, key: Option<Key>, member: &str) -> Answer {
        match key {
            Some(key) if member.is_empty() => (200, self.world.shown(&key)),
            Some(key) => (200, json!({ member: self.world.shown(&key) })),
            None => missing(),
        }
    }

    fn list(&self, member: &str, keys: Vec<Key>) -> Answer {
        let items = keys.iter().map(|key| self.world.shown(key)).collect();
        self.paged(member, items)
    }

    fn snapshots(&self, keys: Vec<Key>) -> Answer {
        let items = keys
            .iter()
            .map(|key| as_snapshot(self.world, key))
            .collect();
        self.paged("snapshots", items)
    }

    fn resources(&self, project: &str) -> Answer {
        let id = if project == "default" {
            self.world.default_project()
        } else {
            self.named("project", project).map(|key| key.id)
        };
        let Some(id) = id else { return missing() };
        let own = self
            .world
            .keys()
            .filter(|key| self.world.home(key).as_ref() == Some(&id));
        let items = own.filter_map(|key| key.urn().map(|urn| json!({ "urn": urn, "assigned_at": "2026-01-01T00:00:00Z", "links": { "self": "" }, "status": "ok" })));
        self.paged("resources", items.collect())
    }

    fn paged(&self, member: &str, items: Vec<Value>) -> Answer {
        let number =
            |name: &str, usual: usize| text(&self.query[name]).parse().unwrap_or(usual).max(1);
        let (page, size) = (number("page", 1), number("per_page", 20).min(200));
        let total = items.len();
        let shown: Vec<Value> = items
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        let mut links = json!({});
        if page * size < total {
            links = json!({ "pages": { "next": format!("https://api.digitalocean.com/v2/{}?page={}&per_page={size}", self.path.join("/"), page + 1), "last": format!("https://api.digitalocean.com/v2/{}?page={}&per_page={size}", self.path.join("/"), total.div_ceil(size)) } });
        }
        (
            200,
            json!({ member: shown, "links": links, "meta": { "total": total } }),
        )
    }
}

fn is_snapshot(world: &World, key: &Key) -> bool {
    world
        .get(key)
        .is_some_and(|image| image["type"] == "snapshot")
}

/// A Droplet's snapshot is an image by another name.
fn as_snapshot(world: &World, key: &Key) -> Value {
    let value = world.shown(key);
    if key.kind == "snapshot" {
        return value;
    }
    let of = world.get(key).map(|image| image["_of"].clone());
    json!({ "id": key.id, "name": value["name"], "regions": value["regions"], "tags": value["tags"], "resource_id": of, "resource_type": "droplet", "min_disk_size": 1, "size_gigabytes": 1, "created_at": "2026-01-01T00:00:00Z" })
}

fn missing() -> Answer {
    (
        404,
        json!({ "id": "not_found", "message": "The resource you requested could not be found." }),
    )
}
