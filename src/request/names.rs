//! Every name in a request is brought to the one form that its kind has, wherever it stands, or the request is refused.

use std::borrow::Cow;

use super::asked::Asked;
use super::json::Json;
use crate::catalog::{
    Endpoint, FieldPath, Kinds, NameForm, NamedPlace, Naming, Place, described, read_any,
};
use crate::refusal::{Code, Refusal};

impl Asked<'_> {
    /// Brings the names in the path and query to the spelling in which they are compared and sent, as far as they are in their
    /// form.
    pub(super) fn settle_target(&mut self, kinds: &Kinds) {
        let Some(endpoint) = self.endpoint else {
            return;
        };
        for NamedPlace { at, naming } in &endpoint.names {
            let Naming::Forms(forms) = naming else {
                continue;
            };
            let name = |text: &str| match read_any(forms, text, kinds) {
                Some(Cow::Owned(name)) => Some(name),
                Some(Cow::Borrowed(_)) | None => None,
            };
            match at {
                Place::Path(parameter) => self.target.rename_parameter(endpoint, parameter, name),
                Place::Query(parameter) => self.target.rename_query(parameter, name),
                Place::Body(_) => {}
            }
        }
    }

    /// The same for those in the body.
    pub(super) fn settle_body(&mut self, kinds: &Kinds) {
        let (Some(endpoint), Some(body)) = (self.endpoint, &mut self.body) else {
            return;
        };
        for NamedPlace { at, naming } in &endpoint.names {
            let Place::Body(path) = at else { continue };
            body.each_mut(&path.steps, &mut |value| match naming {
                Naming::Forms(forms) => settle(value, forms, kinds),
                Naming::Typed { id, member, types } => {
                    let told = value.member(member).and_then(Json::name);
                    let forms = forms_of_type(types, told);
                    if let Some(value) = value.member_mut(id) {
                        settle(value, &forms, kinds);
                    }
                }
            });
        }
    }

    /// Checks that what names a resource is in the form that the resource's kind has, wherever it stands.
    ///
    /// # Errors
    /// `ambiguous_request`, with the place and the form that it must have.
    pub(super) fn names_are_in_form(&self, kinds: &Kinds) -> Result<(), Refusal> {
        let Some(endpoint) = self.endpoint else {
            return Ok(());
        };
        for named in &endpoint.names {
            match &named.at {
                Place::Body(_) if !self.may_name(endpoint, &named.at) => {}
                Place::Body(path) => self.body_names(endpoint, path, named, kinds)?,
                Place::Path(_) | Place::Query(_) => {
                    let Naming::Forms(forms) = &named.naming else {
                        continue;
                    };
                    for text in self.names(&named.at) {
                        let known = read_any(forms, text, kinds).is_some();
                        if !known && !endpoint.is_no_name(&named.at, text) {
                            return Err(out_of_form(&named.at.to_string(), forms));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether something may be named at a place: not where it is only by rules that are known not to apply, as an image of
    /// another registry is none of the account's.
    fn may_name(&self, endpoint: &Endpoint, place: &Place) -> bool {
        let rules = endpoint.touches.rules().iter();
        let mut naming = rules
            .filter(|rule| rule.places().any(|at| at == place))
            .peekable();
        naming.peek().is_none() || naming.any(|rule| self.may_apply(rule))
    }

    fn body_names(
        &self,
        endpoint: &Endpoint,
        path: &FieldPath,
        named: &NamedPlace,
        kinds: &Kinds,
    ) -> Result<(), Refusal> {
        let Some(body) = &self.body else {
            return Ok(());
        };
        let mut wrong = None;
        body.each(path, "body", &mut |place, value, in_list| {
            if wrong.is_none() {
                wrong = check(endpoint, named, place, value, in_list, kinds);
            }
        });
        wrong.map_or(Ok(()), Err)
    }
}

/// What is wrong with what stands at a place where a resource is named.
fn check(
    endpoint: &Endpoint,
    named: &NamedPlace,
    place: &str,
    value: &Json,
    in_list: bool,
    kinds: &Kinds,
) -> Option<Refusal> {
    if value.is_nothing() {
        return in_list.then(|| nothing_in_list(place));
    }
    match &named.naming {
        Naming::Forms(forms) => match value {
            Json::Text(text) | Json::Number(text) => {
                let known = read_any(forms, text, kinds).is_some();
                (!known && !endpoint.is_no_name(&named.at, text)).then(|| out_of_form(place, forms))
            }
            Json::Map(_) if looks_into(endpoint, named, value) => None,
            Json::Map(_) | Json::List(_) | Json::Flag(_) | Json::Null => {
                Some(out_of_form(place, forms))
            }
        },
        Naming::Typed { id, member, types } => {
            if !matches!(value, Json::Map(_)) {
                let what = format!("an object with `{id}` and `{member}`");
                return Some(ambiguous(place, &what));
            }
            let forms = forms_of_type(types, value.member(member).and_then(Json::name));
            if forms.is_empty() {
                return None; // of a type that names no resource, as an address
            }
            let name = value.member(id).filter(|name| !name.is_nothing())?;
            let text = name.name().and_then(|text| read_any(&forms, text, kinds));
            let place = format!("{place}.{id}");
            text.is_none().then(|| out_of_form(&place, &forms))
        }
    }
}

/// Whether an object stands where other places of the endpoint look into it: a volume as `{"id": …}` beside one by its id.
fn looks_into(endpoint: &Endpoint, named: &NamedPlace, value: &Json) -> bool {
    let below = format!("{}.", named.at);
    endpoint.names.iter().any(|other| {
        let other = other.at.to_string();
        let rest = other.strip_prefix(&below);
        let key = rest.and_then(|rest| rest.split(['.', '[']).next());
        key.is_some_and(|key| value.member(key).is_some())
    })
}

fn forms_of_type(types: &[(String, Vec<NameForm>)], told: Option<&str>) -> Vec<NameForm> {
    let known = types.iter().find(|(word, _)| told == Some(word));
    match known {
        Some((_, forms)) => forms.clone(),
        None => types.iter().flat_map(|(_, forms)| forms.clone()).collect(),
    }
}

fn settle(value: &mut Json, forms: &[NameForm], kinds: &Kinds) {
    if let Json::Text(text) = value
        && let Some(Cow::Owned(name)) = read_any(forms, text, kinds)
    {
        *text = name;
    }
}

fn out_of_form(place: &str, forms: &[NameForm]) -> Refusal {
    ambiguous(place, &described(forms))
}

fn nothing_in_list(place: &str) -> Refusal {
    Refusal::new(
        Code::AmbiguousRequest,
        format!(
            "`{place}` is empty, which some read as all and some as none; leave it out of the list"
        ),
    )
}

fn ambiguous(place: &str, what: &str) -> Refusal {
    Refusal::new(
        Code::AmbiguousRequest,
        format!("`{place}` must be {what}; what is spelled otherwise some read as another name"),
    )
}
