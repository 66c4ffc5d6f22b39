use std::sync::Arc;

use super::attributes::Attributes;
use crate::catalog::{Attribute, Kind, KindId, Kinds, SHARED, is_uuid};

/// What is known of one attribute of a resource.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// Its values, as far as they are known, in the spelling that [`folded`] gives.
    pub values: Vec<String>,
    /// Whether these are all of them. Where they are not, nothing can be told from what is missing.
    pub complete: bool,
}

impl Known {
    /// Exactly these values.
    pub fn exactly(values: impl IntoIterator<Item = String>) -> Self {
        Self {
            values: values.into_iter().collect(),
            complete: true,
        }
    }

    /// These, and maybe others.
    pub fn at_least(values: impl IntoIterator<Item = String>) -> Self {
        Self {
            values: values.into_iter().collect(),
            complete: false,
        }
    }

    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }
}

/// What is known of an attribute of which nothing was told.
static UNKNOWN: Known = Known {
    values: Vec::new(),
    complete: false,
};

impl Default for &Known {
    fn default() -> Self {
        &UNKNOWN
    }
}

/// A resource at one moment: before a request, or as it would be after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// Its kind.
    pub kind: KindId,
    /// The other kind under which the API has the same thing.
    pub also: Option<KindId>,
    /// Whether that is known, and not only not ruled out.
    pub surely_also: bool,
    /// What is known of it.
    pub attributes: Attributes,
    /// The attributes that its kind has.
    has: Arc<[Attribute]>,
    /// What it belongs to.
    pub parent: Option<Arc<State>>,
}

impl State {
    /// A resource of a kind, of which this is known.
    pub fn new(kind: &Kind, attributes: Attributes, parent: Option<Arc<State>>) -> Self {
        let told = kind.also_where.as_ref().map(|(attribute, value)| {
            let known = attributes.get(attribute).filter(|known| known.complete);
            known.map(|known| known.values.contains(value))
        });
        let (also, surely_also) = match told {
            None | Some(Some(true)) => (kind.also, true),
            Some(Some(false)) => (None, false),
            Some(None) => (kind.also, false),
        };
        Self {
            kind: kind.id,
            also,
            surely_also,
            attributes,
            has: Arc::clone(&kind.attributes),
            parent,
        }
    }

    /// The same thing under the other kind that the API has for it.
    #[must_use]
    pub fn under(&self, kind: KindId) -> Self {
        Self {
            also: Some(self.kind),
            kind,
            ..self.clone()
        }
    }

    /// What is known of an attribute: `None` where the kind does not have it. What a child does not have of `tag`, `project`
    /// and `region` it has from its parent.
    pub fn known(&self, attribute: &str) -> Option<&Known> {
        if self.has_own(attribute) {
            return Some(self.attributes.get(attribute).unwrap_or(&UNKNOWN));
        }
        match &self.parent {
            Some(parent) if SHARED.contains(&attribute) => parent.known(attribute),
            Some(_) | None => None,
        }
    }

    /// Whether it is one of the attributes that its kind has, and no parent's.
    pub fn has_own(&self, attribute: &str) -> bool {
        self.has.iter().any(|own| *own.name == *attribute)
    }

    /// The same in that project: by itself, or with what it belongs to where it has that one's.
    #[must_use]
    pub fn in_project(mut self, home: &Known) -> Self {
        if self.has_own("project") {
            self.attributes.insert("project", home.clone());
        } else if let Some(parent) = self.parent.take() {
            self.parent = Some(Arc::new(State::clone(&parent).in_project(home)));
        }
        self
    }

    /// Whether it belongs to nobody: a public image.
    pub fn is_public(&self) -> bool {
        self.attributes
            .get("public")
            .is_some_and(|known| known.complete && known.values == ["true"])
    }

    /// The resource and those it belongs to, nearest first.
    pub fn chain(&self) -> impl Iterator<Item = &State> {
        std::iter::successors(Some(self), |state| state.parent.as_deref())
    }
}

/// Where the attributes of a resource have what children which it shows have of their own: no policy can write this name.
pub fn of_children(attribute: &str) -> String {
    format!("children.{attribute}")
}

/// A value in the spelling in which it is compared: in lower case where DigitalOcean minds no case, and names of DNS zones
/// without the dot that may end them.
///
/// Tags, names in the DNS and UUIDs are the same in either case; the names of Droplets are not. Without a kind it is a value of
/// whatever has such an attribute.
pub fn folded(kind: impl Into<Option<KindId>>, attribute: &str, text: &str) -> String {
    let kind = kind.into();
    if kind == Some(KindId::Domain) && matches!(attribute, "id" | "name") {
        text.trim_end_matches('.').to_lowercase()
    } else if minds_case(kind, attribute) && !is_uuid(text) {
        text.to_owned()
    } else {
        text.to_lowercase()
    }
}

/// Whether values that differ in case alone differ.
pub fn minds_case(kind: Option<KindId>, attribute: &str) -> bool {
    match attribute {
        "name" => !kind.is_some_and(|kind| NAMED_IN_EITHER_CASE.contains(&kind)),
        "id" => kind.is_some_and(|kind| NAMED_BY_IDS.contains(&kind)),
        "data" | "email" | "project" => true,
        _ => false,
    }
}

/// Whether an attribute is what somebody called a resource and what paths name it by.
pub fn is_called_by(kind: KindId, attribute: &str) -> bool {
    matches!(attribute, "id" | "name") && NAMED_BY_IDS.contains(&kind)
}

/// The kinds whose names are the same in either case.
const NAMED_IN_EITHER_CASE: [KindId; 5] = [
    KindId::Domain,
    KindId::DomainRecord,
    KindId::Registry,
    KindId::Repository,
    KindId::Tag,
];

/// The kinds that are identified by what somebody called them, or by a key, and not by a number, a slug or a UUID.
const NAMED_BY_IDS: [KindId; 10] = [
    KindId::DatabaseDb,
    KindId::DatabaseIndex,
    KindId::DatabasePool,
    KindId::DatabaseReplica,
    KindId::DatabaseSchema,
    KindId::DatabaseTopic,
    KindId::DatabaseUser,
    KindId::FunctionTrigger,
    KindId::RepositoryTag,
    KindId::SpacesKey,
];

/// The name of a record as it stands in its zone: relative, `@` for the zone itself. `None` where it could be read two ways:
/// `www.example.com` without its dot is `www` to some, and `www.example.com.example.com` to others.
pub fn record_name(written: &str, zone: &str) -> Option<String> {
    let (written, zone) = (written.to_lowercase(), zone.to_lowercase());
    let inside = |absolute: &str| -> Option<String> {
        if absolute == zone {
            return Some("@".to_owned());
        }
        let relative = absolute.strip_suffix(&zone)?.strip_suffix('.')?;
        Some(relative.to_owned())
    };
    match written.strip_suffix('.') {
        Some(absolute) => inside(absolute),
        None if written.is_empty() => Some("@".to_owned()),
        None if inside(&written).is_some() => None,
        None => Some(written),
    }
}

/// The kinds of the catalogue that a state of this kind could be a child of, for selectors.
pub fn is_under(kinds: &Kinds, child: KindId, ancestor: KindId) -> bool {
    let mut above = kinds.ancestors(kinds.of(child));
    above.any(|kind| kind.id == ancestor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_one_name_however_it_is_written() {
        let cases = [
            ("_acme-challenge", Some("_acme-challenge")),
            ("_acme-challenge.example.com.", Some("_acme-challenge")), // lego
            ("_Acme-Challenge.www", Some("_acme-challenge.www")),
            ("@", Some("@")),
            ("", Some("@")),
            ("example.com.", Some("@")),
            ("example.com", None), // this zone, or a name in it
            ("www.example.com", None),
            ("www.other.org.", None), // no name of this zone
            ("badexample.com.", None),
            ("badexample.com", Some("badexample.com")),
        ];
        for (written, expected) in cases {
            assert_eq!(
                record_name(written, "Example.com").as_deref(),
                expected,
                "{written:?}"
            );
        }
    }

    #[test]
    fn case_matters_where_it_does_at_digitalocean() {
        let cases = [
            (KindId::Droplet, "tag", "Web", "web"),
            (KindId::Droplet, "name", "Web", "Web"),
            (KindId::Tag, "name", "Web", "web"),
            (KindId::Domain, "name", "Example.COM", "example.com"),
            (KindId::Domain, "id", "example.com.", "example.com"),
            (KindId::Droplet, "project", "Prod", "Prod"),
            (KindId::RepositoryTag, "id", "V1", "V1"), // another tag than v1
            (KindId::SpacesKey, "id", "DO00EXAMPLE", "DO00EXAMPLE"),
            (KindId::Registry, "id", "Reg", "reg"),
            (
                KindId::Droplet,
                "project",
                "4E1BFBC3-DC3E-41F2-A18F-1B4D7BA71679",
                "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679",
            ),
        ];
        for (kind, attribute, text, expected) in cases {
            assert_eq!(folded(kind, attribute, text), expected);
        }
    }
}
