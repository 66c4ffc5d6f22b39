//! Finding out what a resource is: from the API, with what was learnt a moment ago.
//!
//! [`crate::resource`] says what is to be found out, and takes it from whoever can look it up.

mod pages;
mod pruned;
mod reader;

pub use pruned::Members;
pub use reader::{Facts, Listed, PER_PAGE, Pages, Reader, Remembered};
