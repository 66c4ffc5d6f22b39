//! Sub-tokens narrowed to resources of the API's further families.

mod monitoring;
mod networks;
