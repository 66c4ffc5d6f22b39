use serde_json::Value;

/// Which records are looked for. What is absent does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those of a sub-token, by its name or id.
    pub token: Option<String>,
    /// From a time on, as records write it.
    pub since: Option<String>,
    /// Before a time, likewise.
    pub before: Option<String>,
    /// Only what changes something.
    pub changes: bool,
    /// Only what was refused.
    pub refused: bool,
    /// What touches a resource: `droplet:12`, a kind, or a name of any kind.
    pub resource: Option<String>,
}

impl Wanted {
    /// Whether a record is one of them.
    pub fn fits(&self, record: &Value) -> bool {
        self.is_before_its_end(record) && self.fits_at_any_end(record)
    }

    /// Whether a record is old enough.
    pub(super) fn is_before_its_end(&self, record: &Value) -> bool {
        let before = self.before.as_deref();
        before.is_none_or(|before| text(record, "time") < before)
    }

    /// Whether a record is one of them, or too young alone.
    pub(super) fn fits_at_any_end(&self, record: &Value) -> bool {
        let Self {
            token,
            since,
            before: _,
            changes,
            refused,
            resource,
        } = self;
        let of_token = token.as_deref().is_none_or(|wanted| {
            let token = record.get("token");
            let is =
                |member| token.and_then(|token| token.get(member)) == Some(&Value::from(wanted));
            is("id") || is("name")
        });
        let in_time = since
            .as_deref()
            .is_none_or(|since| text(record, "time") >= since);
        let touched = resource
            .as_deref()
            .is_none_or(|wanted| touches(record, wanted));
        of_token
            && in_time
            && touched
            && (!changes || changes_something(record))
            && (!refused || text(record, "decision") == "deny")
    }
}

/// A member that is a text; empty where there is none.
pub fn text<'r>(record: &'r Value, member: &str) -> &'r str {
    record
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether a record is of a request that changes something.
pub fn changes_something(record: &Value) -> bool {
    !matches!(text(record, "method"), "" | "GET")
}

/// Whether the record has it among its resources: `droplet:12`, a kind, or a name of any kind.
fn touches(record: &Value, wanted: &str) -> bool {
    let wanted = wanted.strip_prefix("do:").unwrap_or(wanted);
    let (kind, id) = match wanted.split_once(':') {
        Some((kind, id)) => (Some(kind), Some(id)),
        None => (None, None),
    };
    let resources = record.get("resources").and_then(Value::as_array);
    resources.into_iter().flatten().any(|resource| {
        let is = |member: &str, text_of: &str| text(resource, member).eq_ignore_ascii_case(text_of);
        let named = |name: &str| is("id", name) || is("name", name);
        is("kind", wanted)
            || named(wanted)
            || kind
                .zip(id)
                .is_some_and(|(kind, id)| is("kind", kind) && named(id))
    })
}
