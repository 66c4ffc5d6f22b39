//! What the stand-in's account holds, and how it changes.
//!
//! Resources stand on *shelves*, one for each listing of the API (`droplets`, `domains/example.com/records`). They are
//! kept short, with a region's slug where the API shows the whole region; `shown` makes them what a client sees. A
//! resource in its full shape stays as it is, so a test may put one in word for word.

mod dns;
mod droplets;
mod firewalls;
mod images;
mod joined;
mod labels;
mod login;
mod models;
mod networks;
mod pages;
mod platform;
mod projects;
mod routes;
mod serve;
mod shelf;
mod shown;
mod stores;
mod volumes;
mod watched;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::heard::Heard;
use super::reply::Reply;
use shelf::Shelf;

/// The account behind the stand-in.
#[derive(Clone, Debug)]
pub struct World {
    shelves: BTreeMap<String, Vec<Value>>,
    /// The project of each resource that belongs into one, by its URN, in the order of assignment.
    homes: Vec<(String, String)>,
    next: u64,
}

/// The account of two clients, `a` and `b`, described in `world.json`.
///
/// Droplets 12 `a-web`, 13 `a-db`, 14 `a-web-keep` (tag `client-a`, nyc3), 22 `b-web`, 23 `b-db` (`client-b`, fra1), 31
/// `build` (no tag, nyc1); each client has a volume, an image, snapshots, a firewall, a reserved IP, a database and a
/// project; the domains are example.com and example.org.
impl Default for World {
    fn default() -> Self {
        Self::load(|_, _| true)
    }
}

impl World {
    /// A fresh account: regions, sizes, public images, the default VPCs, the default project.
    pub fn empty() -> Self {
        Self::load(|path, item| match path {
            "account" | "regions" | "sizes" => true,
            "images" => item["public"] == true,
            "projects" => item["is_default"] == true,
            "vpcs" => item["default"] == true,
            _ => false,
        })
    }

    /// Adds a resource, or puts it in the place of the one with the same id. `path` is that of its list without `/v2/`.
    ///
    /// A member `project_id` says into which project it goes; without it that is the default one.
    ///
    /// # Panics
    /// If the stand-in knows no such list.
    pub fn put(&mut self, path: &str, mut item: Value) {
        let shelf = Shelf::named(path);
        let id = text(&item[shelf.key]);
        self.settle(shelf, &id, &mut item);
        let items = self.shelves.entry(shelf::kept_at(path)).or_default();
        match items.iter_mut().find(|old| text(&old[shelf.key]) == id) {
            Some(old) => *old = item,
            None => items.push(item),
        }
    }

    /// Adds resources, for building a world in one expression.
    #[must_use]
    pub fn with(mut self, path: &str, items: impl IntoIterator<Item = Value>) -> Self {
        items.into_iter().for_each(|item| self.put(path, item));
        self
    }

    /// Adds a small Droplet in nyc3, in its full shape as far as a client can see.
    #[must_use]
    pub fn with_droplet(self, id: u64, name: &str, tags: &[&str]) -> Self {
        let droplet = json!({ "id": id, "name": name, "region": "nyc3", "size": "s-1vcpu-1gb",
            "image": "ubuntu-24-04-x64", "tags": tags });
        let tags = tags.iter().map(|tag| json!({ "name": tag }));
        self.with("droplets", [droplet]).with("tags", tags)
    }

    /// Adds a domain record, its name relative to the domain, or `@`.
    #[must_use]
    pub fn with_record(self, domain: &str, id: u64, kind: &str, name: &str, data: &str) -> Self {
        let record = dns::record(
            id,
            &json!({ "type": kind, "name": name, "data": data }),
            domain,
        );
        self.with(&format!("domains/{domain}/records"), [record])
    }

    /// What stands on a shelf, as it is kept; nothing where nothing was put.
    pub fn all(&self, path: &str) -> &[Value] {
        self.shelves
            .get(&shelf::kept_at(path))
            .map_or(&[], Vec::as_slice)
    }

    /// One resource, as it is kept.
    pub fn one(&self, path: &str, id: &str) -> Option<&Value> {
        let shelf = Shelf::named(path);
        self.all(path).iter().find(|item| shelf.names(item, id))
    }

    /// One resource, to change it.
    pub fn one_mut(&mut self, path: &str, id: &str) -> Option<&mut Value> {
        let shelf = Shelf::named(path);
        let items = self.shelves.get_mut(&shelf::kept_at(path))?;
        items.iter_mut().find(|item| shelf.names(item, id))
    }

    /// Removes a resource, and its name from the project that it was in.
    pub fn take(&mut self, path: &str, id: &str) -> Option<Value> {
        let shelf = Shelf::named(path);
        let items = self.shelves.get_mut(&shelf::kept_at(path))?;
        let at = items.iter().position(|item| shelf.names(item, id))?;
        let item = items.remove(at);
        if let Some(urn) = shelf.urn_of(&item) {
            self.homes.retain(|(resource, _)| *resource != urn);
        }
        Some(item)
    }

    /// The names of what stands on a shelf, for short assertions.
    pub fn names(&self, path: &str) -> Vec<String> {
        self.all(path)
            .iter()
            .map(|item| text(&item["name"]))
            .collect()
    }

    /// The project that a resource is in, by its URN (`do:droplet:12`).
    pub fn project_of(&self, urn: &str) -> Option<&str> {
        let (_, project) = self.homes.iter().find(|(resource, _)| resource == urn)?;
        Some(project)
    }

    /// Answers a request as the API does.
    pub(super) fn answer(&mut self, heard: &Heard) -> Reply {
        serve::answer(self, heard)
    }

    fn load(keep: impl Fn(&str, &Value) -> bool) -> Self {
        let written: BTreeMap<String, Vec<Value>> =
            serde_json::from_str(WRITTEN).expect("world.json is JSON");
        let mut world = Self {
            shelves: BTreeMap::new(),
            homes: Vec::new(),
            next: 900_000_000,
        };
        // Projects first: whatever comes after is in one of them.
        let projects = written.iter().filter(|(path, _)| *path == "projects");
        let others = written.iter().filter(|(path, _)| *path != "projects");
        for (path, items) in projects.chain(others) {
            items
                .iter()
                .filter(|item| keep(path, item))
                .for_each(|item| world.put(path, item.clone()));
        }
        world
    }

    /// A number that no other resource has.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A UUID that no other resource has.
    fn uuid(&mut self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.number())
    }
}

/// An id or a name as text: the API has them as numbers and as strings.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The strings (or numbers) of an array, none where there is no array.
fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map(|items| items.iter().map(text).collect())
        .unwrap_or_default()
}

/// When everything that is made here was made: a fixed time keeps answers comparable.
const NOW: &str = "2026-01-01T12:00:00Z";

const WRITTEN: &str = include_str!("world.json");
