//! The daemon: listeners, connections, reload and drain, and the one way through that every request takes.

mod authenticate;
mod children;
mod connection;
mod crowd;
mod descriptors;
mod door;
mod doors;
mod embedded;
mod exchange;
mod fields;
mod final_line;
mod following;
mod framing;
mod gate;
mod inherited;
mod kept;
mod listen;
mod message;
mod narrowed;
mod own;
pub mod proxy;
mod question;
mod reporting;
mod request_id;
mod run;
mod supervisor;
mod watchdog;
mod watcher;
mod workers;

pub(crate) use authenticate::{admitted, bearer};
pub use embedded::{Embedded, Unopened};
pub use gate::Gate;
pub use inherited::{Inherited, Unfit};
pub(crate) use request_id::request_id;
pub use run::{Failed, run};
