use bytes::Bytes;

use super::attribute_members::Members;
use super::reader::Pages;
use crate::catalog::Kind;
use crate::json::{Document, Part};
use crate::resource::{Attributes, Known, attributes_of, spelled};

/// One page of a list.
pub(super) struct Page {
    pub items: Vec<(Bytes, Attributes)>,
    pub total: Option<usize>,
    /// Whether it says that there is a page after it.
    pub goes_on: bool,
    pub bytes: usize,
    /// The members that the answer has, where it has no list.
    pub instead: Option<Vec<String>>,
}

/// Takes a page apart: its items as slices of the bytes that came. `None` where it is not what the API gives.
pub(super) fn page(body: &Bytes, kind: &Kind, look_up: &Pages<'_>) -> Option<Page> {
    let whole = Document::read(body).ok()?;
    let list = match look_up.at {
        Some(at) => whole.at(at),
        None => Some(whole.root()),
    };
    let list = list.filter(|list| !list.is_null()); // what is empty is left out, or null
    let total = whole.at(&TOTAL.parse().ok()?);
    let total = total.and_then(|total| total.get().parse().ok());
    let next = whole.at(&NEXT.parse().ok()?);
    let goes_on = next.is_some_and(|next| !matches!(next.get(), "null" | "\"\""));
    let (items, instead) = match list {
        Some(list) if look_up.keyed => (by_id(list, kind)?, None),
        Some(list) => (in_order(list, &whole, kind, look_up.zone.as_deref())?, None),
        None => {
            let instead = whole.root().members()?;
            let instead = instead.filter(|(_, value)| !value.is_null());
            (
                Vec::new(),
                Some(instead.map(|(key, _)| key.into_owned()).collect()),
            )
        }
    };
    Some(Page {
        items,
        total,
        goes_on,
        bytes: body.len(),
        instead,
    })
}

fn in_order(
    list: Part<'_>,
    whole: &Document,
    kind: &Kind,
    zone: Option<&str>,
) -> Option<Vec<(Bytes, Attributes)>> {
    let wanted = Members::of(kind);
    let items = list.items()?.map(|item| {
        let json = wanted.read(item).filter(|_| item.is_object())?;
        Some((whole.slice(item), attributes_of(kind, &json, zone)))
    });
    items.collect()
}

/// The items of a mapping, with their keys: these are the ids, and nothing else is told of what has them.
fn by_id(mapping: Part<'_>, kind: &Kind) -> Option<Vec<(Bytes, Attributes)>> {
    let items = mapping.members()?.map(|(id, value)| {
        let told = Known::exactly([spelled(kind, "id", &id, None)]);
        let raw = format!("{}:{}", serde_json::Value::from(id.as_ref()), value.get());
        let attributes = Attributes::from([("id".to_owned(), told)]);
        (Bytes::from(raw), attributes)
    });
    Some(items.collect())
}

const TOTAL: &str = "meta.total";
const NEXT: &str = "links.pages.next";
