//! What in a policy or configuration is wider than it looks, or does nothing: each with its reason and what to write instead.
//!
//! Nothing here decides anything. A remark is worth its line only if somebody can act on it, so what is merely unusual, and
//! what a token may add by another role, is passed over where it can't be told apart.

mod clients;
mod idle;
mod narrowed;
mod pattern;
mod reach;
mod shown;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::catalog::{Action, Catalog, Endpoint, Scope, ScopeId, ScopeSet, TouchRule, TouchVerb};
use crate::config::{FieldScopes, Listen, ListenPlace, Plaintext, Settings};
use crate::policy::{Grant, Only, Policy, PolicyTest, Role, Selector};
use crate::yaml::At;

pub(super) use reach::KindReach;

/// A place, and what is to be said of it.
pub(super) type Remark = (At, String);

/// The remarks on a policy, in its order, given which fields of answers are left out.
pub(super) fn remarks(policy: &Policy, catalog: &Catalog, fields: FieldScopes) -> Vec<Remark> {
    let mut all: Vec<Remark> = policy
        .roles
        .values()
        .flat_map(|role| of_role(role, catalog))
        .collect();
    match fields {
        FieldScopes::SecretsOnly => {}
        FieldScopes::Enforce => all.extend(clients::remarks(policy, catalog)),
    }
    let unknown = |test: &PolicyTest| Some((test.at, idle::unknown_path(test, catalog)?));
    all.extend(policy.tests.iter().filter_map(unknown));
    all.sort_by_key(|(at, _)| (at.line, at.column));
    all
}

fn of_role(role: &Role, catalog: &Catalog) -> Vec<Remark> {
    let view = RoleView {
        role,
        catalog,
        held: held(role),
    };
    let mut found = Vec::new();
    for grant in &role.allow {
        let mut say = |what: String| found.push((grant.at, format!("`{}` {what}", grant.place)));
        wildcard(grant).map(&mut say);
        view.unlimited(grant).map(&mut say);
        view.denied_whole(grant).map(&mut say);
        view.tags_anything(grant).map(&mut say);
        view.adds_to_nothing(grant).map(&mut say);
        view.useless(grant).into_iter().for_each(&mut say);
        let beside = [
            narrowed::remarks(&view, grant),
            shown::remarks(&view, grant),
            idle::remarks(&view, grant),
        ];
        beside.into_iter().flatten().for_each(&mut say);
        for text in texts(grant, "requests") {
            pattern::remarks(text, catalog)
                .into_iter()
                .for_each(&mut say);
        }
    }
    for grant in &role.deny {
        let mut say = |what: String| found.push((grant.at, format!("`{}` {what}", grant.place)));
        view.never_strikes(grant).map(&mut say);
        view.denies_paths_alone(grant).map(&mut say);
        let beside = [
            view.leaves_another_family(grant),
            view.denies_no_endpoint(grant),
            idle::remarks(&view, grant),
        ];
        beside.into_iter().flatten().for_each(&mut say);
    }
    if let Some(first) = role.allow.first().or(role.deny.first()) {
        let unused = idle::unused_variables(role);
        found.extend(unused.into_iter().map(|what| (first.at, what)));
    }
    found
}

/// A role, and all scopes that it allows.
struct RoleView<'v> {
    role: &'v Role,
    catalog: &'v Catalog,
    held: ScopeSet,
}

impl RoleView<'_> {
    /// Another grant limits the actions of what this one gives without a limit.
    fn unlimited(&self, grant: &Grant) -> Option<String> {
        let gives = scopes(grant).filter(|_| !grant.is_limited())?;
        let (endpoint, grave, limited) = self.role.allow.iter().find_map(|other| {
            other.actions.as_ref()?;
            let theirs = scopes(other)?;
            let both = |set: &ScopeSet| gives.covers(set) && theirs.covers(set);
            let acted = self.catalog.endpoints().iter();
            let (endpoint, action) = acted
                .filter_map(|endpoint| Some((endpoint, endpoint.action.as_ref()?)))
                .find(|(endpoint, _)| endpoint.scopes.iter().any(both))?;
            Some((endpoint, grave(action), other))
        })?;
        Some(format!(
            "gives {endpoint} without `actions`, so the `actions` of `{}` limit nothing: all are allowed{grave}; put `actions` here too, or leave the scope out",
            limited.place
        ))
    }

    /// A grant by tag, and another that puts any tag on what the role may change.
    fn tags_anything(&self, grant: &Grant) -> Option<String> {
        let gives = scopes(grant).filter(|_| grant.only.is_none())?;
        let puts_on = |rule: &TouchRule| rule.verb == TouchVerb::Label && rule.is_first();
        let adds = |rule: &TouchRule| rule.adds.iter().any(|(attribute, _)| attribute == "tag");
        let mut all = self.catalog.endpoints().iter();
        let tagging = all.find(|endpoint| {
            let rules = endpoint.touches.rules();
            let tags = rules.iter().any(puts_on) && rules.iter().any(adds);
            tags && endpoint.scopes.iter().any(|set| gives.covers(set))
        })?;
        let mut others = self.role.allow.iter();
        let by_tag = others.find(|other| other.only.as_ref().is_some_and(asks_for_tag))?;
        Some(format!(
            "lets {tagging} put on any tag, beside `{}`, which goes by tags: it brings this role itself no more, but what the role may change can be brought under whatever else goes by a tag, other roles, firewalls and load balancers; write `only: {{ tag: {{ name: … }} }}` for the tags that may be put on",
            by_tag.place
        ))
    }

    fn denied_whole(&self, grant: &Grant) -> Option<String> {
        let gives = scopes(grant)?;
        let deny = self.role.deny.iter().find(|deny| {
            !deny.is_limited() && scopes(deny).is_some_and(|denied| denied.covers(gives))
        })?;
        Some(format!(
            "allows nothing: `{}` denies all of its scopes, and a deny wins; take one of the two out",
            deny.place
        ))
    }

    /// Scopes that are named and open no endpoint and no field together with the role's others.
    fn useless(&self, grant: &Grant) -> Vec<String> {
        let Some(gives) = scopes(grant) else {
            return Vec::new();
        };
        let named = texts(grant, "scopes").filter_map(|text| text.parse::<Scope>().ok());
        let mut found = Vec::new();
        for scope in named {
            let known = self.catalog.scopes().id(&scope);
            let Some(id) = known.filter(|id| gives.has(*id) && !self.opens(*id)) else {
                continue;
            };
            let wanting = self.catalog.endpoints().iter().find_map(|endpoint| {
                let set = endpoint.scopes.iter().find(|set| set.has(id))?;
                Some((endpoint, set.without(&self.held)))
            });
            let Some((endpoint, missing)) = wanting else {
                continue; // it is a scope of fields, of endpoints that another role may open
            };
            let missing: Vec<_> = self
                .catalog
                .scopes()
                .names(&missing)
                .map(Scope::as_str)
                .collect();
            found.push(format!(
                "names `{scope}`, which opens nothing in this role: {endpoint} asks for {} as well; add that, or leave the scope out",
                missing.join(" and ")
            ));
        }
        found
    }

    fn opens(&self, scope: ScopeId) -> bool {
        self.catalog.endpoints().iter().any(|endpoint| {
            let fields = endpoint.fields.iter().map(|field| field.scope);
            let touched = endpoint
                .touches
                .rules()
                .iter()
                .filter_map(|rule| rule.scope);
            let mut beside = fields.chain(touched);
            let mut when = endpoint.scopes_when.iter();
            endpoint
                .scopes
                .iter()
                .any(|set| set.has(scope) && self.held.covers(set))
                || beside.any(|beside| beside == scope)
                || when.any(|when| when.scopes.has(scope))
        })
    }

    /// A deny by scopes in a role that allows by scopes, where no endpoint that it allows has one of them.
    fn never_strikes(&self, deny: &Grant) -> Option<String> {
        let denied = scopes(deny)?;
        if self.role.allow.is_empty() || self.role.allow.iter().any(|grant| scopes(grant).is_none())
        {
            return None; // what a pattern lets through can't be told
        }
        let strikes = |endpoint: &Endpoint| {
            let allowed = endpoint.scopes.iter().any(|set| self.held.covers(set));
            let by_endpoint = endpoint.scopes.iter().any(|set| denied.meets(set));
            let by_rule = endpoint
                .scopes_when
                .iter()
                .any(|when| denied.meets(&when.scopes));
            let fields = endpoint.fields.iter().map(|field| field.scope);
            let touched = endpoint
                .touches
                .rules()
                .iter()
                .filter_map(|rule| rule.scope);
            allowed
                && (by_endpoint || by_rule || fields.chain(touched).any(|scope| denied.has(scope)))
        };
        let never = !self.catalog.endpoints().iter().any(strikes);
        never.then(|| {
            "strikes nothing that this role allows: no request that its grants let through asks for one of these scopes; it is of use only to tokens that have other roles too".to_owned()
        })
    }
}

/// Of what an endpoint can do, that which is grave, in words.
fn grave(action: &Action) -> String {
    match action {
        Action::Named { grave, .. } if !grave.is_empty() => {
            format!(", {} among them", grave.join(", "))
        }
        Action::Named { .. } | Action::Always(_) => String::new(),
    }
}

fn asks_for_tag(only: &Only) -> bool {
    let is_tag = |(attribute, _): &(String, _)| attribute == "tag";
    let in_kind = |selector: &Selector| match selector {
        Selector::Any => false,
        Selector::Attributes(attributes) => attributes.iter().any(is_tag),
    };
    only.attributes
        .iter()
        .any(|(attribute, _)| attribute == "tag")
        || only.kinds.iter().any(|(_, selector)| in_kind(selector))
}

fn wildcard(grant: &Grant) -> Option<String> {
    texts(grant, "scopes").any(|text| text == "*").then(|| {
        "allows `*`: all that is not sensitive, deletions too, and whatever scopes a later release knows; name the families that are needed, as `droplet:*`".to_owned()
    })
}

fn held(role: &Role) -> ScopeSet {
    let mut held = ScopeSet::default();
    let grants = role.allow.iter().filter_map(scopes);
    grants.for_each(|scopes| held.add(scopes));
    held
}

fn scopes(grant: &Grant) -> Option<&ScopeSet> {
    grant.covers.all()
}

/// The texts of a list in the grant as it was written.
fn texts<'g>(grant: &'g Grant, key: &str) -> impl Iterator<Item = &'g str> {
    let list = grant.written.get(key);
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let one = list.and_then(Value::as_str);
    one.into_iter().chain(items.filter_map(Value::as_str))
}

/// The remarks on a configuration, whose text tells where a key stands.
pub(super) fn of_settings(settings: &Settings, text: &str) -> Vec<Remark> {
    let mut found = Vec::new();
    for net in settings.trusted_proxies.iter().filter(|net| is_wide(net)) {
        found.push((place_of(text, "trusted_proxies"), format!(
            "`trusted_proxies` has {net}: whoever sends from there may claim any address as its own, so `sources` hold for nobody; name the proxies alone"
        )));
    }
    for listen in &settings.listen {
        if let Listen::Plain(place, _, Plaintext::Anywhere) = listen
            && !is_loopback(place)
        {
            found.push((place_of(text, "allow_plaintext"), format!(
                "sub-tokens come to {place} unencrypted, and whoever listens on the way can use them; give the listener `tls`, or an address of loopback with a proxy before it that has"
            )));
        }
    }
    found
}

/// Where systemd's sockets are, their units say.
fn is_loopback(place: &ListenPlace) -> bool {
    match place {
        ListenPlace::Address(address) => address.ip().is_loopback(),
        ListenPlace::Systemd(_) => false,
    }
}

/// Wider than the network of one organisation, where it isn't a private one.
fn is_wide(net: &IpNet) -> bool {
    let private = match net.network() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let most = match net {
        IpNet::V4(_) if private => 8,
        IpNet::V4(_) => 16,
        IpNet::V6(_) if private => 7,
        IpNet::V6(_) => 32,
    };
    net.prefix_len() < most
}

/// Where a key first stands in a file, comments left out; the file's beginning, if it is nowhere.
fn place_of(text: &str, key: &str) -> At {
    let found = text.lines().enumerate().find_map(|(line, content)| {
        let code = content.split('#').next()?;
        let before = code.get(..code.find(key)?)?;
        Some(At::from_zero(line, before.chars().count()))
    });
    found.unwrap_or(At::START)
}

#[cfg(test)]
mod tests;
