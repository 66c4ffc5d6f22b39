//! The values that a request gives attributes, as they compare.

use super::{Here, Resolver};
use crate::catalog::{AttributeSource, Kind, KindId, is_plain_text};
use crate::refusal::Refusal;
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Look, spellings, zone_of};
use crate::resource::parents::{project, project_named};
use crate::resource::state::Known;

impl<'r, L: Look> Resolver<'r, L> {
    /// The values that a request gives an attribute, as they compare. What is given and empty is told by nobody: it clears the
    /// attribute to some, leaves it as it is or as it would be without to others, and is a value to the rest.
    pub(super) async fn known(
        &self,
        here: &Here<'r>,
        attribute: &str,
        values_given: &[String],
    ) -> Result<Known, Refusal> {
        let kind = here.kind;
        let said = values_given.iter().filter(|value| !value.is_empty());
        let said: Vec<String> = said.cloned().collect();
        // Names have forms of their own.
        let names = attribute == "id" || KindId::from_name(attribute).is_some();
        let any = names || is_free(attribute);
        let is_told = |value: &String| is_plain_text(value) && (any || is_word(value));
        if !said.iter().all(is_told) {
            return Ok(Known::unknown()); // one reader takes for `fra1` what another takes for `fra1 ` or `fra1.`
        }
        let values = if attribute == "project" && self.asks(kind).contains("project") {
            let mut projects = Vec::new();
            for value in &said {
                projects.extend(project_named(value, self.catalog, self.look).await?.values);
            }
            projects
        } else {
            let zone = zone_of(here.parent.as_deref());
            let all = self.all_names(kind, attribute, &said).await?;
            let all = all.as_deref().unwrap_or(&said);
            let spelled = all
                .iter()
                .flat_map(|value| spellings(kind, attribute, value, zone.as_deref()));
            spelled.collect()
        };
        Ok(Known {
            values,
            complete: said.len() == values_given.len(),
        })
    }

    /// Where an attribute is another resource that has several names, as an image its slug, all of them: a selector may
    /// know it by another one than the request.
    async fn all_names(
        &self,
        kind: &Kind,
        attribute: &str,
        given: &[String],
    ) -> Result<Option<Vec<String>>, Refusal> {
        let other = self.catalog.kinds().find(attribute);
        let Some(other) = other.filter(|other| other.identified_by.len() > 1) else {
            return Ok(None);
        };
        if !self.asks(kind).contains(attribute) {
            return Ok(None);
        }
        let mut names = given.to_vec();
        for name in given {
            let Some(name) = other.name(name, self.catalog.kinds()) else {
                continue;
            };
            let found = self.look.one(other, &[], &name).await?;
            let identifying = other.attributes.iter().filter(|attribute| {
                let by = |from: &AttributeSource| matches!(from, AttributeSource::Member(path) if other.identified_by.contains(path));
                attribute.from.iter().any(by)
            });
            for known in identifying.filter_map(|it| found.as_ref()?.attributes.get(&it.name)) {
                names.extend(known.values.iter().cloned());
            }
        }
        Ok(Some(names))
    }

    /// A project by what a grant calls it: its name, or its id.
    pub(super) async fn project_called(&self, called: &str) -> Result<Known, Refusal> {
        let kind = self.catalog.kinds().of(KindId::Project);
        let named = self.look.named(kind, &[], called, &[]).await?;
        match named.as_slice() {
            [found] => Ok(both_names(&found.attributes)),
            _ => project_named(called, self.catalog, self.look).await,
        }
    }

    pub(super) async fn default_project(&self) -> Result<Known, Refusal> {
        let kind = self.catalog.kinds().of(KindId::Project);
        let found = self.look.default(kind).await?;
        Ok(found.map_or_else(Known::unknown, |found| both_names(&found.attributes)))
    }

    pub(super) async fn project(
        &self,
        kind: &Kind,
        id: &str,
        attributes: &mut Attributes,
    ) -> Result<(), Refusal> {
        project(kind, id, attributes, self.catalog, self.interest, self.look).await
    }
}

/// Whether who says that of a thing is free to write anything. Else the values are words that DigitalOcean made.
fn is_free(attribute: &str) -> bool {
    const FREE: [&str; 11] = [
        "name",
        "data",
        "email",
        "purpose",
        "environment",
        "target",
        "origin",
        "custom_domain",
        "dns_name",
        "component_name",
        "job_name",
    ];
    FREE.contains(&attribute)
}

/// Whether a value is written as DigitalOcean writes its regions, sizes, versions and types: what stands at an end of one, some
/// readers drop.
fn is_word(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._/:+ ".contains(byte))
}

/// What a project is called, by id and by name.
pub fn both_names(attributes: &Attributes) -> Known {
    let both = ["id", "name"]
        .iter()
        .filter_map(|attribute| attributes.get(attribute))
        .flat_map(|known| known.values.clone());
    Known::exactly(both)
}
