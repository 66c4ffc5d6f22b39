//! What tidegate counts of itself, and the text that Prometheus reads of it.
//!
//! It stands below every room that counts.

mod complaints;
mod counts;
mod exposition;
mod times;

pub use complaints::Complaint;
pub use counts::{Cache, Found, Handshake, Metrics, Outcome, Purpose, Reload, Unreadable};
pub use exposition::{CONTENT_TYPE, Gauges, expose};
pub use times::Times;
