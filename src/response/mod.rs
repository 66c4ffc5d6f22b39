//! The API's answer as the client may see it.
//!
//! API addresses in it are brought back to tidegate, the real token never gets through, and everything else passes as it
//! came, byte for byte, at constant memory.

mod answer;
mod cutter;
mod links;
mod member_search;
mod narrow;
mod planner;
mod refused;
mod scan;
mod trimmed;

pub use answer::{
    Answer, AnswerBody, Cut, ShapedBody, Shaping, forget_body, held, made, nothing, shape,
};
pub use cutter::{Cutter, Fate, Judge, Judged, Plan, PlanMember, PlanPlace, UnreadableAnswer};
pub use links::Links;
pub use narrow::{Cutting, ListPage, listed, without};
pub use planner::{Beforehand, Cuts, Planner};
pub use refused::refused;
pub use scan::{Scan, SecretFound};
pub use trimmed::{not_json, trimmed, trimming};
