//! Tables that every request looks into, and whose keys are ours: the catalogue's, the rules', those of tokens that were issued
//! here. No stranger puts a key in, so none can choose keys that fall together, and the hash need not withstand that: it takes a
//! fifth of the time. Where strangers' bytes become keys, the table is the standard library's.

use std::collections::HashMap;

/// A table of keys that are ours.
pub type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
