//! The request's one reading.
//!
//! What a client sent is brought to one canonical form here, or refused: a target whose segments and parameters are
//! decoded once and written one way, and, where something in the body decides, a body that was read strictly and is
//! written anew. What the later rooms match, check and send is this form and never the client's bytes.

mod asked;
mod json;
mod names;
mod own_endpoints;
mod spelling;
mod target;
mod values;

pub use asked::{Asked, FieldUse, MOST_NAMED, Named};
pub use json::{Json, NoList, NotJson, Unheard, Why};
pub use own_endpoints::{Headed, HolderEndpoint, Public, public};
pub use target::{Ambiguity, Target, encoded};
