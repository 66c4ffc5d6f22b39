//! What those who run tidegate ask it: whether it is alive, whether it is ready, and what it has counted.
//!
//! This is served on a listener of its own, `admin`, and on no other; nothing that clients ask is served on it. It tells
//! no secret, and nothing of what clients asked.

mod ask;
mod complaints;
mod exposition;
mod metrics;
mod page;
mod readiness;
mod times;

pub use ask::{keep_asking, keep_refreshing};
pub use complaints::Complaint;
pub use metrics::{Cache, Found, Metrics, Outcome, Purpose, Reload, Unreadable};
pub use page::Admin;
pub use readiness::Phase;
