//! Cutting members out of JSON that comes in pieces: in one pass, without a tree. What stays is byte for byte what came.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::json::text_end;

/// What is cut from a document: a graph of places, as what is in it may hold its like. Lists are gone through.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The places; the first is the whole document.
    pub places: Vec<PlanPlace>,
}

/// A place of a document.
#[derive(Clone, Debug, Default)]
pub struct PlanPlace {
    /// What stands here is judged by itself, as the place of that number.
    pub judged: Option<usize>,
    /// The members that something is done to, or to something in them.
    pub members: Vec<PlanMember>,
}

/// A member at a place.
#[derive(Clone, Debug)]
pub struct PlanMember {
    /// Its key.
    pub key: String,
    /// What is done to it.
    pub fate: Fate,
    /// The place that it is.
    pub below: Option<usize>,
}

/// What is done to a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It stays, cut maybe in turn.
    Keep,
    /// It goes, with its key.
    Cut,
    /// It is null.
    Null,
}

/// What is to be cut from one thing that is judged by itself.
pub enum Judged {
    /// All of it: it is null.
    Null,
    /// This.
    Cut(Plan),
}

/// Judges one thing: the number that its place has, and its bytes.
pub type Judge<'j> = Box<dyn FnMut(usize, &[u8]) -> Judged + Send + 'j>;

/// The document is not the JSON that it should be, or is too deep or too long to be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnreadableAnswer;

/// Walks through a document and cuts.
pub struct Cutter<'j> {
    plan: Arc<Plan>,
    judge: Judge<'j>,
    open: Vec<OpenContainer>,
    state: CutterState,
    /// What may yet be dropped: a comma and a key, or a thing that is to be judged.
    held: Vec<u8>,
    /// Where in what is held the key begins.
    key_from: usize,
    /// Whether the member that is passed stays.
    dropping: bool,
    skip: Skip,
}

/// An object or list that is open, and in which something may be cut.
#[derive(Clone, Copy)]
struct OpenContainer {
    place: usize,
    is_object: bool,
    /// Whether a member went out already.
    has_any: bool,
}

/// Where the walk is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CutterState {
    /// Before a value at a place; `None` where nothing is cut in it.
    Value(Option<usize>, Fate),
    /// After `[`, before a value or `]`.
    FirstItem,
    /// After `{`, before a key or `}`.
    FirstKey,
    /// After a comma, before a key.
    NextKey,
    /// In a key.
    Key { escaped: bool },
    /// After a key, before the colon.
    Colon(Option<usize>, Fate),
    /// In a value that is passed over, after which comes `After`.
    Passing,
    /// In a value that is judged once it is whole.
    Collecting(usize),
    /// After a value, before a comma or an end.
    After,
}

/// Passing over one value, whatever is in it.
#[derive(Clone, Copy, Default)]
struct Skip {
    depth: u32,
    /// A bit for each container that is open: whether it is an object.
    objects: u128,
    in_text: bool,
    escaped: bool,
    in_scalar: bool,
}

const DEEPEST: u32 = 127;
const LONGEST_KEY: usize = 16 << 10;
/// The most bytes of a thing that is judged.
const LONGEST_ITEM: usize = 4 << 20;

impl<'j> Cutter<'j> {
    /// A walk that cuts as `plan` says, and asks `judge` about what is judged by itself.
    pub fn new(plan: impl Into<Arc<Plan>>, judge: Judge<'j>) -> Self {
        let fate = Fate::Keep;
        let state = CutterState::Value(Some(0), fate);
        Self {
            plan: plan.into(),
            judge,
            open: Vec::new(),
            state,
            held: Vec::new(),
            key_from: 0,
            dropping: false,
            skip: Skip::default(),
        }
    }

    /// Takes the next piece; what comes out may go on.
    ///
    /// # Errors
    /// `UnreadableAnswer`; then nothing of this or any later piece may go out.
    pub fn push(&mut self, piece: &Bytes) -> Result<Bytes, UnreadableAnswer> {
        let mut run = Run {
            piece,
            out: BytesMut::new(),
            from: Some(0),
            held_from: None,
        };
        if self.dropping || self.is_holding() {
            run.from = None;
            run.held_from = self.is_holding().then_some(0);
        }
        let mut at = 0;
        while at < piece.len() {
            at = self.step(&mut run, at)?;
        }
        let held_from = run.held_from;
        if let Some(from) = held_from {
            self.held
                .extend_from_slice(piece.get(from..).unwrap_or_default());
            let longest = match self.state {
                CutterState::Collecting(_) => LONGEST_ITEM,
                _ => LONGEST_KEY,
            };
            if self.held.len() > longest {
                return Err(UnreadableAnswer);
            }
        }
        if run.from == Some(0) && run.out.is_empty() && held_from.is_none() {
            return Ok(piece.clone());
        }
        run.keep_until(held_from.unwrap_or(piece.len()));
        Ok(run.out.freeze())
    }

    /// Ends the document.
    ///
    /// # Errors
    /// `UnreadableAnswer` if it is not whole.
    pub fn finish(&mut self) -> Result<Bytes, UnreadableAnswer> {
        if self.state == CutterState::Passing && self.open.is_empty() && self.skip.is_scalar_alone()
        {
            self.state = CutterState::After;
        }
        if self.state == CutterState::After && self.open.is_empty() {
            Ok(Bytes::new())
        } else {
            Err(UnreadableAnswer)
        }
    }

    fn is_holding(&self) -> bool {
        match self.state {
            CutterState::NextKey | CutterState::Key { .. } | CutterState::Collecting(_) => true,
            CutterState::Value(..)
            | CutterState::FirstItem
            | CutterState::FirstKey
            | CutterState::Colon(..)
            | CutterState::Passing
            | CutterState::After => false,
        }
    }

    /// Goes on from a byte; where to go on next.
    fn step(&mut self, run: &mut Run<'_>, at: usize) -> Result<usize, UnreadableAnswer> {
        let byte = run.piece.get(at).copied().ok_or(UnreadableAnswer)?;
        match self.state {
            CutterState::Passing => {
                let (next, ended) = self.skip.pass(run.piece, at)?;
                if ended {
                    self.passed(run, next);
                }
                Ok(next)
            }
            CutterState::Collecting(number) => {
                let (next, ended) = self.skip.pass(run.piece, at)?;
                if ended {
                    self.collected(run, next, number)?;
                }
                Ok(next)
            }
            CutterState::Key { escaped } => self.key(run, at, escaped),
            _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Ok(at + 1),
            CutterState::Value(place, fate) => self.value(run, at, byte, place, fate),
            CutterState::FirstItem if byte == b']' => self.close(false, at),
            CutterState::FirstItem => {
                let place = self.open.last().map(|container| container.place);
                self.value(run, at, byte, place, Fate::Keep)
            }
            CutterState::FirstKey if byte == b'}' => self.close(true, at),
            CutterState::FirstKey | CutterState::NextKey if byte == b'"' => {
                if self.state == CutterState::FirstKey {
                    run.hold(at);
                    self.held.clear();
                }
                self.key_from = self.held.len() + (at - run.held_from.unwrap_or(at));
                self.state = CutterState::Key { escaped: false };
                Ok(at + 1)
            }
            CutterState::Colon(place, fate) if byte == b':' => {
                self.state = CutterState::Value(place, fate);
                Ok(at + 1)
            }
            CutterState::FirstKey | CutterState::NextKey | CutterState::Colon(..) => {
                Err(UnreadableAnswer)
            }
            CutterState::After => self.after(run, at, byte),
        }
    }

    fn value(
        &mut self,
        run: &mut Run<'_>,
        at: usize,
        byte: u8,
        place: Option<usize>,
        fate: Fate,
    ) -> Result<usize, UnreadableAnswer> {
        if fate == Fate::Null {
            run.keep_until(at);
            run.out.extend_from_slice(b"null");
            self.dropping = true;
        }
        let watched = place
            .filter(|_| fate == Fate::Keep)
            .and_then(|number| Some((number, self.plan.places.get(number)?)));
        let Some((number, here)) = watched else {
            return Ok(self.pass(at));
        };
        match (byte, here.judged) {
            (b'{', Some(judged)) => {
                run.hold(at);
                self.held.clear();
                self.skip = Skip::default();
                self.state = CutterState::Collecting(judged);
                Ok(at)
            }
            (b'{' | b'[', _) => {
                if self.open.len() >= DEEPEST as usize {
                    return Err(UnreadableAnswer);
                }
                let is_object = byte == b'{';
                self.open.push(OpenContainer {
                    place: number,
                    is_object,
                    has_any: false,
                });
                self.state = if is_object {
                    CutterState::FirstKey
                } else {
                    CutterState::FirstItem
                };
                Ok(at + 1)
            }
            _ => Ok(self.pass(at)),
        }
    }

    fn pass(&mut self, at: usize) -> usize {
        self.skip = Skip::default();
        self.state = CutterState::Passing;
        at
    }

    /// A value was passed over: what follows stays.
    fn passed(&mut self, run: &mut Run<'_>, next: usize) {
        if self.dropping {
            self.dropping = false;
            run.from = Some(next);
        }
        self.state = CutterState::After;
    }

    fn collected(
        &mut self,
        run: &mut Run<'_>,
        next: usize,
        number: usize,
    ) -> Result<(), UnreadableAnswer> {
        let from = run.held_from.take().unwrap_or(next);
        run.keep_until(from);
        let here = run.piece.get(from..next).unwrap_or_default();
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(here);
        if whole.len() > LONGEST_ITEM {
            return Err(UnreadableAnswer);
        }
        match (self.judge)(number, &whole) {
            Judged::Null => run.out.extend_from_slice(b"null"),
            Judged::Cut(plan) => run
                .out
                .extend_from_slice(&self.within(plan, &Bytes::from(whole))?),
        }
        run.from = Some(next);
        self.state = CutterState::After;
        Ok(())
    }

    /// Cuts what was judged, which may hold what is to be judged in turn.
    fn within(&mut self, plan: Plan, whole: &Bytes) -> Result<Bytes, UnreadableAnswer> {
        let nobody: Judge<'j> = Box::new(|_, _| Judged::Null);
        let judge = std::mem::replace(&mut self.judge, nobody);
        let mut inner = Self::new(plan, judge);
        let cut = inner.push(whole);
        let ended = inner.finish();
        self.judge = inner.judge;
        ended?;
        cut
    }

    fn key(
        &mut self,
        run: &mut Run<'_>,
        at: usize,
        escaped: bool,
    ) -> Result<usize, UnreadableAnswer> {
        if escaped {
            self.state = CutterState::Key { escaped: false };
            return Ok(at + 1);
        }
        let rest = run.piece.get(at..).unwrap_or_default();
        let Some(found) = text_end(rest) else {
            return Ok(run.piece.len());
        };
        let next = at + found + 1;
        if rest.get(found) == Some(&b'\\') {
            self.state = CutterState::Key { escaped: true };
            return Ok(next);
        }
        self.keyed(run, next)?;
        Ok(next)
    }

    /// A key is whole: whether its member stays is known.
    fn keyed(&mut self, run: &mut Run<'_>, next: usize) -> Result<(), UnreadableAnswer> {
        let from = run.held_from.take().unwrap_or(next);
        let here = run.piece.get(from..next).unwrap_or_default();
        let container = self.open.last_mut().ok_or(UnreadableAnswer)?;
        let place = self
            .plan
            .places
            .get(container.place)
            .ok_or(UnreadableAnswer)?;
        let is_split = !self.held.is_empty();
        if is_split {
            self.held.extend_from_slice(here);
        }
        let pending: &[u8] = if is_split { &self.held } else { here };
        let key = pending.get(self.key_from..).ok_or(UnreadableAnswer)?;
        let found = place.find(key)?;
        let (fate, below) = found.map_or((Fate::Keep, None), |member| (member.fate, member.below));
        if fate == Fate::Cut {
            run.keep_until(from);
            self.dropping = true;
        } else {
            let kept = if container.has_any { pending } else { key };
            // Most stays as it stands there, and goes with what is around it.
            let goes_along = run.from.is_some() && kept.len() == here.len();
            if !goes_along {
                run.keep_until(from);
                run.out.extend_from_slice(kept);
                run.from = Some(next);
            }
            container.has_any = true;
        }
        self.held.clear();
        self.state = CutterState::Colon(below, fate);
        Ok(())
    }

    fn after(&mut self, run: &mut Run<'_>, at: usize, byte: u8) -> Result<usize, UnreadableAnswer> {
        let container = self.open.last().copied().ok_or(UnreadableAnswer)?;
        match byte {
            b',' if container.is_object => {
                run.hold(at);
                self.held.clear();
                self.state = CutterState::NextKey;
                Ok(at + 1)
            }
            b',' => {
                self.state = CutterState::Value(Some(container.place), Fate::Keep);
                Ok(at + 1)
            }
            b'}' => self.close(true, at),
            b']' => self.close(false, at),
            _ => Err(UnreadableAnswer),
        }
    }

    fn close(&mut self, is_object: bool, at: usize) -> Result<usize, UnreadableAnswer> {
        match self.open.pop() {
            Some(container) if container.is_object == is_object => {
                self.state = CutterState::After;
                Ok(at + 1)
            }
            Some(_) | None => Err(UnreadableAnswer),
        }
    }
}

/// One piece on its way through.
struct Run<'r> {
    piece: &'r Bytes,
    out: BytesMut,
    /// From where on the piece stays; `None` while nothing does.
    from: Option<usize>,
    /// From where on it is held back.
    held_from: Option<usize>,
}

impl Run<'_> {
    fn keep_until(&mut self, end: usize) {
        if let Some(from) = self.from.take() {
            if self.out.capacity() == 0 {
                self.out.reserve(self.piece.len());
            }
            self.out
                .extend_from_slice(self.piece.get(from..end).unwrap_or_default());
        }
    }

    /// Holds back what comes from here on, until it is known what becomes of it.
    fn hold(&mut self, at: usize) {
        self.held_from = Some(at);
    }
}

impl PlanPlace {
    /// The member with a key, as it stands in the document, quotes and escapes included.
    fn find(&self, written: &[u8]) -> Result<Option<&PlanMember>, UnreadableAnswer> {
        let inner = written
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
            .ok_or(UnreadableAnswer)?;
        if !inner.contains(&b'\\') {
            return Ok(self
                .members
                .iter()
                .find(|member| member.key.as_bytes() == inner));
        }
        let key: String = serde_json::from_slice(written).map_err(|_| UnreadableAnswer)?;
        Ok(self.members.iter().find(|member| member.key == key))
    }
}

impl Skip {
    fn is_scalar_alone(&self) -> bool {
        self.depth == 0 && self.in_scalar
    }

    /// Passes over bytes of a value; where it went to, and whether the value ended there.
    fn pass(&mut self, piece: &[u8], from: usize) -> Result<(usize, bool), UnreadableAnswer> {
        let mut at = from;
        while let Some(byte) = piece.get(at).copied() {
            if self.in_text {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                let Some(found) = text_end(piece.get(at..).unwrap_or_default()) else {
                    return Ok((piece.len(), false));
                };
                at += found + 1;
                if piece.get(at - 1) == Some(&b'\\') {
                    self.escaped = true;
                    continue;
                }
                self.in_text = false;
                if self.depth == 0 {
                    return Ok((at, true));
                }
                continue;
            }
            if self.in_scalar && self.depth == 0 {
                if is_scalar(byte) {
                    at += 1;
                    continue;
                }
                return Ok((at, true));
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    if self.depth >= DEEPEST {
                        return Err(UnreadableAnswer);
                    }
                    self.objects = self.objects << 1 | u128::from(byte == b'{');
                    self.depth += 1;
                }
                b'}' | b']' => {
                    if self.depth == 0 || (self.objects & 1 == 1) != (byte == b'}') {
                        return Err(UnreadableAnswer);
                    }
                    self.objects >>= 1;
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok((at + 1, true));
                    }
                }
                _ if self.depth > 0 => {}
                _ if is_scalar(byte) => self.in_scalar = true,
                _ => return Err(UnreadableAnswer),
            }
            at += 1;
        }
        Ok((at, false))
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests;
