use super::kinds::{kind_at, look_up_of};
use super::{
    CatalogReader, conditions, flag_of, one_place_each, parsed_of, places, taken, text_of, texts,
    texts_of,
};
use crate::catalog::kind::KindId;
use crate::catalog::place::{FieldPath, Place};
use crate::catalog::touch::{
    Another, Children, Layout, NamedBy, Replaced, Stays, Through, TouchKind, TouchRule, TouchVerb,
    VERBS,
};
use crate::yaml::{Map, Mistakes, Node};

/// `shown` or `untold`.
fn children(node: &Node, mistakes: &mut Mistakes) -> Option<Children> {
    match node.text("`children`", mistakes)? {
        "shown" => Some(Children::Shown),
        "untold" => Some(Children::Untold),
        _ => {
            mistakes.add(node.at, "children are `shown` or `untold`");
            None
        }
    }
}

/// `by: tag`, or attributes of which any names it.
fn named_by(words: Vec<String>) -> NamedBy {
    match words.as_slice() {
        [] => NamedBy::Id,
        [word] if word == "name" => NamedBy::Name,
        [word] if word == "tag" => NamedBy::Tag,
        [word] if word == "zone" => NamedBy::Zone,
        [word] if word == "zone_above" => NamedBy::ZoneAbove,
        [word] if word == "host" => NamedBy::Host,
        [..] => NamedBy::Attributes(words),
    }
}

/// `keyed` or `grouped`, or neither.
fn layout(map: &mut Map<'_>, mistakes: &mut Mistakes) -> Layout {
    let keyed = flag_of(map, "keyed", mistakes);
    let grouped = flag_of(map, "grouped", mistakes);
    match (keyed, grouped) {
        (true, _) => Layout::Keyed,
        (false, true) => Layout::Grouped,
        (false, false) => Layout::List,
    }
}

/// `stands_for` or `denied_with`, or neither.
fn another(map: &mut Map<'_>, mistakes: &mut Mistakes) -> Option<Another> {
    let denied_with = parsed_of(map, "denied_with", mistakes).map(Another::DeniedWith);
    let stood_for = parsed_of(map, "stands_for", mistakes).map(Another::StoodFor);
    stood_for.or(denied_with)
}

/// `replaces`, and what of an item stays: all of it, but for some members, or what it names `alone`.
fn replaced(at: Option<&Place>, map: &mut Map<'_>, mistakes: &mut Mistakes) -> Option<Replaced> {
    let alone = map.take("alone");
    let is_alone = alone.and_then(|node| node.flag("`alone`", mistakes)) == Some(true);
    let but_for = map.take("but_for");
    let node = map.take("replaces")?;
    let member: FieldPath = node.parsed("`replaces`", mistakes)?;
    let is_same = |at: &Place| matches!(at, Place::Body(path) if *path == member);
    let stays = match member.in_item() {
        None if is_alone || but_for.is_some() => {
            mistakes.add(
                node.at,
                "it is no member of an item, and replaced alone as it is",
            );
            return None;
        }
        None => Stays::Name,
        Some(_) if is_alone => Stays::Name,
        Some((items, name)) if at.is_some_and(is_same) => {
            let but_for = but_for.map(|node| texts(node, "`but_for`", mistakes));
            let parsed = but_for.unwrap_or_default();
            let parsed = parsed.iter().map(|path| path.parse::<FieldPath>());
            let Ok(but_for) = parsed.collect() else {
                mistakes.add(node.at, "`but_for` has members of an item");
                return None;
            };
            Stays::Item {
                items,
                name,
                but_for,
            }
        }
        Some(_) => {
            mistakes.add(node.at, "an item is replaced where it stands in the body");
            return None;
        }
    };
    Some(Replaced { member, stays })
}

impl CatalogReader {
    pub(super) fn touch(&mut self, node: &Node, mistakes: &mut Mistakes) -> Option<TouchRule> {
        let mut map = Map::of(node, "a touch", mistakes)?;
        let named: Vec<_> = VERBS
            .iter()
            .filter_map(|(word, verb)| map.take(word).map(|node| (*verb, node)))
            .collect();
        let [(verb, kind)] = named.as_slice() else {
            let verbs = VERBS.map(|(word, _)| format!("`{word}`")).join(", ");
            mistakes.add(
                node.at,
                format!("a touch says one thing that happens; one of {verbs}"),
            );
            return None;
        };
        let kind = touch_kind(kind, &mut map, mistakes)?;
        let rule = self.rule(*verb, kind, &mut map, mistakes);
        map.finish(mistakes);
        self.attributes_exist(&rule, node, mistakes);
        Some(rule)
    }

    fn rule(
        &mut self,
        verb: TouchVerb,
        kind: TouchKind,
        map: &mut Map<'_>,
        mistakes: &mut Mistakes,
    ) -> TouchRule {
        let mut changes = |key| {
            map.take(key)
                .map(|node| places(node, key, mistakes))
                .unwrap_or_default()
        };
        let (after, adds) = (changes("after"), changes("adds"));
        let (removes, swaps) = (changes("removes"), changes("swaps"));
        let at: Option<Place> = parsed_of(map, "in", mistakes);
        let public = kind.one().map(|kind| self.kinds.of(kind).public.clone());
        TouchRule {
            public: public.unwrap_or_default(),
            verb,
            kind,
            replaces: replaced(at.as_ref(), map, mistakes),
            at,
            called: text_of(map, "called", mistakes),
            by: named_by(texts_of(map, "by", mistakes)),
            opaque: map
                .take("opaque")
                .and_then(|node| super::kinds::forms(Some(node), mistakes).pop()),
            scope: map.take("scope").and_then(|node| {
                let text = node.text("`scope`", mistakes)?.to_owned();
                self.scope(&text, node, mistakes)
            }),
            of: map
                .take("of")
                .map(|node| parents(node, mistakes))
                .unwrap_or_default(),
            of_default: map
                .take("of_default")
                .and_then(|node| kind_at(node, "a kind", mistakes)),
            after,
            adds,
            removes,
            swaps,
            resets: texts_of(map, "resets", mistakes),
            clears: texts_of(map, "clears", mistakes),
            unsure: texts_of(map, "unsure", mistakes),
            gets: texts_of(map, "gets", mistakes),
            held_in: parsed_of(map, "held_in", mistakes),
            through: map.take("through").and_then(|node| through(node, mistakes)),
            unless: parsed_of(map, "unless", mistakes),
            was: parsed_of(map, "was", mistakes),
            narrowed: one_place_each(map.take("narrowed"), "`narrowed`", mistakes),
            instead_of: look_up_of(map, "instead_of", mistakes),
            first: map
                .take("first")
                .and_then(|node| node.flag("`first`", mistakes)),
            implied: flag_of(map, "implied", mistakes),
            every: flag_of(map, "every", mistakes),
            or_nobody: flag_of(map, "or_nobody", mistakes),
            when: taken(map, "when", mistakes, conditions),
            each: parsed_of(map, "each", mistakes),
            answer: parsed_of(map, "at", mistakes),
            layout: layout(map, mistakes),
            counts: parsed_of(map, "counts", mistakes),
            another: another(map, mistakes),
            bare: map.take("bare").and_then(|node| bare(node, mistakes)),
            children: map
                .take("children")
                .and_then(|node| children(node, mistakes)),
        }
    }

    fn attributes_exist(&self, rule: &TouchRule, node: &Node, mistakes: &mut Mistakes) {
        let Some(kind) = rule.kind.one().map(|kind| self.kinds.of(kind)) else {
            return;
        };
        let changed = [&rule.after, &rule.adds, &rule.removes, &rule.swaps];
        let asked = changed
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .chain(rule.narrowed.iter().map(|(name, _)| name))
            .chain(&rule.resets)
            .chain(&rule.clears)
            .chain(&rule.unsure)
            .chain(&rule.gets);
        for attribute in asked.filter(|attribute| !kind.has(attribute)) {
            mistakes.add(
                node.at,
                format!("a {} has no attribute `{attribute}`", kind.id),
            );
        }
    }
}

/// The member by which items that say no more than ids are called: `id`, or the one that is named.
fn bare(node: &Node, mistakes: &mut Mistakes) -> Option<String> {
    let member = node.text("`bare`", mistakes)?;
    Some(if member == "true" { "id" } else { member }.to_owned())
}

/// `{ kind: certificate, attribute: dns_name, of_type: lets_encrypt }`, or without `of_type`
fn through(node: &Node, mistakes: &mut Mistakes) -> Option<Through> {
    let mut map = Map::of(node, "`through`", mistakes)?;
    let kind = map.need("kind", mistakes)?;
    let kind = kind_at(kind, "a kind", mistakes)?;
    let attribute = map.need("attribute", mistakes)?;
    let attribute = attribute.text("attribute", mistakes)?.to_owned();
    let of_type = map
        .take("of_type")
        .and_then(|node| node.text("of_type", mistakes))
        .map(str::to_owned);
    map.finish(mistakes);
    Some(Through {
        kind,
        attribute,
        of_type,
    })
}

/// The kind of a touch: named, or `by_urn`, or `by_type` with where the type stands.
fn touch_kind(node: &Node, map: &mut Map<'_>, mistakes: &mut Mistakes) -> Option<TouchKind> {
    match node.text("a kind", mistakes)? {
        "by_urn" => Some(TouchKind::Urn),
        "by_type" => by_type(map, mistakes),
        _ => kind_at(node, "a kind", mistakes).map(TouchKind::One),
    }
}

/// The type stands beside each id, or at a place of its own for all that are named.
fn by_type(map: &mut Map<'_>, mistakes: &mut Mistakes) -> Option<TouchKind> {
    let told = parsed_of(map, "type_at", mistakes);
    let beside = if told.is_some() {
        None
    } else {
        let mut member = |key| {
            let node = map.need(key, mistakes)?;
            node.text(key, mistakes).map(str::to_owned)
        };
        Some((member("id_in")?, member("type_in")?))
    };
    let types = map
        .need("types", mistakes)?
        .entries("`types`", mistakes)
        .iter()
        .filter_map(|entry| {
            let kind = match entry.node.text("a kind", mistakes)? {
                "nobody" => None, // no resource, or one of which another rule speaks
                _ => Some(kind_at(&entry.node, "a kind", mistakes)?),
            };
            Some((entry.key.clone(), kind))
        })
        .collect();
    match (told, beside) {
        (Some(at), _) => Some(TouchKind::Told { at, types }),
        (None, Some((id, member))) => Some(TouchKind::Typed { id, member, types }),
        (None, None) => None,
    }
}

fn parents(node: &Node, mistakes: &mut Mistakes) -> Vec<(KindId, Place)> {
    let mut parents = Vec::new();
    for entry in node.entries("`of`", mistakes) {
        let place = entry.node.parsed("`of`", mistakes);
        match (KindId::from_name(&entry.key), place) {
            (Some(kind), Some(place)) => parents.push((kind, place)),
            (None, _) => mistakes.add(entry.at, format!("unknown kind `{}`", entry.key)),
            (Some(_), None) => {}
        }
    }
    parents
}
