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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::catalog::{Catalog, Condition, Method, Segment, TouchRule};
    use crate::request::Target;

    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

    /// A name in a form, and what some reader takes for the same.
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn spellings(form: NameForm) -> (&'static str, &'static [&'static str]) {
        const ID: &str = "506f78a4-e098-11e5-ad9f-000f53306ae1";
        match form {
            NameForm::Number => (
                "12",
                &[
                    "12.0", "12e0", "012", "+12", " 12", "12 ", "12abc", "12\0", "12,13", "12;",
                    "0x0c",
                ],
            ),
            NameForm::Uuid => (
                ID,
                &[
                    "506f78a4e09811e5ad9f000f53306ae1",
                    "{506f78a4-e098-11e5-ad9f-000f53306ae1}",
                    "urn:uuid:506f78a4-e098-11e5-ad9f-000f53306ae1",
                    " 506f78a4-e098-11e5-ad9f-000f53306ae1",
                    "506f78a4-e098-11e5-ad9f-000f53306ae1\0",
                ],
            ),
            NameForm::Ipv4 => (
                "198.51.100.7",
                &["198.51.100.007", "198.51.100.7 ", "3325256711"],
            ),
            NameForm::Ipv6 => (
                "2001:db8::1",
                &["2001:db8:0::1", "2001:DB8::1", "[2001:db8::1]"],
            ),
            NameForm::Zone => (
                "example.com",
                &[
                    "example。com",
                    "example..com",
                    " example.com",
                    "example.com ",
                ],
            ),
            NameForm::Record => (
                "www",
                &[
                    "www\0-ci", "www\n-ci", "www -ci", "www\\.x", "\\119ww", " www", "www ",
                ],
            ),
            NameForm::Fingerprint => (
                "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa",
                &[
                    "3b16bfe48b008bb8598ca9d3f01945fa",
                    " 3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa",
                ],
            ),
            NameForm::Slug => (
                "ubuntu-24-04-x64",
                &[
                    " ubuntu-24-04-x64",
                    "ubuntu-24-04-x64\0",
                    "7003abc",
                    "-7003",
                ],
            ),
            NameForm::Tag => ("web", &["web ", " web", "web\u{200b}", "web,db", "web\0"]),
            NameForm::Registry => ("acme", &["acme ", "Acme", "acme\0"]),
            NameForm::Repository => (
                "client-b/api",
                &[
                    "client-b/api ",
                    "/client-b/api",
                    "client-b//api",
                    "client-b/api:latest",
                    "Client-b/api",
                    "client-b/api\u{200b}",
                ],
            ),
            NameForm::ImageTag => ("v1", &["v1 ", " v1", "v1\0"]),
            NameForm::Digest => (
                "sha256:cb8a924afdf0229ef7515d9e5b3024e23b3eb03ddbba287f4a19c6ac90b8d221",
                &[
                    "sha256:cb8a",
                    "SHA256:cb8a924afdf0229ef7515d9e5b3024e23b3eb03ddbba287f4a19c6ac90b8d221",
                ],
            ),
            NameForm::Bucket => ("secret", &["*", " ", "secret ", "Secret", "secret/x"]),
            NameForm::Word => ("fn-1a2b", &["fn-1a2b ", " fn-1a2b", "fn-1a2b\0", "fn,1"]),
            NameForm::Index => ("logs", &["log*", "*", "logs,prod", "_all", "Logs", "logs "]),
            NameForm::Text => (
                "doadmin",
                &[
                    "doadmin ",
                    " doadmin",
                    "doadmin\u{200b}",
                    "doadmin\0",
                    "do\nadmin",
                ],
            ),
            NameForm::Urn => (
                "do:droplet:12",
                &[
                    "do:droplet:12.0",
                    "do:droplet: 12",
                    "do:droplet:12/",
                    "DO:droplet:12",
                    "do:Droplet:12",
                    "do:droplet:",
                ],
            ),
        }
    }

    /// Whether another form of the place takes the spelling as it stands, as a slug takes what is no number.
    fn taken(forms: &[NameForm], text: &str) -> bool {
        read_any(forms, text, CATALOG.kinds()).is_some()
    }

    fn path_of(endpoint: &Endpoint, parameter: &str, name: &str) -> String {
        let segments = endpoint
            .template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Fixed(text) => text.clone(),
                Segment::Parameter { name: known, .. } if known == parameter => {
                    crate::request::encoded(name)
                }
                Segment::Parameter { name: known, .. } => {
                    crate::request::encoded(good(endpoint, known))
                }
            });
        segments.fold(String::new(), |path, segment| path + "/" + &segment)
    }

    /// A name that a parameter of the path takes.
    fn good(endpoint: &Endpoint, parameter: &str) -> &'static str {
        let place = Place::Path(parameter.to_owned());
        let named = endpoint.names.iter().find(|named| named.at == place);
        match named.map(|named| &named.naming) {
            Some(Naming::Forms(forms)) => forms.first().map_or("x", |form| spellings(*form).0),
            Some(Naming::Typed { .. }) | None => "x",
        }
    }

    /// A body with a value at a path, in lists where the path has them.
    fn body_with(path: &FieldPath, value: Json) -> Json {
        path.steps.iter().rev().fold(value, |value, step| {
            let value = (0..step.lists).fold(value, |value, _| Json::List(vec![value]));
            Json::Map(vec![(step.key.clone(), value)])
        })
    }

    /// What else a body must say for the rules that name something at a place to apply.
    fn with_conditions(endpoint: &Endpoint, place: &Place, mut body: Json) -> Json {
        let rules = endpoint.touches.rules().iter();
        let mut naming = rules.filter(|rule| rule.places().any(|at| at == place));
        let conditions = naming.next().map_or(&[][..], |rule: &TouchRule| &rule.when);
        for (at, condition) in conditions {
            let (Place::Body(path), Condition::OneOf(values)) = (at, condition) else {
                continue;
            };
            let (Some(value), [step]) = (values.first(), path.steps.as_slice()) else {
                continue;
            };
            body.set(&step.key, Json::Text(value.clone()));
        }
        body
    }

    fn judged(method: Method, target: &str, body: Option<Json>) -> Result<Asked<'static>, Refusal> {
        let mut asked = Asked::new(method, Target::read(target)?, &CATALOG);
        if let Some(body) = body {
            asked.take_body(&body.write(), &CATALOG)?;
        }
        asked.fits(&CATALOG)?;
        Ok(asked)
    }

    #[track_caller]
    fn refused(endpoint: &Endpoint, text: &str, judged: Result<Asked<'static>, Refusal>) {
        let refusal = judged.err().map(|refusal| refusal.code);
        assert_eq!(
            refusal,
            Some(Code::AmbiguousRequest),
            "{endpoint} with {text:?}"
        );
    }

    #[test]
    fn whatever_names_something_in_a_path_takes_its_form_and_no_other_spelling() {
        let mut tried = 0;
        for endpoint in CATALOG.endpoints() {
            for segment in &endpoint.template.segments {
                let Segment::Parameter { name, .. } = segment else {
                    continue;
                };
                let place = Place::Path(name.clone());
                let named = endpoint.names.iter().find(|named| named.at == place);
                let Some(Naming::Forms(forms)) = named.map(|named| &named.naming) else {
                    panic!("{endpoint}: the table does not say how `{place}` is named");
                };
                let path = path_of(endpoint, name, good(endpoint, name));
                let fits = judged(endpoint.method, &path, None);
                assert!(fits.is_ok(), "{endpoint}: {path}: {:?}", fits.err());
                for form in forms {
                    for bad in spellings(*form).1.iter().filter(|bad| !taken(forms, bad)) {
                        let path = path_of(endpoint, name, bad);
                        refused(endpoint, &path, judged(endpoint.method, &path, None));
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 2000, "{tried}");
    }

    #[test]
    fn whatever_names_something_in_a_query_or_body_takes_its_form_and_no_other_spelling() {
        let mut tried = 0;
        for endpoint in CATALOG.endpoints() {
            let path = path_of(endpoint, "", "");
            for named in &endpoint.names {
                let Naming::Forms(forms) = &named.naming else {
                    continue;
                };
                for form in forms {
                    let (fine, bad) = spellings(*form);
                    for (text, good) in
                        std::iter::once((fine, true)).chain(bad.iter().map(|bad| (*bad, false)))
                    {
                        if !good && taken(forms, text) {
                            continue;
                        }
                        let asked = match &named.at {
                            Place::Path(_) => continue,
                            Place::Query(name) => {
                                let target =
                                    format!("{path}?{name}={}", crate::request::encoded(text));
                                judged(endpoint.method, &target, None)
                            }
                            Place::Body(field) => {
                                let body = body_with(field, Json::Text(text.to_owned()));
                                let body = with_conditions(endpoint, &named.at, body);
                                judged(endpoint.method, &path, Some(body))
                            }
                        };
                        if good {
                            assert!(
                                asked.is_ok(),
                                "{endpoint}: {}: {text:?}: {:?}",
                                named.at,
                                asked.err()
                            );
                        } else {
                            refused(endpoint, &format!("{}: {text}", named.at), asked);
                        }
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 2000, "{tried}");
    }

    #[test]
    fn nothing_stands_in_a_list_that_names_things() {
        let mut tried = 0;
        for endpoint in CATALOG.endpoints() {
            let path = path_of(endpoint, "", "");
            for named in &endpoint.names {
                let Place::Body(field) = &named.at else {
                    continue;
                };
                if field.steps.iter().all(|step| step.lists == 0) {
                    continue;
                }
                let empties = [
                    Json::Null,
                    Json::List(Vec::new()),
                    Json::Map(Vec::new()),
                    Json::Text(String::new()),
                ];
                for empty in empties {
                    let body = body_with(field, empty);
                    let body = with_conditions(endpoint, &named.at, body);
                    let text = format!("{body:?}");
                    // Where the list is of objects an empty value in one is a value that is not given.
                    if field.steps.last().is_some_and(|last| last.lists == 0) {
                        continue;
                    }
                    refused(endpoint, &text, judged(endpoint.method, &path, Some(body)));
                    tried += 1;
                }
            }
        }
        assert!(tried > 200, "{tried}");
    }

    #[test]
    fn every_value_that_decides_stands_in_a_closed_list() {
        for endpoint in CATALOG.endpoints() {
            let action = endpoint.action.as_ref().and_then(|action| match action {
                crate::catalog::Action::Named { at, .. } => Some(at),
                crate::catalog::Action::Always(_) => None,
            });
            let rules = endpoint.touches.rules().iter();
            for (place, condition) in rules.flat_map(|rule| &rule.when) {
                let Condition::OneOf(values) = condition else {
                    continue;
                };
                if action == Some(place) {
                    continue; // its own list is closed
                }
                let closed = endpoint.values.iter().find(|closed| closed.at == *place);
                let closed = closed.unwrap_or_else(|| {
                    panic!("{endpoint}: `{place}` decides, and its values are no closed list")
                });
                for value in values {
                    assert!(
                        closed.one_of.contains(value),
                        "{endpoint}: {place}: {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_the_place_and_the_form() {
        let cases = [
            (
                "POST /v2/firewalls/506f78a4-e098-11e5-ad9f-000f53306ae1/droplets",
                r#"{"droplet_ids":[12,13.0]}"#,
                "`body.droplet_ids[1]` must be digits alone, as in `401000020`; what is spelled otherwise some read as another name",
            ),
            (
                "POST /v2/firewalls/506f78a4-e098-11e5-ad9f-000f53306ae1/droplets",
                r#"{"droplet_ids":[null]}"#,
                "`body.droplet_ids[0]` is empty, which some read as all and some as none; leave it out of the list",
            ),
            (
                "GET /v2/droplets/012",
                "",
                "`path.droplet_id` must be digits alone, as in `401000020`; what is spelled otherwise some read as another name",
            ),
            (
                "POST /v2/tags/web/resources",
                r#"{"resources":[{"resource_id":"12.0","resource_type":"droplet"}]}"#,
                "`body.resources[0].resource_id` must be digits alone, as in `401000020`; what is spelled otherwise some read as another name",
            ),
        ];
        for (request, body, message) in cases {
            let (method, target) = request.split_once(' ').unwrap();
            let body = (!body.is_empty()).then(|| Json::read(body.as_bytes()).unwrap());
            let refusal = judged(method.parse().unwrap(), target, body).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.message.as_str()),
                (Code::AmbiguousRequest, message),
                "{request}"
            );
        }
    }

    #[test]
    fn what_has_two_spellings_goes_on_in_one() {
        let id = "506F78A4-E098-11E5-AD9F-000F53306AE1";
        let target = "/v2/tags/web/resources";
        let body =
            format!(r#"{{"resources":[{{"resource_id":"{id}","resource_type":"volume"}}]}}"#);
        let mut asked = Asked::new(Method::Post, Target::read(target).unwrap(), &CATALOG);
        let sent = asked.take_body(body.as_bytes(), &CATALOG).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), body.to_lowercase());
        let target = "/v2/spaces/keys?bucket=x";
        assert!(
            judged(Method::Get, target, None).is_err(),
            "a bucket has three letters"
        );
    }
}
