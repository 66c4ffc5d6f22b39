//! Why a request was not let through: one code, and from it, in one place, everything that the client, the record and
//! the metrics are told.

use std::fmt;

use crate::catalog::Scope;

/// The codes of refusals, as `tidegate-reason` and the audit record show them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Code {
    /// The request could be read in two ways.
    AmbiguousRequest,
    /// Its body could not be read.
    BodyUnreadable,
    /// No sub-token came with it.
    NoToken,
    /// The sub-token is not one that was issued.
    UnknownToken,
    /// A real DigitalOcean token came instead.
    RealToken,
    /// The sub-token was revoked.
    Revoked,
    /// Its time is over, or it was idle too long.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was used as often as it may be.
    UsesExhausted,
    /// An identity is not trusted with a sub-token.
    NotTrusted,
    /// It may not be used from there.
    SourceIp,
    /// A role or variable of it is gone.
    RoleMissing,
    /// It lacks a scope.
    Scope,
    /// It lacks the scope of a field that the request uses.
    FieldScope,
    /// The request has a member or parameter that the catalogue does not know.
    FieldUnknown,
    /// It may not make another.
    Delegation,
    /// It does not reach that resource.
    Resource,
    /// It may not do that action.
    Action,
    /// A deny grant forbids it.
    Denied,
    /// The API has no such endpoint.
    UnknownEndpoint,
    /// Whether or not it exists, the sub-token may not see it.
    ResourceHidden,
    /// The request was sent, and what came of it is not known.
    OutcomeUnknown,
    /// The client took too long to send it.
    Timeout,
    /// The body is too large.
    BodyTooLarge,
    /// The headers are too large.
    HeadersTooLarge,
    /// The sub-token is used too often.
    RateLimited,
    /// The API could not be reached.
    UpstreamUnreachable,
    /// The API's certificate could not be trusted.
    UpstreamTls,
    /// The API did not answer in time.
    UpstreamTimeout,
    /// The API's answer could not be used.
    UpstreamBadAnswer,
    /// tidegate is about to stop.
    Draining,
    /// The audit record could not be written.
    AuditUnavailable,
    /// The state of sub-tokens could not be read.
    StateUnavailable,
    /// tidegate has too much to do.
    Overloaded,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::AmbiguousRequest,
        Self::BodyUnreadable,
        Self::NoToken,
        Self::UnknownToken,
        Self::RealToken,
        Self::Revoked,
        Self::Expired,
        Self::NotYetValid,
        Self::UsesExhausted,
        Self::NotTrusted,
        Self::SourceIp,
        Self::RoleMissing,
        Self::Scope,
        Self::FieldScope,
        Self::FieldUnknown,
        Self::Delegation,
        Self::Resource,
        Self::Action,
        Self::Denied,
        Self::UnknownEndpoint,
        Self::ResourceHidden,
        Self::OutcomeUnknown,
        Self::Timeout,
        Self::BodyTooLarge,
        Self::HeadersTooLarge,
        Self::RateLimited,
        Self::UpstreamUnreachable,
        Self::UpstreamTls,
        Self::UpstreamTimeout,
        Self::UpstreamBadAnswer,
        Self::Draining,
        Self::AuditUnavailable,
        Self::StateUnavailable,
        Self::Overloaded,
    ];

    /// HTTP status, DigitalOcean's `id`, and the code's own name: the one table of PRODUCT.md 8.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::AmbiguousRequest => (400, "bad_request", "ambiguous_request"),
            Self::BodyUnreadable => (400, "bad_request", "body_unreadable"),
            Self::NoToken => (401, "unauthorized", "no_token"),
            Self::UnknownToken => (401, "unauthorized", "unknown_token"),
            Self::RealToken => (401, "unauthorized", "real_token"),
            Self::Revoked => (401, "unauthorized", "revoked"),
            Self::Expired => (401, "unauthorized", "expired"),
            Self::NotYetValid => (401, "unauthorized", "not_yet_valid"),
            Self::UsesExhausted => (401, "unauthorized", "uses_exhausted"),
            Self::NotTrusted => (401, "unauthorized", "not_trusted"),
            Self::SourceIp => (403, "forbidden", "source_ip"),
            Self::RoleMissing => (403, "forbidden", "role_missing"),
            Self::Scope => (403, "forbidden", "scope"),
            Self::FieldScope => (403, "forbidden", "field_scope"),
            Self::FieldUnknown => (403, "forbidden", "field_unknown"),
            Self::Delegation => (403, "forbidden", "delegation"),
            Self::Resource => (403, "forbidden", "resource"),
            Self::Action => (403, "forbidden", "action"),
            Self::Denied => (403, "forbidden", "denied"),
            Self::UnknownEndpoint => (403, "forbidden", "unknown_endpoint"),
            Self::ResourceHidden => (404, "not_found", "resource_hidden"),
            Self::OutcomeUnknown => (409, "conflict", "outcome_unknown"),
            Self::Timeout => (408, "request_timeout", "timeout"),
            Self::BodyTooLarge => (413, "payload_too_large", "body_too_large"),
            Self::HeadersTooLarge => (431, "headers_too_large", "headers_too_large"),
            Self::RateLimited => (429, "too_many_requests", "rate_limited"),
            Self::UpstreamUnreachable => (502, "bad_gateway", "upstream_unreachable"),
            Self::UpstreamTls => (502, "bad_gateway", "upstream_tls"),
            Self::UpstreamTimeout => (504, "gateway_timeout", "upstream_timeout"),
            Self::UpstreamBadAnswer => (502, "bad_gateway", "upstream_bad_answer"),
            Self::Draining => (503, "service_unavailable", "draining"),
            Self::AuditUnavailable => (503, "service_unavailable", "audit_unavailable"),
            Self::StateUnavailable => (503, "service_unavailable", "state_unavailable"),
            Self::Overloaded => (503, "service_unavailable", "overloaded"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// The `id` of the error body, in DigitalOcean's way.
    pub fn id(self) -> &'static str {
        self.row().1
    }

    /// Whether a token that reports goes on where its roles alone would refuse with this: it is about what they grant, and no
    /// deny, nor a request that could be read in two ways.
    pub fn is_reported(self) -> bool {
        match self {
            Self::Scope
            | Self::FieldScope
            | Self::FieldUnknown
            | Self::Resource
            | Self::ResourceHidden
            | Self::Action
            | Self::UnknownEndpoint => true,
            Self::AmbiguousRequest
            | Self::BodyUnreadable
            | Self::NoToken
            | Self::UnknownToken
            | Self::RealToken
            | Self::Revoked
            | Self::Expired
            | Self::NotYetValid
            | Self::UsesExhausted
            | Self::SourceIp
            | Self::NotTrusted
            | Self::Delegation
            | Self::RoleMissing
            | Self::Denied
            | Self::OutcomeUnknown
            | Self::Timeout
            | Self::BodyTooLarge
            | Self::HeadersTooLarge
            | Self::RateLimited
            | Self::UpstreamUnreachable
            | Self::UpstreamTls
            | Self::UpstreamTimeout
            | Self::UpstreamBadAnswer
            | Self::Draining
            | Self::AuditUnavailable
            | Self::StateUnavailable
            | Self::Overloaded => false,
        }
    }

    /// The code as the header and the record have it.
    pub fn as_str(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what the client is told, and what only the record is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// What happened, why, and what to do; for the client, so without any secret, path or hint at what it may not see.
    pub message: String,
    /// The scopes that would have done, for `tidegate-needs`.
    pub needs: Vec<Scope>,
    /// Seconds to wait, for `retry-after`.
    pub retry_after: Option<u64>,
    /// What the operator should know beside; for the record.
    pub detail: Option<String>,
    /// The status by which a gateway before the API answered, for `tidegate-upstream-status`.
    pub upstream_status: Option<u16>,
    /// How OAuth calls it, where it is told in its words.
    pub oauth: Option<OauthError>,
}

/// An error in the words of RFC 6749 §5.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OauthError {
    /// The HTTP status.
    pub status: u16,
    /// The code.
    pub error: &'static str,
}

impl Refusal {
    /// A refusal with this message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            needs: Vec::new(),
            retry_after: None,
            detail: None,
            upstream_status: None,
            oauth: None,
        }
    }

    /// The HTTP status: the code's, but for a read that a gateway before the API answered, which keeps that one.
    pub fn status(&self) -> u16 {
        match (self.oauth, self.code, self.upstream_status) {
            (Some(oauth), _, _) => oauth.status,
            (None, Code::UpstreamBadAnswer, Some(status)) => status,
            (None, code, _) => code.status(),
        }
    }

    /// The same in the words of RFC 6749, for who exchanges an identity.
    #[must_use]
    pub fn in_oauth_words(mut self) -> Self {
        let status = self.code.status();
        let error = match status {
            401 | 403 => "invalid_grant",
            429 | 500.. => "temporarily_unavailable",
            _ => "invalid_request",
        };
        self.oauth.get_or_insert(OauthError { status, error });
        self
    }

    /// The same, for what a gateway before the API answered with this status.
    #[must_use]
    pub fn of_gateway(mut self, status: u16) -> Self {
        self.upstream_status = Some(status);
        self
    }

    /// What is answered for what may not be seen, whether it is there or not: word for word DigitalOcean's own.
    pub fn hidden() -> Self {
        Self::new(
            Code::ResourceHidden,
            "The resource you requested could not be found.",
        )
    }

    /// The same, with scopes that would have done.
    #[must_use]
    pub fn needing(mut self, needs: Vec<Scope>) -> Self {
        self.needs = needs;
        self
    }

    /// The same, with something for the record alone.
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codes_has_every_row() {
        let here = include_str!("refusal.rs");
        let rows = here.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("Self::") && line.contains(" => (")
        });
        assert_eq!(Code::ALL.len(), rows.count());
        let named: std::collections::HashSet<_> = Code::ALL.iter().collect();
        assert_eq!(named.len(), Code::ALL.len());
    }

    #[test]
    fn no_refusal_by_policy_is_one_that_clients_send_again() {
        let by_policy = [
            Code::SourceIp,
            Code::RoleMissing,
            Code::Scope,
            Code::FieldScope,
            Code::FieldUnknown,
            Code::Delegation,
            Code::Resource,
            Code::Action,
            Code::Denied,
            Code::UnknownEndpoint,
            Code::ResourceHidden,
            Code::OutcomeUnknown,
            Code::Expired,
            Code::UsesExhausted,
        ];
        for code in by_policy {
            assert!(
                (400..=409).contains(&code.status()),
                "{code} is {}",
                code.status()
            );
        }
    }
}
