//! What the black-box tests stand on: a stand-in for the API, and a harness around the built daemon.
//!
//! A test starts a [`StandInApi`](standin::StandInApi), puts a [`Gate`](gate::Gate) before it, asks the gate as a client
//! would, and ends with `gate.finish(&api).await`, which looks for secrets where none may be.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of what is here"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "it serves tests alone, and a broken assumption must stop the test"
)]
#![allow(
    clippy::doc_markdown,
    clippy::similar_names,
    reason = "DigitalOcean is a name, and a shelf is no self"
)]

pub mod flips;
pub mod gate;
pub mod issuer;
pub mod less;
pub mod standin;

pub use gate::{Answer, Gate, Kept};
pub use issuer::{Behaviour, Issuer, SigningKey};
pub use standin::{Fault, Framing, Hold, REAL_TOKEN, RawUpstream, Reply, StandInApi, World};
