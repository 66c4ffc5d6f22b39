//! What is asked of tidegate itself, and what of the API.

use super::asked::Asked;
use super::target::Target;
use crate::catalog::{Catalog, Method};
use crate::refusal::{Code, Refusal};

/// One of tidegate's own endpoints.
struct OwnEndpoint {
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
    Holder(HolderEndpoint),
}

/// What anybody may ask. Each has limits of its own.
#[derive(Clone, Copy, Debug)]
pub enum Public {
    /// A sub-token for an identity.
    Exchange,
}

/// What who has a sub-token may ask. None of it is a use.
#[derive(Clone, Copy, Debug)]
pub enum HolderEndpoint {
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
const ENDPOINTS: [OwnEndpoint; 6] = [
    OwnEndpoint {
        method: Method::Get,
        path: "/.tidegate/v1/whoami",
        answer: By::Holder(HolderEndpoint::Whoami),
    },
    OwnEndpoint {
        method: Method::Get,
        path: "/v1/oauth/token/info",
        answer: By::Holder(HolderEndpoint::TokenInfo),
    },
    OwnEndpoint {
        method: Method::Post,
        path: "/.tidegate/v1/exchange",
        answer: By::Anybody(Public::Exchange),
    },
    OwnEndpoint {
        method: Method::Post,
        path: "/.tidegate/v1/tokens",
        answer: By::Holder(HolderEndpoint::MakeChild),
    },
    OwnEndpoint {
        method: Method::Get,
        path: "/.tidegate/v1/tokens",
        answer: By::Holder(HolderEndpoint::ListChildren),
    },
    OwnEndpoint {
        method: Method::Delete,
        path: "/.tidegate/v1/tokens/{id}",
        answer: By::Holder(HolderEndpoint::End),
    },
];

impl HolderEndpoint {
    /// Whether who it is suffices, whatever its roles are.
    pub fn is_for_all(self) -> bool {
        match self {
            Self::Whoami | Self::TokenInfo | Self::ListChildren => true,
            Self::MakeChild | Self::End => false,
        }
    }
}

impl OwnEndpoint {
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
    let asked =
        |endpoint: &&OwnEndpoint| endpoint.is_at(path) && endpoint.method.as_str() == method;
    match ENDPOINTS.iter().find(asked)?.answer {
        By::Anybody(public) => Some(public),
        By::Holder(_) => None,
    }
}

/// What of tidegate's own is asked; `None` for what is the API's.
fn own_endpoint(method: Method, target: &Target) -> Option<Result<HolderEndpoint, Refusal>> {
    let asked =
        |endpoint: &&OwnEndpoint| endpoint.is_at(target.path()) && endpoint.method == method;
    match ENDPOINTS.iter().find(asked).map(|endpoint| endpoint.answer) {
        Some(By::Holder(endpoint)) => Some(Ok(endpoint)),
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
    Own(HolderEndpoint, Target),
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
        Ok(match own_endpoint(method, &target) {
            Some(endpoint) => Self::Own(endpoint?, target),
            None => Self::Api(Asked::new(method, target, catalog)),
        })
    }
}

const TOKEN_IN_TARGET: &str = "the target has a token in it; send the sub-token in the `Authorization` header and nowhere else; consider it known";
