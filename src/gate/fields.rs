//! Of an answer that may be seen, the members that may not: fields, secrets, and other resources whole.

use std::collections::HashMap;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::CONTENT_ENCODING;

use super::narrowed::{named_by_urn, unreadable, with_body};
use super::question::{Question, cut_off};
use crate::catalog::{Kind, KindId, ShapeId, TouchVerb};
use crate::config::FieldScopes;
use crate::facts::{Members, Reader};
use crate::json::Document;
use crate::policy::{Added, Allowed, Fields, Standing, with_additions};
use crate::refusal::Refusal;
use crate::request::Json;
use crate::resource::{Attributes, State, Touch, attributes_of};
use crate::response::{
    Answer, AnswerBody, Beforehand, Cuts, Cutting, Judged, Planner, not_json, trimmed, trimming,
};
use crate::rules::{Planned, Settled};

/// What things that are judged by themselves are, by the number of their place and then by their bytes; `None` where that could
/// not be learnt.
type States = HashMap<usize, HashMap<Bytes, Option<State>>>;

impl Question<'_> {
    /// Whether the answer may hand out what logs in somewhere: that is recorded before it is asked for.
    pub fn hands_out(&self, settled: &Settled) -> bool {
        let Some(shape) = self.shape() else {
            return false;
        };
        let anew = || self.planner(Beforehand::default()).hands_out(shape);
        let settled = settled.planned.as_ref().map(|known| known.hands_out);
        let kept = || self.planned_alike().map(|known| known.hands_out);
        settled.or_else(kept).unwrap_or_else(anew)
    }

    /// Leaves out of an answer what the sub-token may not see of it. What stays is byte for byte what came.
    pub async fn trimmed(
        &self,
        answer: Answer,
        touches: &[Touch],
        settled: &Settled,
        reader: &Reader<'_>,
    ) -> Result<Answer, Refusal> {
        let Some(shape) = self.shape() else {
            return Box::pin(self.of_readable_kinds(answer)).await;
        };
        let alike = settled.planned.as_ref().filter(|_| touches.is_empty());
        let planner = self.planner(self.beforehand(touches, &settled.allowed));
        let cuts = alike.map_or_else(|| self.cuts(&planner, shape), |known| known.cuts.clone());
        let Some(cuts) = cuts else {
            return Ok(answer);
        };
        if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status()) {
            return Ok(answer);
        }
        if answer.headers().contains_key(CONTENT_ENCODING) {
            return Err(self.cant_cut("the answer is compressed in a way that was not asked for"));
        }
        let streams = answer.status().is_success() && answer.body().size_hint().exact().is_none();
        if streams && !cuts.judges() {
            return Ok(trimming(answer, cuts));
        }
        let (head, body) = answer.into_parts();
        let body = self.read_to_cut(body).await?;
        if cuts.passes(&body) {
            return Ok(Answer::from_parts(head, AnswerBody::Whole(body)));
        }
        let cut = Box::pin(self.cut_out(&planner, cuts, &body, touches, reader)).await?;
        let body = match cut {
            Some(cut) => cut,
            None if head.status.is_success() && !body.is_empty() => {
                return Err(cut_off(&not_json(), self.asked.reads()));
            }
            None => body, // errors need not be JSON
        };
        Ok(with_body(head, body))
    }

    /// What stays of a body; `None` where it is no JSON.
    async fn cut_out(
        &self,
        planner: &Planner<'_>,
        cuts: Cuts,
        body: &Bytes,
        touches: &[Touch],
        reader: &Reader<'_>,
    ) -> Result<Option<Bytes>, Refusal> {
        let mut judged = Vec::new();
        if cuts.judges() {
            let come_upon = |number: usize, bytes: &[u8]| {
                judged.push((number, Bytes::copy_from_slice(bytes)));
                Judged::Cut(planner.probe(number))
            };
            if trimmed(body, cuts.plan.clone(), Box::new(come_upon)).is_err() {
                return Ok(None);
            }
        }
        let states = self.states(planner, judged, touches, reader).await?;
        let judge = |number: usize, bytes: &[u8]| {
            let state = states.get(&number).and_then(|of_place| of_place.get(bytes));
            let plan = match state.and_then(Option::as_ref) {
                Some(state) => planner.judged(number, state),
                None => planner.unknown(number),
            };
            plan.map_or(Judged::Null, Judged::Cut)
        };
        Ok(trimmed(body, cuts.plan, Box::new(judge)).ok())
    }

    async fn states(
        &self,
        planner: &Planner<'_>,
        judged: Vec<(usize, Bytes)>,
        touches: &[Touch],
        reader: &Reader<'_>,
    ) -> Result<States, Refusal> {
        let mut states = States::new();
        for (number, bytes) in judged {
            let Some(kind) = planner.kind_of(number) else {
                continue;
            };
            let state = match self.shown_state(kind, &bytes, touches, reader).await {
                Ok(state) => Some(state),
                // What was changed is changed: of what can't be learnt now, nothing is shown.
                Err(_) if !self.asked.reads() => None,
                Err(refusal) => return Err(refusal),
            };
            states.entry(number).or_default().insert(bytes, state);
        }
        Ok(states)
    }

    /// A resource that an answer shows, with what the answer does not say of it.
    async fn shown_state(
        &self,
        kind: &Kind,
        bytes: &Bytes,
        touches: &[Touch],
        reader: &Reader<'_>,
    ) -> Result<State, Refusal> {
        let told = Document::of_value(bytes).ok();
        let told = told.and_then(|told| Members::of(kind).read(told.root()));
        let told = told.ok_or_else(|| unreadable("the answer is no JSON"))?;
        let attributes = attributes_of(kind, &told, None);
        let its = touches
            .iter()
            .find(|touch| holds_for(touch, kind, &attributes));
        let before = its.and_then(|touch| touch.before.as_ref());
        let parents = touches.iter().flat_map(Touch::states);
        let parent = before.and_then(|before| before.parent.clone()).or_else(|| {
            let is_parent = |state: &&State| Some(state.kind) == kind.parent;
            parents.into_iter().find(is_parent).cloned().map(Into::into)
        });
        self.filled(kind, before, parent, attributes, reader).await
    }

    /// Whether the answer is a list of resources of any kind, of which those are shown whose kind may be read.
    pub fn shows_kinds(&self) -> bool {
        let operation = self.asked.endpoint.map(|endpoint| &*endpoint.operation);
        self.enforces() && operation.is_some_and(|operation| OF_ANY_KIND.contains(&operation))
    }

    /// Whether resources of a kind stand for others of any kind, in a list of which those are shown that may be read.
    pub fn names_by_urn(&self, kind: &Kind) -> bool {
        self.shows_kinds() && kind.id == KindId::ProjectResource
    }

    /// Whether what an item names by its URN is of a kind that the sub-token may read.
    pub fn is_of_a_readable_kind(&self, item: &Bytes) -> bool {
        let json = Json::read(item).ok();
        let urn = json.as_ref().and_then(|json| json.member("urn"));
        let catalog = &self.serving.rules.catalog;
        let fields = Fields::new(&self.grantee.grants, &self.asked, catalog);
        named_by_urn(urn, catalog)
            .is_some_and(|(kind, _, asks)| fields.standing(asks, Some(kind)) != Standing::Hidden)
    }

    /// Leaves out of a list of resources of any kind those that may not be read, where the API gives it whole.
    async fn of_readable_kinds(&self, answer: Answer) -> Result<Answer, Refusal> {
        if !self.shows_kinds() || !answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = self.read_to_cut(body).await?;
        let body = Document::read(&body).map_err(|error| self.cant_cut(&error.to_string()))?;
        let mut cutting = Cutting::new(&body);
        let list = "resources".parse().ok();
        let list = list.and_then(|path| cutting.at(Some(&path)));
        let Some((list, items)) = list.and_then(|list| Some((list, list.items()?))) else {
            return Err(self.cant_cut("the answer has no list of resources"));
        };
        let items = items.map(|item| body.slice(item));
        let kept: Vec<Bytes> = items.filter(|it| self.is_of_a_readable_kind(it)).collect();
        cutting.keep(list, &kept);
        Ok(with_body(head, cutting.finish()))
    }

    fn enforces(&self) -> bool {
        self.serving.rules.settings.field_scopes == FieldScopes::Enforce
    }

    fn shape(&self) -> Option<ShapeId> {
        self.asked.endpoint?.answer
    }

    fn planner(&self, beforehand: Beforehand) -> Planner<'_> {
        let rules = &self.serving.rules;
        let fields = Fields::new(&self.grantee.grants, &self.asked, &rules.catalog);
        Planner::new(fields, &rules.catalog, self.enforces(), beforehand)
    }

    /// What is cut from an answer of that shape; `None` where nothing is.
    fn cuts(&self, planner: &Planner<'_>, shape: ShapeId) -> Option<Cuts> {
        let anew = || planner.plan(shape).map(Cuts::from);
        self.planned(planner, shape)
            .map_or_else(anew, |known| known.cuts)
    }

    /// What is done to an answer of that shape, where that is the same for other requests.
    fn planned(&self, planner: &Planner<'_>, shape: ShapeId) -> Option<Planned> {
        let plan = || Planned {
            cuts: planner.plan(shape).map(Cuts::from),
            hands_out: planner.hands_out(shape),
        };
        let (plans, grants) = (&self.serving.plans, &self.grantee.grants);
        Some(plans.of(grants, shape, planner.same_for()?, plan))
    }

    /// What is done to the answer, where nothing that the request touches decides that, and so to all that are decided alike.
    pub fn planned_alike(&self) -> Option<Planned> {
        let planner = self.planner(Beforehand::default());
        self.planned(&planner, self.shape()?)
    }

    fn beforehand(&self, touches: &[Touch], allowed: &Allowed) -> Beforehand {
        let after = |touch: &Touch| {
            let after = touch.after.as_ref().map(|after| match allowed.additions() {
                Some(added) if Added::is_for(touch) => with_additions(after, added, &touch.homes),
                Some(_) | None => after.clone(),
            });
            after.or_else(|| touch.before.clone())
        };
        let firsts = || touches.iter().filter(|touch| touch.is_first());
        let changes = |touch: &&Touch| {
            !matches!(touch.verb, TouchVerb::Read | TouchVerb::List) && !self.asked.reads()
        };
        Beforehand {
            about: firsts().filter_map(after).collect(),
            named: touches.iter().filter_map(after).flat_map(lineage).collect(),
            made: firsts().filter(changes).filter_map(after).collect(),
        }
    }

    pub(super) fn cant_cut(&self, why: &str) -> Refusal {
        if self.asked.reads() {
            unreadable(why)
        } else {
            cut_off(&crate::response::Cut::Broken(why.to_owned()), false)
        }
    }
}

/// The lists of what is in a project.
const OF_ANY_KIND: [&str; 2] = ["projects_list_resources", "projects_list_resources_default"];

/// Whether what is known of a touched resource holds for one of its kind that an answer tells of: for what belongs to the
/// same, and else for itself alone, as its project is its own.
fn holds_for(touch: &Touch, kind: &Kind, told: &Attributes) -> bool {
    let before = touch.before.as_ref();
    let touched = before.and_then(|before| before.attributes.first("id"));
    let is_another = || {
        touched
            .zip(told.first("id"))
            .is_some_and(|(touched, told)| touched != told)
    };
    touch.kind == kind.id && (kind.parent.is_some() || !is_another())
}

/// A resource, and all that it belongs to.
fn lineage(state: State) -> impl Iterator<Item = State> {
    std::iter::successors(Some(state), |state| state.parent.as_deref().cloned())
}
