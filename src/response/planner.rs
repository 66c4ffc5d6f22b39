//! From what an endpoint's answer shows, and what a sub-token may see, to what is cut.

use std::collections::HashMap;
use std::sync::Arc;

use super::cutter::{Fate, Plan, PlanMember, PlanPlace};
use super::member_search::Search;
use crate::catalog::{Asks, Catalog, Kind, KindId, Owner, Shape, ShapeId};
use crate::policy::{Fields, Standing};
use crate::resource::State;

/// What is known, before an answer came, of the resources that it is about.
#[derive(Debug, Default)]
pub struct Beforehand {
    /// What the request is about.
    pub about: Vec<State>,
    /// What it names, and what that belongs to.
    pub named: Vec<State>,
    /// What it makes or changes, as it is afterwards: what the answer shows of that kind, not inside something, is that.
    pub made: Vec<State>,
}

/// What is cut from an answer, and how it is told beforehand that there is nothing of that in it.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The search, where one can tell.
    pub search: Option<Search>,
}

impl From<Plan> for Cuts {
    fn from(plan: Plan) -> Self {
        Self {
            search: Search::of(&plan),
            plan: Arc::new(plan),
        }
    }
}

impl Cuts {
    /// Whether there is nothing to cut in an answer that is there whole: it is bracketed as an object, and has none of the keys.
    pub fn passes(&self, whole: &[u8]) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(|search| search.passes(whole))
    }

    /// Whether something in it is judged by itself.
    pub fn judges(&self) -> bool {
        self.plan.places.iter().any(|place| place.judged.is_some())
    }
}

/// Plans what is cut from the answers of one endpoint.
pub struct Planner<'p> {
    fields: Fields<'p>,
    catalog: &'p Catalog,
    /// Whether every field is held to its scope, or only what is secret.
    enforce: bool,
    beforehand: Beforehand,
}

/// To what a place of an answer belongs.
#[derive(Clone, Debug, PartialEq)]
struct Context {
    kind: Option<KindId>,
    /// The resources, of which each decides; `None` where a place like it is judged by itself, or needs no judging.
    states: Option<Vec<State>>,
}

/// Marks the number of a place that is another resource, and null where that is hidden.
const WHOLE: usize = 1;

/// What a Droplet runs when it starts often holds secrets, and is none by itself.
const SCRIPT: &str = "user_data";

impl<'p> Planner<'p> {
    /// For a sub-token that may see `fields`; with `enforce` every field is held to its scope, and else what is secret.
    pub fn new(
        fields: Fields<'p>,
        catalog: &'p Catalog,
        enforce: bool,
        beforehand: Beforehand,
    ) -> Self {
        Self {
            fields,
            catalog,
            enforce,
            beforehand,
        }
    }

    /// Whether an answer of that shape may hand out what logs in somewhere.
    pub fn hands_out(&self, root: ShapeId) -> bool {
        let mut seen = vec![root];
        let mut next = 0;
        while let Some(shape) = seen.get(next).and_then(|id| self.shape(*id)) {
            next += 1;
            for member in &shape.members {
                let logs_in = member.asks.is_some_and(|asks| match asks {
                    Asks::Secret(_) => self.fields.standing(asks, None) != Standing::Hidden,
                    Asks::Field(_) | Asks::Whole(_) | Asks::Children(_) => false,
                });
                if logs_in && member.key != SCRIPT {
                    return true;
                }
                seen.extend(member.holds.filter(|below| !seen.contains(below)));
            }
        }
        false
    }

    /// What a plan depends on beside the grants and the shape, where nothing is known of the resources that the answer is about:
    /// which of the grants that go by requests fit. `None` where it is for this request alone.
    pub fn same_for(&self) -> Option<u64> {
        let Beforehand { about, named, made } = &self.beforehand;
        let nothing = about.is_empty() && named.is_empty() && made.is_empty();
        nothing.then(|| self.fields.by_requests()).flatten()
    }

    /// What is cut from an answer of that shape; `None` where nothing ever is.
    pub fn plan(&self, root: ShapeId) -> Option<Plan> {
        let about = &self.beforehand.about;
        let about = Context {
            kind: about.first().map(|state| state.kind),
            states: Some(about.clone()),
        };
        self.drawn(root, about, false)
    }

    /// The kind of a thing that is judged by itself, by the number of its place.
    pub fn kind_of(&self, number: usize) -> Option<&'p Kind> {
        let shape = self.shape(number / 2)?;
        match &shape.owner {
            Owner::Itself(kind) => Some(self.catalog.kinds().of(*kind)),
            Owner::Outer | Owner::Named(_) => None,
        }
    }

    /// What is cut from a thing that is judged by itself, given what it is: `None` where all of it is hidden.
    pub fn judged(&self, number: usize, state: &State) -> Option<Plan> {
        let states = std::slice::from_ref(state);
        if number & WHOLE != 0 && !self.whole_shown(number / 2, states) {
            return None;
        }
        let itself = Context {
            kind: Some(state.kind),
            states: Some(states.to_vec()),
        };
        Some(self.drawn(number / 2, itself, true).unwrap_or_else(nothing))
    }

    /// What is cut from a thing of which nothing could be learnt: all that its being somebody's decides over.
    pub fn unknown(&self, number: usize) -> Option<Plan> {
        if number & WHOLE != 0 {
            return None;
        }
        let nobodys = Context {
            kind: self.kind_of(number).map(|kind| kind.id),
            states: Some(Vec::new()),
        };
        Some(
            self.drawn(number / 2, nobodys, true)
                .unwrap_or_else(nothing),
        )
    }

    /// Nothing is cut, but what is judged by itself is come upon.
    pub fn probe(&self, number: usize) -> Plan {
        let itself = Context {
            kind: self.kind_of(number).map(|kind| kind.id),
            states: None,
        };
        let mut plan = self.drawn(number / 2, itself, true).unwrap_or_else(nothing);
        for member in plan.places.iter_mut().flat_map(|place| &mut place.members) {
            member.fate = Fate::Keep;
        }
        plan
    }

    fn whole_shown(&self, shape: ShapeId, states: &[State]) -> bool {
        let Some(kind) = self.kind_of(shape * 2) else {
            return false;
        };
        let reads = kind.reads.map(Asks::Whole);
        reads.is_some_and(|asks| self.fields.shown_of(asks, Some(kind), states))
    }

    fn drawn(&self, root: ShapeId, context: Context, is_item: bool) -> Option<Plan> {
        let mut drawing = Drawing {
            planner: self,
            is_item,
            contexts: vec![context],
            known: HashMap::new(),
            places: Vec::new(),
        };
        drawing.place(root, 0, is_item);
        pruned(drawing.places)
    }

    fn shape(&self, id: ShapeId) -> Option<&'p Shape> {
        self.catalog.answers().shape(id)
    }

    /// Whether a resource of that shape must be known to tell what of it is shown.
    fn decides(&self, id: ShapeId, kind: Option<&Kind>) -> bool {
        let mut seen = vec![id];
        let mut next = 0;
        while let Some(shape) = seen.get(next).and_then(|id| self.shape(*id)) {
            next += 1;
            for member in &shape.members {
                let asks = member.asks.filter(|asks| self.counts(*asks));
                let own = asks.filter(|asks| !matches!(asks, Asks::Whole(_)));
                if own.is_some_and(|asks| self.fields.standing(asks, kind) == Standing::Judged) {
                    return true;
                }
                let belongs = |below: &ShapeId| {
                    let shape = self.shape(*below);
                    shape.is_some_and(|shape| shape.owner == Owner::Outer)
                };
                seen.extend(
                    member
                        .holds
                        .filter(|below| belongs(below) && !seen.contains(below)),
                );
            }
        }
        false
    }

    fn counts(&self, asks: Asks) -> bool {
        match asks {
            Asks::Field(_) => self.enforce,
            Asks::Secret(_) | Asks::Whole(_) | Asks::Children(_) => true,
        }
    }
}

/// A plan as it is drawn.
struct Drawing<'d> {
    planner: &'d Planner<'d>,
    /// Whether it is of a thing that is judged by itself, and else of a whole answer.
    is_item: bool,
    contexts: Vec<Context>,
    known: HashMap<(ShapeId, usize, bool), usize>,
    places: Vec<PlanPlace>,
}

impl Drawing<'_> {
    /// The place of a shape that belongs to a context.
    fn place(&mut self, id: ShapeId, outer: usize, is_item: bool) -> usize {
        let planner = self.planner;
        let Some(shape) = planner.shape(id) else {
            return self.add();
        };
        let context = match &shape.owner {
            _ if is_item => outer,
            Owner::Outer => outer,
            Owner::Named(kind) => self.named(*kind),
            Owner::Itself(kind) => self.itself(*kind, outer),
        };
        if let Some(place) = self.known.get(&(id, context, is_item)) {
            return *place;
        }
        let place = self.add();
        self.known.insert((id, context, is_item), place);
        let is_itself = matches!(shape.owner, Owner::Itself(_)) && !is_item;
        let Context { kind, states } = self.context(context);
        let kind = kind.map(|kind| planner.catalog.kinds().of(kind));
        if is_itself && states.is_none() && planner.decides(id, kind) {
            self.put(place, Some(id * 2), Vec::new());
            return place;
        }
        let mut members = Vec::new();
        for member in &shape.members {
            let asks = member.asks.filter(|asks| planner.counts(*asks));
            let mut below = member.holds.map(|below| self.place(below, context, false));
            let fate = match asks {
                None => Fate::Keep,
                Some(asks @ Asks::Whole(_)) => self.whole(asks, member.holds, &mut below),
                Some(asks) => {
                    let states = states.as_deref().unwrap_or_default();
                    let shown = planner.fields.shown_of(asks, kind, states);
                    if shown { Fate::Keep } else { Fate::Cut }
                }
            };
            members.push(PlanMember {
                key: member.key.clone(),
                fate,
                below,
            });
        }
        self.put(place, None, members);
        place
    }

    /// What is done to another resource whole.
    fn whole(&mut self, asks: Asks, holds: Option<ShapeId>, below: &mut Option<usize>) -> Fate {
        let planner = self.planner;
        let Some(id) = holds else { return Fate::Null };
        let Some(kind) = planner.kind_of(id * 2) else {
            return Fate::Null;
        };
        match planner.fields.standing(asks, Some(kind)) {
            Standing::Shown => Fate::Keep,
            Standing::Hidden => Fate::Null,
            Standing::Judged => {
                let place = self.add();
                self.put(place, Some(id * 2 + WHOLE), Vec::new());
                *below = Some(place);
                Fate::Keep
            }
        }
    }

    fn named(&mut self, kind: KindId) -> usize {
        let states = of_kind(&self.planner.beforehand.named, kind);
        self.entered(kind, Some(states))
    }

    fn itself(&mut self, kind: KindId, outer: usize) -> usize {
        let made = of_kind(&self.planner.beforehand.made, kind);
        // Inside something, another of its kind is another thing: an agent's child is not the agent that was changed.
        let is_made = outer == 0 && !self.is_item && !made.is_empty();
        self.entered(kind, is_made.then_some(made))
    }

    fn entered(&mut self, kind: KindId, states: Option<Vec<State>>) -> usize {
        let entered = Context {
            kind: Some(kind),
            states,
        };
        // The first is what a thing that is judged is given as: another of its kind is another thing.
        let found = self
            .contexts
            .iter()
            .skip(1)
            .position(|known| *known == entered);
        if let Some(index) = found {
            return index + 1;
        }
        self.contexts.push(entered);
        self.contexts.len() - 1
    }

    fn context(&self, index: usize) -> Context {
        let nobodys = || Context {
            kind: None,
            states: None,
        };
        self.contexts.get(index).cloned().unwrap_or_else(nobodys)
    }

    fn add(&mut self) -> usize {
        self.places.push(PlanPlace::default());
        self.places.len() - 1
    }

    fn put(&mut self, place: usize, judged: Option<usize>, members: Vec<PlanMember>) {
        if let Some(place) = self.places.get_mut(place) {
            *place = PlanPlace { judged, members };
        }
    }
}

/// A plan without the places in which nothing is cut; `None` where that is all of it.
fn pruned(mut places: Vec<PlanPlace>) -> Option<Plan> {
    let mut matters: Vec<bool> = places.iter().map(|place| place.judged.is_some()).collect();
    let leads = |matters: &[bool], member: &PlanMember| {
        let below = member.below.and_then(|below| matters.get(below));
        member.fate != Fate::Keep || below.copied().unwrap_or_default()
    };
    loop {
        let before = matters.clone();
        for (place, matters) in places.iter().zip(matters.iter_mut()) {
            *matters |= place.members.iter().any(|member| leads(&before, member));
        }
        if matters == before {
            break;
        }
    }
    for member in places.iter_mut().flat_map(|place| &mut place.members) {
        member.below = member
            .below
            .filter(|below| matters.get(*below) == Some(&true));
    }
    for place in &mut places {
        place.members.retain(|member| leads(&matters, member));
    }
    matters
        .first()
        .copied()
        .unwrap_or_default()
        .then_some(Plan { places })
}

fn of_kind(states: &[State], kind: KindId) -> Vec<State> {
    let same = states.iter().filter(|state| state.kind == kind);
    same.cloned().collect()
}

fn nothing() -> Plan {
    Plan {
        places: vec![PlanPlace::default()],
    }
}
