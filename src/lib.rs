//! tidegate: a gate before the DigitalOcean API.
//!
//! It keeps the real token, hands out sub-tokens, and lets each request through only as far as its sub-token's policy
//! opens. A request flows through the rooms in one direction, and each hands the next a stronger type; there is no way
//! back, and no room reaches around another. [`gate::Gate`] is where the whole way can be read in one function.
//!
//! | room | what it makes |
//! |---|---|
//! | [`server`] | bytes → a request and its peer: listeners, limits, reload, drain |
//! | [`gate`] | the way of one request through all that follows, to the last line of its record |
//! | [`identify`] | → the client's address, through trusted proxies, and for whom its certificate is |
//! | [`token`] | → a sub-token that may be used here and now; nothing else is read for strangers |
//! | [`request`] | → one canonical target, and a body that was read strictly where it decides; or a refusal |
//! | [`catalog`] | → which endpoint of the API that is, and what it asks for: data under `src/catalog/data` |
//! | [`resource`] | → what the request touches, and what that is before and after it |
//! | [`facts`] | → which of that the API knows: looked up, and kept for a moment |
//! | [`policy`] | → allowed or refused. Pure: no I/O, no clock, no globals |
//! | [`audit`] | → a permit: the use is taken and the decision on record before a write leaves |
//! | [`upstream`] | → an answer; the real token is put in here and nowhere else |
//! | [`response`] | → the answer as the client may see it |
//!
//! Beside the way stand [`rules`] (what is in force: all files, read at one moment and checked whole), [`config`] (the settings, as they are written), [`state`] (what is
//! kept of sub-tokens, and how each was used), [`trust`] (who may vouch for whom), [`operate`] (what those who run it do and ask), [`cli`] (the commands) and [`console`] (the
//! page) over that, [`admin`] (health and metrics on a listener of its own), [`metrics`] (what is counted), [`authority`] (certificates for listeners), [`specification`] (what DigitalOcean changed since), [`learn`] (from
//! what was let through to the role for it), [`json`] (answers as they came, whole or not at all), [`refusal`] (every way to say no, in one table), [`glob`], [`secret`],
//! [`table`] (what is looked up by keys that are ours), [`units`] and [`yaml`].

pub mod admin;
pub mod audit;
pub mod authority;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod console;
pub mod facts;
pub mod gate;
pub mod glob;
pub mod identify;
pub mod json;
pub mod learn;
pub mod metrics;
pub mod operate;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod resource;
pub mod response;
pub mod rules;
pub mod secret;
pub mod server;
pub mod specification;
pub mod state;
pub mod table;
pub mod token;
pub mod trust;
pub mod units;
pub mod upstream;
pub mod yaml;
