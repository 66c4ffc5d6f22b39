//! The record: one JSON line for each request, and before a request that changes something goes, a line that it will.
//!
//! Lines are data with their own type and writer; nothing here is derived from a log. A line that someone waits for is
//! written, by `write(2)`, when the wait is over; if it can't be, the request does not go. No secret is ever in a line:
//! what a client could have put one into is gone over before.

mod chain;
/// The files of the record: rotated, packed, and by `-`.
pub mod files;
mod filter;
mod in_memory;
mod newest_first;
mod permit;
mod record;
mod rotated;
mod sink;
mod writer;

pub use chain::{Beginning, Break, LinePosition, Link, Verification};
pub use filter::{Wanted, changes_something, text};
pub use in_memory::Kept;
pub use newest_first::Newest;
pub use permit::Permit;
pub use record::{Event, Exchange, Record, Resource, Token, Verdict, Would};
pub use rotated::{Older, Reach};
pub use sink::recorded_until;
pub use writer::{Audit, Seen, Unwritable};
