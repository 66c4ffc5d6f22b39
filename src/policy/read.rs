use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::pattern::{PatternText, Text};
use super::test::PolicyTest;
use super::{
    Ceiling, Covers, FileToken, Grant, OnCreate, Operator, Policy, Right, Role, Vars, only,
};
use crate::catalog::{Catalog, Kind, KindId, Scope, ScopePattern, ScopeSet};
use crate::refusal::Code;
use crate::request::Json;
use crate::resource::{Attributes, Given, Known, spelled};
use crate::secret::{SecretHash, redacted};
use crate::token::{Limits, Source, no_name};
use crate::yaml::{self, At, Entry, Map, Mistakes, Node, Value, nearest};

/// Reads a policy file, whole: one mistake anywhere and there is no policy.
///
/// `accounts` are the accounts that a role may name.
///
/// # Errors
/// Every mistake that was found, as `file:line:column: what`.
pub fn read(
    file: &str,
    text: &str,
    accounts: &[String],
    catalog: &Catalog,
) -> Result<Policy, Mistakes> {
    read_for(file, text, Some(accounts), catalog)
}

/// The same for a policy of which nobody says which accounts there are: a role may name any.
///
/// # Errors
/// Every mistake that was found.
pub fn read_alone(file: &str, text: &str, catalog: &Catalog) -> Result<Policy, Mistakes> {
    read_for(file, text, None, catalog)
}

fn read_for(
    file: &str,
    text: &str,
    accounts: Option<&[String]>,
    catalog: &Catalog,
) -> Result<Policy, Mistakes> {
    let (mut reader, root) = PolicyReader::of(file, text, accounts, catalog);
    if let Some(root) = root {
        reader.file(root);
    }
    if reader.mistakes.is_empty() {
        Ok(reader.policy)
    } else {
        Err(reader.mistakes)
    }
}

/// Reads facts about resources, as `given` of a test has them: by kind, a list.
///
/// # Errors
/// What is wrong with the text.
pub fn read_given(file: &str, text: &str, catalog: &Catalog) -> Result<Given, Mistakes> {
    let (mut reader, root) = PolicyReader::of(file, text, None, catalog);
    let given = root.map(|root| reader.given(&root)).unwrap_or_default();
    if reader.mistakes.is_empty() {
        Ok(given)
    } else {
        Err(reader.mistakes)
    }
}

pub(super) struct PolicyReader<'r> {
    pub(super) mistakes: Mistakes,
    pub(super) catalog: &'r Catalog,
    /// Which a role may name; `None` is any.
    pub(super) accounts: Option<&'r [String]>,
    pub(super) policy: Policy,
    /// The roles that `operator_issues` names, and where.
    pub(super) issued: Vec<(At, String)>,
}

/// What a grant says beside what it covers, where it stands in a file.
#[derive(Clone, Copy)]
pub(super) struct Clauses<'n> {
    only: Option<&'n Node>,
    actions: Option<&'n Node>,
    on_create: Option<&'n Node>,
}

impl<'n> Clauses<'n> {
    /// Those by which it is for less.
    pub fn that_narrow(map: &mut Map<'n>) -> Self {
        Self {
            only: map.take("only"),
            actions: map.take("actions"),
            on_create: None,
        }
    }

    pub fn say_something(self) -> bool {
        let Self {
            only,
            actions,
            on_create,
        } = self;
        only.or(actions).or(on_create).is_some()
    }
}

impl<'r> PolicyReader<'r> {
    /// A reader of this text, and what stands in it, if that is YAML.
    pub(super) fn of(
        file: &str,
        text: &str,
        accounts: Option<&'r [String]>,
        catalog: &'r Catalog,
    ) -> (Self, Option<Node>) {
        let mut mistakes = Mistakes::new(file);
        let root = yaml::read(text, &mut mistakes);
        let reader = Self {
            mistakes,
            catalog,
            accounts,
            policy: Policy::default(),
            issued: Vec::new(),
        };
        (reader, root)
    }
}

impl PolicyReader<'_> {
    fn file(&mut self, mut root: Node) {
        // There may be ten thousand, and what was read of one makes room for what it comes to.
        let listed = root.take_items("tokens");
        let Some(mut map) = Map::of(&root, "a policy", &mut self.mistakes) else {
            return;
        };
        if let Some(version) = map.need("version", &mut self.mistakes) {
            let written = match &version.value {
                Value::Scalar { text, .. } if text == "1" => None,
                Value::Scalar { text, .. } => Some(text.as_str()),
                Value::List(_) | Value::Map(_) => Some(version.noun()),
            };
            if let Some(written) = written {
                self.mistakes.add(version.at, format!("unknown policy version `{written}`; this tidegate reads `version: 1`, so it refuses the whole file rather than half-understand it"));
                return;
            }
        }
        let roles = map
            .take("roles")
            .map_or(&[][..], |node| self.not_empty_map(node, "`roles`"));
        for entry in roles {
            self.role(entry);
        }
        self.issued_roles();
        let tokens = map.take("tokens");
        if let Some(node) = tokens.filter(|_| listed.is_empty()) {
            self.not_empty_list(node, "`tokens`");
        }
        for item in listed {
            self.token(&item);
        }
        self.unique_tokens();
        let trust = map
            .take("trust")
            .map_or(&[][..], |node| self.not_empty_list(node, "`trust`"));
        for item in trust {
            self.trust(item);
        }
        let tests = map
            .take("tests")
            .map_or(&[][..], |node| self.not_empty_list(node, "`tests`"));
        for item in tests {
            self.test(item);
        }
        map.finish(&mut self.mistakes);
    }

    pub(super) fn not_empty_map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        let entries = node.entries(what, &mut self.mistakes);
        if entries.is_empty() && matches!(node.value, Value::Map(_)) {
            self.mistakes
                .add(node.at, format!("{what} is empty; fill it or leave it out"));
        }
        entries
    }

    fn not_empty_list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        let items = node.items(what, &mut self.mistakes);
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            self.mistakes
                .add(node.at, format!("{what} is empty; fill it or leave it out"));
        }
        items
    }

    pub(super) fn needed(&mut self, map: &mut Map<'_>, key: &'static str) -> Option<String> {
        map.need(key, &mut self.mistakes)
            .and_then(|node| node.text(&format!("`{key}`"), &mut self.mistakes))
            .map(str::to_owned)
    }

    pub(super) fn text(&mut self, node: Option<&Node>, what: &str) -> Option<String> {
        node.and_then(|node| node.text(what, &mut self.mistakes))
            .map(str::to_owned)
    }

    /// The same, with something in it.
    fn filled(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(Some(node), what)?;
        if text.is_empty() {
            let said = format!("{what} is empty; say what is meant, or leave it out");
            self.mistakes.add(node.at, said);
            return None;
        }
        Some(text)
    }

    /// The code of a refusal.
    fn reason(&mut self, node: &Node) -> Option<String> {
        let text = self.text(Some(node), "`reason`")?;
        let known = Code::ALL.iter().map(|code| code.as_str());
        if known.clone().any(|code| code == text) {
            return Some(text);
        }
        let instead = nearest(&text, known).map_or_else(
            || "it is the code of a refusal, as `scope`, `resource` or `denied`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let said = format!("unknown reason `{text}`, which no refusal has; {instead}");
        self.mistakes.add(node.at, said);
        None
    }

    fn names(&mut self, node: &Node, what: &str) -> Vec<String> {
        self.not_empty_list(node, what)
            .iter()
            .filter_map(|item| self.text(Some(item), what))
            .collect()
    }

    fn role(&mut self, entry: &Entry) {
        if !is_name(&entry.key) {
            self.mistakes.add(
                entry.at,
                format!(
                    "`{}` is no name for a role; names are letters, digits, `-`, `_` and `.`",
                    entry.key
                ),
            );
        }
        let Some(mut map) = Map::of(&entry.node, "a role", &mut self.mistakes) else {
            return;
        };
        let description = self.text(map.take("description"), "`description`");
        let account = self.account(map.take("account"), entry.at);
        let vars = map
            .take("vars")
            .map(|node| self.variables(node))
            .unwrap_or_default();
        let (allow, deny) = (map.take("allow"), map.take("deny"));
        let operator = self.operator(&mut map);
        if allow.is_none() && deny.is_none() && operator.is_none() {
            self.mistakes.add(entry.at, format!("role `{}` has neither `allow` nor `deny`; a role grants something or is left out", entry.key));
        }
        let allow = allow
            .map(|node| self.grants(node, &entry.key, "allow", &vars))
            .unwrap_or_default();
        let deny = deny
            .map(|node| self.grants(node, &entry.key, "deny", &vars))
            .unwrap_or_default();
        let delegate = map.take("delegate").and_then(|node| self.delegate(node));
        map.finish(&mut self.mistakes);
        if operator.is_some() && delegate.is_some() {
            let what = format!(
                "role `{}` has `operator`, which is handed on to nobody; leave `delegate` out, or give it to another role",
                entry.key
            );
            self.mistakes.add(entry.at, what);
        }
        let role = Role {
            name: entry.key.clone(),
            description,
            account,
            vars,
            allow,
            deny,
            operator,
            delegate,
        };
        self.policy.roles.insert(entry.key.clone(), Arc::new(role));
    }

    /// What a role gives at the console: rights, each with those before it, and the roles that may be issued there.
    fn operator(&mut self, map: &mut Map<'_>) -> Option<Operator> {
        let (rights, issues) = (map.take("operator"), map.take("operator_issues"));
        let mut given = BTreeSet::new();
        let items = rights.map_or(&[][..], |node| self.not_empty_list(node, "`operator`"));
        for item in items {
            let text = item.text("a right", &mut self.mistakes).unwrap_or_default();
            match Right::ALL.into_iter().find(|right| right.as_str() == text) {
                Some(right) => drop(given.insert(right)),
                None if text.is_empty() => {}
                None => self.mistakes.add(item.at, format!("`{text}` is no right at the console; there are `view`, `revoke` and `issue`")),
            }
        }
        let right = given.iter().next_back().copied();
        if let (Some(node), Some(right)) = (rights, right) {
            let missing = Right::ALL
                .into_iter()
                .find(|lower| *lower < right && !given.contains(lower));
            if let Some(missing) = missing {
                self.mistakes.add(node.at, format!("`{right}` needs `{missing}` too; write `[view]`, `[view, revoke]` or `[view, revoke, issue]`"));
            }
        }
        let mut named = BTreeSet::new();
        if let Some(node) = issues {
            for item in self.not_empty_list(node, "`operator_issues`") {
                if let Some(name) = self.text(Some(item), "a role") {
                    self.issued.push((item.at, name.clone()));
                    named.insert(name);
                }
            }
            if right != Some(Right::Issue) {
                self.mistakes.add(node.at, "`operator_issues` are the roles that may be issued at the console, which this role may not; write `operator: [view, revoke, issue]`, or leave them out");
            }
        }
        let issues = named;
        right.map(|right| Operator { right, issues })
    }

    /// That the roles which an operator may issue are there, and make no operators.
    fn issued_roles(&mut self) {
        for (at, name) in std::mem::take(&mut self.issued) {
            let Some(role) = self.policy.roles.get(&name) else {
                let roles = self.policy.roles.keys().map(String::as_str);
                let near = nearest(&name, roles).map_or_else(
                    || "name one of the roles of this file".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                self.mistakes.add(
                    at,
                    format!("unknown role `{name}` in `operator_issues`; {near}"),
                );
                continue;
            };
            if role.operator.is_some() {
                self.mistakes.add(at, format!("the role `{name}` has rights at the console itself, so nobody may issue it there: who could would give itself more; `tidegate token issue` does it"));
            }
        }
    }

    fn account(&mut self, node: Option<&Node>, role: At) -> String {
        let accounts = match (self.accounts, node) {
            (Some(accounts), _) => accounts,
            (None, None) => return "default".to_owned(),
            (None, Some(node)) => return self.filled(node, "`account`").unwrap_or_default(),
        };
        let Some(node) = node else {
            if !accounts.iter().any(|known| known == "default") {
                self.mistakes.add(
                    role,
                    format!(
                        "this role needs an `account`, as there is none named `default`; known: {}",
                        accounts.join(", ")
                    ),
                );
            }
            return "default".to_owned();
        };
        let name = self.filled(node, "`account`").unwrap_or_default();
        if !accounts.contains(&name) && !name.is_empty() {
            let near = nearest(&name, accounts.iter().map(String::as_str)).map_or_else(
                || format!("known: {}", accounts.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.mistakes.add(node.at, format!("unknown account `{name}`; the configuration's `accounts` has no such entry; {near}"));
        }
        name
    }

    fn variables(&mut self, node: &Node) -> Vec<String> {
        let names = self.names(node, "`vars`");
        for name in names.iter().filter(|name| !is_name(name)) {
            self.mistakes.add(node.at, format!("`{name}` is no name for a variable; names are letters, digits, `-`, `_` and `.`"));
        }
        names
    }

    fn grants(&mut self, node: &Node, role: &str, list: &str, vars: &[String]) -> Vec<Grant> {
        let items = self.not_empty_list(node, &format!("`{list}`"));
        items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                self.grant(
                    item,
                    format!("{role}.{list}[{index}]"),
                    list == "deny",
                    vars,
                )
            })
            .collect()
    }

    fn grant(
        &mut self,
        node: &Node,
        place: String,
        denies: bool,
        vars: &[String],
    ) -> Option<Grant> {
        let mut map = Map::of(node, "a grant", &mut self.mistakes)?;
        let (scopes, requests) = (map.take("scopes"), map.take("requests"));
        let clauses = Clauses {
            on_create: map.take("on_create"),
            ..Clauses::that_narrow(&mut map)
        };
        map.finish(&mut self.mistakes);
        if let Some(node) = clauses.on_create.filter(|_| denies) {
            let why = "a deny grant creates nothing; `on_create` belongs to an allow";
            self.mistakes.add(node.at, why);
        }
        let covers = match (scopes, requests) {
            (Some(scopes), None) => Some(self.scopes(scopes, denies)),
            (None, Some(requests)) => Some(self.requests(requests, vars)),
            (Some(_), Some(_)) | (None, None) => {
                self.mistakes
                    .add(node.at, "a grant has either `scopes` or `requests`");
                None
            }
        };
        let stands = format!("{}:{}", self.mistakes.file(), node.at.line);
        self.grant_of(node, (place, stands), covers, clauses, vars)
    }

    /// A grant of what it covers and its other clauses; without the former they are read for their mistakes alone.
    pub(super) fn grant_of(
        &mut self,
        node: &Node,
        (place, stands): (String, String),
        covers: Option<Covers>,
        clauses: Clauses<'_>,
        vars: &[String],
    ) -> Option<Grant> {
        let Clauses {
            only,
            actions,
            on_create,
        } = clauses;
        let only = only.map(|node| only::read(node, vars, self.catalog, &mut self.mistakes));
        let actions = actions.map(|node| self.actions(node));
        let on_create = on_create.and_then(|node| self.on_create(node, vars));
        Some(Grant {
            place,
            at: node.at,
            stands: stands.into(),
            covers: covers?,
            only,
            actions,
            on_create,
            written: as_json(node),
            fixed: OnceLock::new(),
        })
    }

    pub(super) fn scopes(&mut self, node: &Node, denies: bool) -> Covers {
        let (mut named, mut all) = (ScopeSet::default(), ScopeSet::default());
        for item in self.not_empty_list(node, "`scopes`") {
            let Some(text) = self.text(Some(item), "a scope") else {
                continue;
            };
            let table = self.catalog.scopes();
            let pattern = text.parse::<ScopePattern>();
            let covered = pattern
                .as_ref()
                .map(|pattern| table.matching(pattern))
                .unwrap_or_default();
            if let Ok(ScopePattern::Named(scope)) = &pattern
                && table.is_idle(scope)
            {
                self.mistakes.add(
                    item.at,
                    format!("the scope `{text}` exists at DigitalOcean, but no endpoint asks for it, so it opens nothing; leave it out"),
                );
                continue;
            }
            if covered.is_empty() {
                let near = nearest(&text, table.iter().map(Scope::as_str));
                let instead = match (near, &pattern) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, Err(error)) => error.to_string(),
                    (None, Ok(_)) => "`tidegate catalog scopes` lists them all".to_owned(),
                };
                self.mistakes.add(
                    item.at,
                    format!("unknown scope `{text}`; no endpoint asks for it; {instead}"),
                );
                continue;
            }
            if denies || matches!(pattern, Ok(ScopePattern::Named(_))) {
                named.add(&covered);
            }
            all.add(&covered);
        }
        Covers::Scopes { named, all }
    }

    pub(super) fn requests(&mut self, node: &Node, vars: &[String]) -> Covers {
        let mut patterns = Vec::new();
        for item in self.not_empty_list(node, "`requests`") {
            let Some(text) = self.filled(item, "a request pattern") else {
                continue;
            };
            match PatternText::read(&text, vars) {
                Ok(read) => patterns.push(read),
                Err(error) => self.mistakes.add(
                    item.at,
                    format!("`{text}` is no pattern for `METHOD /path`: {error}"),
                ),
            }
        }
        Covers::Requests(patterns)
    }

    pub(super) fn actions(&mut self, node: &Node) -> Vec<String> {
        let known: BTreeSet<&str> = self.catalog.actions().collect();
        let mut actions = Vec::new();
        for item in self.not_empty_list(node, "`actions`") {
            let Some(text) = self.text(Some(item), "an action") else {
                continue;
            };
            if !known.contains(text.as_str()) {
                let instead = nearest(&text, known.iter().copied()).map_or_else(
                    || {
                        format!(
                            "known: {}",
                            known.iter().copied().collect::<Vec<_>>().join(", ")
                        )
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                self.mistakes.add(
                    item.at,
                    format!("unknown action `{text}`; no `…/actions` endpoint has it; {instead}"),
                );
            }
            actions.push(text);
        }
        actions
    }

    fn on_create(&mut self, node: &Node, vars: &[String]) -> Option<OnCreate> {
        let mut map = Map::of(node, "`on_create`", &mut self.mistakes)?;
        let tags = map.take("tags").map(|node| {
            let items = self.not_empty_list(node, "`tags`");
            items
                .iter()
                .filter_map(|item| self.text_with_vars(item, "a tag", vars))
                .collect()
        });
        let project = map
            .take("project")
            .map(|node| self.text_with_vars(node, "`project`", vars));
        if tags.is_none() && project.is_none() {
            self.mistakes.add(
                node.at,
                "`on_create` with nothing in it; it has `tags` and `project`",
            );
        }
        map.finish(&mut self.mistakes);
        Some(OnCreate {
            tags: tags.unwrap_or_default(),
            project: project.flatten(),
        })
    }

    fn text_with_vars(&mut self, node: &Node, what: &str, vars: &[String]) -> Option<Text> {
        let text = self.filled(node, what)?;
        match Text::read(&text, vars) {
            Ok(text) => Some(text),
            Err(error) => {
                self.mistakes.add(node.at, format!("`{text}`: {error}"));
                None
            }
        }
    }

    /// Names and ids of tokens are unique.
    fn unique_tokens(&mut self) {
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for token in &self.policy.tokens {
            let (name, id) = (&token.name, &token.id);
            let is_new = (names.insert(name), ids.insert(id));
            let what = match is_new {
                (true, true) => continue,
                (false, _) => format!("the name `{name}`"),
                (true, false) => format!("the id `{id}`"),
            };
            self.mistakes.add(
                token.at,
                format!("another token has {what} already; names and ids are unique"),
            );
        }
    }

    fn token(&mut self, node: &Node) {
        let Some(mut map) = Map::of(node, "a token", &mut self.mistakes) else {
            return;
        };
        let name = map.need("name", &mut self.mistakes);
        let name = name.and_then(|node| self.token_name(node));
        let id = map
            .need("id", &mut self.mistakes)
            .and_then(|node| node.parsed("`id`", &mut self.mistakes));
        let hash = map
            .need("hash", &mut self.mistakes)
            .and_then(|node| self.hash(node));
        let roles = map
            .need("roles", &mut self.mistakes)
            .map(|node| self.known_roles(node))
            .unwrap_or_default();
        let vars = map
            .take("vars")
            .map(|node| self.values(node))
            .unwrap_or_default();
        let limits = self.limits(&mut map);
        let owner = self.text(map.take("owner"), "`owner`");
        let description = self.text(map.take("description"), "`description`");
        let ceiling = self.ceiling(&mut map);
        map.finish(&mut self.mistakes);
        let (Some(name), Some(id), Some(hash)) = (name, id, hash) else {
            return;
        };
        self.bound(node.at, "this token", &roles, &vars, ceiling.as_ref());
        let token = FileToken {
            name,
            id,
            hash,
            roles,
            vars,
            limits,
            owner,
            description,
            ceiling: ceiling.map(Arc::new),
            at: node.at,
        };
        self.policy.tokens.push(Arc::new(token));
    }

    /// The ceiling of a token: a role, and until when.
    fn ceiling(&mut self, map: &mut Map<'_>) -> Option<Ceiling> {
        let (role, until) = (map.take("ceiling"), map.take("report_until"));
        let (role, until) = match (role, until) {
            (Some(role), Some(until)) => (role, until),
            (None, None) => return None,
            (Some(only), None) | (None, Some(only)) => {
                self.mistakes.add(only.at, "a token that reports has a `ceiling` and a `report_until`, the role that lets it through and until when");
                return None;
            }
        };
        let name = self.text(Some(role), "`ceiling`")?;
        self.role_exists(&name, role.at);
        let time = "a time (`2027-01-31T00:00:00Z`)";
        let until = until.parsed::<Timestamp>(time, &mut self.mistakes)?;
        Some(Ceiling { role: name, until })
    }

    fn token_name(&mut self, node: &Node) -> Option<String> {
        let name = self.text(Some(node), "`name`")?;
        if let Some(why) = no_name(&name) {
            self.mistakes.add(node.at, why);
        }
        Some(name)
    }

    fn hash(&mut self, node: &Node) -> Option<SecretHash> {
        let text = node.text("`hash`", &mut self.mistakes)?;
        let hash = text.strip_prefix("sha256:").and_then(SecretHash::from_hex);
        if hash.is_none() {
            self.mistakes.add(node.at, "a hash is `sha256:` and 64 hexadecimal digits, as `tidegate token issue --yaml` prints it");
        }
        hash
    }

    pub(super) fn known_roles(&mut self, node: &Node) -> Vec<String> {
        let mut roles = Vec::new();
        for item in self.not_empty_list(node, "`roles`") {
            let Some(name) = self.text(Some(item), "a role") else {
                continue;
            };
            self.role_exists(&name, item.at);
            roles.push(name);
        }
        roles.shrink_to_fit();
        roles
    }

    pub(super) fn role_exists(&mut self, name: &str, at: At) {
        if !self.policy.roles.contains_key(name) {
            let instead = nearest(name, self.policy.roles.keys().map(String::as_str)).map_or_else(
                || "write it under `roles`, or name one that stands there".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.mistakes
                .add(at, format!("unknown role `{name}`; {instead}"));
        }
    }

    fn values(&mut self, node: &Node) -> Vars {
        let mut vars = BTreeMap::new();
        for entry in self.not_empty_map(node, "`vars`") {
            if let Some(value) = self.text(Some(&entry.node), "the value of a variable") {
                if value.is_empty() {
                    self.mistakes.add(entry.node.at, format!("the variable `{}` is empty, which could widen what it stands in; give it a value", entry.key));
                }
                vars.insert(entry.key.clone(), value);
            }
        }
        vars
    }

    /// What would refuse the token whole at run time is a mistake in this file.
    pub(super) fn bound(
        &mut self,
        at: At,
        whose: &str,
        roles: &[String],
        vars: &Vars,
        ceiling: Option<&Ceiling>,
    ) {
        let ceiling = ceiling.map(|ceiling| &ceiling.role);
        let known = |role| self.policy.roles.contains_key(role);
        if roles.iter().chain(ceiling).all(known) {
            let bound = super::bind(&self.policy, roles, vars).map(Arc::new);
            let bound = bound.and_then(|alone| match ceiling {
                Some(ceiling) => super::under(&self.policy, &alone, ceiling).map(|_| ()),
                None => Ok(()),
            });
            if let Err(error) = bound {
                self.mistakes
                    .add(at, format!("{whose} can't be used: {error}"));
            }
        }
        let wanted: HashSet<&str> = roles
            .iter()
            .filter_map(|role| self.policy.roles.get(role))
            .flat_map(|role| &role.vars)
            .map(String::as_str)
            .collect();
        let unused: Vec<_> = vars
            .keys()
            .filter(|name| !wanted.contains(name.as_str()))
            .cloned()
            .collect();
        for name in unused {
            self.mistakes
                .add(at, format!("no role of {whose} has a variable `{name}`"));
        }
    }

    /// What a rule of `trust` binds its sub-tokens to, but for their end.
    pub(super) fn issued_limits(&mut self, map: &mut Map<'_>) -> Limits {
        let mistakes = &mut self.mistakes;
        Limits {
            sources: sources(map, mistakes),
            max_uses: map
                .take("max_uses")
                .and_then(|node| node.parsed("`max_uses`", mistakes)),
            rate: map
                .take("rate")
                .and_then(|node| node.parsed("`rate`", mistakes)),
            ..Limits::default()
        }
    }

    fn limits(&mut self, map: &mut Map<'_>) -> Limits {
        let mistakes = &mut self.mistakes;
        let sources = sources(map, mistakes);
        let client_cert = map
            .take("client_cert")
            .and_then(|node| node.parsed("`client_cert`", mistakes));
        let mut time = |key| {
            map.take(key).and_then(|node| {
                node.parsed::<Timestamp>("a time (`2027-01-31T00:00:00Z`)", mistakes)
            })
        };
        let (not_before, expires_at) = (time("not_before"), time("expires_at"));
        if let (Some(begins), Some(ends)) = (not_before, expires_at)
            && ends <= begins
        {
            mistakes.add(map.at(), format!("this token would end at {ends:.0}, before it begins at {begins:.0}; choose a later `expires_at`"));
        }
        Limits {
            sources,
            client_cert,
            not_before,
            expires_at,
            idle: map
                .take("idle")
                .and_then(|node| node.parsed("`idle`", mistakes)),
            max_uses: map
                .take("max_uses")
                .and_then(|node| node.parsed("`max_uses`", mistakes)),
            rate: map
                .take("rate")
                .and_then(|node| node.parsed("`rate`", mistakes)),
        }
    }

    fn test(&mut self, node: &Node) {
        let Some(mut map) = Map::of(node, "a test", &mut self.mistakes) else {
            return;
        };
        if is_of_trust(node) {
            return self.trust_test(node.at, map);
        }
        let role = map.need("role", &mut self.mistakes);
        let name = self.text(role, "`role`");
        if let (Some(name), Some(role)) = (&name, role) {
            self.role_exists(name, role.at);
        }
        let vars = map
            .take("vars")
            .map(|node| self.values(node))
            .unwrap_or_default();
        let request = self.needed(&mut map, "request");
        let body = map.take("body").map(json_of);
        let expect = map
            .need("expect", &mut self.mistakes)
            .and_then(|node| self.expectation(node));
        let reason = map.take("reason").and_then(|node| self.reason(node));
        let given = map
            .take("given")
            .map(|node| self.given(node))
            .unwrap_or_default();
        map.finish(&mut self.mistakes);
        if let (Some(role), Some(request), Some(allowed)) = (name, request, expect) {
            self.policy.tests.push(PolicyTest {
                at: node.at,
                role,
                vars,
                request,
                body,
                given,
                allowed,
                reason,
            });
        }
    }

    pub(super) fn expectation(&mut self, node: &Node) -> Option<bool> {
        match node.text("`expect`", &mut self.mistakes)? {
            "allow" => Some(true),
            "deny" => Some(false),
            other => {
                let why = format!(
                    "`expect` can't be `{}`: it is `allow` or `deny`",
                    redacted(other)
                );
                self.mistakes.add(node.at, why);
                None
            }
        }
    }

    /// Facts of a test: by kind, a list of resources with their attributes.
    fn given(&mut self, node: &Node) -> Given {
        let mut given = Given::default();
        for entry in self.not_empty_map(node, "`given`") {
            let Some(kind) = self.catalog.kinds().find(&entry.key) else {
                let instead = nearest(&entry.key, KindId::names())
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                self.mistakes
                    .add(entry.at, format!("unknown kind `{}`{instead}", entry.key));
                continue;
            };
            for resource in self.not_empty_list(&entry.node, "the resources of a kind") {
                let attributes = self.given_resource(resource, kind);
                given.resources.entry(kind.id).or_default().push(attributes);
            }
        }
        given
    }

    fn given_resource(&mut self, node: &Node, kind: &Kind) -> Attributes {
        let mut attributes = Attributes::new();
        for attribute in self.not_empty_map(node, "a resource") {
            let key = if attribute.key == "tags" {
                "tag"
            } else {
                attribute.key.as_str()
            };
            if !kind.has(key) {
                self.mistakes.add(
                    attribute.at,
                    format!(
                        "a {} has no attribute `{}`; it has {}",
                        kind.id,
                        attribute.key,
                        kind.attribute_names().collect::<Vec<_>>().join(", ")
                    ),
                );
                continue;
            }
            let values = attribute.node.one_or_more().iter();
            let values: Vec<String> = values
                .filter_map(|item| item.text("a value", &mut self.mistakes))
                .map(|text| spelled(kind, key, text, None))
                .collect();
            attributes.insert(key.to_owned(), Known::exactly(values));
        }
        attributes
    }
}

/// Whether a test is of an identity, and not of a request.
fn is_of_trust(test: &Node) -> bool {
    let entries = match &test.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Scalar { .. } | Value::List(_) => &[],
    };
    entries
        .iter()
        .any(|entry| matches!(entry.key.as_str(), "issuer" | "claims"))
}

fn sources(map: &mut Map<'_>, mistakes: &mut Mistakes) -> Option<Vec<Source>> {
    let node = map.take("sources")?;
    let items = node.items("`sources`", mistakes).iter();
    Some(
        items
            .filter_map(|item| item.parsed("a source", mistakes))
            .collect(),
    )
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A YAML value as JSON, for a test's body: plain scalars that are JSON words or numbers are those, all others texts.
pub(super) fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => Json::Null,
        Value::Scalar {
            text,
            quoted: false,
        } => match Json::read(text.as_bytes()) {
            Ok(json @ (Json::Flag(_) | Json::Number(_))) => json,
            Ok(_) | Err(_) => Json::Text(text.clone()),
        },
        Value::Scalar { text, quoted: true } => Json::Text(text.clone()),
        Value::List(items) => Json::List(items.iter().map(json_of).collect()),
        Value::Map(entries) => Json::Map(
            entries
                .iter()
                .map(|entry| (entry.key.clone(), json_of(&entry.node)))
                .collect(),
        ),
    }
}

/// A grant as it was written, to be shown again.
pub(super) fn as_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar { text, .. } => serde_json::Value::String(text.clone()),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), as_json(&entry.node)))
            .collect(),
    }
}
