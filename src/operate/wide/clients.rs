//! What common clients can't do without in answers, where fields are held to their scopes.
//!
//! The table beside this was taken from the clients' own sources: doctl's displayers, python-digitalocean's `load` and
//! `create`. What they take as absent is not in it.

use super::{Remark, held};
use crate::catalog::{Asks, Catalog};
use crate::policy::{Policy, Role};

/// What to say of each role whose answers would lack what a client needs, given that fields are held to their scopes.
pub(super) fn remarks(policy: &Policy, catalog: &Catalog) -> Vec<Remark> {
    let roles = policy.roles.values();
    roles.flat_map(|role| of_role(role, catalog)).collect()
}

fn of_role(role: &Role, catalog: &Catalog) -> Vec<Remark> {
    let (held, answers) = (held(role), catalog.answers());
    let Some(first) = role.allow.first() else {
        return Vec::new();
    };
    let mut found: Vec<Remark> = Vec::new();
    for need in needs() {
        let mut all = catalog.endpoints().iter();
        let Some(endpoint) = all.find(|endpoint| endpoint.to_string() == need.endpoint) else {
            continue; // a test keeps the table true
        };
        let opened = endpoint.scopes.iter().any(|set| held.covers(set));
        let asked = endpoint.answer;
        let scope = asked.and_then(|root| answers.asked_at(root, need.member));
        let Some(scope) = scope
            .map(Asks::scope)
            .filter(|scope| opened && !held.has(*scope))
        else {
            continue;
        };
        let Some(scope) = catalog.scopes().name(scope) else {
            continue;
        };
        let ClientNeed {
            client,
            endpoint,
            member,
            without,
        } = need;
        found.push((first.at, format!(
            "`{}` lacks `{scope}`, so `{member}` is left out of the answers to {endpoint}, and {client} {without}; add the scope, or do without {client} here",
            role.name
        )));
    }
    found
}

/// A member of an answer, and what a client does without it.
struct ClientNeed {
    client: &'static str,
    endpoint: &'static str,
    member: &'static str,
    without: &'static str,
}

fn needs() -> impl Iterator<Item = ClientNeed> {
    let rows = include_str!("clients.tsv").lines().skip(1);
    rows.filter_map(|row| {
        let mut cells = row.split('\t');
        Some(ClientNeed {
            client: cells.next()?,
            endpoint: cells.next()?,
            member: cells.next()?,
            without: cells.next()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    #[test]
    fn every_need_is_of_a_field_that_asks_for_a_scope() {
        let catalog = Catalog::builtin().unwrap();
        assert_eq!(needs().count(), 14, "each row of the table");
        for need in needs() {
            let mut all = catalog.endpoints().iter();
            let endpoint = all.find(|endpoint| endpoint.to_string() == need.endpoint);
            let root = endpoint.unwrap().answer.unwrap();
            let asked = catalog.answers().asked_at(root, need.member);
            assert!(asked.is_some(), "{} {}", need.endpoint, need.member);
        }
    }

    #[test]
    fn a_role_is_told_what_its_clients_lack() {
        let catalog = Catalog::builtin().unwrap();
        let told = |scopes: &str| {
            let text =
                format!("version: 1\nroles:\n  r: {{ allow: [{{ scopes: [{scopes}] }}] }}\n");
            let policy = policy::read("p.yaml", &text, &["default".to_owned()], &catalog).unwrap();
            let told = remarks(&policy, &catalog).into_iter();
            told.map(|(at, what)| format!("{at}: {what}"))
                .collect::<Vec<_>>()
        };
        let cases: [(&str, &[&str]); 6] = [
            (
                "droplet:read",
                &[
                    "3:16: `r` lacks `image:read`, so `droplets.image` is left out of the answers to GET /v2/droplets, and doctl crashes; add the scope, or do without doctl here",
                    "3:16: `r` lacks `image:read`, so `droplet.image` is left out of the answers to GET /v2/droplets/{droplet_id}, and doctl crashes; add the scope, or do without doctl here",
                ],
            ),
            ("droplet:read, image:read", &[]),
            (
                "firewall:read",
                &[
                    "3:16: `r` lacks `droplet:read`, so `firewall.droplet_ids` is left out of the answers to GET /v2/firewalls/{firewall_id}, and python-digitalocean fails; add the scope, or do without python-digitalocean here",
                    "3:16: `r` lacks `tag:read`, so `firewall.tags` is left out of the answers to GET /v2/firewalls/{firewall_id}, and python-digitalocean fails; add the scope, or do without python-digitalocean here",
                ],
            ),
            ("firewall:read, tag:read, droplet:read, image:read", &[]), // what it has now, it also needs
            ("'*:read'", &[]),
            ("domain:read", &[]), // nothing of it asks for more
        ];
        for (scopes, expected) in cases {
            assert_eq!(told(scopes), expected, "{scopes}");
        }
    }
}
