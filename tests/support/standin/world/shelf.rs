//! The lists that the API has, and what it calls things in each.

use serde_json::{Value, json};

use super::{joined, models, stores, text, watched};

/// One list of the API.
pub(super) struct Shelf {
    /// Its path without `/v2/`; `*` stands for an id.
    path: &'static str,
    /// The member that holds the list.
    pub many: &'static str,
    /// The member that holds a single one; empty where the answer itself is it.
    pub one: &'static str,
    /// The member that names a resource.
    pub key: &'static str,
    /// What the API calls it in a URN, if it can be in a project.
    pub urn: Option<&'static str>,
    /// The status that answers a create.
    pub created: u16,
}

impl Shelf {
    /// The shelf for a path, be it that of the API or that under which it is kept.
    pub fn find(path: &str) -> Option<&'static Self> {
        let all = SHELVES
            .iter()
            .chain(joined::SHELVES)
            .chain(watched::SHELVES)
            .chain(stores::SHELVES)
            .chain(models::SHELVES);
        all.into_iter().find(|shelf| shelf.fits(path))
    }

    /// The same for a path that a test or the stand-in itself wrote.
    pub fn named(path: &str) -> &'static Self {
        Self::find(path).unwrap_or_else(|| {
            panic!("the stand-in has no list `{path}`; world/shelf.rs names those it has")
        })
    }

    /// True if this is what `id` names: images also have slugs, SSH keys fingerprints, and tags no case.
    pub fn names(&self, item: &Value, id: &str) -> bool {
        let own = text(&item[self.key]);
        match self.path {
            "tags" => own.eq_ignore_ascii_case(id),
            "images" => own == id || item["slug"] == id,
            "account/keys" => own == id || item["fingerprint"] == id,
            _ => own == id,
        }
    }

    pub fn urn_of(&self, item: &Value) -> Option<String> {
        Some(format!("do:{}:{}", self.urn?, text(&item[self.key])))
    }

    /// The shelf whose resources have such a URN, and its path.
    pub fn of_urn(kind: &str) -> Option<(&'static Self, &'static str)> {
        let kind = match kind {
            "reservedip" => "floatingip", // clients make it, and the API takes both
            other => other,
        };
        let shelf = SHELVES.iter().find(|shelf| shelf.urn == Some(kind))?;
        Some((shelf, shelf.path))
    }

    /// Databases, functions and what belongs to them come whole, without pages.
    pub fn has_pages(&self) -> bool {
        !self.path.starts_with("databases") && !self.path.starts_with("functions")
    }

    /// The answer that shows a single one.
    pub fn single(&self, item: &Value) -> Value {
        if self.one.is_empty() {
            item.clone()
        } else {
            json!({ self.one: item })
        }
    }

    fn fits(&self, path: &str) -> bool {
        let (mut own, mut other) = (self.path.split('/'), path.split('/'));
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(own), Some(other)) if own == other => {}
                _ => return false,
            }
        }
    }
}

/// Where a list is kept that the API shows under more than one path.
pub(super) fn kept_at(path: &str) -> String {
    match path.strip_prefix("floating_ips") {
        Some(rest) => format!("reserved_ips{rest}"),
        None => path.to_owned(),
    }
}

pub(super) const fn shelf(
    path: &'static str,
    many: &'static str,
    one: &'static str,
    key: &'static str,
) -> Shelf {
    Shelf {
        path,
        many,
        one,
        key,
        urn: None,
        created: 201,
    }
}

impl Shelf {
    const fn urn(mut self, urn: &'static str) -> Self {
        self.urn = Some(urn);
        self
    }

    pub(super) const fn created(mut self, status: u16) -> Self {
        self.created = status;
        self
    }
}

const SHELVES: &[Shelf] = &[
    shelf("account", "account", "account", "uuid"),
    shelf("account/keys", "ssh_keys", "ssh_key", "id"),
    shelf("actions", "actions", "action", "id"),
    shelf("apps", "apps", "app", "id").urn("app").created(200),
    shelf("cdn/endpoints", "endpoints", "endpoint", "id"),
    shelf("certificates", "certificates", "certificate", "id"),
    shelf("databases", "databases", "database", "id").urn("dbaas"),
    shelf("domains", "domains", "domain", "name").urn("domain"),
    shelf("domains/*/records", "domain_records", "domain_record", "id"),
    shelf("droplets", "droplets", "droplet", "id")
        .urn("droplet")
        .created(202),
    shelf("firewalls", "firewalls", "firewall", "id").created(202),
    shelf("images", "images", "image", "id").created(202),
    shelf(
        "kubernetes/clusters",
        "kubernetes_clusters",
        "kubernetes_cluster",
        "id",
    )
    .urn("kubernetes"),
    shelf("load_balancers", "load_balancers", "load_balancer", "id")
        .urn("loadbalancer")
        .created(202),
    shelf("monitoring/alerts", "policies", "policy", "uuid").created(200),
    shelf("projects", "projects", "project", "id"),
    shelf("regions", "regions", "region", "slug"),
    shelf("registries", "registries", "registry", "name"),
    shelf(
        "registry/*/repositoriesV2",
        "repositories",
        "repository",
        "name",
    ),
    shelf("reserved_ips", "reserved_ips", "reserved_ip", "ip")
        .urn("floatingip")
        .created(202),
    shelf("floating_ips", "floating_ips", "floating_ip", "ip")
        .urn("floatingip")
        .created(202),
    shelf("sizes", "sizes", "size", "slug"),
    shelf("snapshots", "snapshots", "snapshot", "id"),
    shelf("tags", "tags", "tag", "name"),
    shelf("volumes", "volumes", "volume", "id").urn("volume"),
    shelf("vpcs", "vpcs", "vpc", "id").urn("vpc"),
    // Buckets: the API has no list of them, but shows them among the resources of a project.
    shelf("_buckets", "buckets", "bucket", "name").urn("space"),
    shelf("apps/*/deployments", "deployments", "deployment", "id").created(200),
    shelf(
        "droplets/autoscale",
        "autoscale_pools",
        "autoscale_pool",
        "id",
    )
    .created(202),
    shelf("nfs", "shares", "share", "id"),
    shelf("nfs/snapshots", "snapshots", "snapshot", "id"),
];
