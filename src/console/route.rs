use hyper::Method;

use super::tokens::TokenTask;
use crate::policy::Right;

/// What is answered: the method, the path with its places (`{id}`), who may ask, and what for.
pub(super) struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub task: Task,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// Whoever reaches the listener: what is shown before one signs in.
    Anyone,
    /// Who is signed in and has this right. What is not a GET takes the form token too.
    Page(Right),
    /// Who shows a sub-token that has this right.
    Api(Right),
}

/// What for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Task {
    Stylesheet,
    Script,
    Icon,
    SignInPage,
    SignIn,
    SignOut,
    Overview,
    Token(TokenTask),
    Refusals,
    Roles,
    Role,
    Ask,
    Check,
    Diff,
    Unused,
    Live,
    LiveLines,
    Records,
    ApiDescription,
}

/// Everything that there is.
pub(super) const ROUTES: &[Route] = &[
    get("/assets/console.css", Access::Anyone, Task::Stylesheet),
    get("/assets/console.js", Access::Anyone, Task::Script),
    get("/assets/icon.svg", Access::Anyone, Task::Icon),
    get("/sign-in", Access::Anyone, Task::SignInPage),
    post("/sign-in", Access::Anyone, Task::SignIn),
    post("/sign-out", VIEW, Task::SignOut),
    get("/", VIEW, Task::Overview),
    get("/tokens", VIEW, Task::Token(TokenTask::List)),
    post("/tokens", ISSUE, Task::Token(TokenTask::Issue)),
    post("/tokens/find", VIEW, Task::Token(TokenTask::Find)),
    get("/tokens/revoke", REVOKE, Task::Token(TokenTask::Several)),
    post(
        "/tokens/revoke",
        REVOKE,
        Task::Token(TokenTask::RevokeSeveral),
    ),
    get("/tokens/new", ISSUE, Task::Token(TokenTask::New)),
    get("/tokens/{id}", VIEW, Task::Token(TokenTask::Show)),
    post(
        "/tokens/{id}/revoke",
        REVOKE,
        Task::Token(TokenTask::Revoke),
    ),
    post("/tokens/{id}/rotate", ISSUE, Task::Token(TokenTask::Rotate)),
    get("/refusals", VIEW, Task::Refusals),
    get("/roles", VIEW, Task::Roles),
    get("/roles/{name}", VIEW, Task::Role),
    get("/ask", VIEW, Task::Ask),
    post("/ask", VIEW, Task::Ask),
    get("/check", VIEW, Task::Check),
    post("/check", VIEW, Task::Check),
    get("/diff", VIEW, Task::Diff),
    post("/diff", VIEW, Task::Diff),
    get("/unused", VIEW, Task::Unused),
    get("/records", VIEW, Task::Records),
    get("/live", VIEW, Task::Live),
    get("/live/lines", VIEW, Task::LiveLines),
    get("/api/v1/overview", API_VIEW, Task::Overview),
    get("/api/v1/tokens", API_VIEW, Task::Token(TokenTask::List)),
    post(
        "/api/v1/tokens/revoke",
        API_REVOKE,
        Task::Token(TokenTask::RevokeSeveral),
    ),
    post("/api/v1/tokens", API_ISSUE, Task::Token(TokenTask::Issue)),
    get(
        "/api/v1/tokens/{id}",
        API_VIEW,
        Task::Token(TokenTask::Show),
    ),
    post(
        "/api/v1/tokens/{id}/revoke",
        API_REVOKE,
        Task::Token(TokenTask::Revoke),
    ),
    post(
        "/api/v1/tokens/{id}/rotate",
        API_ISSUE,
        Task::Token(TokenTask::Rotate),
    ),
    get("/api/v1/refusals", API_VIEW, Task::Refusals),
    get("/api/v1/records", API_VIEW, Task::Records),
    get("/api/v1/roles", API_VIEW, Task::Roles),
    get("/api/v1/roles/{name}", API_VIEW, Task::Role),
    post("/api/v1/explain", API_VIEW, Task::Ask),
    get("/api/v1/check", API_VIEW, Task::Check),
    post("/api/v1/check", API_VIEW, Task::Check),
    post("/api/v1/diff", API_VIEW, Task::Diff),
    get("/api/v1/unused", API_VIEW, Task::Unused),
    get("/api/v1/live", API_VIEW, Task::LiveLines),
    get("/api/v1/openapi.json", Access::Anyone, Task::ApiDescription),
];

const VIEW: Access = Access::Page(Right::View);
const REVOKE: Access = Access::Page(Right::Revoke);
const ISSUE: Access = Access::Page(Right::Issue);
const API_VIEW: Access = Access::Api(Right::View);
const API_REVOKE: Access = Access::Api(Right::Revoke);
const API_ISSUE: Access = Access::Api(Right::Issue);

const fn get(path: &'static str, access: Access, task: Task) -> Route {
    Route {
        method: Method::GET,
        path,
        access,
        task,
    }
}

const fn post(path: &'static str, access: Access, task: Task) -> Route {
    Route {
        method: Method::POST,
        path,
        access,
        task,
    }
}

/// What a request leads to.
pub(super) enum RouteMatch<'p> {
    /// A route, and what stands in the place of its path.
    Route(&'static Route, &'p str),
    /// The path is there, for these methods.
    Methods(Vec<&'static str>),
    /// Nothing.
    Nothing,
}

/// Finds the route of a method and a path. HEAD is as GET.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> RouteMatch<'p> {
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let fitting = || {
        ROUTES
            .iter()
            .filter_map(|route| Some((route, place(route.path, path)?)))
    };
    if let Some((route, place)) = fitting().find(|(route, _)| route.method == *method) {
        return RouteMatch::Route(route, place);
    }
    let methods: Vec<_> = fitting().map(|(route, _)| route.method.as_str()).collect();
    if methods.is_empty() {
        RouteMatch::Nothing
    } else {
        RouteMatch::Methods(methods)
    }
}

/// What stands in the one place of a template, if the path is of it; an empty text where it has none.
fn place<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = template.split_once('{') else {
        return (template == path).then_some("");
    };
    let after = after.split_once('}').map_or("", |(_, after)| after);
    let inside = path.strip_prefix(before)?.strip_suffix(after)?;
    (!inside.is_empty() && !inside.contains('/')).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_segment() {
        let cases = [
            ("/", "/", Some("")),
            ("/tokens", "/tokens", Some("")),
            ("/tokens", "/tokens/", None),
            ("/tokens/{id}", "/tokens/a", Some("a")),
            ("/tokens/{id}", "/tokens/", None),
            ("/tokens/{id}", "/tokens/a/b", None),
            ("/tokens/{id}/revoke", "/tokens/a/revoke", Some("a")),
            ("/tokens/{id}/revoke", "/tokens/a", None),
            ("/tokens/{id}/revoke", "/tokens/revoke", None),
        ];
        for (template, path, expected) in cases {
            assert_eq!(place(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn the_description_has_each_route_of_the_api_with_its_right_and_no_other() {
        let described: serde_json::Value =
            serde_json::from_slice(super::super::page::DESCRIPTION).unwrap();
        let mut told = Vec::new();
        for (path, operations) in described["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let right = operation["x-right"].as_str().map(str::to_owned);
                told.push((path.clone(), method.to_uppercase(), right));
            }
        }
        let is_api = |route: &&Route| route.path.starts_with("/api/");
        let mut there: Vec<_> = ROUTES
            .iter()
            .filter(is_api)
            .map(|route| {
                let right = match route.access {
                    Access::Api(right) => Some(right.as_str().to_owned()),
                    Access::Anyone | Access::Page(_) => None,
                };
                (route.path.to_owned(), route.method.to_string(), right)
            })
            .collect();
        told.sort();
        there.sort();
        assert_eq!(told, there);
    }

    #[test]
    fn whatever_changes_something_takes_a_right_and_a_get_changes_nothing() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.method != Method::GET && route.access == Access::Anyone)
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/sign-in"]); // it takes a sub-token
        for route in ROUTES {
            let is_api = route.path.starts_with("/api/");
            assert_eq!(
                is_api,
                matches!(route.access, Access::Api(_)) || route.path == "/api/v1/openapi.json",
                "{}",
                route.path
            );
        }
    }
}
