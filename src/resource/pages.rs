use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::facts::Pages;
use super::look::{attributes_of, spelled};
use super::pruned::Members;
use super::state::{Attributes, Known};
use crate::catalog::{FieldPath, Kind};

/// One page of a list.
pub(super) struct Page {
    pub items: Vec<(Bytes, Attributes)>,
    pub total: Option<usize>,
    pub bytes: usize,
}

/// Takes a page apart: its items as slices of the bytes that came. `None` where it is not what the API gives.
pub(super) fn page(body: &Bytes, kind: &Kind, look_up: &Pages<'_>) -> Option<Page> {
    let text = std::str::from_utf8(body).ok()?;
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let list = match look_up.at {
        Some(at) => member(whole, at),
        None => Some(whole),
    };
    let list = list.filter(|list| list.get() != "null"); // what is empty is left out, or null
    let total = member(whole, &TOTAL.parse().ok()?).and_then(|total| total.get().parse().ok());
    let items = match list {
        Some(list) if look_up.keyed => by_id(list, kind)?,
        Some(list) => in_order(list, body, kind, look_up.zone.as_deref())?,
        None => Vec::new(),
    };
    Some(Page {
        items,
        total,
        bytes: body.len(),
    })
}

fn in_order(
    list: &RawValue,
    body: &Bytes,
    kind: &Kind,
    zone: Option<&str>,
) -> Option<Vec<(Bytes, Attributes)>> {
    let members = Members::of(kind);
    let items = items(list)?.into_iter().map(|item| {
        let json = members.read(item)?;
        let raw = body.slice_ref(item.get().as_bytes());
        Some((raw, attributes_of(kind, &json, zone)))
    });
    items.collect()
}

/// The items of a mapping, with their keys: these are the ids, and nothing else is told of what has them.
fn by_id(mapping: &RawValue, kind: &Kind) -> Option<Vec<(Bytes, Attributes)>> {
    let entries: Entries<'_> = serde_json::from_str(mapping.get()).ok()?;
    let items = entries.0.into_iter().map(|(id, value)| {
        let told = Known::exactly([spelled(kind, "id", &id, None)]);
        let raw = format!("{}:{}", serde_json::Value::from(id), value.get());
        let attributes = Attributes::from([("id".to_owned(), told)]);
        (Bytes::from(raw), attributes)
    });
    Some(items.collect())
}

/// The members of an object, in their order.
struct Entries<'r>(Vec<(String, &'r RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

const TOTAL: &str = "meta.total";

/// The member of an object at a path, as it stands there.
pub fn member<'r>(value: &'r RawValue, path: &FieldPath) -> Option<&'r RawValue> {
    path.steps.iter().try_fold(value, |value, step| {
        let mut members: HashMap<std::borrow::Cow<'r, str>, &'r RawValue> =
            serde_json::from_str(value.get()).ok()?;
        members.remove(step.key.as_str())
    })
}

/// The items of an array, as they stand there.
pub fn items(list: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list.get()).ok()
}
