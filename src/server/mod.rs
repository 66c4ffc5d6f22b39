//! The daemon: listeners, connections, reload and drain, and the one way through that every request takes.
//!
//! Whatever comes over a connection concerns that one alone: bad input is answered with a clear error, a panic ends no other, and
//! everybody else is served as before.

mod connection;
mod descriptors;
mod door;
mod embedded;
mod framing;
mod http1;
mod inherited;
mod listen;
mod listeners;
pub mod proxy;
mod run;
mod supervisor;
mod watchdog;
mod watcher;
mod workers;

pub use embedded::{Embedded, Unopened};
pub use inherited::{Inherited, Unfit};
pub use run::{StartError, run};
