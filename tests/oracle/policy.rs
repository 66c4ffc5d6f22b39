//! Policies: drawn, written as tidegate reads them, and judged by their meaning in the contract's own words, with none of the
//! project's code.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::kinds::{KINDS, Kind};
use super::rng::Rng;
use super::world::{Key, World, text};

/// A role.
#[derive(Clone, Debug, Default)]
pub struct Role {
    pub allow: Vec<Grant>,
    pub deny: Vec<Grant>,
    pub lure: Lure,
}

/// What the holder of a role would try first: half of what it asks is of this.
#[derive(Clone, Debug, Default)]
pub struct Lure {
    /// Endpoints, by method and how they begin, or what they are to a `$`.
    pub endpoints: &'static [(&'static str, &'static str)],
    pub things: Vec<Key>,
    pub tags: &'static [&'static str],
    /// Members of bodies that are mostly there.
    pub members: &'static [&'static str],
    /// What is odd about half of it.
    pub odd: &'static [&'static str],
    /// Whether the server answers as the reference does not.
    pub answers: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Grant {
    pub scopes: Vec<String>,
    pub requests: Vec<String>,
    pub only: Option<Only>,
    pub actions: Vec<&'static str>,
    /// Tags and a project that are added to what is created.
    pub adds: Option<(Option<String>, Option<String>)>,
}

/// What a grant is narrowed to: kinds with what is asked of them, and what is asked of everything.
#[derive(Clone, Debug, Default)]
pub struct Only {
    pub kinds: Vec<(&'static str, Asked)>,
    pub all: Asked,
}

/// Attributes, each with the values of which one must match.
pub type Asked = Vec<(&'static str, Vec<String>)>;

impl Grant {
    /// Whether it gives a scope.
    pub fn gives(&self, scope: &str) -> bool {
        let (family, verb) = scope.split_once(':').unwrap_or((scope, ""));
        self.gives_of(family, |own| own == "*" || own == verb)
    }

    /// Whether it gives a verb of a family; the verb may be `*`.
    pub fn gives_of(&self, family: &str, verb: impl Fn(&str) -> bool) -> bool {
        self.scopes.iter().any(|scope| {
            let (own, own_verb) = scope.split_once(':').unwrap_or(("*", "*"));
            (own == "*" || own == family) && verb(own_verb)
        })
    }

    /// Whether a request, as it went on, is one of those that it names.
    pub fn matches(&self, line: &str) -> bool {
        self.requests.iter().any(|pattern| {
            let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
            whole.is_match(line)
        })
    }

    fn written(&self) -> Value {
        let mut grant = Map::new();
        if self.requests.is_empty() {
            grant.insert("scopes".into(), json!(self.scopes));
        } else {
            grant.insert("requests".into(), json!(self.requests));
        }
        if let Some(only) = &self.only {
            let mut written = Map::new();
            for (attribute, values) in &only.all {
                written.insert((*attribute).into(), json!(values));
            }
            for (kind, asked) in &only.kinds {
                let asked: Map<String, Value> = asked
                    .iter()
                    .map(|(name, values)| ((*name).to_owned(), json!(values)))
                    .collect();
                written.insert(
                    (*kind).into(),
                    if asked.is_empty() {
                        json!("any")
                    } else {
                        Value::Object(asked)
                    },
                );
            }
            grant.insert("only".into(), Value::Object(written));
        }
        if !self.actions.is_empty() {
            grant.insert("actions".into(), json!(self.actions));
        }
        if let Some((tag, project)) = &self.adds {
            let mut adds = Map::new();
            adds.extend(tag.as_ref().map(|tag| ("tags".to_owned(), json!([tag]))));
            adds.extend(
                project
                    .as_ref()
                    .map(|project| ("project".to_owned(), json!(project))),
            );
            grant.insert("on_create".into(), Value::Object(adds));
        }
        Value::Object(grant)
    }
}

impl Role {
    pub fn written(&self, account: &str) -> Value {
        let grants = |grants: &[Grant]| grants.iter().map(Grant::written).collect::<Vec<_>>();
        let mut role = json!({ "account": account, "allow": grants(&self.allow) });
        if !self.deny.is_empty() {
            role["deny"] = json!(grants(&self.deny));
        }
        role
    }
}

impl Only {
    /// Whether it takes a thing; to change one takes more than to look at it, where some of its children are named.
    pub fn accepts(&self, world: &World, key: &Key, change: bool) -> bool {
        let asked = self.all.iter().all(|(attribute, values)| {
            is_itself(world, key, attribute, values) || has(world, key, key.kind, attribute, values)
        });
        if !asked {
            return false;
        }
        if self.kinds.is_empty() {
            return true;
        }
        let below = |kind: &str| {
            Kind::named(kind)
                .parent
                .is_some_and(|parent| parent == key.kind)
        };
        if change && self.kinds.iter().any(|(kind, _)| below(kind)) {
            return false;
        }
        views(world, key)
            .iter()
            .any(|view| self.fits_line(world, key, view))
    }

    /// Whether, as what a deny is narrowed to, it strikes a thing.
    pub fn strikes(&self, world: &World, key: &Key) -> bool {
        let asked = self.all.iter().all(|(attribute, values)| {
            is_itself(world, key, attribute, values) || has(world, key, key.kind, attribute, values)
        });
        // A selector on a child makes it about those of the parent, not about the parent.
        let below = |kind: &str| Kind::named(kind).parent == Some(key.kind);
        if self.kinds.iter().any(|(kind, _)| below(kind)) {
            return false;
        }
        asked
            && (self.kinds.is_empty()
                || views(world, key)
                    .iter()
                    .any(|view| self.fits_line(world, key, view)))
    }

    /// Whether all that is asked of the thing, as a thing of `view`, and of its parents holds, and something is.
    fn fits_line(&self, world: &World, key: &Key, view: &str) -> bool {
        let mut line = vec![(key.clone(), view.to_owned())];
        let mut up = key.parent();
        while let Some(parent) = up {
            line.push((parent.clone(), parent.kind.to_owned()));
            up = parent.parent();
        }
        let asked: Vec<_> = line
            .iter()
            .flat_map(|(key, view)| {
                self.kinds
                    .iter()
                    .filter(move |(kind, _)| kind == view)
                    .map(move |(_, asked)| (key, view, asked))
            })
            .collect();
        !asked.is_empty()
            && asked.iter().all(|(key, view, asked)| {
                asked
                    .iter()
                    .all(|(attribute, values)| has(world, key, view, attribute, values))
            })
    }
}

/// The kinds as which the API shows a thing.
pub fn views(world: &World, key: &Key) -> Vec<&'static str> {
    let is_snapshot = key.kind == "image"
        && world
            .get(key)
            .is_some_and(|image| image["type"] == "snapshot");
    if is_snapshot {
        vec!["image", "snapshot"]
    } else {
        vec![key.kind]
    }
}

/// Under `only`, `tag: x` and `project: p` cover the tag and the project themselves.
fn is_itself(world: &World, key: &Key, attribute: &str, values: &[String]) -> bool {
    key.kind == attribute
        && ["id", "name"]
            .iter()
            .any(|own| has(world, key, key.kind, own, values))
}

fn has(world: &World, key: &Key, view: &str, attribute: &str, values: &[String]) -> bool {
    let own = match (key.kind, view, attribute) {
        ("image", "snapshot", "source") => world.get(key).map(|image| vec![text(&image["_of"])]),
        ("image", "snapshot", "source_type") => Some(vec!["droplet".to_owned()]),
        _ => world.attribute(key, attribute),
    };
    let caseless =
        attribute == "tag" || matches!(key.kind, "tag" | "domain") || attribute == "domain";
    let same = |text: &str| {
        if caseless {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    own.is_some_and(|own| {
        own.iter()
            .any(|own| values.iter().any(|value| glob(&same(value), &same(own))))
    })
}

/// Whether `*` and `?` of a pattern take a text.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len())
            .filter(|at| text.is_char_boundary(*at))
            .any(|at| glob(rest.as_str(), &text[at..])),
        Some(first) => text
            .strip_prefix(|c| first == '?' || c == first)
            .is_some_and(|text| glob(rest.as_str(), text)),
    }
}

/// What draws a policy: the account that it is about, and what is whose.
pub struct Drawer<'b> {
    pub world: &'b World,
    pub mine: &'b [Key],
    pub theirs: &'b [Key],
}

/// Families with the four plain verbs, each meaning what it says.
const PLAIN: [&str; 14] = [
    "droplet",
    "block_storage",
    "image",
    "firewall",
    "load_balancer",
    "domain",
    "reserved_ip",
    "vpc",
    "project",
    "ssh_key",
    "uptime",
    "cdn",
    "certificate",
    "snapshot",
];

impl Drawer<'_> {
    pub fn role(&self, rng: &mut Rng) -> Role {
        let mut role = Role::default();
        if rng.chance(25) {
            return self.tempting(rng);
        }
        if rng.chance(40) {
            // Everything, but for what is denied.
            role.allow.push(Grant {
                scopes: vec!["*".into()],
                ..Grant::default()
            });
            if rng.chance(50) {
                role.allow[0].scopes.extend(
                    [
                        "image:read",
                        "snapshot:read",
                        "block_storage_snapshot:read",
                        "database:read",
                    ]
                    .map(String::from),
                );
            }
            for _ in 0..=rng.below(2) {
                role.deny.push(self.deny(rng));
            }
            return role;
        }
        for _ in 0..=rng.below(3) {
            role.allow.push(self.allow(rng));
        }
        if rng.chance(35) {
            role.deny.push(self.deny(rng));
        }
        role
    }

    /// Roles by which one thing could be gained, or freed, through another.
    fn tempting(&self, rng: &mut Rng) -> Role {
        let one = |team: &[Key], kind: &str, rng: &mut Rng| {
            let wanted: Vec<&Key> = team.iter().filter(|key| key.kind == kind).collect();
            (*rng.pick(&wanted)).clone()
        };
        let grant = |scopes: &[&str], only: Option<(&'static str, &'static str, String)>| Grant {
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            only: only.map(|(kind, attribute, value)| match kind {
                "" => Only {
                    all: vec![(attribute, vec![value])],
                    ..Only::default()
                },
                kind => Only {
                    kinds: vec![(kind, vec![(attribute, vec![value])])],
                    ..Only::default()
                },
            }),
            ..Grant::default()
        };
        let mine = one(self.mine, "droplet", rng);
        let theirs = one(self.theirs, "droplet", rng);
        let (my_id, their_id) = (mine.own().to_owned(), theirs.own().to_owned());
        let lure = |endpoints, things: &[&Key], tags| Lure {
            endpoints,
            things: things.iter().copied().cloned().collect(),
            tags,
            ..Lure::default()
        };
        let all = || grant(&["*", "image:read", "snapshot:read"], None);
        let tags = || {
            grant(
                &[
                    "droplet:*",
                    "tag:*",
                    "volume:read",
                    "image:*",
                    "database:read",
                    "database:update",
                    "project:*",
                    "kubernetes:read",
                    "kubernetes:update",
                ]
                .map(|scope| {
                    if scope == "volume:read" {
                        "block_storage:read"
                    } else {
                        scope
                    }
                }),
                None,
            )
        };
        let deny_all = |kind: &'static str, attribute: &'static str, value: String| {
            let deny = vec![grant(&["*"], Some((kind, attribute, value)))];
            (vec![all()], deny)
        };
        let ((allow, deny), lure) = match rng.below(44) {
            0 => (
                (
                    vec![
                        grant(
                            &["load_balancer:*"],
                            Some(("load_balancer", "droplet", my_id)),
                        ),
                        tags(),
                    ],
                    vec![],
                ),
                lure(TAGGING, &[&mine], &["web-a", "web-b"]),
            ),
            1 => (
                (
                    vec![
                        grant(&["firewall:*"], Some(("firewall", "droplet", my_id))),
                        tags(),
                    ],
                    vec![],
                ),
                lure(TAGGING, &[&mine], &["web-a", "web-b"]),
            ),
            2 => (
                (
                    vec![
                        grant(
                            &["database:*"],
                            Some(("database_user", "tag", "shared".into())),
                        ),
                        tags(),
                    ],
                    vec![],
                ),
                lure(TAGGING, &[&one(self.theirs, "database", rng)], &["shared"]),
            ),
            3 => (
                (
                    vec![
                        grant(
                            &["domain:*"],
                            Some(("domain_record", "project", "project-a".into())),
                        ),
                        grant(&["project:*", "domain:update", "domain:read"], None),
                    ],
                    vec![],
                ),
                lure(
                    MOVING,
                    &[&one(self.theirs, "domain", rng), &self.home("a")],
                    &[],
                ),
            ),
            4 => (
                (
                    vec![all()],
                    vec![grant(
                        &["domain:*"],
                        Some(("domain_record", "project", "project-b".into())),
                    )],
                ),
                lure(
                    MOVING,
                    &[&one(self.theirs, "domain", rng), &self.home("a")],
                    &[],
                ),
            ),
            5 => (
                (
                    vec![all()],
                    vec![grant(
                        &["load_balancer:*"],
                        Some(("load_balancer", "droplet", their_id)),
                    )],
                ),
                lure(TAGGING, &[&theirs], &["web-b"]),
            ),
            6 => (
                (
                    vec![all()],
                    vec![grant(&["*"], Some(("droplet", "id", their_id)))],
                ),
                lure(&[], &[&theirs], &[]),
            ),
            7 | 30..=31 => (
                (
                    vec![all()],
                    vec![grant(
                        &["kubernetes:*"],
                        Some(("kubernetes_cluster", "tag", "client-b".into())),
                    )],
                ),
                Lure {
                    members: &["tags[]", "name"],
                    odd: &["emptied"],
                    ..lure(
                        &[
                            ("PUT", "/v2/kubernetes/clusters/{cluster_id}$"),
                            (
                                "PUT",
                                "/v2/kubernetes/clusters/{cluster_id}/node_pools/{node_pool_id}$",
                            ),
                        ],
                        &[&one(self.theirs, "kubernetes_cluster", rng)],
                        &["client-a"],
                    )
                },
            ),
            8 | 32..=33 => (
                (
                    vec![all()],
                    vec![grant(
                        &[*rng.pick(&[
                            "block_storage_snapshot:delete",
                            "snapshot:delete",
                            "image:delete",
                            "block_storage:delete",
                            "reserved_ip:delete",
                        ])],
                        Some(("", "region", "fra1".into())),
                    )],
                ),
                lure(
                    &[
                        ("DELETE", "/v2/snapshots"),
                        ("DELETE", "/v2/volumes"),
                        ("DELETE", "/v2/images"),
                        ("DELETE", "/v2/reserved_ips"),
                        ("DELETE", "/v2/floating_ips"),
                    ],
                    &[
                        &one(self.theirs, "snapshot", rng),
                        &one(self.theirs, "image", rng),
                        &one(self.theirs, "volume", rng),
                        &one(self.theirs, "reserved_ip", rng),
                    ],
                    &[],
                ),
            ),
            9 => (
                (
                    vec![all()],
                    vec![grant(
                        &["droplet:*"],
                        Some((
                            "droplet",
                            "size",
                            (*rng.pick(&["s-8vcpu-16gb", "c-2"])).into(),
                        )),
                    )],
                ),
                Lure::default(),
            ),
            10 => (
                (
                    vec![
                        grant(
                            &[
                                "droplet:*",
                                "image:*",
                                "tag:*",
                                "vpc:*",
                                "ssh_key:*",
                                "regions:read",
                            ],
                            None,
                        ),
                        grant(
                            &["block_storage:*", "block_storage_action:*", "reserved_ip:*"],
                            Some(("volume", "droplet", my_id)),
                        ),
                    ],
                    vec![],
                ),
                Lure::default(),
            ),
            11 | 40..=41 => (
                (
                    vec![
                        grant(&["vpc:*"], Some(("vpc", "default", "false".into()))),
                        grant(&["project:*"], Some(("project", "default", "false".into()))),
                        grant(
                            &["vpc:update", "vpc:read", "project:update", "project:read"],
                            None,
                        ),
                    ],
                    vec![],
                ),
                Lure {
                    members: &["default", "is_default"],
                    ..lure(
                        &[
                            ("PUT", "/v2/vpcs"),
                            ("PATCH", "/v2/vpcs"),
                            ("PUT", "/v2/projects"),
                            ("PATCH", "/v2/projects"),
                        ],
                        &[],
                        &[],
                    )
                },
            ),
            // A thing of theirs by its id, or its name, whatever it is.
            12..=15 => {
                let kind = *rng.pick(&[
                    "droplet",
                    "droplet",
                    "image",
                    "volume",
                    "firewall",
                    "load_balancer",
                    "database",
                    "kubernetes_cluster",
                    "vpc",
                    "project",
                    "ssh_key",
                    "domain",
                    "reserved_ip",
                ]);
                let thing = one(self.theirs, kind, rng);
                let value = self.world.get(&thing).map(|value| text(&value["name"]));
                let name = value.filter(|name| !name.is_empty() && rng.chance(25));
                let attribute = if name.is_some() { "name" } else { "id" };
                let value = name.unwrap_or_else(|| thing.own().to_owned());
                (deny_all(kind, attribute, value), lure(&[], &[&thing], &[]))
            }
            16..=19 | 34..=37 | 42..=43 => self.tempted_beside(rng, &theirs, &all, &grant),
            20..=21 => (
                (
                    vec![all()],
                    vec![grant(&["*"], Some(("droplet", "id", their_id)))],
                ),
                Lure {
                    odd: &["spelled", "spelled", "several"],
                    ..lure(NAMING, &[&theirs], &[])
                },
            ),
            // What was done to what may not be seen.
            38..=39 => (
                (
                    vec![all()],
                    vec![grant(&["*"], Some(("droplet", "id", their_id)))],
                ),
                lure(
                    &[
                        ("GET", "/v2/actions"),
                        ("GET", "/v2/droplets/{droplet_id}/actions"),
                    ],
                    &[&theirs],
                    &[],
                ),
            ),
            // What it is shown is judged by answers that are not as the reference has them.
            22..=24 => {
                let read = ["*", "image:read", "snapshot:read"];
                let mine = vec![grant(&read, Some(("", "tag", "client-a".into())))];
                let but = vec![grant(&["*"], Some(("", "tag", "client-b".into())))];
                let held = if rng.chance(50) {
                    (mine, vec![])
                } else {
                    (vec![all()], but)
                };
                let lure = Lure {
                    answers: true,
                    ..lure(READING, &[&theirs], &[])
                };
                (held, lure)
            }
            // What may not be deleted, and could lose what says so.
            _ => {
                let kind = *rng.pick(&["kubernetes_cluster", "project", "genai_agent", "database"]);
                let thing = one(self.theirs, kind, rng);
                let changing: &[(&str, &str)] = match kind {
                    "kubernetes_cluster" => &[("PUT", "/v2/kubernetes/clusters/{cluster_id}$")],
                    "project" => &[
                        ("PUT", "/v2/projects/{project_id}$"),
                        ("PATCH", "/v2/projects/{project_id}$"),
                    ],
                    "genai_agent" => &[("PUT", "/v2/gen-ai/agents/{uuid}$")],
                    _ => CHANGING,
                };
                let scope = format!("{}:delete", thing.kind().family);
                let attribute = if kind == "project" { "name" } else { "tag" };
                let value = self.world.attribute(&thing, attribute).unwrap_or_default();
                let value = value
                    .first()
                    .cloned()
                    .unwrap_or_else(|| "client-b".to_owned());
                let deny = vec![grant(&[&scope], Some((thing.kind, attribute, value)))];
                let lure = Lure {
                    members: &["name", "tags[]"],
                    odd: &["emptied"],
                    ..lure(changing, &[&thing], &[])
                };
                ((vec![all()], deny), lure)
            }
        };
        Role { allow, deny, lure }
    }

    /// Roles whose holder gains by what a request does beside what it is about.
    fn tempted_beside(
        &self,
        rng: &mut Rng,
        theirs: &Key,
        all: &dyn Fn() -> Grant,
        grant: Granting<'_>,
    ) -> ((Vec<Grant>, Vec<Grant>), Lure) {
        let one = |team: &[Key], kind: &str, rng: &mut Rng| {
            let wanted: Vec<&Key> = team.iter().filter(|key| key.kind == kind).collect();
            (*rng.pick(&wanted)).clone()
        };
        let only = |kinds: Vec<(&'static str, &'static str, &str)>| {
            let asked = |(kind, attribute, value): (_, _, &str)| {
                (kind, vec![(attribute, vec![value.to_owned()])])
            };
            Some(Only {
                kinds: kinds.into_iter().map(asked).collect(),
                ..Only::default()
            })
        };
        match rng.below(5) {
            // Snapshots of one's own, by names of one's own.
            0 => {
                let (droplet, volume) = (
                    one(self.mine, "droplet", rng),
                    one(self.mine, "volume", rng),
                );
                let made = ["snapshot", "image"].map(|kind| (kind, "name", "a-*"));
                let held = [
                    ("droplet", "id", droplet.own()),
                    ("volume", "id", volume.own()),
                ];
                let scopes = [
                    "droplet:*",
                    "block_storage:*",
                    "block_storage_snapshot:*",
                    "snapshot:*",
                    "image:*",
                ];
                let allow = Grant {
                    only: only(held.into_iter().chain(made).collect()),
                    ..grant(&scopes, None)
                };
                let lure = Lure {
                    endpoints: &[
                        ("POST", "/v2/volumes/{volume_id}/snapshots"),
                        ("POST", "/v2/droplets/{droplet_id}/actions"),
                    ],
                    things: vec![droplet, volume],
                    members: &["name", "type"],
                    ..Lure::default()
                };
                ((vec![allow], vec![]), lure)
            }
            // A registry that is handed to a new cluster.
            1 | 4 => {
                let deny = grant(
                    &["registry:*"],
                    Some(("registry", "name", "registry-a".into())),
                );
                let lure = Lure {
                    endpoints: &[("POST", "/v2/kubernetes/clusters")],
                    members: &["registry_enabled"],
                    odd: &["typed"],
                    ..Lure::default()
                };
                ((vec![all()], vec![deny]), lure)
            }
            // Zones in which is written.
            2 => {
                let zone = one(self.theirs, "domain", rng);
                let deny = grant(
                    &["domain:*"],
                    Some(("domain", "name", zone.own().to_owned())),
                );
                let lure = Lure {
                    endpoints: &[
                        ("POST", "/v2/certificates"),
                        ("POST", "/v2/cdn/endpoints"),
                        ("PUT", "/v2/cdn/endpoints"),
                        ("POST", "/v2/load_balancers"),
                        ("POST", "/v2/domains"),
                    ],
                    things: vec![zone],
                    members: &["dns_names[]", "custom_domain", "domains[].name"],
                    ..Lure::default()
                };
                ((vec![all()], vec![deny]), lure)
            }
            // Disks of others.
            _ => {
                let (image, snapshot) = (
                    one(self.theirs, "image", rng),
                    one(self.theirs, "snapshot", rng),
                );
                let wide = grant(
                    &[
                        "droplet:*",
                        "block_storage:*",
                        "block_storage_action:*",
                        "tag:*",
                        "vpc:*",
                        "ssh_key:*",
                    ],
                    None,
                );
                let mine = grant(
                    &["image:read", "snapshot:read", "block_storage_snapshot:read"],
                    Some(("", "tag", "client-a".into())),
                );
                let lure = Lure {
                    endpoints: &[("POST", "/v2/droplets"), ("POST", "/v2/volumes")],
                    things: vec![image, snapshot, theirs.clone()],
                    members: &["image", "snapshot_id", "type"],
                    odd: &["spelled"],
                    ..Lure::default()
                };
                ((vec![wide, mine], vec![]), lure)
            }
        }
    }

    fn allow(&self, rng: &mut Rng) -> Grant {
        let mut grant = Grant::default();
        if rng.chance(8) {
            let droplets: Vec<_> = self
                .mine
                .iter()
                .filter(|key| key.kind == "droplet")
                .collect();
            let id = &rng.pick(&droplets).id;
            grant.requests = vec![
                format!("GET /v2/droplets/{id}(/.*)?"),
                format!("(POST|DELETE) /v2/droplets/{id}(/actions)?"),
            ];
            return grant;
        }
        grant.scopes = self.scopes(rng);
        if rng.chance(25) {
            grant
                .scopes
                .extend(["image:read".to_owned(), "snapshot:read".to_owned()]);
        }
        if rng.chance(12) {
            return grant;
        }
        grant.only = Some(self.only(rng, self.mine, &grant.scopes));
        if rng.chance(10) {
            grant.actions = vec![
                *rng.pick(&["power_off", "resize", "rename", "snapshot", "attach"]),
                "reboot",
            ];
        }
        if rng.chance(25) {
            let tag = rng.chance(60).then(|| "client-a".to_owned());
            let project = (tag.is_none() || rng.chance(30)).then(|| "project-a".to_owned());
            grant.adds = Some((tag, project));
        }
        grant
    }

    fn deny(&self, rng: &mut Rng) -> Grant {
        let mut grant = Grant::default();
        grant.scopes = match rng.below(10) {
            0..=4 => vec!["*".into()],
            5..=6 => vec![format!("{}:*", rng.pick(&PLAIN))],
            7 => vec![format!("*:{}", rng.pick(&["delete", "update"]))],
            _ => vec![format!(
                "{}:{}",
                rng.pick(&PLAIN[..11]),
                rng.pick(&["delete", "create"])
            )],
        };
        if known(&grant.scopes[0]) && !rng.chance(5) {
            grant.only = Some(self.only(rng, self.theirs, &grant.scopes));
        } else if !known(&grant.scopes[0]) {
            grant.scopes = vec!["droplet:*".into()];
            grant.only = Some(self.only(rng, self.theirs, &grant.scopes));
        }
        grant
    }

    fn scopes(&self, rng: &mut Rng) -> Vec<String> {
        if rng.chance(20) {
            return vec!["*".into()];
        }
        if rng.chance(8) {
            return vec!["*:read".into()];
        }
        let mut scopes = Vec::new();
        for _ in 0..=rng.below(4) {
            let family = rng.pick(KINDS).family;
            scopes.push(format!("{family}:*"));
            if family == "block_storage" {
                scopes.extend([
                    "block_storage_action:*".to_owned(),
                    "block_storage_snapshot:*".to_owned(),
                ]);
            }
        }
        scopes.extend(["tag:*".to_owned(), "actions:read".to_owned()]);
        if rng.chance(30) {
            scopes.push("project:*".to_owned());
        }
        scopes
    }

    fn only(&self, rng: &mut Rng, of: &[Key], scopes: &[String]) -> Only {
        let team = if of == self.mine { "a" } else { "b" };
        let mut only = Only::default();
        match rng.below(10) {
            0..=1 => only.all.push(("tag", vec![format!("client-{team}")])),
            2..=3 => only.all.push(("project", vec![self.project(rng, team)])),
            4 => only.all.push((
                "region",
                vec![if team == "a" { "nyc3" } else { "fra1" }.to_owned()],
            )),
            _ => {
                for _ in 0..=rng.below(4) {
                    self.kind(rng, of, scopes, &mut only);
                }
            }
        }
        if only.kinds.is_empty() && only.all.is_empty() {
            only.all.push(("tag", vec![format!("client-{team}")]));
        }
        only
    }

    /// A selector on a kind, with something that a thing of it has.
    fn kind(&self, rng: &mut Rng, of: &[Key], scopes: &[String], only: &mut Only) {
        let asks = |key: &&Key| {
            let family = format!("{}:", key.kind().family);
            scopes
                .iter()
                .any(|scope| scope.starts_with(&family) || scope.starts_with('*'))
        };
        let wanted: Vec<&Key> = of.iter().filter(asks).collect();
        let Some(key) = rng.maybe(&wanted) else {
            return;
        };
        if key.kind == "account" || only.kinds.iter().any(|(kind, _)| *kind == key.kind) {
            return;
        }
        let mut asked = Asked::new();
        let mut attributes: Vec<&'static str> = key
            .kind()
            .attributes
            .iter()
            .map(|(name, _)| *name)
            .collect();
        attributes.extend(["tag", "project"]);
        for _ in 0..=rng.below(2) {
            let attribute = if rng.chance(40) {
                *rng.pick(&["id", "name"])
            } else {
                *rng.pick(&attributes)
            };
            if asked.iter().any(|(name, _)| *name == attribute) {
                continue;
            }
            let Some(values) = self
                .world
                .attribute(key, attribute)
                .filter(|values| !values.is_empty() && !values[0].is_empty())
            else {
                continue;
            };
            let value = values[0].clone();
            let value = match value.find('-') {
                Some(at) if attribute == "name" && rng.chance(40) => format!("{}*", &value[..=at]),
                _ => value,
            };
            asked.push((attribute, vec![value]));
        }
        if !asked.is_empty() || rng.chance(10) && !matches!(key.kind, "tag" | "project") {
            only.kinds.push((key.kind, asked));
        }
    }

    /// The project of a team.
    fn home(&self, team: &str) -> Key {
        let name = format!("project-{team}");
        let mut projects = self.world.of_kind("project");
        let found = projects.find(|(_, value)| value["name"] == *name);
        found.unwrap().0.clone()
    }

    fn project(&self, rng: &mut Rng, team: &str) -> String {
        if rng.chance(50) {
            format!("project-{team}")
        } else {
            self.home(team).id
        }
    }
}

/// Where tags are put on and taken off.
const TAGGING: &[(&str, &str)] = &[
    ("POST", "/v2/tags"),
    ("DELETE", "/v2/tags"),
    ("POST", "/v2/droplets"),
    ("DELETE", "/v2/droplets"),
];

/// Where a Droplet is named, and no look-up would be needed to know it.
const NAMING: &[(&str, &str)] = &[
    ("POST", "/v2/firewalls"),
    ("POST", "/v2/load_balancers"),
    ("POST", "/v2/tags"),
    ("DELETE", "/v2/tags/{tag_id}/resources"),
    ("POST", "/v2/projects/{project_id}/resources"),
    ("POST", "/v2/volumes/"),
    ("POST", "/v2/reserved_ips"),
];

/// What is listed and shown.
const READING: &[(&str, &str)] = &[
    ("GET", "/v2/droplets"),
    ("GET", "/v2/volumes"),
    ("GET", "/v2/snapshots"),
    ("GET", "/v2/images"),
    ("GET", "/v2/databases"),
    ("GET", "/v2/kubernetes/clusters"),
    ("GET", "/v2/load_balancers"),
    ("GET", "/v2/apps"),
];

/// Where things are put into projects.
const MOVING: &[(&str, &str)] = &[("POST", "/v2/projects/")];

/// Where what a thing is called and carries is changed.
const CHANGING: &[(&str, &str)] = &[
    ("PUT", "/v2/"),
    ("PATCH", "/v2/"),
    ("DELETE", "/v2/tags"),
    ("POST", "/v2/tags"),
];

/// Whether the API has a scope that this could mean.
fn known(scope: &str) -> bool {
    !matches!(
        scope,
        "snapshot:create" | "certificate:update" | "cdn:x" | "block_storage:update"
    )
}

/// A grant of these scopes over what has this value of this attribute of this kind.
type Granting<'g> = &'g dyn Fn(&[&str], Option<(&'static str, &'static str, String)>) -> Grant;
