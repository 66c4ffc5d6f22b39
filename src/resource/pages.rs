use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::facts::Pages;
use super::look::attributes_of;
use super::pruned::Members;
use super::state::Attributes;
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
    let items = match list {
        Some(list) if list.get() != "null" => items(list)?,
        Some(_) | None => Vec::new(), // what is empty is left out, or null
    };
    let total = member(whole, &TOTAL.parse().ok()?).and_then(|total| total.get().parse().ok());
    let zone = look_up.zone.as_deref();
    let members = Members::of(kind);
    let items = items
        .into_iter()
        .map(|item| {
            let json = members.read(item)?;
            let raw = body.slice_ref(item.get().as_bytes());
            Some((raw, attributes_of(kind, &json, zone)))
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Page {
        items,
        total,
        bytes: body.len(),
    })
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
