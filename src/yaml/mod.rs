//! YAML as people write it: a tree of keys and values that each know where they stand.
//!
//! Configuration, policy and catalogue are read through this room, so that every mistake in them is told as
//! `file:line:column`, and all at once. Scalars keep the text that was written (`1.10`, `0x1F`, `no`); what they
//! mean is for the reader to judge, by the type it expects. This room never fills in a value and never overlooks a key.

mod map;
mod tree;

pub use map::{Map, Mistakes, nearest};
pub use tree::{At, Entry, Node, Value, read};
