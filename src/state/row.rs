//! A token as the columns of a row hold it, the same in every store.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::maker::Maker;
use super::record::{About, Issued, StateError};
use crate::policy::Ceiling;
use crate::secret::SecretHash;
use crate::token::Usage;
use crate::token::{Limits, Source};
use crate::units::Span;

/// The columns of a token, in the order in which [`TokenRow`] is read.
pub(super) const COLUMNS: &str = "id, name, hash, old_hash, old_until, roles, vars, sources, created_at, not_before, expires_at, idle, max_uses, rate, owner, description, client_cert, made_by, parent, ceiling, report_until";

/// An issued token as it is written down: times in microseconds since 1970, `idle` in seconds, lists and maps as JSON.
#[derive(Clone)]
pub(super) struct TokenRow {
    pub id: String,
    pub name: String,
    pub hash: Vec<u8>,
    pub old_hash: Option<Vec<u8>>,
    pub old_until: Option<i64>,
    pub roles: String,
    pub vars: String,
    pub limits: LimitColumns,
    pub created_at: i64,
    pub owner: Option<String>,
    pub description: Option<String>,
    pub made_by: Option<String>,
    pub parent: Option<String>,
    pub ceiling: Option<String>,
    pub report_until: Option<i64>,
}

/// The columns that make limits.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct LimitColumns {
    pub sources: Option<String>,
    pub client_cert: Option<String>,
    pub not_before: Option<i64>,
    pub expires_at: Option<i64>,
    pub idle: Option<i64>,
    pub max_uses: Option<i64>,
    pub rate: Option<String>,
}

impl TokenRow {
    /// The row of a token.
    pub fn of(token: &Issued) -> Self {
        let Issued {
            id,
            name,
            hash,
            old,
            roles,
            vars,
            limits,
            created_at,
            ceiling,
            about,
            maker,
        } = token;
        let (maker, ceiling) = (maker.as_deref(), ceiling.as_deref());
        let about = about.as_deref().cloned().unwrap_or_default();
        let About { owner, description } = about;
        Self {
            id: id.to_string(),
            name: name.clone(),
            hash: hash.as_bytes().to_vec(),
            old_hash: old.as_ref().map(|(hash, _)| hash.as_bytes().to_vec()),
            old_until: old.as_ref().map(|(_, until)| until.as_microsecond()),
            roles: json(&&**roles),
            vars: json(vars),
            limits: LimitColumns::of(limits),
            created_at: created_at.as_microsecond(),
            owner,
            description,
            made_by: maker.map(Maker::to_json),
            parent: maker
                .and_then(Maker::parent)
                .map(|parent| parent.id.to_string()),
            ceiling: ceiling.map(|ceiling| ceiling.role.clone()),
            report_until: ceiling.map(|ceiling| ceiling.until.as_microsecond()),
        }
    }
}

impl LimitColumns {
    fn of(limits: &Limits) -> Self {
        let Limits {
            sources,
            client_cert,
            not_before,
            expires_at,
            idle,
            max_uses,
            rate,
        } = limits;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let sources = sources.as_ref();
        let sources = sources.map(|all| all.iter().map(Source::to_string).collect::<Vec<_>>());
        Self {
            sources: sources.map(|sources| json(&sources)),
            client_cert: client_cert.as_ref().map(ToString::to_string),
            not_before: not_before.map(Timestamp::as_microsecond),
            expires_at: expires_at.map(Timestamp::as_microsecond),
            idle: idle.map(|idle| number(idle.seconds())),
            max_uses: max_uses.map(number),
            rate: rate.map(|rate| rate.to_string()),
        }
    }

    /// The limits. `wrong` makes the error of what does not read.
    fn read(&self, wrong: impl Fn(&str) -> StateError) -> Result<Limits, StateError> {
        Ok(Limits {
            sources: (self.sources.as_ref())
                .map(|text| read_sources(text).ok_or_else(|| wrong("the sources")))
                .transpose()?,
            client_cert: (self.client_cert.as_ref())
                .map(|text| {
                    text.parse()
                        .map_err(|_| wrong("the condition on certificates"))
                })
                .transpose()?,
            not_before: self.not_before.map(time).transpose()?,
            expires_at: self.expires_at.map(time).transpose()?,
            idle: (self.idle)
                .map(|seconds| {
                    u64::try_from(seconds)
                        .ok()
                        .and_then(Span::from_seconds)
                        .ok_or_else(|| wrong("the idle time"))
                })
                .transpose()?,
            max_uses: (self.max_uses)
                .map(|uses| u64::try_from(uses).map_err(|_| wrong("the number of uses")))
                .transpose()?,
            rate: (self.rate.as_ref())
                .map(|text| text.parse().map_err(|_| wrong("the rate")))
                .transpose()?,
        })
    }
}

/// What was read of rows already, by what their columns hold: most tokens are like others.
#[derive(Default)]
pub(super) struct SharedColumns {
    roles: HashMap<String, Arc<[String]>>,
    limits: HashMap<LimitColumns, Arc<Limits>>,
}

impl SharedColumns {
    fn roles(&mut self, text: String) -> Option<Arc<[String]>> {
        if let Some(known) = self.roles.get(&text) {
            return Some(known.clone());
        }
        let roles: Arc<[String]> = serde_json::from_str::<Vec<String>>(&text).ok()?.into();
        self.roles.insert(text, roles.clone());
        Some(roles)
    }

    fn limits(
        &mut self,
        columns: LimitColumns,
        wrong: impl Fn(&str) -> StateError,
    ) -> Result<Arc<Limits>, StateError> {
        if let Some(known) = self.limits.get(&columns) {
            return Ok(known.clone());
        }
        let limits = Arc::new(columns.read(wrong)?);
        self.limits.insert(columns, limits.clone());
        Ok(limits)
    }

    /// The token of a row.
    pub fn issued(&mut self, row: TokenRow) -> Result<Issued, StateError> {
        let TokenRow {
            id,
            name,
            hash,
            old_hash,
            old_until,
            roles,
            vars,
            limits,
            created_at,
            owner,
            description,
            made_by,
            parent: _, // it is in `made_by` too
            ceiling,
            report_until,
        } = row;
        let wrong = |what: &str| StateError::Row(format!("{what} of token `{id}`"));
        let read = |bytes: Vec<u8>| SecretHash::from_bytes(&bytes).ok_or_else(|| wrong("the hash"));
        let maker = made_by.map(|text| Maker::from_json(&text).map(Arc::new));
        let maker = maker.map(|maker| maker.ok_or_else(|| wrong("who made it")));
        let ceiling = match (ceiling, report_until.map(time).transpose()?) {
            (Some(role), Some(until)) => Some(Arc::new(Ceiling { role, until })),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(wrong("the ceiling")),
        };
        let old = old_hash.map(read).transpose()?;
        Ok(Issued {
            id: id.parse().map_err(|_| wrong("the id"))?,
            name,
            hash: read(hash)?,
            old: old.zip(old_until.map(time).transpose()?),
            roles: self.roles(roles).ok_or_else(|| wrong("the roles"))?,
            vars: serde_json::from_str(&vars).map_err(|_| wrong("the variables"))?,
            limits: self.limits(limits, wrong)?,
            created_at: time(created_at)?,
            ceiling,
            about: Some(Box::new(About { owner, description })),
            maker: maker.transpose()?,
        })
    }
}

/// What the columns of a counter say.
pub(super) fn usage(used: i64, last: Option<i64>) -> Result<Usage, StateError> {
    Ok(Usage {
        used: u64::try_from(used).unwrap_or(u64::MAX),
        last_used_at: last.map(time).transpose()?,
    })
}

/// A list or map of texts as the JSON that a column holds.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() // texts always serialise
}

pub(super) fn time(microseconds: i64) -> Result<Timestamp, StateError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| StateError::Row(error.to_string()))
}

fn read_sources(text: &str) -> Option<Vec<Source>> {
    let texts: Vec<String> = serde_json::from_str(text).ok()?;
    texts.iter().map(|text| text.parse().ok()).collect()
}
