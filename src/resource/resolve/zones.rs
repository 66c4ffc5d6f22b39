//! The zones of the account in which names fall: records are written there, whatever else is done with the names.

use super::{Here, Resolver, id_of, missing};
use crate::catalog::{FieldPath, KindId, NamedBy, Through, TouchRule, TouchVerb};
use crate::refusal::Refusal;
use crate::request::Json;
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Found, Look};
use crate::resource::state::{Known, State, folded};

impl<'r, L: Look> Resolver<'r, L> {
    /// The zones in which names fall: of each the longest that it is, or is below; by `zone_above` the one that it is below, if
    /// it is below any. What falls in none is not there.
    pub(super) async fn zones(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let strictly = rule.by == NamedBy::ZoneAbove;
        let mut names = self.names(rule);
        if let Some(through) = &rule.through {
            match self.led_to(rule, through, &names).await? {
                Some(found) => names = found,
                None => return self.push_unknown(rule, kind, None),
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let Some(all) = self.look.every(kind).await? else {
            return self.push_unknown(rule, kind, None);
        };
        let ids = all
            .iter()
            .filter_map(|found| id_of(kind, &found.attributes));
        let zones: Vec<String> = ids.collect();
        let mut done: Vec<(String, Option<State>)> = Vec::new();
        for name in names {
            let name = folded(kind.id, "id", &name);
            let name = name.strip_prefix("*.").unwrap_or(&name);
            let falls = |zone: &&String| is_below(name, zone) || !strictly && name == zone.as_str();
            let Some(zone) = zones.iter().filter(falls).max_by_key(|zone| zone.len()) else {
                if !strictly {
                    self.push(missing(rule, kind, Some(name), here.in_path))?;
                }
                continue;
            };
            if !done.iter().any(|(known, _)| known == zone) {
                let called = kind.name(zone, self.catalog.kinds());
                self.one(here, called.as_ref(), zone).await?;
                let state = self.touches.last().and_then(|touch| touch.before.clone());
                done.push((zone.clone(), state));
            }
            let state = done.iter().find(|(known, _)| known == zone);
            self.record(zone, name, state.and_then(|(_, state)| state.clone()))?;
        }
        Ok(())
    }

    /// A record of a name in a zone, which is written or taken away.
    fn record(&mut self, zone: &str, name: &str, parent: Option<State>) -> Result<(), Refusal> {
        let kind = self.catalog.kinds().of(KindId::DomainRecord);
        let relative = name
            .strip_suffix(zone)
            .map(|rest| rest.trim_end_matches('.'));
        let relative = match relative {
            None | Some("") => "@",
            Some(relative) => relative,
        };
        // Beside the name itself others are written, as those that prove that it is one's own.
        let told = Attributes::from([
            ("domain".to_owned(), Known::exactly([zone.to_owned()])),
            ("name".to_owned(), Known::at_least([relative.to_owned()])),
        ]);
        let state = State::new(kind, told, parent.map(std::sync::Arc::new));
        let states = (state.clone(), state);
        self.push_following(TouchVerb::Attach, kind, None, states.clone(), Vec::new())?;
        self.push_following(TouchVerb::Create, kind, None, states, Vec::new())
    }

    /// What the attribute of something that the request names leads to: the Droplets that a volume is on.
    pub(super) async fn led(&mut self, here: &Here<'r>, through: &Through) -> Result<(), Refusal> {
        let named = self.names(here.rule);
        let Some(led_to) = self.led_to(here.rule, through, &named).await? else {
            return self.push_unknown(here.rule, here.kind, None);
        };
        for name in led_to {
            self.named(here, &name).await?;
        }
        Ok(())
    }

    /// What an attribute of what is named names; `None` where that can't be told.
    async fn led_to(
        &self,
        rule: &TouchRule,
        through: &Through,
        names: &[String],
    ) -> Result<Option<Vec<String>>, Refusal> {
        let kinds = self.catalog.kinds();
        let kind = kinds.of(through.kind);
        let mut all = Vec::new();
        for name in names {
            let found = if rule.by == NamedBy::Name {
                self.look.named(kind, &[], name, &[]).await?
            } else {
                let Some(called) = kind.name(name, kinds) else {
                    return Ok(None);
                };
                Vec::from_iter(self.look.one(kind, &[], &called).await?)
            };
            // What is not there leads nowhere.
            for found in found.iter().filter(|found| could_lead(through, found)) {
                match found.attributes.get(&through.attribute) {
                    Some(known) if known.complete => all.extend(known.values.iter().cloned()),
                    Some(_) | None => return Ok(None),
                }
            }
        }
        Ok(Some(all))
    }

    /// Whether the first resource is known not to say `true` at a member of its JSON.
    pub(super) fn was_not(&self, member: &FieldPath) -> bool {
        let json = self.first.as_ref().and_then(|first| first.json.as_ref());
        json.is_some_and(|json| !matches!(json.at(member).as_slice(), [Json::Flag(true)]))
    }
}

/// Whether what is named is of the type that leads on, as far as that is known.
fn could_lead(through: &Through, found: &Found) -> bool {
    let told = found.attributes.get("type");
    let told = told.filter(|known| known.complete && !known.values.is_empty());
    match (&through.of_type, told) {
        (Some(of_type), Some(told)) => told.values.contains(of_type),
        (None, _) | (_, None) => true,
    }
}

fn is_below(name: &str, zone: &str) -> bool {
    let rest = name.strip_suffix(zone);
    rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}
