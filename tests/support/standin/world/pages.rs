//! Lists, cut into pages as the API cuts them.

use serde_json::{Map, Value, json};

use super::super::API_URL;
use super::super::heard::encoded;
use super::super::reply::Reply;
use super::serve::Call;

/// The page that the call asks for: 20 items by default, 200 at most, and a `links` member whatever there is.
pub(super) fn page(call: &Call, name: &str, items: Vec<Value>) -> Reply {
    let size = number(call, "per_page", DEFAULT_SIZE).min(LARGEST);
    let page = number(call, "page", 1);
    let total = items.len();
    let shown: Vec<Value> = items
        .into_iter()
        .skip((page - 1).saturating_mul(size))
        .take(size)
        .collect();
    let links = links(call, page, total.div_ceil(size).max(1));
    Reply::json(
        200,
        &json!({ name: shown, "links": links, "meta": { "total": total } }),
    )
}

/// The same without pages, for the few lists that have none.
pub(super) fn whole(name: &str, items: &[Value]) -> Reply {
    Reply::json(200, &json!({ name: items }))
}

/// First and previous where there is a page before, next and last where there is one after, and no `pages` otherwise.
fn links(call: &Call, page: usize, last: usize) -> Value {
    let mut pages = Map::new();
    if page > 1 {
        pages.insert("first".to_owned(), link(call, 1));
        pages.insert("prev".to_owned(), link(call, page - 1));
    }
    if page < last {
        pages.insert("next".to_owned(), link(call, page + 1));
        pages.insert("last".to_owned(), link(call, last));
    }
    if pages.is_empty() {
        json!({})
    } else {
        json!({ "pages": pages })
    }
}

/// An absolute URL at the real API, with the parameters of the call.
fn link(call: &Call, page: usize) -> Value {
    let others = call.query.iter().filter(|(name, _)| name != "page");
    let query = others.fold(format!("page={page}"), |query, (name, value)| {
        format!("{query}&{}={}", encoded(name), encoded(value))
    });
    json!(format!("{API_URL}{}?{query}", call.path))
}

fn number(call: &Call, name: &str, default: usize) -> usize {
    let given = call.parameter(name).and_then(|value| value.parse().ok());
    given.filter(|number| *number > 0).unwrap_or(default)
}

const DEFAULT_SIZE: usize = 20;
const LARGEST: usize = 200;
