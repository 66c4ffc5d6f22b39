//! What pages have in common. Every text that is put into one is escaped by the type that it is made of; nothing here says otherwise.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::reply::Trouble;
use super::sign_in::ConsoleOperator;

pub(super) const STYLESHEET: &[u8] = include_bytes!("assets/console.css");
pub(super) const SCRIPT: &[u8] = include_bytes!("assets/console.js");
pub(super) const ICON: &[u8] = include_bytes!("assets/icon.svg");
pub(super) const DESCRIPTION: &[u8] = include_bytes!("assets/openapi.json");

/// The field of a form that holds the session's token.
pub(super) const FORM_TOKEN: &str = "form_token";

/// For whom a page is.
pub(super) struct Frame<'f> {
    pub operator: &'f ConsoleOperator,
    pub form_token: &'f str,
}

/// The pages that are led to from all others.
const PLACES: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/tokens", "Sub-tokens"),
    ("/refusals", "Refusals"),
    ("/roles", "Roles"),
    ("/ask", "Ask"),
    ("/live", "Live"),
    ("/records", "Record"),
];

/// A whole page.
pub(super) fn whole(title: &str, at: &str, frame: Option<&Frame<'_>>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · tidegate" }
                link rel="stylesheet" href="/assets/console.css";
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                script src="/assets/console.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    a.mark href="/" { "tidegate" }
                    @if let Some(frame) = frame {
                        nav aria-label="Pages" {
                            ul {
                                @for (place, name) in PLACES {
                                    li { a href=(place) aria-current=[(place == at).then_some("page")] { (name) } }
                                }
                            }
                        }
                        form.who method="post" action="/sign-out" {
                            (token_field(frame))
                            span title="signed in by this sub-token" { (frame.operator.name) }
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
                main id="content" tabindex="-1" {
                    (content)
                }
                @if frame.is_some() {
                    footer {
                        p { "tidegate " (env!("CARGO_PKG_VERSION")) " · " a href="/api/v1/openapi.json" { "API" } " · times are UTC unless they say otherwise" }
                    }
                }
            }
        }
    }
}

/// The field that makes a form one of this session.
pub(super) fn token_field(frame: &Frame<'_>) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(frame.form_token); }
}

/// A time: UTC to the minute, which the script tells in the viewer's zone.
pub(super) fn time(at: Timestamp) -> Markup {
    html! {
        time datetime=(format!("{at:.3}")) { (at.strftime("%Y-%m-%d %H:%M").to_string()) " UTC" }
    }
}

/// A time as records and JSON write it; as it is, if it is none.
pub(super) fn time_text(text: &str) -> Markup {
    let Ok(at) = text.parse() else {
        return html! { (text) };
    };
    time(at)
}

/// A field of a form under its name. What is secret is not filled in.
pub(super) fn field(name: &str, label: &str, kind: &str, value: Option<&str>) -> Markup {
    html! {
        label for=(name) { (label) }
        input id=(name) name=(name) type=(kind) value=[value] autocomplete="off" autocapitalize="none" spellcheck="false";
    }
}

/// A text as a shell takes it for one word, whatever it holds.
pub(super) fn shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,".contains(&byte);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A word with the colour of what it says.
pub(super) fn badge(kind: &str, text: &str) -> Markup {
    html! { span class={ "badge " (kind) } { (text) } }
}

/// The page for signing in.
pub(super) fn sign_in(next: Option<&str>, trouble: Option<&Trouble>) -> Markup {
    let content = html! {
        section.narrow {
            h1 { "Sign in" }
            @if let Some(trouble) = trouble {
                p.alert role="alert" id="trouble" { (trouble.told().2) }
            }
            form method="post" action="/sign-in" {
                @if let Some(next) = next {
                    input type="hidden" name="next" value=(next);
                }
                label for="token" { "Sub-token" }
                input id="token" name="token" type="password" required autocomplete="current-password" spellcheck="false" autocapitalize="none" aria-describedby=(if trouble.is_some() { "trouble hint" } else { "hint" }) autofocus;
                p.hint id="hint" { "One whose role has " code { "operator: [view]" } " in the policy. Signing in costs no use, and the session ends with the token." }
                button type="submit" { "Sign in" }
            }
        }
    };
    whole("Sign in", "/sign-in", None, &content)
}

/// What is said instead of a page.
pub(super) fn trouble(trouble: &Trouble, frame: Option<&Frame<'_>>, request_id: &str) -> Markup {
    let (status, _, message) = trouble.told();
    let reason = status.canonical_reason().unwrap_or("Not done");
    let content = html! {
        section.narrow {
            h1 { (reason) }
            p.alert role="alert" { (message) }
            p.hint { "Request " code { (request_id) } }
            p {
                @if frame.is_some() { a href="/" { "To the overview" } }
                @else { a href="/sign-in" { "To the page for signing in" } }
            }
        }
    };
    whole(reason, "", frame, &content)
}

/// A member that is a list of texts, on one line.
pub(super) fn texts(value: &Value, member: &str) -> String {
    let list = value.get(member).and_then(Value::as_array);
    let list: Vec<_> = list
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    list.join(", ")
}
