//! What those who run tidegate ask it: whether it is alive, whether it is ready, and what it has counted.
//!
//! This is served on a listener of its own, `admin`, and on no other; nothing that clients ask is served on it. It tells
//! no secret, and nothing of what clients asked.

mod page;
mod readiness;
mod token_probe;

pub use page::Admin;
pub use readiness::Phase;
pub use token_probe::{keep_asking, keep_refreshing};
