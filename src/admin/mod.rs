//! What those who run tidegate ask it: whether it is alive, whether it is ready, and what it has counted.
//!
//! This is served on a listener of its own, `admin`, and on no other; nothing that clients ask is served on it. It tells
//! no secret, and nothing of what clients asked.

mod ask;
mod page;
mod readiness;

pub use ask::{keep_asking, keep_refreshing};
pub use page::Admin;
pub use readiness::Phase;
