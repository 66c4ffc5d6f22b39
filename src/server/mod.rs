//! The daemon: listeners, connections, reload and drain, and the one way through that every request takes.

mod authenticate;
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
mod plans;
pub mod proxy;
mod question;
mod reporting;
mod request_id;
mod run;
mod serving;
mod supervisor;
mod watchdog;
mod watcher;
mod workers;

pub use embedded::{Embedded, Unopened};
pub use gate::Gate;
pub use inherited::{Inherited, Unfit};
pub use run::{Failed, run};
pub use serving::{Current, Serving};
