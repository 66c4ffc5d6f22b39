//! What goes along with a change for a narrowed sub-token: members that say nothing stay behind, tags and a project are added
//! to what is created, and its actions are remembered.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::final_line::FinalLine;
use super::question::{Ending, Question, cut_off};
use crate::audit::{Permit, Unwritable};
use crate::catalog::{FieldPath, KindId, Method, Place, TouchRule, TouchVerb};
use crate::facts::Reader;
use crate::policy::{Added, Allowed, IntoProject, Sent, with_additions};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, NoList, encoded};
use crate::resource::{Known, Look, State, Touch, urn_of};
use crate::response::{Answer, made};
use crate::state::Memory;
use crate::upstream::{Body, Carried, Checked};

impl Question<'_> {
    /// The body as it goes: for a narrowed sub-token what the catalogue knows, with what its grant adds.
    ///
    /// # Errors
    /// `FieldUnknown` where the body says more than that; [`crate::policy::decide`] has refused it before.
    pub async fn body_to_send(
        &self,
        body: Body,
        allowed: &Allowed,
        derived: Option<&Ending>,
        reader: &Reader<'_>,
    ) -> Result<Body, Refusal> {
        let additions = allowed.additions();
        let ends = derived.and_then(|ending| match &ending.at {
            Place::Body(at) => Some((at, &ending.value)),
            Place::Path(_) | Place::Query(_) => None,
        });
        let json = match allowed.sent() {
            Sent::Whole if additions.is_none() && ends.is_none() => return Ok(body),
            Sent::Whole => self.asked.body.clone(),
            Sent::Known => self.known_members()?,
        };
        if let Some((at, value)) = ends {
            let mut json = json.unwrap_or(Json::Null);
            if let Some(added) = additions {
                Box::pin(self.add(&mut json, added, reader)).await?;
            }
            json.put(at, Json::Text(value.clone()))
                .map_err(|NoList| not_an_object(at))?;
            return Ok(Body::Json(json.write().into()));
        }
        match (body, json, additions) {
            (Body::Json(_), Some(json), None) => Ok(Body::Json(json.write().into())),
            (Body::Json(_), Some(mut json), Some(added)) => {
                Box::pin(self.add(&mut json, added, reader)).await?;
                Ok(Body::Json(json.write().into()))
            }
            (Body::None | Body::Json(_), None, Some(added)) if goes_into_the_body(added) => {
                Err(cant_add("it has no body to add them to"))
            }
            (Body::Json(_), None, _) => Ok(Body::None),
            (body @ (Body::None | Body::Stream(..)), ..) => Ok(body),
        }
    }

    /// The body with the members that the catalogue knows; none where it knows no member, or where the body has none.
    fn known_members(&self) -> Result<Option<Json>, Refusal> {
        let (Some(endpoint), Some(json @ Json::Map(_))) = (self.asked.endpoint, &self.asked.body)
        else {
            return Ok(None);
        };
        let known = json.only(&endpoint.body, &endpoint.left_out);
        let known = known.map_err(|unheard| {
            let place = unheard.at;
            let why = "is not known to tidegate, and a narrowed sub-token sends only what is";
            Refusal::new(
                Code::FieldUnknown,
                format!("`body.{place}` of {endpoint} {why}"),
            )
        })?;
        Ok(Some(known).filter(|_| !endpoint.body.is_empty()))
    }

    /// Adds tags, and a project where the body names one.
    async fn add(
        &self,
        json: &mut Json,
        added: &Added,
        reader: &Reader<'_>,
    ) -> Result<(), Refusal> {
        let Added { tags, project } = added;
        if let Some((at, tags)) = tags {
            json.add_to_list(at, tags)
                .map_err(|NoList| cant_add("its tags are no list of names"))?;
        }
        if let Some((IntoProject::Body(at), project)) = project {
            let kinds = self.serving.rules.catalog.kinds();
            let kind = kinds.of(KindId::Project);
            let found = find_project(kind, project, reader).await?;
            let (id, _) = found.ok_or_else(|| cant_add("there is no such project"))?;
            json.put(at, Json::Text(id))
                .map_err(|NoList| cant_add("its body has no place for the project"))?;
        }
        Ok(())
    }

    fn creating(&self) -> Option<&TouchRule> {
        let rules = self.asked.endpoint?.touches.rules();
        rules
            .iter()
            .find(|rule| rule.verb == TouchVerb::Create && rule.is_first())
    }

    /// The target as it goes: for a narrowed sub-token without parameters that nobody knows.
    pub fn target_to_send(&self, sent: Sent, derived: Option<&Ending>) -> Arc<str> {
        let ends = derived.and_then(|ending| match &ending.at {
            Place::Query(parameter) => Some((parameter, &ending.value)),
            Place::Path(_) | Place::Body(_) => None,
        });
        if sent == Sent::Whole && ends.is_none() {
            return self.asked.target.shared_path_and_query();
        }
        let mut target = self.asked.target.clone();
        if let Some(endpoint) = self.asked.endpoint
            && sent == Sent::Known
        {
            target.keep_query(|name| endpoint.knows_parameter(name));
        }
        if let Some((parameter, seconds)) = ends {
            target.set_query(parameter, seconds);
        }
        target.shared_path_and_query()
    }

    /// After a change: its actions are remembered, and what was created is put into its project.
    pub async fn followed_up(
        &self,
        answer: Answer,
        allowed: &Allowed,
        touches: &[Touch],
        reader: &Reader<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Ok(Answer::from_parts(head, body));
        }
        let body = body.read().await.map_err(|cut| cut_off(&cut, false))?;
        let mut headers = head.headers;
        if let Ok(json) = Json::read(&body) {
            let mut memories = self.remember(&json, allowed, touches, reader);
            let assigned = self.assign(&json, &mut headers, allowed, reader, line);
            memories.extend(assigned.await);
            reader.facts.tell_others(memories).await;
        }
        Ok(made(head.status, headers, body))
    }

    /// Remembers of which resource the actions in an answer are; what others should know of that.
    fn remember(
        &self,
        json: &Json,
        allowed: &Allowed,
        touches: &[Touch],
        reader: &Reader<'_>,
    ) -> Vec<Memory> {
        let firsts: Vec<&Touch> = touches.iter().filter(|touch| touch.is_first()).collect();
        let [first] = firsts.as_slice() else {
            return Vec::new(); // of several, which action is of which is not told
        };
        let kinds = self.serving.rules.catalog.kinds();
        let mut acted_on = kinds.iter().flat_map(|kind| &kind.counts_as);
        if !acted_on.any(|(_, kind)| *kind == first.kind) {
            return Vec::new(); // no action is of such a thing, and its answer may say what a stranger wrote
        }
        let Some(mut state) = first.after.clone().or_else(|| first.before.clone()) else {
            return Vec::new();
        };
        if let Some(added) = allowed.additions().filter(|_| Added::is_for(first)) {
            state = with_additions(&state, added, &first.homes);
        }
        if first.verb == TouchVerb::Create
            && let Some(id) = self.created_ids(json).first()
        {
            state
                .attributes
                .insert("id".to_owned(), Known::exactly([id.clone()]));
        }
        let ids = state.known("id");
        let Some(id) = ids.and_then(|known| known.values.first().cloned()) else {
            return Vec::new();
        };
        let mut memories = Vec::new();
        for path in ACTIONS {
            let Ok(path) = path.parse() else { continue };
            for action in json.at(&path).into_iter().filter_map(Json::name) {
                let (account, grantee) = (self.account(), reader.grantee);
                let of = State::clone(&state);
                let facts = reader.facts;
                memories.push(facts.remember_action(account, action, grantee, of, &id));
            }
        }
        memories
    }

    fn created_ids(&self, json: &Json) -> Vec<String> {
        let Some(rule) = self.creating() else {
            return Vec::new();
        };
        let kinds = self.serving.rules.catalog.kinds();
        let identifier = rule
            .kind
            .one()
            .and_then(|kind| kinds.of(kind).identified_by.first());
        let Some(identifier) = identifier else {
            return Vec::new();
        };
        // One is shown under its name, several under the list's.
        let shown = rule.answer.iter().flat_map(|at| {
            let several = format!("{at}s").parse();
            let several = several.map(|several| json.at(&several)).unwrap_or_default();
            json.at(at).into_iter().chain(several)
        });
        let ids = shown.flat_map(|it| match it {
            Json::List(items) => items.iter().flat_map(|item| item.at(identifier)).collect(),
            one => one.at(identifier),
        });
        ids.filter_map(Json::name).map(str::to_owned).collect()
    }

    /// Puts what was created into the project that the grant says; what others should know of that. If that fails the answer stays, with a
    /// warning.
    async fn assign(
        &self,
        json: &Json,
        headers: &mut HeaderMap,
        allowed: &Allowed,
        reader: &Reader<'_>,
        line: &mut FinalLine,
    ) -> Vec<Memory> {
        let project = allowed.additions().and_then(|added| added.project.as_ref());
        let Some((IntoProject::Afterwards, project)) = project else {
            return Vec::new(); // the body named it
        };
        let kinds = self.serving.rules.catalog.kinds();
        let Some(rule) = self.creating() else {
            return Vec::new();
        };
        let kind = rule.kind.one().map(|kind| kinds.of(kind));
        let urns: Vec<String> = self
            .created_ids(json)
            .iter()
            .filter_map(|id| urn_of(kind?, id))
            .collect();
        if urns.is_empty() {
            return Vec::new();
        }
        let mut memories = Vec::new();
        let put = match line.another_permit(allowed, self.account()).await {
            Ok(permit) => self.put_into(project, &urns, permit, reader).await,
            Err(Unwritable) => Err("the record can't be written".to_owned()),
        };
        line.record.upstream_calls = line.record.upstream_calls.map(|calls| calls + 1);
        match put {
            Ok(known) => {
                for urn in &urns {
                    let (account, grantee) = (self.account(), reader.grantee);
                    let put = (reader.facts).remember_project(account, grantee, urn, known.clone());
                    memories.extend(put);
                }
            }
            Err(why) => {
                let warning = format!("created, but not put into the project `{project}`: {why}");
                line.record.detail = Some(warning.clone());
                if let Ok(value) = HeaderValue::from_str(&warning) {
                    headers.insert("tidegate-warning", value);
                }
            }
        }
        reader.facts.drop_all(self.account());
        memories
    }

    async fn put_into(
        &self,
        project: &str,
        urns: &[String],
        permit: Permit,
        reader: &Reader<'_>,
    ) -> Result<Known, String> {
        let kinds = self.serving.rules.catalog.kinds();
        let kind = kinds.of(KindId::Project);
        let (id, name) = find_project(kind, project, reader)
            .await
            .map_err(|refusal| refusal.message)?
            .ok_or("there is no such project")?;
        let resources = urns.iter().cloned().map(Json::Text).collect();
        let body = Json::Map(vec![("resources".to_owned(), Json::List(resources))]);
        let checked = Checked {
            method: Method::Post,
            path_and_query: format!("/v2/projects/{}/resources", encoded(&id)).into(),
            headers: Carried::default(),
            body: Body::Json(body.write().into()),
        };
        let sent = self
            .serving
            .upstream
            .forward(permit, reader.token, checked)
            .await;
        let (answer, _) = sent.map_err(|failure| failure.refusal(false).message)?;
        if !answer.status().is_success() {
            return Err(format!(
                "the API answered with {}",
                answer.status().as_u16()
            ));
        }
        Ok(Known::exactly([id, name]))
    }
}

/// The members of answers in which the actions of a change are named.
const ACTIONS: [&str; 3] = ["action.id", "actions[].id", "links.actions[].id"];

async fn find_project(
    kind: &crate::catalog::Kind,
    called: &str,
    reader: &Reader<'_>,
) -> Result<Option<(String, String)>, Refusal> {
    let both = |attributes: &crate::resource::Attributes| {
        let first = |name: &str| attributes.first(name).map(str::to_owned);
        Some((first("id")?, first("name").unwrap_or_default()))
    };
    let named = reader.named(kind, &[], called, &[]).await?;
    if let [found] = named.as_slice() {
        return Ok(both(&found.attributes));
    }
    let Some(name) = kind.name(called, reader.catalog.kinds()) else {
        return Ok(None);
    };
    let found = reader.one(kind, &[], &name).await?;
    Ok(found.and_then(|found| both(&found.attributes)))
}

fn goes_into_the_body(added: &Added) -> bool {
    let Added { tags, project } = added;
    tags.is_some() || matches!(project, Some((IntoProject::Body(_), _)))
}

fn not_an_object(at: &FieldPath) -> Refusal {
    let why = "the body is no object in which its end could be said";
    let what = format!("`body.{at}`: {why}; write the body as the reference does");
    Refusal::new(Code::AmbiguousRequest, what)
}

fn cant_add(why: &str) -> Refusal {
    Refusal::new(
        Code::Resource,
        format!(
            "the grant that allows this adds tags or a project to what is created, and {why}; ask for a role that allows it without"
        ),
    )
}
