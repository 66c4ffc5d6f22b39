use super::CatalogReader;
use crate::catalog::scope::Scope;
use crate::yaml::{self, Map, Mistakes};

impl CatalogReader {
    /// Reads what is known of scopes beyond the endpoints that ask for them, which must have been read before.
    pub(super) fn scopes_table(&mut self) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::new("scopes.yaml");
        if let Some(root) = yaml::read(include_str!("../data/scopes.yaml"), &mut mistakes)
            && let Some(mut top) = Map::of(&root, "the table of scopes", &mut mistakes)
        {
            let (implied, idle) = (top.take("implied"), top.take("opens_nothing"));
            for entry in implied.map_or(&[][..], |node| node.entries("`implied`", &mut mistakes)) {
                let scope = self.asked_for(&entry.key);
                let mut with_it = super::ScopeSet::default();
                for text in super::texts(&entry.node, "a scope", &mut mistakes) {
                    match self.asked_for(&text) {
                        Some(id) => with_it.insert(id),
                        None => mistakes.add(entry.at, format!("no endpoint asks for `{text}`")),
                    }
                }
                match scope {
                    Some(scope) => self.scopes.imply(scope, with_it),
                    None => mistakes.add(entry.at, format!("no endpoint asks for `{}`", entry.key)),
                }
            }
            for entry in idle.map_or(&[][..], |node| {
                node.entries("`opens_nothing`", &mut mistakes)
            }) {
                match entry.key.parse() {
                    Ok(scope) if self.scopes.id(&scope).is_none() => {
                        self.scopes.opens_nothing(scope);
                    }
                    Ok(_) => {
                        mistakes.add(entry.at, format!("an endpoint asks for `{}`", entry.key));
                    }
                    Err(error) => mistakes.add(entry.at, format!("`{}`: {error}", entry.key)),
                }
            }
            top.finish(&mut mistakes);
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }

    fn asked_for(&self, text: &str) -> Option<super::ScopeId> {
        self.scopes.id(&text.parse::<Scope>().ok()?)
    }
}
