//! What a request may have done, told by what is different after it: the contract's sentences about effects, and nothing of how
//! tidegate decides.

use std::cell::OnceCell;

use serde_json::Value;

use super::act::How;
use super::ask::{Endpoint, Request};
use super::policy::{Grant, Role};
use super::serve::{Heard, decoded};
use super::world::{Change, Key, World, pick};

/// Something that must not be, and the sentence that it breaks.
#[derive(Debug)]
pub struct Wrong {
    pub check: &'static str,
    pub what: String,
}

/// A request that was answered, and what came of it.
pub struct Case<'c> {
    pub role: &'c Role,
    pub endpoints: &'c [Endpoint],
    pub request: &'c Request,
    pub status: u16,
    pub body: &'c [u8],
    pub before: &'c World,
    pub after: &'c World,
    pub used: &'c [(Key, How)],
    pub heard: &'c [Heard],
    pub words: &'c [(Key, String)],
    pub scopes: OnceCell<Vec<&'static str>>,
}

impl Case<'_> {
    pub fn judge(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let changes = self.before.difference(self.after);
        if !changes.is_empty() || !self.used.is_empty() {
            for change in &changes {
                self.change(change, &changes, &mut wrong);
            }
            self.around(&changes, &mut wrong);
            self.used(&mut wrong);
            self.widened(&changes, &mut wrong);
        }
        self.denied_requests(&mut wrong);
        self.lost(&mut wrong);
        self.shown(&changes, &mut wrong);
        wrong
    }

    /// The request as it went on.
    pub fn main(&self) -> Option<&Heard> {
        self.heard.iter().find(|heard| heard.method != "GET")
    }

    /// The scopes of the endpoint that it was.
    fn scopes(&self) -> &[&'static str] {
        self.scopes.get_or_init(|| self.scopes_asked())
    }

    fn scopes_asked(&self) -> Vec<&'static str> {
        let heard = self.main().or(self.heard.last());
        let Some(heard) = heard else {
            return Vec::new();
        };
        let path = heard.target.split('?').next().unwrap_or_default();
        let fits = |endpoint: &&Endpoint| {
            endpoint.method == heard.method && template_fits(endpoint.template, path)
        };
        let found = self.endpoints.iter().filter(fits);
        let best = found.min_by_key(|endpoint| endpoint.template.matches('{').count());
        best.map_or(Vec::new(), |endpoint| endpoint.scopes.clone())
    }

    fn line(&self) -> String {
        self.main().map_or(String::new(), |heard| {
            format!(
                "{} {}",
                heard.method,
                heard.target.split('?').next().unwrap_or_default()
            )
        })
    }

    /// Whether an allow grant has a part in this request: by a verb of the thing's family, or a scope of the endpoint.
    fn has_part(&self, grant: &Grant, families: &[&str], read: bool) -> bool {
        if !grant.requests.is_empty() {
            return grant.matches(&self.line());
        }
        if let Some(main) = self.main().filter(|_| !grant.actions.is_empty())
            && main.target.contains("/actions")
        {
            let body: Value = serde_json::from_slice(&main.body).unwrap_or_default();
            if !grant.actions.iter().any(|action| body["type"] == **action) {
                return false;
            }
        }
        let by_family = families
            .iter()
            .any(|family| grant.gives_of(family, |verb| read || verb != "read"));
        by_family || self.scopes().iter().any(|scope| grant.gives(scope))
    }

    fn change(&self, change: &Change, all: &[Change], wrong: &mut Vec<Wrong>) {
        let Change { key, was, is } = change;
        let families = families(key);
        let implied = self.is_implied(change, all);
        let mine = |grant: &Grant| {
            let accepts = |world: &World| {
                grant
                    .only
                    .as_ref()
                    .is_none_or(|only| only.accepts(world, key, true))
            };
            self.has_part(grant, &families, false)
                && (!was || accepts(self.before))
                && (!is || accepts(self.after))
        };
        if !implied && !self.role.allow.iter().any(mine) {
            wrong.push(Wrong {
                check: "not-mine",
                what: format!(
                    "{change}, and no grant holds it {}",
                    if *was && *is {
                        "before and after"
                    } else {
                        "so"
                    }
                ),
            });
        }
        for deny in &self.role.deny {
            // What belongs to a thing that is denied is denied with it: the path names both.
            let strikes = |world: &World| {
                let Some(only) = &deny.only else {
                    return !implied;
                };
                let line = std::iter::successors(Some(key.clone()), Key::parent);
                line.into_iter().any(|own| only.strikes(world, &own))
            };
            if denies(deny, change)
                && (*was && strikes(self.before) || *is && strikes(self.after))
                && !is_tag_on_the_side(key, self.after)
            {
                wrong.push(Wrong {
                    check: "denied",
                    what: format!("{change}, which a deny protects"),
                });
            }
        }
    }

    /// What comes with something else that was the token's to do: nodes with their pool, tags by being named, lists that lose a
    /// Droplet that is gone.
    fn is_implied(&self, change: &Change, all: &[Change]) -> bool {
        let key = &change.key;
        if is_tag_on_the_side(key, self.after) {
            return true;
        }
        let gone = |kind: &str| all.iter().any(|other| other.key.kind == kind && !other.is);
        match key.kind {
            "droplet" => self.comes_with_its_pool(key, all),
            "firewall" | "load_balancer" | "volume" | "reserved_ip" | "reserved_ipv6" => {
                change.is && gone("droplet")
            }
            // Which one is the default is another rule's matter.
            "project" | "vpc" => {
                change.was
                    && change.is
                    && all
                        .iter()
                        .filter(|other| other.key.kind == key.kind)
                        .count()
                        > 1
            }
            _ => false,
        }
    }

    /// A node is held by who holds its pool.
    fn comes_with_its_pool(&self, droplet: &Key, all: &[Change]) -> bool {
        let pools = [self.before, self.after];
        let mut pools = pools.iter().flat_map(|world| world.of_kind("node_pool"));
        let is_its = |pool: &Key| {
            let pooled = |other: &Change| match other.key.kind {
                "node_pool" => other.key == *pool,
                "kubernetes_cluster" => pool.parent().as_ref() == Some(&other.key),
                _ => false,
            };
            all.iter().any(pooled)
        };
        pools.any(|(pool, value)| {
            pick(value, "nodes[].droplet_id").contains(&droplet.id) && is_its(pool)
        })
    }

    /// A Droplet that is served or guarded by something else than before was changed.
    fn around(&self, changes: &[Change], wrong: &mut Vec<Wrong>) {
        for (key, _) in self.before.of_kind("droplet") {
            if !self.after.has(key) {
                continue;
            }
            let (before, after) = (self.before.around(key), self.after.around(key));
            if before == after {
                continue;
            }
            let families = ["droplet"];
            let joined = after.iter().any(|other| !before.contains(other))
                && !self.comes_with_its_pool(key, changes);
            let mine = |grant: &Grant| {
                self.has_part(grant, &families, true)
                    && grant
                        .only
                        .as_ref()
                        .is_none_or(|only| only.accepts(self.before, key, false))
            };
            if joined && !self.role.allow.iter().any(mine) {
                wrong.push(Wrong {
                    check: "joined",
                    what: format!("{key} is joined to another thing, and no grant holds it"),
                });
            }
            for deny in &self.role.deny {
                let asks = deny.gives_of("droplet", |verb| verb == "*" || verb == "update");
                if asks
                    && deny
                        .only
                        .as_ref()
                        .is_some_and(|only| only.strikes(self.before, key))
                {
                    wrong.push(Wrong {
                        check: "denied-around",
                        what: format!("what serves or guards {key} changed, which a deny protects"),
                    });
                }
            }
        }
    }

    fn used(&self, wrong: &mut Vec<Wrong>) {
        for (key, how) in self.used {
            if !self.before.has(key) {
                continue;
            }
            let families = families(key);
            let takes = |grant: &Grant| {
                grant
                    .only
                    .as_ref()
                    .is_none_or(|only| only.accepts(self.before, key, false))
            };
            let by_name = |grant: &Grant| {
                let named = |scope: &String| {
                    families
                        .iter()
                        .any(|family| *scope == format!("{family}:read"))
                };
                grant.scopes.iter().any(named) || grant.matches(&self.line())
            };
            let mine = match how {
                How::Disk => self
                    .role
                    .allow
                    .iter()
                    .any(|grant| takes(grant) && by_name(grant)),
                How::Zone | How::Login => self
                    .role
                    .allow
                    .iter()
                    .any(|grant| takes(grant) && self.has_part(grant, &families, true)),
                How::Split => true,
            };
            if !mine {
                wrong.push(Wrong {
                    check: "used",
                    what: format!("{key} was used ({how:?}), and no grant holds it"),
                });
            }
            for deny in &self.role.deny {
                let asks = match how {
                    How::Disk => families
                        .iter()
                        .any(|family| deny.gives_of(family, |verb| matches!(verb, "*" | "read"))),
                    How::Login => families
                        .iter()
                        .any(|family| deny.gives_of(family, |verb| matches!(verb, "*" | "read"))),
                    How::Zone | How::Split => {
                        deny.gives_of("domain", |verb| matches!(verb, "*" | "update"))
                    }
                };
                if asks
                    && deny
                        .only
                        .as_ref()
                        .is_none_or(|only| only.strikes(self.before, key))
                {
                    wrong.push(Wrong {
                        check: "denied-used",
                        what: format!("{key} was used ({how:?}), which a deny protects"),
                    });
                }
            }
        }
    }

    /// What a grant holds after a request was held before, and nothing came from under a deny.
    fn widened(&self, changes: &[Change], wrong: &mut Vec<Wrong>) {
        let there = |key: &&Key| self.after.has(key);
        for key in self.before.keys().filter(there) {
            for grant in &self.role.allow {
                let Some(only) = &grant.only else { continue };
                if only.accepts(self.before, key, true) || !only.accepts(self.after, key, true) {
                    continue;
                }
                let held = |other: &Grant| {
                    other
                        .only
                        .as_ref()
                        .is_none_or(|only| only.accepts(self.before, key, true))
                };
                let others: Vec<&Grant> =
                    self.role.allow.iter().filter(|other| held(other)).collect();
                let family_of = |scope: &&String| matches_family(scope, key);
                let scopes = grant.scopes.iter().filter(family_of);
                let free = others
                    .iter()
                    .any(|other| other.scopes.contains(&"*".to_owned()));
                let gained = scopes.clone().count() > 0
                    && !free
                    && !scopes
                        .clone()
                        .all(|scope| others.iter().any(|other| gives_all(other, scope)));
                if gained {
                    wrong.push(Wrong {
                        check: "gained",
                        what: format!("{key} came under a grant that did not hold it"),
                    });
                }
            }
            for deny in &self.role.deny {
                let Some(only) = &deny.only else { continue };
                if only.strikes(self.before, key)
                    && !only.strikes(self.after, key)
                    && deny.scopes.iter().any(|scope| matches_family(scope, key))
                {
                    wrong.push(Wrong {
                        check: "freed",
                        what: format!("{key} came from under a deny"),
                    });
                }
            }
        }
        let _ = changes;
    }

    fn denied_requests(&self, wrong: &mut Vec<Wrong>) {
        for deny in self
            .role
            .deny
            .iter()
            .filter(|deny| !deny.requests.is_empty())
        {
            if self.main().is_some() && deny.matches(&self.line()) {
                wrong.push(Wrong {
                    check: "denied-request",
                    what: "it went on, and a deny names it".to_owned(),
                });
            }
        }
    }

    /// What a client wrote and the gate let through arrives: a member left out in silence makes another request of it.
    fn lost(&self, wrong: &mut Vec<Wrong>) {
        let (Some(sent), Some(main)) = (&self.request.body, self.main()) else {
            return;
        };
        let odd = matches!(self.request.odd, Some("repeated"));
        let Ok(sent) = serde_json::from_str::<Value>(sent) else {
            return;
        };
        let arrived: Value = serde_json::from_slice(&main.body).unwrap_or_default();
        if main.method == self.request.method
            && !odd
            && main.method != "GET"
            && let Some(lost) = missing(&sent, &arrived, "")
                .filter(|lost| lost != "droplet_ids" || main.target != "/v2/volumes")
        {
            wrong.push(Wrong {
                check: "lost",
                what: format!("`{lost}` of the body did not arrive"),
            });
        }
    }

    /// Nothing hidden is in any byte of an answer.
    fn shown(&self, changes: &[Change], wrong: &mut Vec<Wrong>) {
        if !(200..300).contains(&self.status) || self.body.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(self.body);
        let asked = format!(
            "{} {}",
            self.request.target,
            self.request.body.clone().unwrap_or_default()
        );
        let reads = self.request.method == "GET";
        for (key, word) in self.words {
            if !text.contains(word) || asked.contains(word) {
                continue;
            }
            if !reads && changes.iter().any(|change| change.key == *key) {
                continue;
            }
            if !self.may_see(key) {
                wrong.push(Wrong {
                    check: "shown",
                    what: format!("the answer has `{word}` of {key} in it, which is hidden"),
                });
            }
        }
    }

    fn may_see(&self, key: &Key) -> bool {
        if let Some(of) = self.acted_on(key) {
            return self.before.has(&of) && self.may_see_itself(&of, &["actions"]);
        }
        self.may_see_itself(key, &[])
    }

    /// An action is as visible as what it acted on.
    fn acted_on(&self, key: &Key) -> Option<Key> {
        let value = self.before.get(key).filter(|_| key.kind == "action")?;
        let kind = if value["resource_type"] == "droplet" {
            "droplet"
        } else {
            "image"
        };
        Some(Key::new(kind, super::world::text(&value["resource_id"])))
    }

    fn may_see_itself(&self, key: &Key, more: &[&str]) -> bool {
        let mut families = families(key);
        families.extend(more);
        // As it went on, and not what was looked up about it.
        let path = |target: &str| decoded(target.split('?').next().unwrap_or_default());
        let own = path(&self.request.target);
        let itself = |heard: &&Heard| path(&heard.target) == own;
        let itself = self.heard.iter().find(itself).or(self.heard.last());
        let line = format!(
            "{} {}",
            self.request.method,
            itself.map_or("", |heard| heard
                .target
                .split('?')
                .next()
                .unwrap_or_default())
        );
        let shown = |grant: &Grant| {
            let part = if grant.requests.is_empty() {
                families
                    .iter()
                    .any(|family| grant.gives_of(family, |verb| verb == "*" || verb == "read"))
                    || self.scopes().iter().any(|scope| grant.gives(scope))
            } else {
                grant.matches(&line)
            };
            part && grant
                .only
                .as_ref()
                .is_none_or(|only| only.accepts(self.before, key, false))
        };
        let hidden = |deny: &Grant| {
            let asks = families
                .iter()
                .any(|family| deny.gives_of(family, |verb| verb == "*" || verb == "read"));
            asks && deny
                .only
                .as_ref()
                .is_some_and(|only| only.strikes(self.before, key))
        };
        self.role.allow.iter().any(shown) && !self.role.deny.iter().any(hidden)
    }
}

/// The families that have scopes for a thing.
fn families(key: &Key) -> Vec<&'static str> {
    match key.kind {
        "volume" => vec!["block_storage", "block_storage_action"],
        "snapshot" => vec!["snapshot", "block_storage_snapshot"],
        "image" => vec!["image", "snapshot"],
        "dedicated_inference" => vec!["dedicated_inference", "dedicated_inference_token"],
        _ => vec![key.kind().family],
    }
}

/// Whether a deny's scopes are about a change, where they leave no doubt.
fn denies(deny: &Grant, change: &Change) -> bool {
    let verb = match (change.was, change.is) {
        (false, _) => "create",
        (true, true) => "update",
        (true, false) => "delete",
    };
    let key = &change.key;
    let families: Vec<&str> = match (key.kind, verb) {
        ("volume", "update") => vec!["block_storage_action"], // its own family has nothing that changes one
        ("snapshot", _) => vec!["block_storage_snapshot"],
        ("image", "create" | "update") => vec!["image"], // as a snapshot it is read and deleted alone
        _ => families(key),
    };
    let plain = key.kind().parent.is_none();
    let said = |family: &&str| {
        deny.scopes.iter().any(|scope| {
            let (own, own_verb) = scope.split_once(':').unwrap_or(("*", "*"));
            (own == "*" || own == *family)
                && (own_verb == "*" || plain && own_verb == verb && own != "*")
        })
    };
    families.iter().any(said)
}

fn matches_family(scope: &str, key: &Key) -> bool {
    let family = scope.split(':').next().unwrap_or_default();
    family == "*" || families(key).contains(&family)
}

/// Whether a grant gives all that a scope, or a wildcard, does.
fn gives_all(grant: &Grant, scope: &str) -> bool {
    let (family, verb) = scope.split_once(':').unwrap_or(("*", "*"));
    grant.scopes.iter().any(|own| {
        let (own_family, own_verb) = own.split_once(':').unwrap_or(("*", "*"));
        (own_family == "*" || own_family == family) && (own_verb == "*" || own_verb == verb)
    })
}

/// A tag that was made by being named on something.
fn is_tag_on_the_side(key: &Key, after: &World) -> bool {
    key.kind == "tag" && after.get(key).is_some_and(|tag| tag["_implied"] == true)
}

fn template_fits(template: &str, path: &str) -> bool {
    let (parts, own): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    parts.len() == own.len()
        && parts
            .iter()
            .zip(&own)
            .all(|(part, own)| part.starts_with('{') || part == own)
}

/// The first member that was sent with something in it and is not there, or not so.
fn missing(sent: &Value, arrived: &Value, at: &str) -> Option<String> {
    match (sent, arrived) {
        (Value::Object(sent), arrived) => sent.iter().find_map(|(name, value)| {
            let at = format!("{at}{name}");
            if is_nothing(value) || ECHOED.contains(&name.as_str()) {
                return None;
            }
            match arrived.get(name) {
                Some(arrived) => missing(value, arrived, &format!("{at}.")),
                None => Some(at),
            }
        }),
        (Value::Array(sent), Value::Array(arrived)) => {
            let not_there = |item: &&Value| {
                !is_nothing(item) && !arrived.iter().any(|own| missing(item, own, "").is_none())
            };
            sent.iter().find(not_there).map(|_| at.to_owned())
        }
        (Value::Array(sent), _) if !sent.is_empty() => Some(format!("{at}[]")),
        _ => None,
    }
}

/// What clients send back because an answer had it, and the reference lets nobody set.
const ECHOED: [&str; 8] = [
    "id",
    "created_at",
    "connection",
    "private_connection",
    "standby_connection",
    "standby_private_connection",
    "schema_registry_connection",
    "ui_connection",
];

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
