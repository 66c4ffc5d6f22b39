use std::sync::Arc;

use super::bind::Grants;
use super::case::Case;
use super::decide::Allowed;
use super::grant::BoundGrant;
use crate::catalog::{Endpoint, Place};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, Unheard, Why};

/// How body and query of a request that was allowed go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// As they came: no grant of the token is narrowed, or what covers the request by itself is not.
    Whole,
    /// What the catalogue knows of them, which is all that they say.
    Known,
}

impl Case<'_> {
    /// Refuses a body in which members can't be looked at one by one, for a token that is narrowed.
    pub(super) fn says_members(&self) -> Result<(), Refusal> {
        let in_members = matches!(self.asked.body, None | Some(Json::Map(_) | Json::Null));
        if !self.grants.has_only || self.asked.endpoint.is_none() || in_members {
            return Ok(());
        }
        let why = "the body is no JSON object, so what it names can't be told; send an object, as the reference has it";
        Err(Refusal::new(Code::AmbiguousRequest, why))
    }

    /// Refuses a member or parameter that the catalogue does not know, for a token that is narrowed: it could name anything.
    pub(super) fn says_what_is_known(&self, mut allowed: Allowed) -> Result<Allowed, Refusal> {
        let Some(endpoint) = self.asked.endpoint else {
            return Ok(allowed); // a `requests` pattern let it through, and says all that is known of it
        };
        if !self.grants.has_only {
            return Ok(allowed);
        }
        let unknown = self.unknown_member(endpoint);
        let unknown = unknown.or_else(|| self.unknown_parameter(endpoint));
        allowed.sent = match unknown {
            None => Sent::Known,
            Some(_) if self.covered_unnarrowed() => Sent::Whole,
            Some(refusal) => return Err(refusal),
        };
        Ok(allowed)
    }

    fn unknown_member(&self, endpoint: &Endpoint) -> Option<Refusal> {
        let body = self.asked.body.as_ref()?;
        let Unheard { at, why } = body.only(&endpoint.body, &endpoint.left_out).err()?;
        Some(match why {
            Why::Unknown => unknown(endpoint, &format!("body.{at}"), &format!("body: ['{at}']")),
            Why::OtherShape => Refusal::new(
                Code::FieldUnknown,
                format!(
                    "`body.{at}` of {endpoint} holds something else than the reference has there, and a narrowed sub-token sends only what tidegate can look into; write it as the reference does"
                ),
            ),
        })
    }

    fn unknown_parameter(&self, endpoint: &Endpoint) -> Option<Refusal> {
        if endpoint.reads() {
            return None; // it stays behind: what is shown is judged by itself
        }
        let mut query = self.asked.target.query().iter();
        let (name, _) = query.find(|(name, value)| {
            !value.is_empty() && !endpoint.knows_parameter(name) && !PAGE.contains(&name.as_str())
        })?;
        let place = Place::Query(name.clone());
        Some(unknown(
            endpoint,
            &place.to_string(),
            &format!("query: ['{name}']"),
        ))
    }

    /// Whether one grant that is not narrowed allows the whole request by itself, and no deny would have to know what the
    /// request names.
    fn covered_unnarrowed(&self) -> bool {
        let by_itself = |grant: &Arc<BoundGrant>| {
            let alone = Grants {
                allow: vec![grant.clone()],
                deny: Vec::new(),
                account: String::new().into(),
                has_only: false,
                alone: None,
                within: Vec::new(),
            };
            self.bearing(grant).is_free() && self.before(&alone).by_scopes().is_ok()
        };
        self.denying().all(|deny| deny.is_free()) && self.grants.allow.iter().any(by_itself)
    }
}

/// Parameters that libcloud sends with every method.
const PAGE: [&str; 2] = ["page", "per_page"];

fn unknown(endpoint: &Endpoint, place: &str, row: &str) -> Refusal {
    Refusal::new(
        Code::FieldUnknown,
        format!(
            "`{place}` of {endpoint} is not known to tidegate, and a narrowed sub-token sends only what is; leave it out, or have `{endpoint}: {{ {row} }}` put under `members` of `catalog.extra`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::catalog::{Catalog, Method, Segment};
    use crate::policy::{Vars, bind};
    use crate::request::{Asked, Target};

    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

    fn narrowed() -> Grants {
        let deny = "deny: [{scopes: ['*'], only: {droplet: {id: '401000020'}}}]";
        let text = format!("version: 1\nroles:\n  r: {{ allow: [{{scopes: ['*']}}], {deny} }}\n");
        let policy =
            crate::policy::read("p.yaml", &text, &["default".to_owned()], &CATALOG).unwrap();
        bind(&policy, &["r".to_owned()], &Vars::new()).unwrap()
    }

    /// A request to each endpoint that changes something, whatever its path names.
    fn changes() -> impl Iterator<Item = Asked<'static>> {
        let endpoints = CATALOG.endpoints().iter();
        let changing = endpoints.filter(|endpoint| endpoint.method != Method::Get);
        changing.map(|endpoint| {
            let segments = endpoint.template.segments.iter();
            let path = segments.map(|segment| match segment {
                Segment::Fixed(text) => format!("/{text}"),
                Segment::Parameter { .. } => "/1".to_owned(),
            });
            let target = Target::read(&path.collect::<String>()).unwrap();
            let asked = Asked::new(endpoint.method, target, &CATALOG);
            assert_eq!(
                asked.endpoint.map(|found| &found.operation),
                Some(&endpoint.operation)
            );
            asked
        })
    }

    fn judged(asked: &Asked<'_>, grants: &Grants) -> Result<Sent, Code> {
        let case = Case::new(grants, asked, &CATALOG);
        let allowed = Allowed {
            place: "r.allow[0]".into(),
            additions: None,
            narrows: false,
            sent: Sent::Whole,
            would: None,
            beside: None,
        };
        let told = case.says_members();
        let told = told.and_then(|()| case.says_what_is_known(allowed));
        told.map(|allowed| allowed.sent)
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn no_change_goes_on_with_what_nobody_knows() {
        let grants = narrowed();
        let cases = [
            (r#"{"surprise":1}"#, Err(Code::FieldUnknown)),
            (r#"{"surprise":false}"#, Err(Code::FieldUnknown)),
            (r#"{"surprise":{"x":[]}}"#, Err(Code::FieldUnknown)),
            (r#"{"surprise":null,"x":"","y":[],"z":{}}"#, Ok(Sent::Known)),
            ("{}", Ok(Sent::Known)),
            ("null", Ok(Sent::Known)),
            ("[]", Err(Code::AmbiguousRequest)),
            (r#"[{"surprise":1}]"#, Err(Code::AmbiguousRequest)),
            (r#""surprise""#, Err(Code::AmbiguousRequest)),
            ("401000020", Err(Code::AmbiguousRequest)),
        ];
        let mut count = 0;
        for mut asked in changes() {
            for (body, expected) in cases {
                asked.take_body(body.as_bytes(), &CATALOG).unwrap();
                assert_eq!(judged(&asked, &grants), expected, "{} {body}", asked.line());
            }
            count += 1;
        }
        assert!(count > 300, "only {count} endpoints were asked");
    }

    #[test]
    fn each_known_member_goes_on() {
        let grants = narrowed();
        for mut asked in changes() {
            for member in &asked.endpoint.unwrap().body {
                let value = Json::Text("x".to_owned());
                let whole = member.path.steps.iter().rev().fold(value, |below, step| {
                    let value = (0..step.lists).fold(below, |below, _| Json::List(vec![below]));
                    Json::Map(vec![(step.key.clone(), value)])
                });
                asked.take_body(&whole.write(), &CATALOG).unwrap();
                let line = asked.line();
                assert_eq!(
                    judged(&asked, &grants),
                    Ok(Sent::Known),
                    "{line} {}",
                    member.path
                );
            }
        }
    }
}
