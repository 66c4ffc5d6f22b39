//! Sub-tokens narrowed to one of two look-alikes, family by family of the API.

mod monitoring;
mod networks;
mod platform;
