//! Finding out what a resource is: from the API, with what was learnt a moment ago.
//!
//! [`crate::resource`] says what is to be found out, and takes it from whoever can look it up.

mod attribute_members;
mod pages;
mod reader;

pub use attribute_members::Members;
pub use reader::{Facts, Listed, PER_PAGE, Pages, Reader, Remembered};
