//! tidegate: a gate before the DigitalOcean API.

pub mod catalog;
pub mod units;
pub mod yaml;
