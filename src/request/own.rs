//! What is asked of tidegate itself, and what of the API.

use super::asked::Asked;
use super::target::Target;
use crate::catalog::{Catalog, Method};
use crate::refusal::{Code, Refusal};

/// One of tidegate's own endpoints.
struct Endpoint {
    method: Method,
    /// Its path; `{id}` at its end stands for one segment.
    path: &'static str,
    answer: By,
}

/// Who may ask, and what answers.
#[derive(Clone, Copy)]
enum By {
    /// Anybody, before any sub-token is known.
    Anybody(Public),
    /// Who has a sub-token that may be used.
    Holder(Held),
}

/// What anybody may ask. Each has limits of its own.
#[derive(Clone, Copy, Debug)]
pub enum Public {
    /// A sub-token for an identity.
    Exchange,
}

/// What who has a sub-token may ask. None of it is a use.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// Who it is, and what it may.
    Whoami,
    /// The same in DigitalOcean's words.
    TokenInfo,
    /// A child.
    MakeChild,
    /// Its children.
    ListChildren,
    /// The end of a child, or of itself.
    End,
}

/// All of them. Nothing else under `/.tidegate/` is there, and nothing under it is ever forwarded.
const ENDPOINTS: [Endpoint; 6] = [
    Endpoint {
        method: Method::Get,
        path: "/.tidegate/v1/whoami",
        answer: By::Holder(Held::Whoami),
    },
    Endpoint {
        method: Method::Get,
        path: "/v1/oauth/token/info",
        answer: By::Holder(Held::TokenInfo),
    },
    Endpoint {
        method: Method::Post,
        path: "/.tidegate/v1/exchange",
        answer: By::Anybody(Public::Exchange),
    },
    Endpoint {
        method: Method::Post,
        path: "/.tidegate/v1/tokens",
        answer: By::Holder(Held::MakeChild),
    },
    Endpoint {
        method: Method::Get,
        path: "/.tidegate/v1/tokens",
        answer: By::Holder(Held::ListChildren),
    },
    Endpoint {
        method: Method::Delete,
        path: "/.tidegate/v1/tokens/{id}",
        answer: By::Holder(Held::End),
    },
];

impl Held {
    /// Whether who it is suffices, whatever its roles are.
    pub fn is_for_all(self) -> bool {
        match self {
            Self::Whoami | Self::TokenInfo | Self::ListChildren => true,
            Self::MakeChild | Self::End => false,
        }
    }
}

impl Endpoint {
    fn is_at(&self, path: &str) -> bool {
        match self.path.strip_suffix("{id}") {
            None => self.path == path,
            Some(before) => {
                let id = path.strip_prefix(before);
                id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
            }
        }
    }
}

/// What anybody may ask here, by method and path as they came: no more of a request is read before this is known.
pub fn public(method: &str, path: &str) -> Option<Public> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let asked = |endpoint: &&Endpoint| endpoint.is_at(path) && endpoint.method.as_str() == method;
    match ENDPOINTS.iter().find(asked)?.answer {
        By::Anybody(public) => Some(public),
        By::Holder(_) => None,
    }
}

/// What of tidegate's own is asked; `None` for what is the API's.
fn held(method: Method, target: &Target) -> Option<Result<Held, Refusal>> {
    let asked = |endpoint: &&Endpoint| endpoint.is_at(target.path()) && endpoint.method == method;
    match ENDPOINTS.iter().find(asked).map(|endpoint| endpoint.answer) {
        Some(By::Holder(held)) => Some(Ok(held)),
        Some(By::Anybody(_)) | None if target.begins_with(".tidegate") => {
            let all = ENDPOINTS.map(|endpoint| format!("`{} {}`", endpoint.method, endpoint.path));
            let why = format!("tidegate's own paths are {}", all.join(", "));
            Some(Err(Refusal::new(Code::UnknownEndpoint, why)))
        }
        Some(By::Anybody(_)) | None => None,
    }
}

/// A request by its head, and who answers it.
#[derive(Debug)]
pub enum Headed<'c> {
    /// tidegate itself.
    Own(Held, Target),
    /// The API.
    Api(Asked<'c>),
}

impl<'c> Headed<'c> {
    /// Tells what is tidegate's own from what is the API's.
    ///
    /// # Errors
    /// `ambiguous_request` where the target has a token in it, `unknown_endpoint` where it is under tidegate's own paths and is none.
    pub fn read(method: Method, target: Target, catalog: &'c Catalog) -> Result<Self, Refusal> {
        if Asked::has_token(method, &target, catalog) {
            return Err(Refusal::new(Code::AmbiguousRequest, TOKEN_IN_TARGET));
        }
        Ok(match held(method, &target) {
            Some(held) => Self::Own(held?, target),
            None => Self::Api(Asked::new(method, target, catalog)),
        })
    }
}

const TOKEN_IN_TARGET: &str = "the target has a token in it; send the sub-token in the `Authorization` header and nowhere else; consider it known";
