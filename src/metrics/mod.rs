//! What tidegate counts of itself, and the text that Prometheus reads of it.
//!
//! It stands below every room that counts.

mod complaints;
mod counts;
mod exposition;
mod times;

pub use complaints::Complaint;
pub use counts::{
    Cache, CacheResult, Handshake, Metrics, Purpose, Reload, RequestOutcome, UnreadableRequest,
};
pub use exposition::{CONTENT_TYPE, Gauges, expose};
pub use times::Times;
