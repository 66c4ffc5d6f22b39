//! Sub-tokens narrowed to single resources: what they reach, and the doors to everything else.

mod answers;
mod calls;
mod dns;
mod droplets;
mod firewalls;
mod images;
mod lists;
mod members;
mod missing;
mod names;
mod networks;
mod on_create;
mod oracle;
mod projects;
mod registry;
mod shown_elsewhere;
mod spellings;
mod tags;
mod volumes;

use hyper::Method;
use serde_json::Value;

use crate::support::standin::Heard;
use crate::support::{Answer, Gate, StandInApi, World};

/// A request, its body (`null` for none), and what becomes of it: `ok`, or the code of its refusal.
pub(crate) type Row<'r> = (&'r str, Value, &'r str);

/// A sub-token of one role, a gate, and the API behind it.
pub(crate) struct Story {
    pub(crate) api: StandInApi,
    gate: Gate,
    token: String,
}

impl Story {
    /// With what stands under the role `r` in a policy.
    pub(crate) async fn of(role: &str) -> Self {
        Self::in_world(role, World::default()).await
    }

    pub(crate) async fn in_world(role: &str, world: World) -> Self {
        Self::issued(role, world, &[]).await
    }

    /// With more options of `token issue`.
    pub(crate) async fn issued(role: &str, world: World, options: &[&str]) -> Self {
        let api = StandInApi::start_with(world).await;
        let policy = format!("version: 1\nroles:\n  r:\n{role}");
        let gate = Gate::start(&api, &policy).await;
        let options = [&["t", "--role", "r"], options].concat();
        let token = gate.issue(&options).await;
        Self { api, gate, token }
    }

    pub(crate) async fn ask(&self, request: &str, body: &Value) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = self.gate.request(method, path).token(&self.token);
        if body.is_null() {
            ask.send().await
        } else {
            ask.json(body).send().await
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &Value::Null).await
    }

    /// Each row in its turn: what is refused changes nothing upstream, and what is let through goes there once.
    pub(crate) async fn holds(&self, rows: &[Row<'_>]) {
        let mut wrong = Vec::new();
        for (request, body, expected) in rows {
            self.api.clear();
            let answer = self.ask(request, body).await;
            let outcome = answer.reason().unwrap_or("ok");
            let (writes, changes) = (self.api.writes(), !request.starts_with("GET"));
            let sent = changes && *expected == "ok";
            let status = answer.status;
            // What names nothing as the reference does is refused as such, or for what it was taken to name.
            let alike =
                *expected == "ambiguous_request" && matches!(outcome, "resource" | "action");
            if outcome != *expected && !alike
                || writes.is_empty() == sent
                || status.is_server_error()
            {
                let text = answer.text();
                let writes: Vec<String> = writes.iter().map(Heard::line).collect();
                wrong.push(format!(
                    "{request} {body}: not {expected} but {outcome} ({status}), writes {writes:?}: {text}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What the API heard since it was last asked, as `METHOD target`.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.api.heard();
        self.api.clear();
        heard.iter().map(Heard::line).collect()
    }

    pub(crate) async fn finish(self) {
        self.gate.finish(&self.api).await;
    }
}

/// The ids, names or other members of a list in an answer.
pub(crate) fn all(answer: &Answer, list: &str, member: &str) -> Vec<String> {
    let items = answer.json()[list].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| match &item[member] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

/// A request without a body.
pub(crate) const NONE: Value = Value::Null;
