//! Sub-tokens: their form, what is kept of them, and whether one may be used here and now.
//!
//! Only hashes of secrets come into this room to stay. Issued tokens are kept in a state file that the daemon and the
//! command line share; the daemon keeps what it needs of it in memory and reads on from the last change.

mod admit;
mod format;
mod live;
mod share;
mod state;
mod time;

pub use admit::{Admission, ClientAddr, Origin, Standing, admit, standing};
pub use format::{NoToken, SubToken, TokenId, no_name};
pub use live::{Activity, BehindClock, Entry, KeptIn, Live, OlderState, Unavailable, older_than};
pub use share::{Budget, Shares, Spending};
pub use state::{About, Changes, Count, Issued, Listed, State, StateError, Usage};
pub use time::{Moment, Time};
