//! The resources that a request touches, and what is known of each before and after it.
//!
//! The catalogue says where a request names what; this room finds out what that is, from the API or from what a test gives,
//! and only as far as the sub-token's grants ask about it. What can't be learnt is left unknown, and what is unknown allows
//! nothing. Nothing here decides.

mod attributes;
mod lookup;
mod parents;
mod resolve;
mod state;
mod touch;

pub use attributes::Attributes;
pub use lookup::{
    Found, Given, Look, Parents, as_host, attributes_of, is_called, spelled, told_by_name, urn_of,
    with_parents, zone_of,
};
pub use parents::{above, project, whole};
pub use resolve::{Interest, acted_on, names_acted_on, resolve, resolve_one};
pub use state::{
    Known, State, folded, is_called_by, is_under, minds_case, of_children, record_name,
};
pub use touch::{Presence, Touch};
