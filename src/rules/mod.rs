//! What is in force: the configuration and everything that it points to (policy, extra catalogue, real tokens, certificates),
//! read at one moment and checked whole.
//!
//! [`load`] makes one [`Rules`] of it, which a request takes one reference to and keeps to its end. If anything is wrong there
//! are no rules, and whoever had some keeps them. [`Current`] holds those of now, with the connections that they name.

mod current;
mod load;
mod plans;
mod tls;
mod watch;
mod writers;

pub use current::{Current, FilesRead, ReloadCause, Serving};
pub use load::{
    Certificate, Rules, RulesParts, catalog, load, policy, policy_alone, policy_in, policy_text,
    secrets, settings,
};
pub use plans::{Planned, Plans, Settled};
pub use tls::shows;
pub use watch::WatchedFiles;
