//! Sub-tokens: their form, and whether one may be used here and now. What is kept of them is in [`crate::state`].
//!
//! Only hashes of secrets come into this room to stay.

mod admit;
mod format;
mod limits;
mod share;
mod subject;
mod time;

pub use admit::{
    Admission, ClientAddr, RequestOrigin, TokenStanding, Usage, admit, from_allowed, standing,
};
pub use format::{NoToken, SubToken, TokenId, no_name};
pub use limits::{Limits, NoSource, Source};
pub use share::{Budget, Shares, Spending};
pub use subject::{AttributeValue, NoPattern, Subject, SubjectAttribute, SubjectPattern};
pub use time::{Moment, Time};
