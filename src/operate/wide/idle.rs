//! What can never match or strike: patterns of no canonical path, names in no form of their kind, kinds that no scope reaches.

use serde_json::Value;

use super::{RoleView, pattern as patterns, scopes, texts};
use crate::catalog::{
    Action, Catalog, Endpoint, Kind, Method, ScopeSet, Segment, TouchVerb, Touches, described,
};
use crate::policy::{Grant, PolicyTest, RequestPattern};
use crate::request::{Asked, Target};
use crate::yaml::nearest;

/// The remarks on a grant, on either side of a role.
pub(super) fn remarks(view: &RoleView<'_>, grant: &Grant) -> Vec<String> {
    let patterns = texts(grant, "requests").filter_map(|text| pattern(text, view.catalog));
    let names = selectors(grant).flat_map(|(kind, asked)| misnamed(kind, asked, view.catalog));
    let kinds = selectors(grant).filter_map(|(kind, _)| unreached(kind, grant, view.catalog));
    let blanks = blank_ends(grant);
    let actions = undone(grant, view.catalog);
    let beside = blanks.into_iter().chain(actions);
    patterns.chain(names).chain(kinds).chain(beside).collect()
}

/// Names with a space at an end, which nothing has.
fn blank_ends(grant: &Grant) -> Vec<String> {
    let only = grant.written.get("only").and_then(Value::as_object);
    let asked = only.into_iter().flatten().flat_map(|(key, value)| {
        let inside = value.as_object().into_iter().flatten();
        let own = (!value.is_object()).then_some((key, value));
        inside.chain(own)
    });
    let of_names = asked.filter(|(attribute, _)| NAMED_BY.contains(&attribute.as_str()));
    let texts = of_names.flat_map(|(attribute, value)| {
        let listed = value.as_array().into_iter().flatten();
        let all = listed.chain(Some(value)).filter_map(Value::as_str);
        all.map(move |text| (attribute, text))
    });
    let idle = |text: &str| !text.starts_with('/') && text.trim() != text;
    texts
        .filter(|(_, text)| idle(text))
        .map(|(attribute, text)| {
            format!("has `{text}` for `{attribute}`, which matches nothing, as no name has a space at an end; write `{}`", text.trim())
        })
        .collect()
}

/// The attributes that are names of things.
const NAMED_BY: [&str; 5] = ["id", "name", "tag", "project", "region"];

/// The actions of a grant that nothing which its scopes open does.
fn undone(grant: &Grant, catalog: &Catalog) -> Vec<String> {
    let Some(gives) = scopes(grant) else {
        return Vec::new();
    };
    let does = |action: &str, endpoint: &Endpoint| match &endpoint.action {
        Some(Action::Named { one_of, .. }) => one_of.iter().any(|it| it == action),
        Some(Action::Always(it)) => it == action,
        None => false,
    };
    let idle = |action: &&str| {
        let mut all = catalog.endpoints().iter().filter(|it| does(action, it));
        // What tags or moves something does so by whatever endpoint.
        !BY_EFFECT.contains(action)
            && !all.any(|endpoint| endpoint.scopes.iter().any(|set| gives.meets(set)))
    };
    let families = texts(grant, "scopes").filter_map(|text| text.split(':').next());
    let families: Vec<_> = families.collect();
    let asking = |action: &str| {
        let of_family = |set: &&ScopeSet| {
            let mut names = catalog.scopes().names(set);
            names.any(|scope| families.contains(&scope.family()))
        };
        let doing = catalog.endpoints().iter().filter(|it| does(action, it));
        let mut sets = doing.filter_map(|endpoint| endpoint.scopes.first());
        let set = sets.clone().find(of_family).or_else(|| sets.next())?;
        let names = catalog.scopes().names(set).map(ToString::to_string);
        Some(names.collect::<Vec<_>>().join(" and "))
    };
    texts(grant, "actions")
        .filter(idle)
        .filter_map(|action| {
            let asks = asking(action)?;
            Some(format!("has the action `{action}`, which asks for {asks}, and none of its scopes gives that; add the scope, or leave the action out"))
        })
        .collect()
}

/// Actions that are told by what a request does, whatever its endpoint is called.
const BY_EFFECT: [&str; 3] = ["assign", "tag", "untag"];

/// Why no request matches a pattern, as far as its text tells.
fn pattern(text: &str, catalog: &Catalog) -> Option<String> {
    let never = |why: String| {
        Some(format!(
            "has the pattern `{text}`, which matches no request: {why}"
        ))
    };
    let (method, path) = match text.split_once(' ') {
        Some((method, path)) => (method, path),
        None if text.starts_with("/v") || text.starts_with("v2/") => {
            let path = text.trim_start_matches('/');
            return never(format!(
                "it has no method; write `GET /{path}`, or `[A-Z]+ /{path}` for all"
            ));
        }
        None => return None,
    };
    let upper = method.to_uppercase();
    if method != upper && upper.parse::<Method>().is_ok() {
        return never(format!("methods have capitals; write `{upper} {path}`"));
    }
    if path.starts_with("v2/") {
        return never(format!("a path begins with `/`; write `{method} /{path}`"));
    }
    if let Some((before, after)) = query_unescaped(path) {
        return never(format!(
            "`?` makes the character before it optional; write `{method} {before}\\?{after}` for a query, and leave paging and sorting out, as they are never a part of what is matched"
        ));
    }
    let Some(path) = literal(path) else {
        let path = path.split("\\?").next().unwrap_or_default();
        let slash = path.ends_with('/') && path.len() > 1;
        return slash
            .then(|| never("no canonical path ends with `/`; leave that out".to_owned()))
            .flatten();
    };
    let method: Method = method.parse().ok()?;
    match canonical(method, &path, catalog) {
        Ok(known) if known == path => None,
        Ok(known) => never(format!(
            "the path is matched as `{known}`; write `{method} {}`",
            regex::escape(&known)
        )),
        Err(why) => never(format!(
            "{why}, so such a request is refused before it is matched"
        )),
    }
}

/// A path as it is matched.
fn canonical(method: Method, path: &str, catalog: &Catalog) -> Result<String, String> {
    let target = Target::read(path).map_err(|error| error.to_string())?;
    let asked = Asked::new(method, target, catalog);
    if asked.endpoint.is_some() {
        asked.fits(catalog).map_err(|refusal| refusal.message)?;
    }
    Ok(asked.target.path_and_query().into_owned())
}

/// A text that is no expression but stands for itself, its escapes undone.
fn literal(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(
                letters
                    .next()
                    .filter(|next| !next.is_ascii_alphanumeric())?,
            ),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return None;
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// The two sides of a `?` behind which a parameter stands, where it is not escaped.
fn query_unescaped(path: &str) -> Option<(&str, &str)> {
    let (before, after) = path.split_once('?')?;
    let name = after.split(['=', '&']).next().unwrap_or_default();
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let word = before.ends_with(|letter: char| letter.is_ascii_alphanumeric());
    (word && after.contains('=') && is_name(name)).then_some((before, after))
}

/// The selectors of a grant as they were written.
fn selectors(grant: &Grant) -> impl Iterator<Item = (&str, &Value)> {
    let only = grant.written.get("only").and_then(Value::as_object);
    only.into_iter()
        .flatten()
        .filter(|(_, asked)| asked.is_object() || asked.as_str() == Some("any")) // else it is an attribute of all
        .map(|(kind, asked)| (kind.as_str(), asked))
}

/// The ids in a selector that are no names of its kind.
fn misnamed(kind: &str, asked: &Value, catalog: &Catalog) -> Vec<String> {
    let kinds = catalog.kinds();
    let Some(kind) = kinds.find(kind) else {
        return Vec::new();
    };
    let ids = asked.get("id");
    let listed = ids.and_then(Value::as_array).into_iter().flatten();
    let all = ids.into_iter().filter(|ids| !ids.is_array()).chain(listed);
    let texts = all.filter_map(|id| match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    texts
        .filter(|text| !text.contains(['*', '?']) && !text.starts_with('/') && !text.contains("${"))
        .filter(|text| kind.name(text, kinds).is_none())
        .map(|text| {
            let named = kind.id;
            let form = described(&kind.named);
            format!("has the id `{text}` of a {named}, which matches none, as that is {form}; write it in this form")
        })
        .collect()
}

/// That nothing which a grant is about touches a kind that its `only` names.
fn unreached(kind: &str, grant: &Grant, catalog: &Catalog) -> Option<String> {
    let all = scopes(grant)?;
    let kinds = catalog.kinds();
    let known = kinds.find(kind)?;
    let related = |other: &Kind| {
        let under = |child: &Kind, above: &Kind| kinds.ancestors(child).any(|it| it.id == above.id);
        let same =
            other.id == known.id || other.also == Some(known.id) || known.also == Some(other.id);
        same || under(other, known) || under(known, other) || !other.counts_as.is_empty()
    };
    let own = [known.reads, known.changes, known.deletes];
    let has_own = own.into_iter().flatten().any(|scope| all.has(scope));
    let touches = |endpoint: &Endpoint| {
        let Touches::These(rules) = &endpoint.touches else {
            return false;
        };
        let by_endpoint = endpoint.scopes.iter().any(|set| all.meets(set));
        rules.iter().any(|rule| {
            let counts = by_endpoint || rule.scope.is_some_and(|scope| all.has(scope));
            counts && super::reach::kinds_of(&rule.kind, catalog).any(related)
        })
    };
    let reached = has_own || catalog.endpoints().iter().any(touches);
    (!reached).then(|| {
        format!("names `{kind}` in its `only`, and nothing that its scopes open touches one; leave it out, or add the scopes that do")
    })
}

impl RoleView<'_> {
    /// What a grant adds to what it creates, where it creates nothing.
    pub(super) fn adds_to_nothing(&self, grant: &Grant) -> Option<String> {
        grant.on_create.as_ref()?;
        let gives = scopes(grant)?;
        let creates = |endpoint: &Endpoint| {
            let rules = endpoint.touches.rules();
            let makes = rules.iter().any(|rule| rule.verb == TouchVerb::Create);
            makes && endpoint.scopes.iter().any(|set| gives.meets(set))
        };
        let idle = !self.catalog.endpoints().iter().any(creates);
        idle.then(|| "has `on_create`, and none of its scopes creates anything; put it where the scopes are that do, or leave it out".to_owned())
    }

    /// Patterns of a deny that match no endpoint that there is, nor what a pattern of the role lets through.
    pub(super) fn denies_no_endpoint(&self, deny: &Grant) -> Vec<String> {
        let told = texts(deny, "requests").filter(|text| pattern(text, self.catalog).is_none());
        told.filter_map(|text| {
            patterns::unknown_word(text, self.catalog).or_else(|| self.denies_none(text))
        })
        .collect()
    }

    fn denies_none(&self, text: &str) -> Option<String> {
        let (method, path) = text.split_once(' ')?;
        let path = literal(path)?;
        let method: Method = method.parse().ok()?;
        let target = Target::read(&path).ok()?;
        let let_through = |pattern: &str| {
            let read = RequestPattern::new(pattern);
            read.map_or(true, |read| read.matches(&format!("{method} {path}")))
        };
        let mut allowed = self.role.allow.iter().flat_map(|it| texts(it, "requests"));
        let known = self.catalog.find(method, target.segments()).is_some();
        (!known && !allowed.any(let_through)).then(|| {
            format!("has the pattern `{text}`, which is no endpoint, so it strikes nothing; `tidegate catalog endpoints` lists them all (a `/` inside a name is written `%2F`)")
        })
    }

    /// A deny of paths beside a grant that reaches the same things by others.
    pub(super) fn denies_paths_alone(&self, deny: &Grant) -> Option<String> {
        let patterns: Vec<_> = texts(deny, "requests")
            .filter_map(|text| Some((RequestPattern::new(text).ok()?, depth(text))))
            .collect();
        let denied = |endpoint: &&Endpoint| {
            let segments = endpoint.template.segments.len();
            let as_deep = |depth: &Option<usize>| depth.is_none_or(|depth| depth == segments);
            patterns
                .iter()
                .any(|(pattern, depth)| as_deep(depth) && pattern.spells_endpoint(endpoint))
        };
        let open = |endpoint: &&Endpoint| endpoint.scopes.iter().any(|set| self.held.covers(set));
        let all = self.catalog.endpoints().iter();
        let (path, other) = all.filter(denied).filter(open).find_map(|path| {
            let (verb, kind) = changed(path)?;
            let mut others = self.catalog.endpoints().iter().filter(open);
            let other = others.find(|other| !denied(other) && does(other, verb, kind))?;
            Some((path, other))
        })?;
        Some(format!(
            "denies paths alone: what {path} does, {other} does too, and this role may call it; deny `scopes` with an `only`, which holds for a resource by whatever path"
        ))
    }

    /// A deny of a family whose resources are changed under the scopes of another as well.
    pub(super) fn leaves_another_family(&self, deny: &Grant) -> Vec<String> {
        let Some(denied) = scopes(deny) else {
            return Vec::new();
        };
        let id = |text: &str| {
            let scope = text.parse().ok()?;
            self.catalog.scopes().id(&scope)
        };
        let left = FAMILIES.iter().filter(|(family, other, _)| {
            let written = texts(deny, "scopes").any(|text| text == *family);
            let open = id(other).is_some_and(|it| self.held.has(it) && !denied.has(it));
            written && open
        });
        left.map(|(family, other, what)| {
            format!("denies `{family}` and leaves {what} to `{other}`, which this role has; deny that as well")
        })
        .collect()
    }
}

/// Families of DigitalOcean's whose names tell less than their scopes open: what is denied, what stays, and what that does.
const FAMILIES: [(&str, &str, &str); 4] = [
    (
        "block_storage:*",
        "block_storage_action:create",
        "attaching, detaching and resizing of volumes",
    ),
    (
        "snapshot:*",
        "block_storage_snapshot:create",
        "making snapshots of volumes",
    ),
    (
        "snapshot:*",
        "block_storage_snapshot:read",
        "reading snapshots of volumes",
    ),
    (
        "snapshot:*",
        "block_storage_snapshot:delete",
        "deleting snapshots of volumes",
    ),
];

/// How many segments the paths have that a pattern matches, where it does not go on past the next `/`.
fn depth(pattern: &str) -> Option<usize> {
    let path = pattern.split("\\?").next().unwrap_or_default();
    let goes_on = path.contains(".*") || path.contains(".+");
    (!goes_on).then(|| path.matches('/').count())
}

/// What an endpoint is about and changes or destroys.
fn changed(endpoint: &Endpoint) -> Option<(TouchVerb, &crate::catalog::TouchKind)> {
    let Touches::These(rules) = &endpoint.touches else {
        return None;
    };
    let grave = |verb: TouchVerb| matches!(verb, TouchVerb::Change | TouchVerb::Delete);
    let rule = rules
        .iter()
        .find(|rule| rule.is_first() && grave(rule.verb))?;
    Some((rule.verb, &rule.kind))
}

fn does(endpoint: &Endpoint, verb: TouchVerb, kind: &crate::catalog::TouchKind) -> bool {
    changed(endpoint).is_some_and(|(other, of)| other == verb && of == kind)
}

/// The variables of a role that stand nowhere in it.
pub(super) fn unused_variables(role: &crate::policy::Role) -> Vec<String> {
    let grants = role.allow.iter().chain(&role.deny);
    let written: String = grants.map(|grant| grant.written.to_string()).collect();
    let unused = role
        .vars
        .iter()
        .filter(|name| !written.contains(&format!("${{{name}}}")));
    let said = |name: &String| {
        format!(
            "the role `{}` asks for the variable `{name}`, and nothing in it has `${{{name}}}`; use it, or take it out of `vars`",
            role.name
        )
    };
    unused.map(said).collect()
}

/// That a test expects a refusal and gets it because its path is none.
pub(super) fn unknown_path(test: &PolicyTest, catalog: &Catalog) -> Option<String> {
    if test.allowed || test.reason.is_some() {
        return None;
    }
    let (method, path) = test.request.split_once(' ')?;
    let target = Target::read(path).ok()?;
    let method: Method = method.parse().ok()?;
    if catalog.find(method, target.segments()).is_some() {
        return None;
    }
    let mut firsts: Vec<&str> = catalog
        .endpoints()
        .iter()
        .filter_map(|endpoint| match endpoint.template.segments.get(1) {
            Some(Segment::Fixed(first)) => Some(first.as_str()),
            Some(Segment::Parameter { .. }) | None => None,
        })
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    let word = target.segments().nth(1).unwrap_or_default();
    let hint = match nearest(word, firsts.iter().copied()).filter(|near| *near != word) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`tidegate catalog endpoints` lists them all".to_owned(),
    };
    Some(format!(
        "the test asks for `{}`, which is no endpoint, and passes whatever the role allows; {hint} (if that is what it tests, write `reason: unknown_endpoint`)",
        test.request
    ))
}
