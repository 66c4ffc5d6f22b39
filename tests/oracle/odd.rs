//! A grammar of oddities: how a holder of a stolen sub-token writes what a client writes plainly.

use serde_json::{Value, json};

use super::ask::{Draft, Endpoint, Request, encoded, written};
use super::kinds::Form;
use super::rng::Rng;

pub const ODDITIES: [&str; 18] = [
    "spelled", "spelled", "spelled", "spelled", "spelled", "unknown", "unknown", "emptied",
    "emptied", "emptied", "repeated", "renamed", "nested", "list", "query", "path", "several",
    "typed",
];

/// Makes the request odd in one way, where it can be.
pub fn odd(rng: &mut Rng, mut draft: Draft, endpoints: &[Endpoint], how: &'static str) -> Request {
    let done = match how {
        "spelled" => spell(rng, &mut draft, &spelling),
        "several" => spell(rng, &mut draft, &|rng, text, form| several(rng, text, form)),
        "unknown" => unknown(rng, &mut draft),
        "emptied" => member(rng, &mut draft, |rng, value| {
            *value = rng
                .pick(&[
                    json!(null),
                    json!([]),
                    json!([null]),
                    json!([[]]),
                    json!([{}]),
                    json!({}),
                    json!(""),
                ])
                .clone()
        }),
        "nested" => member(rng, &mut draft, |rng, value| {
            let inner = match &*value {
                Value::Array(items) => items.first().cloned().unwrap_or_default(),
                other => other.clone(),
            };
            *value = match rng.below(4) {
                0 => json!([[inner]]),
                1 => inner,
                2 => json!([{ "id": inner }]),
                _ => json!([inner]),
            };
        }),
        "typed" => member(rng, &mut draft, |rng, value| {
            *value = match value.clone() {
                Value::Number(number) => json!(number.to_string()),
                Value::Bool(truth) => rng
                    .pick(&[
                        json!(truth.to_string()),
                        json!("TRUE"),
                        json!(u8::from(truth)),
                        json!("yes"),
                    ])
                    .clone(),
                Value::String(text) if text.parse::<u64>().is_ok() => {
                    json!(text.parse::<u64>().unwrap())
                }
                Value::String(text) => json!(if rng.chance(50) {
                    text.to_uppercase()
                } else {
                    format!("{text} ")
                }),
                other => other,
            };
        }),
        "renamed" => renamed(rng, &mut draft),
        _ => true,
    };
    let mut request = draft.written(endpoints);
    let done = done
        && match how {
            "repeated" => repeated(rng, &draft, &mut request),
            "list" => list(rng, &draft, &mut request),
            "query" => query(rng, &draft, &mut request),
            "path" => path(rng, &mut request),
            _ => true,
        };
    request.odd = done.then_some(how);
    request
}

/// Another spelling of a name, in path, query or body.
fn spell(rng: &mut Rng, draft: &mut Draft, how: &dyn Fn(&mut Rng, &str, Form) -> Value) -> bool {
    let names: Vec<usize> = (0..draft.path.len())
        .filter(|at| draft.path[*at].1.is_some())
        .collect();
    let mut leaves = Vec::new();
    if let Some(body) = &mut draft.body {
        let mut at = 0;
        each_leaf(body, &mut |leaf| {
            leaves.push((at, is_name(leaf)));
            at += 1;
        });
    }
    if leaves.iter().any(|(_, name)| *name) && rng.chance(80) {
        leaves.retain(|(_, name)| *name);
    }
    let places = names.len() + draft.query.len() + leaves.len();
    if places == 0 {
        return false;
    }
    let at = rng.below(places);
    if let Some(at) = names.get(at) {
        let (text, form) = draft.path[*at].clone();
        draft.path[*at].0 = plain(&how(rng, &text, form.unwrap_or(Form::Name)));
        return true;
    }
    if let Some(at) = at
        .checked_sub(names.len())
        .filter(|at| *at < draft.query.len())
    {
        draft.query[at].1 = plain(&how(rng, &draft.query[at].1.clone(), Form::Name));
        return true;
    }
    let (wanted, _) = leaves[at - names.len() - draft.query.len()];
    let mut now = 0;
    if let Some(body) = &mut draft.body {
        each_leaf(body, &mut |leaf| {
            if now == wanted {
                let (text, form) = match &*leaf {
                    Value::Number(number) => (number.to_string(), Form::Number),
                    Value::String(text) if text.parse::<u64>().is_ok() => {
                        (text.clone(), Form::Number)
                    }
                    Value::String(text) if text.len() == 36 => (text.clone(), Form::Uuid),
                    other => (super::world::text(other), Form::Name),
                };
                *leaf = how(rng, &text, form);
            }
            now += 1;
        });
    }
    true
}

/// Whether it looks as if it named a thing.
fn is_name(value: &Value) -> bool {
    let text = super::world::text(value);
    let number = text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    number || text.len() == 36 || text.starts_with("do:") || text.contains(".example")
}

fn plain(value: &Value) -> String {
    super::world::text(value)
        .trim_start_matches('\u{1}')
        .to_owned()
}

fn each_leaf(value: &mut Value, with: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_leaf(item, with)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| each_leaf(member, with)),
        Value::Number(_) | Value::String(_) => with(value),
        Value::Null | Value::Bool(_) => {}
    }
}

fn spelling(rng: &mut Rng, text: &str, form: Form) -> Value {
    let around = [
        format!(" {text}"),
        format!("{text} "),
        format!("{text}\u{0}"),
        format!("\t{text}"),
        format!("{text}\n"),
        format!("{text}\u{200b}"),
        format!("{text}/"),
        format!("{text};x"),
        format!("{text}.json"),
        format!("{text}\u{0}x"),
    ];
    let own = match form {
        Form::Number => vec![
            format!("\u{1}{text}.0"),
            format!("\u{1}{text}e0"),
            format!("\u{1}{text}.00"),
            format!("0{text}"),
            format!("+{text}"),
            format!("{text}abc"),
            format!("{text}.0"),
            format!("{text}e0"),
            format!("{text} x"),
            format!("00{text}"),
        ],
        Form::Uuid => vec![
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
            text.to_uppercase(),
            text.replace('-', "").to_uppercase(),
            text.replacen('-', "", 1),
        ],
        Form::Name => {
            let mut own = vec![
                text.to_uppercase(),
                format!("{text}."),
                format!("/{text}"),
                text.replacen(':', ": ", 1),
                text.replacen(':', "::", 1),
                format!("{text}:latest"),
                text.replace('.', "\u{3002}"),
            ];
            if let Some((kind, id)) = text.rsplit_once(':').filter(|_| text.starts_with("do:")) {
                own = vec![
                    format!("{kind}: {id}"),
                    format!("{kind}:{id}/"),
                    format!("{kind}:0{id}"),
                    format!("{kind}:{id}.0"),
                    format!("{kind}:{}", id.replace('-', "")),
                    format!("{}:{id}", kind.to_uppercase()),
                    format!("{kind}:{id} "),
                ];
            }
            own
        }
    };
    json!(if rng.chance(65) {
        rng.pick(&own).clone()
    } else {
        rng.pick(&around).clone()
    })
}

fn several(rng: &mut Rng, text: &str, form: Form) -> Value {
    let other = match form {
        Form::Number => *rng.pick(&["401000021", "401000011", "401000022"]),
        Form::Uuid | Form::Name => "client-b",
    };
    json!(if rng.chance(50) {
        format!("{text},{other}")
    } else {
        format!("{other},{text}")
    })
}

/// Members that the reference does not have at that place.
fn unknown(rng: &mut Rng, draft: &mut Draft) -> bool {
    let Some(body) = draft.body.as_mut().and_then(Value::as_object_mut) else {
        return false;
    };
    let (name, value) = rng
        .pick(&[
            ("validate_only", json!(true)),
            ("dry_run", json!(true)),
            ("droplet_ids", json!([401_000_021])),
            ("droplets", json!([401_000_021])),
            ("tags", json!(["client-b"])),
            ("tag", json!("web-b")),
            ("resources", json!(["do:droplet:401000021"])),
            ("id", json!(401_000_021)),
            ("extra", json!({ "a": 1 })),
            ("zero", json!(0)),
            ("no", json!(false)),
        ])
        .clone();
    body.entry(name).or_insert(value);
    true
}

fn member(rng: &mut Rng, draft: &mut Draft, with: impl Fn(&mut Rng, &mut Value)) -> bool {
    let lured = draft.lured;
    let Some(body) = draft
        .body
        .as_mut()
        .and_then(Value::as_object_mut)
        .filter(|body| !body.is_empty())
    else {
        return false;
    };
    let names: Vec<String> = body.keys().cloned().collect();
    let is_lured = |name: &&String| lured.iter().any(|own| own.trim_end_matches("[]") == *name);
    let hung: Vec<&String> = names.iter().filter(is_lured).collect();
    let name = match rng.maybe(&hung) {
        Some(name) if rng.chance(60) => name,
        _ => rng.pick(&names),
    };
    // One item of a list, or the whole.
    match body.get_mut(name) {
        Some(Value::Array(items)) if !items.is_empty() && rng.chance(40) => {
            with(rng, &mut items[0])
        }
        Some(value) => with(rng, value),
        None => {}
    }
    true
}

fn renamed(rng: &mut Rng, draft: &mut Draft) -> bool {
    let Some(body) = draft
        .body
        .as_mut()
        .and_then(Value::as_object_mut)
        .filter(|body| !body.is_empty())
    else {
        return false;
    };
    let names: Vec<String> = body.keys().cloned().collect();
    let name = rng.pick(&names).clone();
    let value = body.remove(&name).unwrap_or_default();
    body.insert(another(rng, &name), value);
    true
}

fn another(rng: &mut Rng, name: &str) -> String {
    let camel: String = name
        .split('_')
        .enumerate()
        .map(|(at, part)| {
            if at == 0 {
                part.to_owned()
            } else {
                part[..1].to_uppercase() + &part[1..]
            }
        })
        .collect();
    match rng.below(5) {
        0 => camel,
        1 => name.to_uppercase(),
        2 => format!("{name}[]"),
        3 => name.replace('_', "-"),
        _ => name[..1].to_uppercase() + &name[1..],
    }
}

/// A key twice, with another value; the second one sometimes in another case.
fn repeated(rng: &mut Rng, draft: &Draft, request: &mut Request) -> bool {
    let (Some(body), Some(text)) = (
        draft
            .body
            .as_ref()
            .and_then(Value::as_object)
            .filter(|body| !body.is_empty()),
        &mut request.body,
    ) else {
        return false;
    };
    let names: Vec<&String> = body.keys().collect();
    let name = *rng.pick(&names);
    let value = match &body[name] {
        Value::Array(items) if items.iter().all(Value::is_number) => json!([401_000_021]),
        Value::Array(_) => json!(["client-b"]),
        Value::Number(_) => json!(401_000_021),
        Value::String(_) => rng
            .pick(&[
                json!("b-x"),
                json!("power_off"),
                json!("client-b"),
                json!(null),
            ])
            .clone(),
        _ => json!(null),
    };
    let key = if rng.chance(30) {
        another(rng, name)
    } else {
        name.clone()
    };
    let pair = format!("{}:{}", json!(key), value);
    *text = if rng.chance(50) {
        format!("{{{pair},{}", &text[1..])
    } else {
        format!("{},{pair}}}", &text[..text.len() - 1])
    };
    true
}

/// The body is a list.
fn list(rng: &mut Rng, draft: &Draft, request: &mut Request) -> bool {
    let Some(body) = draft.body.as_ref().and_then(Value::as_object) else {
        return false;
    };
    let lists: Vec<&Value> = body.values().filter(|value| value.is_array()).collect();
    let value = match rng.maybe(&lists) {
        Some(list) if rng.chance(70) => (*list).clone(),
        _ => json!([body]),
    };
    request.body = Some(written(&value));
    true
}

/// A member in the query, or a parameter twice.
fn query(rng: &mut Rng, draft: &Draft, request: &mut Request) -> bool {
    let join = if request.target.contains('?') {
        '&'
    } else {
        '?'
    };
    if let Some((name, _)) = rng.maybe(&draft.query).filter(|_| rng.chance(50)) {
        let value = rng.pick(&["client-b", "client-a", "b-vol-spare-q20z", "2"]);
        let name = if rng.chance(30) {
            format!("{name}[]")
        } else {
            name.clone()
        };
        request.target = format!("{}{join}{}={value}", request.target, encoded(&name));
        return true;
    }
    let members: Vec<(String, String)> = match draft.body.as_ref().and_then(Value::as_object) {
        Some(body) => body
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .map(|(name, value)| (name.clone(), super::world::text(value)))
            .collect(),
        None => Vec::new(),
    };
    let (name, value) = match rng.maybe(&members) {
        Some(pair) if rng.chance(60) => pair.clone(),
        _ => {
            let (name, value) = *rng.pick(&[
                ("droplet_id", "401000021"),
                ("tag_name", "client-b"),
                ("droplet_ids", "401000021"),
                ("validate_only", "true"),
                ("_method", "DELETE"),
                ("type", "power_off"),
            ]);
            (name.to_owned(), value.to_owned())
        }
    };
    request.target = format!(
        "{}{join}{}={}",
        request.target,
        encoded(&name),
        encoded(&value)
    );
    true
}

/// Another way to write the same path.
fn path(rng: &mut Rng, request: &mut Request) -> bool {
    let (path, query) = request
        .target
        .split_once('?')
        .map_or((request.target.clone(), String::new()), |(path, query)| {
            (path.to_owned(), format!("?{query}"))
        });
    let path = match rng.below(7) {
        0 => format!("{path}/"),
        1 => path.replacen("/v2/", "/v2//", 1),
        2 => path.replacen("/v2/", "/v2/./", 1),
        3 => path.replacen("/v2/", "/v2/x/../", 1),
        4 => format!("{path}.json"),
        5 => {
            let at = path.len() - 1;
            format!("{}%{:02X}", &path[..at], path.as_bytes()[at])
        }
        _ => format!("{path}%00"),
    };
    request.target = path + &query;
    true
}
